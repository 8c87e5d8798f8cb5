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
  reachedSame(a, b) &&
  a.imagePath === b.imagePath &&
  a.restore?.restoreId === b.restore?.restoreId &&
  (a.scratchToken === null) === (b.scratchToken === null);

/** Whether clients reach both alike. The target of a throw-away clone has a name that no other has, unless it was given one. */
function reachedSame(a: AttachmentState, b: AttachmentState): boolean {
  const textOf = ({ protocols, iscsi, scratchToken }: AttachmentState, other: AttachmentState): string =>
    JSON.stringify([
      protocols.toSorted(),
      iscsi === null ? null : [iscsi.chapUser, iscsi.chapTargetUser, iscsi.initiators.toSorted()],
      scratchToken === null || other.scratchToken === null ? iscsi?.targetName : null,
    ]);
  return textOf(a, b) === textOf(b, a);
}

/** What the settings ask of the cache: equal texts ask for the same. */
export const cacheWishes = ({ serving }: GatewayState): string =>
  JSON.stringify([serving.cacheBytes, serving.cacheRamBytes]);

/** What the settings ask of a volume: equal texts ask for the same. */
export function volumeWishes({ serving, volumeSettings: own }: GatewayState, volumeId: string): string {
  const { bufferBytes, sealIntervalMs, readAheadBytes } = serving;
  return JSON.stringify([own[volumeId], bufferBytes, sealIntervalMs, readAheadBytes]);
}
