/** Periods that settings are written in: minutes, hours, days and weeks, each by its first letter. */
import { plural } from './tables.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** From long to short. */
const PERIODS = [
  { letter: 'w', name: 'week', ms: 7 * DAY_MS },
  { letter: 'd', name: 'day', ms: DAY_MS },
  { letter: 'h', name: 'hour', ms: 60 * MINUTE_MS },
  { letter: 'm', name: 'minute', ms: MINUTE_MS },
] as const;
const SHORTEST = PERIODS[3];

export type Period = (typeof PERIODS)[number];

/** Milliseconds of the period with that letter; 0 for any other. */
export const periodMs = (letter: string): number => PERIODS.find((period) => period.letter === letter)?.ms ?? 0;

/** The longest of which `ms` is a whole number. */
export const wholePeriod = (ms: number): Period => PERIODS.find((period) => ms % period.ms === 0) ?? SHORTEST;

/** `4 hours`; in periods of `unit`, or of the longest that fits. */
export const periodsText = (ms: number, { ms: unitMs, name }: Period = wholePeriod(ms)): string =>
  plural(Math.round(ms / unitMs), name);
