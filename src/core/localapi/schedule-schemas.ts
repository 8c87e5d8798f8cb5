/** The documents of snapshot schedules. As in `schemas.ts`, fields are only ever added. */
import Type, { type Static } from 'typebox';
import { Bytes, Nullable, object, Time } from './schema-parts.ts';

const Unit = Type.Union([
  Type.Literal('hour'),
  Type.Literal('day'),
  Type.Literal('week'),
  Type.Literal('month'),
  Type.Literal('year'),
]);

const Share = Type.Number({ exclusiveMinimum: 0, maximum: 1 });
const Failure = Nullable(
  Type.Object({ at: Time, code: Type.String(), message: Type.String() }, { additionalProperties: false }),
);
const Outcome = {
  at: Time,
  ok: Type.Boolean(),
  checkedBytes: Bytes,
  /** Of what it maps, the part that was read: 1 is all. */
  share: Share,
  /** Of the command; null where none ran to its end. */
  exitCode: Nullable(Type.Integer()),
  /** Why it is not ok; null when it is. */
  message: Nullable(Type.String()),
};

/** What came of verifying a snapshot last; null while it never was. */
export const Verified = Nullable(Type.Object(Outcome, { additionalProperties: false }));

const Verification = Type.Object(
  {
    everyMs: Type.Integer({ minimum: 1 }),
    share: Share,
    command: Nullable(Type.String()),
    timeoutMs: Type.Integer({ minimum: 1 }),
    state: Type.Union([Type.Literal('waiting'), Type.Literal('running'), Type.Literal('stopped')]),
    nextRunAt: Time,
    last: Nullable(
      Type.Object(
        {
          snapshotId: Type.String(),
          name: Type.String(),
          ...Outcome,
          /** The end of what the command wrote. */
          output: Nullable(Type.String()),
          durationMs: Type.Integer({ minimum: 0 }),
        },
        { additionalProperties: false },
      ),
    ),
    /** Why the one at hand could not be tried. */
    failure: Failure,
  },
  { additionalProperties: false },
);

export const ScheduleDocument = object('schedule', {
  volumeId: Type.String(),
  /** Of the volume, as it was called when the schedule last ran or was set. */
  name: Type.String(),
  everyMs: Type.Integer({ minimum: 1 }),
  at: Nullable(Type.String()),
  /** The newest snapshot of each of the last `count` periods of the calendar in UTC is kept; null: all are. */
  keep: Nullable(
    Type.Array(Type.Object({ count: Type.Integer({ minimum: 1 }), unit: Unit }, { additionalProperties: false })),
  ),
  /** `stopped`: no daemon runs. */
  state: Type.Union([
    Type.Literal('waiting'),
    Type.Literal('running'),
    Type.Literal('retrying'),
    Type.Literal('stopped'),
  ]),
  setAt: Time,
  /** Past when a run is owed. */
  nextRunAt: Time,
  /** When what failed is tried again; null when nothing is. */
  retryAt: Nullable(Time),
  runs: Type.Integer({ minimum: 0 }),
  lastRun: Nullable(
    Type.Object({ snapshotId: Type.String(), name: Type.String(), at: Time }, { additionalProperties: false }),
  ),
  failure: Failure,
  /** How its snapshots are verified; null: not at all. */
  verify: Nullable(Verification),
  /** Sentences that a person should read. */
  remarks: Type.Array(Type.String()),
});

export const ScheduleList = object('schedule-list', { schedules: Type.Array(ScheduleDocument) });

export const ScheduleRemoved = object('schedule-removed', {
  volumeId: Nullable(Type.String()),
  name: Nullable(Type.String()),
  /** False when `--if-exists` found nothing. */
  removed: Type.Boolean(),
});

export type ScheduleDocument = Static<typeof ScheduleDocument>;
export type ScheduleList = Static<typeof ScheduleList>;
export type ScheduleRemoved = Static<typeof ScheduleRemoved>;
