import { describe, expect, it } from 'vitest';
import { DEFAULT_RECOVERY_POLICY, keptPoints, type RecoveryPolicy } from '../../../src/core/blockstore/index.ts';
import { pointsMax } from '../../../src/core/blockstore/recovery-policy.ts';
import { seededRandom } from '../../../src/core/kit/index.ts';
import { DAY, HOUR } from './gc-rig.ts';

const START = Date.UTC(2026, 0, 1);
const MINUTE = 60_000;
const at = (commitTimeMs: number): { commitTimeMs: number } => ({ commitTimeMs });
const times = (points: readonly { readonly commitTimeMs: number }[]): number[] =>
  points.map(({ commitTimeMs }) => commitTimeMs - START);

/** Records a point every `everyMs`, as a writer does. */
function recordedFor(durationMs: number, everyMs: number): { points: { commitTimeMs: number }[]; nowMs: number } {
  let points: { commitTimeMs: number }[] = [];
  let nowMs = START;
  for (; nowMs < START + durationMs; nowMs += everyMs)
    points = keptPoints([...points, at(nowMs)], nowMs, DEFAULT_RECOVERY_POLICY);
  return { points, nowMs: nowMs - everyMs };
}

describe('which recovery points are kept', () => {
  it('keeps all of the last hour', () => {
    const points = Array.from({ length: 60 }, (_, i) => at(START + i * MINUTE));
    expect(keptPoints(points, START + 59 * MINUTE, DEFAULT_RECOVERY_POLICY)).toEqual(points);
  });

  it('keeps the newest 64 of an hour that has more, and one for what was before them', () => {
    const points = Array.from({ length: 200 }, (_, i) => at(START + i * 1000));
    const kept = keptPoints(points, START + 200_000, DEFAULT_RECOVERY_POLICY);
    expect(times(kept)).toEqual([135_000, ...Array.from({ length: 64 }, (_, i) => (136 + i) * 1000)]);
  });

  it('keeps one an hour for a day, then one a day for a week, then none', () => {
    const { points, nowMs } = recordedFor(10 * DAY, 7 * MINUTE);
    const older = points.filter(({ commitTimeMs }) => nowMs - commitTimeMs > HOUR);
    const hourly = older.filter(({ commitTimeMs }) => nowMs - commitTimeMs <= DAY);
    const daily = older.filter(({ commitTimeMs }) => nowMs - commitTimeMs > DAY);
    const hours = hourly.map(({ commitTimeMs }) => Math.floor(commitTimeMs / HOUR));
    expect(new Set(hours).size).toBe(hours.length);
    expect(hours.length).toBeGreaterThanOrEqual(23);
    const days = daily.map(({ commitTimeMs }) => Math.floor(commitTimeMs / DAY));
    expect(new Set(days).size).toBe(days.length);
    expect(days.length).toBeGreaterThanOrEqual(6);
    expect(nowMs - (points[0]?.commitTimeMs ?? 0)).toBeLessThanOrEqual(7 * DAY);
    expect(nowMs - (points[0]?.commitTimeMs ?? 0)).toBeGreaterThan(6 * DAY);
  });

  it('keeps the newest for as long as any tier covers it, and nothing when all is old', () => {
    expect(times(keptPoints([at(START)], START + 7 * DAY, DEFAULT_RECOVERY_POLICY))).toEqual([0]);
    expect(keptPoints([at(START)], START + 7 * DAY + 1, DEFAULT_RECOVERY_POLICY)).toEqual([]);
  });

  it('never keeps more than its bound, whatever times the clocks gave, and always the newest', () => {
    const random = seededRandom(Number(process.env['SGW_SEED'] ?? 7));
    const policy: RecoveryPolicy = { allForMs: HOUR, allMax: 4, tiers: [{ periodMs: HOUR, forMs: 3 * HOUR }] };
    expect(pointsMax(policy)).toBe(8);
    let points: { commitTimeMs: number }[] = [];
    let nowMs = START;
    let commitTimeMs = START;
    for (let i = 0; i < 3000; i++) {
      nowMs += (random.float() - 0.45) * 2 * HOUR;
      commitTimeMs = Math.max(commitTimeMs, nowMs);
      points = keptPoints([...points, at(commitTimeMs)], nowMs, policy);
      expect(points.length).toBeLessThanOrEqual(8);
      expect(points.at(-1)?.commitTimeMs).toBe(commitTimeMs);
      expect(times(points)).toEqual(times(points).sort((a, b) => a - b));
    }
  });

  it('keeps the states of take-overs beside the others, the newest eight of the last week', () => {
    let points: { commitTimeMs: number; takenOver?: true }[] = [];
    let nowMs = START;
    for (let hour = 0; hour < 12; hour++) {
      points = keptPoints([...points, { ...at(nowMs), takenOver: true }], nowMs, DEFAULT_RECOVERY_POLICY);
      for (let i = 0; i < 100; i++) {
        nowMs += 36_000;
        points = keptPoints([...points, at(nowMs)], nowMs, DEFAULT_RECOVERY_POLICY);
      }
    }
    const takenOver = points.filter((point) => point.takenOver);
    expect(times(takenOver)).toEqual([4, 5, 6, 7, 8, 9, 10, 11].map((hour) => hour * HOUR));
    expect(points.length - takenOver.length).toBeLessThanOrEqual(pointsMax(DEFAULT_RECOVERY_POLICY));
    const weekLater = keptPoints(points, START + 4 * HOUR + 7 * DAY + 1, DEFAULT_RECOVERY_POLICY);
    expect(weekLater.filter((point) => point.takenOver)).toHaveLength(7);
  });
});
