/** What an account may have at most, and what it has. */

export const LIMIT_NAMES = ['volumes', 'volumeBytes', 'snapshots', 'gateways', 'keys'] as const;

export type LimitName = (typeof LIMIT_NAMES)[number];

/**
 * Limits of an account; null: none. `volumes` that are not deleted, of gateways and of the block API; `volumeBytes`, the sum
 * of their sizes; `snapshots` that are not deleted; `gateways` that are active; `keys` that are not revoked. What a gateway
 * keeps in a store of its own is not counted.
 */
export type AccountLimits = Readonly<Record<LimitName, number | null>>;

export type AccountUsage = Readonly<Record<LimitName, number>>;

export const NO_LIMITS: AccountLimits = {
  volumes: null,
  volumeBytes: null,
  snapshots: null,
  gateways: null,
  keys: null,
};
