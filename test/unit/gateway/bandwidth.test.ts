/** Which limits of the traffic count when. */
import { describe, expect, it } from 'vitest';
import { limitsAt } from '../../../src/core/gateway/bandwidth.ts';
import { GatewayRig } from './rig.ts';

const up = (rate: number | null): { uploadBytesPerSecond: number | null; downloadBytesPerSecond: null } => ({
  uploadBytesPerSecond: rate,
  downloadBytesPerSecond: null,
});
const minutes = (hours: number, of = 0): number => hours * 60 + of;
/** 2026-11-23 is a Monday. */
const at = (day: number, hours: number, minute = 0): number => new Date(2026, 10, 22 + day, hours, minute).getTime();

describe('limits by the hours', () => {
  const bandwidth = {
    ...up(20),
    rules: [
      { days: [1, 2, 3, 4, 5], fromMinute: minutes(8), toMinute: minutes(18), ...up(5) },
      { days: [7], fromMinute: minutes(22), toMinute: minutes(6), ...up(null) },
      { days: [6], fromMinute: 0, toMinute: 0, ...up(7) },
    ],
  };
  const cases: [string, number, number | null][] = [
    ['before the hours', at(1, 7, 59), 20],
    ['from the first minute', at(1, 8), 5],
    ['to the last', at(5, 17, 59), 5],
    ['behind them', at(5, 18), 20],
    ['on another day', at(6, 12), 7],
    ['all of a day', at(6, 23, 59), 7],
    ['over midnight', at(7, 22), null],
    ['on the morning after', at(1, 5, 59), null],
    ['but not on other mornings', at(2, 5, 59), 20],
  ];
  for (const [when, nowMs, rate] of cases)
    it(when, () => {
      expect(limitsAt(bandwidth, nowMs)).toEqual(up(rate));
    });

  it('there are none without a setting', () => {
    expect(limitsAt(undefined, at(1, 9))).toEqual(up(null));
  });

  it('are told as they were set, to the end of a day', async () => {
    await using rig = await GatewayRig.start();
    const schedule = [{ days: [6, 7], from: '00:00', to: '24:00', ...up(7) }];
    await rig.call('bandwidth.set', { schedule });
    expect((await rig.call('bandwidth.show', {})).schedule).toEqual(schedule);
  });
});
