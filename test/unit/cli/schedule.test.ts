/** Schedules as people read them. */
import { expect, test } from 'vitest';
import { parseVerifyPace, scheduleFields } from '../../../src/core/cli/schedule.ts';
import { styleFor } from '../../../src/core/cli/style.ts';
import type { ScheduleDocument } from '../../../src/core/localapi/index.ts';

const TIME = '2026-11-29T12:00:00.000Z';
const LAST = {
  ...{ snapshotId: 'snap-00000000000000001', name: 's', at: TIME, ok: false, checkedBytes: 4096, share: 1 },
  ...{ exitCode: 1, message: 'the command ended with 1', durationMs: 5 },
  output: `${Array.from({ length: 30 }, (_, i) => `line ${String(i)}`).join('\n')}\n\u001b[2Jdisk: bad\n`,
};
const SCHEDULE: ScheduleDocument = {
  ...{ volumeId: 'vol-00000000000000001', name: 'db', everyMs: 3_600_000, at: null, keep: null, state: 'waiting' },
  ...{ setAt: TIME, nextRunAt: TIME, retryAt: null, runs: 1, lastRun: null, failure: null, remarks: [] },
  verify: {
    ...{ everyMs: 3_600_000, share: 1, command: 'check', timeoutMs: 1000, state: 'waiting', nextRunAt: TIME },
    ...{ last: LAST, failure: null },
  },
};

test('of what a command wrote, the last lines are shown, one each, and none moves the cursor', () => {
  const shown = scheduleFields(SCHEDULE, styleFor(process.stdout, false)).split('\n');
  const output = shown.filter((line) => line.startsWith('output:')).map((line) => line.slice(7).trim());
  expect(output).toHaveLength(10);
  expect(output[0]).toBe('line 21');
  expect(output.at(-1)).toBe('\uFFFD[2Jdisk: bad');
});

test('a pace of verifying that can not be is told of under its flag', () => {
  expect(() => parseVerifyPace('often')).toThrow('--verify can not be "often"');
});

test('the first verification is told to come with the first snapshot, a later one at its time', () => {
  const shown = (last: NonNullable<ScheduleDocument['verify']>['last']): string =>
    scheduleFields(
      { ...SCHEDULE, verify: SCHEDULE.verify && { ...SCHEDULE.verify, last } },
      styleFor(process.stdout, false),
    );
  expect(shown(null)).toMatch(/^verifying: +as soon as there is a snapshot$/m);
  expect(shown(LAST)).toMatch(/^verifying: +next 2026-11-29 12:00 UTC$/m);
});
