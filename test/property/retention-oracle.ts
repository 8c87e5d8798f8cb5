/**
 * What a schedule keeps, written apart from the product: periods as texts of the calendar, made by stepping back from now day by
 * day, and the newest snapshot of each looked for by itself.
 */
import type { RetentionRule, RetentionUnit } from '../../src/core/state/index.ts';

export interface Point {
  readonly atMs: number;
  readonly id: string;
}

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** The name of the period that a time is in. */
function periodName(unit: RetentionUnit, atMs: number): string {
  const text = new Date(atMs).toISOString();
  if (unit === 'hour') return text.slice(0, 13);
  if (unit === 'day') return text.slice(0, 10);
  if (unit === 'month') return text.slice(0, 7);
  if (unit === 'year') return text.slice(0, 4);
  const monday = new Date(atMs);
  while (monday.getUTCDay() !== 1) monday.setUTCDate(monday.getUTCDate() - 1);
  return `week of ${monday.toISOString().slice(0, 10)}`;
}

/** Names of the last `count` periods, that of now first. */
function lastPeriods({ unit, count }: RetentionRule, nowMs: number): string[] {
  const names: string[] = [];
  for (let atMs = nowMs; names.length < count; atMs -= unit === 'hour' ? HOUR : DAY) {
    const name = periodName(unit, atMs);
    if (names.at(-1) !== name) names.push(name);
  }
  return names;
}

const isNewer = (a: Point, b: Point): boolean => a.atMs > b.atMs || (a.atMs === b.atMs && a.id > b.id);
const newest = (points: readonly Point[]): Point[] => {
  const found = points.find((point) => points.every((other) => other === point || isNewer(point, other)));
  return found === undefined ? [] : [found];
};

export function keptByCalendar<T extends Point>(
  points: readonly T[],
  nowMs: number,
  rules: readonly RetentionRule[] | null,
): T[] {
  if (rules === null) return [...points];
  const past = points.filter(({ atMs }) => atMs <= nowMs);
  const kept = new Set<Point>([...points.filter(({ atMs }) => atMs > nowMs), ...newest(past)]);
  for (const rule of rules)
    for (const name of lastPeriods(rule, nowMs))
      for (const point of newest(past.filter(({ atMs }) => periodName(rule.unit, atMs) === name))) kept.add(point);
  return points.filter((point) => kept.has(point));
}
