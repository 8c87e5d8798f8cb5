/**
 * Which snapshots of a schedule are kept: fewer, the older they are. No clock, no store.
 *
 * A rule says how many periods of a calendar in UTC count, the present one first and then back from it: 7 days are today and the
 * six days before. Hours begin on the hour, days at midnight, weeks on Monday, months on the first, years on 1 January. Of each
 * period that counts, the newest snapshot is kept. The newest of all is kept whatever the rules say, and so is one whose time
 * has not come, by a clock that was wrong: it takes nobody's place until then.
 *
 * It is the newest of a period, and not the oldest, so that asking again and again, of what was left and what came since, ends
 * as asking once does: the newest that a period will have is its newest from the moment that it is there.
 */
import type { RetentionRule, RetentionUnit } from '../../state/index.ts';

const HOUR_MS = 60 * 60_000;
const DAY_MS = 24 * HOUR_MS;
/** 1970-01-01 was a Thursday. */
const DAYS_FROM_MONDAY = 3;

const monthOf = (atMs: number): number => {
  const at = new Date(atMs);
  return at.getUTCFullYear() * 12 + at.getUTCMonth();
};

/** The number of the period that a time is in; of neighbouring periods, neighbouring numbers. */
const PERIOD_OF: Readonly<Record<RetentionUnit, (atMs: number) => number>> = {
  hour: (atMs) => Math.floor(atMs / HOUR_MS),
  day: (atMs) => Math.floor(atMs / DAY_MS),
  week: (atMs) => Math.floor((Math.floor(atMs / DAY_MS) + DAYS_FROM_MONDAY) / 7),
  month: monthOf,
  year: (atMs) => new Date(atMs).getUTCFullYear(),
};

/** A snapshot, by its time; the id decides between two of one time. */
export interface Retainable {
  readonly atMs: number;
  readonly id: string;
}

/** Those to keep, newest first, in whatever order they were given; all of them without rules. */
export function retained<T extends Retainable>(
  snapshots: readonly T[],
  nowMs: number,
  rules: readonly RetentionRule[] | null,
): T[] {
  const newestFirst = snapshots.toSorted((a, b) => b.atMs - a.atMs || (a.id < b.id ? 1 : -1));
  if (rules === null) return newestFirst;
  const kept = new Set(newestFirst.filter(({ atMs }) => atMs > nowMs));
  const past = newestFirst.slice(kept.size);
  if (past[0] !== undefined) kept.add(past[0]);
  for (const { unit, count } of rules) {
    const periodOf = PERIOD_OF[unit];
    const oldest = periodOf(nowMs) - count + 1;
    let taken = Number.POSITIVE_INFINITY;
    for (const snapshot of past) {
      const period = periodOf(snapshot.atMs);
      if (period < oldest) break;
      if (period < taken) kept.add(snapshot);
      taken = period;
    }
  }
  return newestFirst.filter((snapshot) => kept.has(snapshot));
}
