/** Which snapshots of a schedule are kept, against a count of calendar periods that is written another way. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { retained } from '../../src/core/gateway/schedules/retention.ts';
import type { RetentionRule, RetentionUnit } from '../../src/core/state/index.ts';
import { keptByCalendar, type Point } from './retention-oracle.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const START = Date.UTC(2024, 0, 1);
const UNITS: readonly RetentionUnit[] = ['hour', 'day', 'week', 'month', 'year'];

const rules = fc.uniqueArray(fc.record({ unit: fc.constantFrom(...UNITS), count: fc.integer({ min: 1, max: 14 }) }), {
  selector: ({ unit }) => unit,
  minLength: 1,
}) as fc.Arbitrary<RetentionRule[]>;
/** Times close together and far apart; some at the same time. */
const times = fc.array(
  fc.oneof(
    fc.integer({ min: 0, max: 3 * 365 * DAY }),
    fc.integer({ min: 0, max: 10 * DAY }),
    fc.constantFrom(0, DAY, 31 * DAY),
  ),
  { maxLength: 60 },
);
const pointsOf = (offsets: readonly number[], prefix = 'a'): Point[] =>
  offsets.map((offset, i) => ({ atMs: START + offset, id: `${prefix}${String(i).padStart(3, '0')}` }));
const now = fc.integer({ min: 0, max: 3 * 365 * DAY }).map((offset) => START + offset);
const ids = (points: readonly Point[]): string[] => points.map(({ id }) => id).sort();

const settings = {
  numRuns: 400,
  ...(process.env['SGW_SEED'] === undefined ? {} : { seed: Number(process.env['SGW_SEED']) }),
};

describe('what a schedule keeps', () => {
  it('is the newest of each period of the calendar that counts', () => {
    fc.assert(
      fc.property(times, now, rules, (offsets, nowMs, keep) => {
        const points = pointsOf(offsets);
        expect(ids(retained(points, nowMs, keep))).toEqual(ids(keptByCalendar(points, nowMs, keep)));
      }),
      settings,
    );
  });

  it('is kept when it is asked for again, in whatever order it is given', () => {
    fc.assert(
      fc.property(times, now, rules, (offsets, nowMs, keep) => {
        const points = pointsOf(offsets);
        const once = retained(points, nowMs, keep);
        expect(retained(once, nowMs, keep)).toEqual(once);
        expect(retained(points.toReversed(), nowMs, keep)).toEqual(once);
      }),
      settings,
    );
  });

  it('is the same whether it was asked for at each snapshot or once in the end', () => {
    fc.assert(
      fc.property(
        times,
        rules,
        fc.array(fc.integer({ min: 0, max: 40 * DAY }), { maxLength: 8 }),
        (offsets, keep, asks) => {
          const points = pointsOf(offsets).toSorted((a, b) => a.atMs - b.atMs);
          let left: Point[] = [];
          let nowMs = START;
          for (const [i, point] of points.entries()) {
            nowMs = Math.max(nowMs, point.atMs);
            left = retained([...left, point], nowMs, keep);
            nowMs += asks[i] ?? 0;
            left = retained(left, nowMs, keep);
          }
          expect(ids(left)).toEqual(
            ids(
              retained(
                points.filter(({ atMs }) => atMs <= nowMs),
                nowMs,
                keep,
              ),
            ),
          );
        },
      ),
      settings,
    );
  });

  it('is the same when clocks went back and forth between the snapshots', () => {
    fc.assert(
      fc.property(times, fc.array(now, { minLength: 1, maxLength: 8 }), rules, (offsets, clocks, keep) => {
        const last = Math.max(...clocks);
        let left: Point[] = [];
        for (const point of pointsOf(offsets)) {
          left.push(point);
          for (const nowMs of clocks) left = retained(left, nowMs, keep);
        }
        // What the latest clock keeps, every earlier one kept.
        expect(ids(retained(left, last, keep))).toEqual(ids(retained(pointsOf(offsets), last, keep)));
      }),
      settings,
    );
  });

  it('always holds the newest, and what a wrong clock put into the future', () => {
    const points = pointsOf([0, DAY, 400 * DAY]);
    const keep: RetentionRule[] = [{ count: 1, unit: 'hour' }];
    expect(ids(retained(points, START + 300 * DAY, keep))).toEqual(['a001', 'a002']);
    expect(ids(retained(points, START + 500 * DAY, keep))).toEqual(['a002']);
    expect(ids(retained(points, START, null))).toEqual(['a000', 'a001', 'a002']);
  });

  it('begins weeks on Monday, and counts the period at hand as the first', () => {
    // 2026-11-29 is a Sunday.
    const sunday = Date.UTC(2026, 10, 29, 12);
    const at = (day: number, hour = 12): Point => {
      const atMs = Date.UTC(2026, 10, day, hour);
      return { atMs, id: new Date(atMs).toISOString() };
    };
    const points = [at(15), at(16), at(22), at(22, 13), at(23), at(28), at(29)];
    const kept = retained(points, sunday, [{ count: 2, unit: 'week' }]);
    expect(kept.map(({ id }) => id.slice(8, 13))).toEqual(['29T12', '22T13']);
    const days = retained(points, sunday, [{ count: 2, unit: 'day' }]);
    expect(days.map(({ id }) => id.slice(8, 13))).toEqual(['29T12', '28T12']);
  });
});
