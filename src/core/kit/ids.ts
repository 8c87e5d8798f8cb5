import type { Random } from './random.ts';

/** `vol-` and 17 hex digits: the form of the Storage Gateway API. */
export type VolumeId = `vol-${string}`;
/** `snap-` and 17 hex digits. */
export type SnapshotId = `snap-${string}`;
/** `sgw-` and 8 hex digits. */
export type GatewayId = `sgw-${string}`;

function hexDigits(random: Random, count: number): string {
  return random
    .bytes((count + 1) >> 1)
    .toString('hex')
    .slice(0, count);
}

export const newVolumeId = (random: Random): VolumeId => `vol-${hexDigits(random, 17)}`;
export const newSnapshotId = (random: Random): SnapshotId => `snap-${hexDigits(random, 17)}`;
export const newGatewayId = (random: Random): GatewayId => `sgw-${hexDigits(random, 8)}`;

export const isVolumeId = (text: string): text is VolumeId => /^vol-[0-9a-f]{17}$/.test(text);
export const isSnapshotId = (text: string): text is SnapshotId => /^snap-[0-9a-f]{17}$/.test(text);
