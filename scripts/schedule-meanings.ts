/** What the fields of schedules and verifications mean, in every document that shows them. */

/** What the fields of a schedule mean, wherever one is shown. */
const SCHEDULE: Readonly<Record<string, string>> = {
  at: 'when in the day it runs, UTC, where that was said; else null',
  'keep[].count': 'how many periods count',
  name: 'name of the volume, as it was when the schedule was set or last ran',
  state: '`waiting`, `running`, `retrying` after a failure, `stopped`: no gateway daemon runs',
  'lastRun.name': 'the name that it was given',
  'lastRun.at': 'when it was made',
  'failure.at': 'since when it fails',
};

const VERIFICATION: Readonly<Record<string, string>> = {
  everyMs: 'how often the newest snapshot is verified, in milliseconds',
  share: 'the part of what it maps that is read, above 0 and up to 1',
  command: 'what is run over it then, by /bin/sh; null: nothing',
  timeoutMs: 'how long that may take, in milliseconds',
  state: '`waiting`, `running`, or `stopped`: no gateway daemon runs',
  nextRunAt: 'when the next verification is due; a time that is past when one is owed',
  last: 'what came of the newest one; null before the first',
  failure: 'why the one at hand could not be tried; null when all is well',
  'failure.at': 'since when',
  'last.name': 'name of the snapshot, as it was then',
};

/** What came of a verification. */
const OUTCOME: Readonly<Record<string, string>> = {
  at: 'when it was verified',
  ok: 'whether all that was read was sound, and the command, if there is one, ended with 0',
  checkedBytes: 'bytes of data that were read back',
  share: 'the part of what it maps that was read',
  exitCode: 'of the command; null where none ran to its end',
  message: 'why it is not sound; null when it is',
  output: 'the end of what the command wrote; null when it wrote nothing',
  durationMs: 'how long it took, in milliseconds',
};

const under = (place: string, fields: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(fields).map(([name, meaning]) => [`${place}.${name}`, meaning]));

const VERIFIED = 'what came of verifying it last; null while it never was';
const SCHEDULES = ['schedule', 'schedule-list.schedules[]', 'status.schedules[]'];
const SNAPSHOTS = ['snapshot', 'snapshot-created', 'snapshot-detail', 'snapshot-list.snapshots[]'];

export const SCHEDULE_MEANINGS: Readonly<Record<string, string>> = Object.fromEntries(
  [
    ...SCHEDULES.flatMap((place) => [
      under(place, SCHEDULE),
      under(`${place}.verify`, VERIFICATION),
      under(`${place}.verify.last`, OUTCOME),
    ]),
    ...SNAPSHOTS.flatMap((place) => [under(place, { verified: VERIFIED }), under(`${place}.verified`, OUTCOME)]),
  ].flatMap((meanings) => Object.entries(meanings)),
);
