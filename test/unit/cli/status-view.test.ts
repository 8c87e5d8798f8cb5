/** What `status` shows people of snapshots that were never verified. */
import { expect, test } from 'vitest';
import { statusText } from '../../../src/core/cli/gateway-views.ts';
import { styleFor } from '../../../src/core/cli/style.ts';
import type { ScheduleDocument, StatusDocument } from '../../../src/core/localapi/index.ts';

const TIME = '2026-11-29T12:00:00.000Z';
const schedule = (verifies: boolean): ScheduleDocument => ({
  ...{ volumeId: 'vol-00000000000000001', name: 'db', everyMs: 3_600_000, at: null, keep: null, state: 'waiting' },
  ...{ setAt: TIME, nextRunAt: TIME, retryAt: null, runs: 1, lastRun: null, failure: null, remarks: [] },
  verify: verifies
    ? {
        ...{ everyMs: 3_600_000, share: 1, command: null, timeoutMs: 1000, state: 'waiting', nextRunAt: TIME },
        ...{ last: null, failure: null },
      }
    : null,
});
const snapshots = (count: number, unverified: number, schedules: ScheduleDocument[]): string => {
  const status: StatusDocument = {
    ...{ version: '0.0.0', home: '/h', activated: true, gateway: null, store: null, exports: [], remarks: [] },
    daemon: { running: false, pid: null, since: null },
    volumes: { count: 1, sizeBytes: 0, mappedBytes: 0 },
    snapshots: { count, unverified, unsound: 0 },
    schedules,
  };
  const lines = statusText(status, styleFor(process.stdout, false)).split('\n');
  return (
    lines
      .find((line) => line.startsWith('snapshots:'))
      ?.slice(10)
      .trim() ?? ''
  );
};

test('snapshots that were never verified are shown once any is, or is to be', () => {
  expect(snapshots(3, 3, [])).toBe('3');
  expect(snapshots(3, 3, [schedule(false)])).toBe('3');
  expect(snapshots(3, 3, [schedule(true)])).toBe('3, 3 never verified');
  expect(snapshots(3, 2, [])).toBe('3, 2 never verified');
  expect(snapshots(3, 0, [schedule(true)])).toBe('3');
});
