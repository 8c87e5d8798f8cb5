/** The volume that shadows an image while it is restored, and after: a clone of the snapshot (C25). */
import { noteVolume, type SnapshotEntry, type VolumeEntry } from '../../blockstore/index.ts';
import type { VolumeId } from '../../kit/index.ts';
import type { CallContext } from '../../localapi/index.ts';
import { directoryShadowDisk, noteSame } from '../../volume/index.ts';
import { requireFreeName } from '../idempotency.ts';
import { orMissing } from '../missing.ts';
import type { Session } from '../session.ts';
import { shadowFolder } from '../serving/settings.ts';
import type { BegunRestore } from './begin.ts';

/** Before anything is overwritten. @throws conflict `volume-exists` */
export async function requireFreeVolumeName(session: Session, name: string, signal: AbortSignal): Promise<void> {
  const hint = 'The image is shadowed by a new volume: name it with --export-name.';
  requireFreeName('volume', name, await session.catalog.listVolumes({ signal }), hint);
}

/**
 * The volume that shadows the image of a restore: the one it has, or a new one of that name, a clone of the snapshot where that
 * is still there. Of an image that is just begun nothing has to be compared. Durable when it resolves.
 * @throws conflict `volume-exists`
 */
export async function shadowOf(
  session: Session,
  { entry, image }: BegunRestore,
  { name, isBegun }: { readonly name: string; readonly isBegun: boolean },
  call: CallContext,
): Promise<VolumeId> {
  const { blocks, home } = session;
  const present = await existing(session, entry.volumeId, call.signal);
  if (present !== undefined) return present.volumeId;
  const { volumeId, parentSnapshotId } = await create(session, { name, entry }, call);
  // Of a snapshot that was deleted meanwhile there is no clone: then all is compared.
  if (isBegun && parentSnapshotId === entry.snapshotId)
    await noteSame(directoryShadowDisk(shadowFolder(home, volumeId)), image);
  await noteVolume(blocks, entry.restoreId, volumeId);
  return volumeId;
}

async function existing(
  { catalog }: Session,
  volumeId: VolumeId | undefined,
  signal: AbortSignal,
): Promise<VolumeEntry | undefined> {
  if (volumeId === undefined) return undefined;
  const entry = await orMissing(true, async () => catalog.getVolume(volumeId, signal));
  return entry?.state === 'available' ? entry : undefined;
}

async function create(
  session: Session,
  { name, entry }: { readonly name: string; readonly entry: BegunRestore['entry'] },
  call: CallContext,
): Promise<VolumeEntry> {
  const { catalog, identity, locks } = session;
  const { sizeBytes } = entry;
  return await locks.withNames('volumes', call, async () => {
    await requireFreeVolumeName(session, name, call.signal);
    const from = await snapshotOf(session, entry, call.signal);
    const wanted = { name, sizeBytes, accountId: identity.accountId, ...(from === undefined ? {} : { from }) };
    return await catalog.createVolume(wanted, call.signal);
  });
}

/** Of a snapshot that was deleted meanwhile, everything is sent again. */
async function snapshotOf(
  { catalog }: Session,
  { snapshotId }: BegunRestore['entry'],
  signal: AbortSignal,
): Promise<SnapshotEntry | undefined> {
  const entry = await orMissing(true, async () => catalog.getSnapshot(snapshotId, signal));
  return entry?.state === 'completed' ? entry : undefined;
}
