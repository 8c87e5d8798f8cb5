/**
 * When a schedule runs. No clock, no store.
 *
 * Slots are equally far apart, counted from a Monday at midnight UTC, so that they are the same whenever a schedule was set.
 * A schedule remembers the slot of its last run, and owes one run, for the newest slot, when that is a later one: so what was
 * missed is made up once, however much it was.
 */

/** 1970-01-05, a Monday. */
const ANCHOR_MS = 4 * 24 * 60 * 60_000;
const MINUTE_MS = 60_000;

export interface Pace {
  readonly everyMs: number;
  /** Minutes after midnight UTC that slots are counted from, of a pace of whole days or of what divides a day; null: midnight. */
  readonly atMinute: number | null;
}

/** The newest slot that is not after `nowMs`. */
export function slotAt({ everyMs, atMinute }: Pace, nowMs: number): number {
  const firstMs = ANCHOR_MS + (atMinute ?? 0) * MINUTE_MS;
  return firstMs + Math.floor((nowMs - firstMs) / everyMs) * everyMs;
}

/**
 * The slot of the last run, to be remembered in place of one that can't be: more than a slot ahead, it was run by a clock that
 * was wrong. Then the slot at hand counts as run, and nothing waits for the time to come again. One that is just ahead, since
 * the clock was set back a little, stays, and is waited for.
 */
export const mendedSlot = (pace: Pace, doneMs: number, nowMs: number): number =>
  doneMs - nowMs > pace.everyMs ? slotAt(pace, nowMs) : doneMs;

/** The slot of the run that is owed; undefined when none is. */
export function owedSlot(pace: Pace, doneMs: number, nowMs: number): number | undefined {
  const slot = slotAt(pace, nowMs);
  return slot > doneMs ? slot : undefined;
}

/** When the next run is due: that of a run that is owed is past. */
export const nextSlot = (pace: Pace, doneMs: number, nowMs: number): number =>
  owedSlot(pace, doneMs, nowMs) ?? mendedSlot(pace, doneMs, nowMs) + pace.everyMs;
