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

/**
 * Ids of volumes and snapshots that the service makes begin with this digit, and those that gateways make do not: so no gateway
 * is first at an id that it can foresee, since it follows from a client token or a number.
 */
const OF_SERVICE = 'f';

const idDigits = (random: Random): string => hexDigits(random, 17).replace(/^f/, 'e');

export const newVolumeId = (random: Random): VolumeId => `vol-${idDigits(random)}`;
export const newSnapshotId = (random: Random): SnapshotId => `snap-${idDigits(random)}`;
/** `digits`: 16 hex digits at least, of a hash. */
export const serviceVolumeId = (digits: string): VolumeId => `vol-${OF_SERVICE}${digits.slice(0, 16)}`;
export const serviceSnapshotId = (digits: string): SnapshotId => `snap-${OF_SERVICE}${digits.slice(0, 16)}`;
export const newServiceVolumeId = (random: Random): VolumeId => serviceVolumeId(hexDigits(random, 16));
export const newServiceSnapshotId = (random: Random): SnapshotId => serviceSnapshotId(hexDigits(random, 16));
export const isMadeByService = (id: VolumeId | SnapshotId): boolean =>
  id.split('-')[1]?.startsWith(OF_SERVICE) === true;
export const newGatewayId = (random: Random): GatewayId => `sgw-${hexDigits(random, 8)}`;

export const isVolumeId = (text: string): text is VolumeId => /^vol-[0-9a-f]{17}$/.test(text);
export const isSnapshotId = (text: string): text is SnapshotId => /^snap-[0-9a-f]{17}$/.test(text);
