/** What attachments and settings ask for, to tell whether two ask for the same. */
import type { AttachmentState, GatewayState } from '../../state/index.ts';
import type { Attached } from './served.ts';

/** Does not serve what it should, and does not come to it by itself, or later. */
export const isStuck = ({ phase, failure }: Attached): boolean =>
  phase === 'waiting' || (phase === 'serving' && failure !== undefined);

/** Whether both are of the same thing, served alike. */
export const namesSame = (a: AttachmentState, b: AttachmentState): boolean =>
  a.volumeId === b.volumeId &&
  a.snapshotId === b.snapshotId &&
  a.recoveryPointSeq === b.recoveryPointSeq &&
  a.readOnly === b.readOnly &&
  a.imagePath === b.imagePath &&
  a.restore?.restoreId === b.restore?.restoreId &&
  (a.scratchToken === null) === (b.scratchToken === null);

/** What the settings ask of the cache: equal texts ask for the same. */
export const cacheWishes = ({ serving }: GatewayState): string =>
  JSON.stringify([serving.cacheBytes, serving.cacheRamBytes]);

/** What the settings ask of a volume: equal texts ask for the same. */
export function volumeWishes({ serving, volumeSettings: own }: GatewayState, volumeId: string): string {
  const { bufferBytes, sealIntervalMs, readAheadBytes } = serving;
  return JSON.stringify([own[volumeId], bufferBytes, sealIntervalMs, readAheadBytes]);
}
