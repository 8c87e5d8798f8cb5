/** Which recovery points a volume keeps: fewer, the older they are (C7). No clock, no store. */

/** Beyond `allForMs` and `allMax`, the newest point of each period is kept, as the first tier that covers its age says. */
export interface RecoveryPolicy {
  /** Every point that is not older is kept, the newest `allMax` of them. */
  readonly allForMs: number;
  readonly allMax: number;
  /** From short to long. */
  readonly tiers: readonly RecoveryTier[];
}

export interface RecoveryTier {
  /** One point of each such period, counted from 1970-01-01 UTC. */
  readonly periodMs: number;
  /** Points that are not older are in this tier. */
  readonly forMs: number;
}

const HOUR_MS = 60 * 60_000;
const DAY_MS = 24 * HOUR_MS;

/** All of the last hour, up to 64; one an hour for a day; one a day for a week. */
export const DEFAULT_RECOVERY_POLICY: RecoveryPolicy = {
  allForMs: HOUR_MS,
  allMax: 64,
  tiers: [
    { periodMs: HOUR_MS, forMs: DAY_MS },
    { periodMs: DAY_MS, forMs: 7 * DAY_MS },
  ],
};

/** Points of take-overs that are kept beside the others, for as long as the oldest of them. */
const TAKEN_OVER_MAX = 8;

/** The most points that a policy keeps, whatever clocks do; those of take-overs are not counted. */
export const pointsMax = ({ allMax, tiers }: RecoveryPolicy): number =>
  tiers.reduce((sum, { forMs, periodMs }) => sum + Math.ceil(forMs / periodMs) + 1, allMax);

/**
 * The points to keep of those given, which ascend in time and seq; in the same order. To be asked again and again of what it
 * left: the newest point of each period that is covered stays among them.
 */
export function keptPoints<T extends { readonly commitTimeMs: number; readonly takenOver?: true }>(
  points: readonly T[],
  nowMs: number,
  policy: RecoveryPolicy,
): T[] {
  const kept: T[] = [];
  const periods = new Set<string>();
  let all = 0;
  let takenOver = 0;
  const oldestMs = Math.max(policy.allForMs, ...policy.tiers.map(({ forMs }) => forMs));
  for (const point of points.toReversed()) {
    // One of the future, by a clock that was wrong, is as good as new.
    const ageMs = nowMs - point.commitTimeMs;
    if (point.takenOver === true) {
      if (ageMs > oldestMs || takenOver >= TAKEN_OVER_MAX) continue;
      takenOver += 1;
      kept.push(point);
      continue;
    }
    if (kept.length - takenOver >= pointsMax(policy)) continue;
    if (ageMs <= policy.allForMs && all < policy.allMax) {
      all += 1;
      kept.push(point);
      continue;
    }
    const tier = policy.tiers.find(({ forMs }) => ageMs <= forMs);
    if (tier === undefined) continue;
    const period = `${String(tier.periodMs)}:${String(Math.floor(point.commitTimeMs / tier.periodMs))}`;
    if (periods.has(period)) continue;
    periods.add(period);
    kept.push(point);
  }
  return kept.reverse();
}
