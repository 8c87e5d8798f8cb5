/**
 * How a restore begins, and how it is found again (C24). The root's mark is on the disk before the restore's object is in the
 * store: an image without a mark, whose restore is not finishing, is another image.
 */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import {
  createRestore,
  forgetImage,
  listRestores,
  newRestoreId,
  type RestoreEntry,
  type SnapshotEntry,
} from '../../blockstore/index.ts';
import type { BlockDevice } from '../../blockdevice/index.ts';
import { deviceIdentity, mayBeSameDevice, openImageFile, openNewImage, type ImageFile } from '../../image/index.ts';
import { SgwError, shellWord, type SnapshotId } from '../../kit/index.ts';
import { beginImage, geometryFor, recogniseImage, type MarkedBy, type MarkedImage } from '../../restore/index.ts';
import { timestamp, type Session } from '../session.ts';

export interface BegunRestore {
  readonly entry: RestoreEntry;
  /** Open; the caller's to close. */
  readonly image: ImageFile;
}

export interface NewRestore {
  readonly snapshot: SnapshotEntry;
  /** The snapshot's contents. */
  readonly source: BlockDevice;
  readonly path: string;
  readonly force: boolean;
  /** Waited for before anything of what the image holds is changed, while it is locked; a failure leaves it as it is. */
  readonly beforeOverwriting: (path: string) => Promise<void>;
}

/**
 * Begins a restore: durable when it resolves, so that it can be resumed from then on.
 * @throws conflict `file-exists`, `image-in-use`, `restore-unfinished`; invalid `image-too-small`; notFound `snapshot-not-found`
 */
export async function beginRestore(session: Session, request: NewRestore, signal: AbortSignal): Promise<BegunRestore> {
  const { blocks, identity } = session;
  const { snapshot, source, force } = request;
  const { snapshotId, sizeBytes } = snapshot;
  const path = resolve(request.path);
  refuseAttached(session, path);
  if (!force) await refuseUnfinished(path, await runningOf(session, snapshotId, signal), signal);
  const { image, discard } = await openNewImage(path, {
    sizeBytes,
    force,
    signal,
    beforeOverwriting: async () => {
      await request.beforeOverwriting(path);
      await forgetOverwritten(session, path, signal);
    },
  });
  try {
    const restoreId = newRestoreId(blocks.random, snapshotId);
    const secret = blocks.random.bytes(32);
    const geometry = geometryFor(sizeBytes);
    await beginImage({ image, source, geometry, secret: { restoreId, secret } }, signal);
    const { name, volumeName, seq, createdAt, root } = snapshot;
    const entry: RestoreEntry = {
      restoreId,
      snapshotId,
      state: 'restoring',
      accountId: identity.accountId,
      sizeBytes,
      createdAt: timestamp(session),
      endedAt: null,
      secret: secret.toString('hex'),
      blockBytes: geometry.blockBytes,
      // One that is too small for marks has none, and is restored.
      isFinishing: sizeBytes < geometry.blockBytes,
      image: { path, ...(await placeOf(path)) },
      gatewayId: identity.gatewayId,
      snapshot: { name, volumeName, seq, createdAt, root },
      profile: [],
    };
    await createRestore(blocks, entry, signal);
    return { entry, image };
  } catch (error) {
    await discard();
    throw error;
  }
}

const runningOf = async (session: Session, snapshotId: SnapshotId, signal: AbortSignal): Promise<RestoreEntry[]> =>
  (await listRestores(session.blocks, snapshotId, signal)).filter(({ state }) => state === 'restoring');

type Place = Omit<RestoreEntry['image'], 'path'>;

/** A block device that is known by a name of its own may have another number since. */
function isSamePlace({ image }: RestoreEntry, { device, inode, bornAtNs, identity }: Place): boolean {
  if (image.identity !== undefined && image.device !== '') return image.identity === identity;
  return image.device === device && image.inode === inode && image.bornAtNs === bornAtNs;
}

/** What tells one file from another that had its name, or its number, before. */
async function placeOf(path: string): Promise<Place> {
  const facts = await stat(path, { bigint: true });
  // The node of a device is made anew with every start of the machine, and its number may be another device's then.
  if (facts.isBlockDevice())
    return { device: String(facts.rdev), inode: '0', bornAtNs: '0', identity: await deviceIdentity(facts.rdev) };
  return { device: String(facts.dev), inode: String(facts.ino), bornAtNs: String(facts.birthtimeNs) };
}

/**
 * Before anything of the image is overwritten: no restore may take what is left of it for whole, whenever this one is killed.
 * That it was restored once is not true any more.
 */
async function forgetOverwritten(session: Session, path: string, signal: AbortSignal): Promise<void> {
  const place = await placeOf(path);
  for (const entry of await listRestores(session.blocks, undefined, signal))
    if (isSamePlace(entry, place)) await forgetImage(session.blocks, entry.restoreId);
}

/**
 * For whoever takes an image as it is: one that is not restored to the end has marks where its data is to be (C25).
 * @throws conflict `restore-unfinished`
 */
export async function requireRestored(session: Session, path: string, signal: AbortSignal): Promise<void> {
  await refuseUnfinished(path, await runningHere(session, path, signal), signal);
}

/** Restores that are not ended, and went to this path or to what is there now: whether they are of it, its marks tell. */
export async function runningHere(session: Session, path: string, signal: AbortSignal): Promise<RestoreEntry[]> {
  const running = (await listRestores(session.blocks, undefined, signal)).filter(({ state }) => state === 'restoring');
  if (running.length === 0) return [];
  const place = await placeOf(path);
  const mayBeHere = ({ identity }: RestoreEntry['image']): boolean =>
    identity !== undefined && place.identity !== undefined && mayBeSameDevice(identity, place.identity);
  return running.filter((entry) => isSamePlace(entry, place) || mayBeHere(entry.image) || entry.image.path === path);
}

/** What a gateway shadows is not overwritten while it is attached, be it served at the moment or not. */
function refuseAttached({ settings }: Session, path: string): void {
  const attached = settings.attachments.find(({ imagePath, restore }) => (imagePath ?? restore?.path) === path);
  if (attached === undefined) return;
  throw new SgwError('conflict', 'image-in-use', `${path} is attached as ${attached.exportName}`, {
    hint: `Detach it first: sgw volume detach ${shellWord(attached.exportName)}`,
    details: { path, exportName: attached.exportName },
  });
}

/** An image that carries the marks of an unfinished restore is not taken for any file that is in the way. */
async function refuseUnfinished(path: string, earlier: readonly RestoreEntry[], signal: AbortSignal): Promise<void> {
  if (earlier.length === 0) return;
  const image = await openImageFile(path).catch(() => undefined);
  if (image === undefined) return;
  try {
    const found = await recogniseEntry(image, earlier, signal);
    if (found === undefined) return;
    throw new SgwError(
      'conflict',
      'restore-unfinished',
      `${path} is being restored from snapshot ${found.snapshot.name}, and not done`,
      {
        hint: `Go on with it: sgw snapshot restore ${found.snapshotId} --image ${shellWord(path)} --resume. Or begin anew with --force --no-snapshot.`,
        details: { path, restoreId: found.restoreId },
      },
    );
  } finally {
    await image.close();
  }
}

/** As its image is recognised by marks. */
export const candidateOf = (entry: RestoreEntry): MarkedBy & { readonly entry: RestoreEntry } => ({
  entry,
  restoreId: entry.restoreId,
  secret: Buffer.from(entry.secret, 'hex'),
  geometry: { sizeBytes: entry.sizeBytes, blockBytes: entry.blockBytes },
});

/** The restore among `entries`, newest first, that is of this image; undefined when none is. */
export async function recogniseEntry(
  image: MarkedImage & Pick<ImageFile, 'path'>,
  entries: readonly RestoreEntry[],
  signal: AbortSignal,
): Promise<RestoreEntry | undefined> {
  const found = await recogniseImage(image, entries.map(candidateOf), signal);
  if (found !== undefined) return found.entry;
  const place = await placeOf(image.path);
  return entries.find((entry) => entry.isFinishing && isSamePlace(entry, place) && entry.sizeBytes <= image.sizeBytes);
}

/**
 * Finds the restore whose image this is, with nothing but the snapshot's id and the store.
 * @throws notFound `restore-not-found`; conflict `restore-completed`; what opening the image throws
 */
export async function findRestore(
  session: Session,
  snapshotId: SnapshotId,
  path: string,
  signal: AbortSignal,
): Promise<BegunRestore> {
  const image = await openImageFile(path);
  try {
    const entry = await recogniseEntry(image, await runningOf(session, snapshotId, signal), signal);
    if (entry !== undefined) return { entry, image };
    throw await notResumable(session, snapshotId, image.path, signal);
  } catch (error) {
    await image.close();
    throw error;
  }
}

/** A file that has the place of a completed restore may be that image or not: nothing in it tells. */
async function notResumable(
  session: Session,
  snapshotId: SnapshotId,
  path: string,
  signal: AbortSignal,
): Promise<SgwError> {
  const place = await placeOf(path);
  const entries = await listRestores(session.blocks, snapshotId, signal);
  const completed = entries.find((entry) => entry.state === 'completed' && isSamePlace(entry, place));
  const details = { path, snapshotId };
  if (completed !== undefined)
    return new SgwError(
      'conflict',
      'restore-completed',
      `${path} carries no mark: a restore to this file was completed at ${completed.endedAt ?? ''}`,
      {
        hint: 'There is nothing to go on with. To restore it anew: --force in place of --resume.',
        details: { ...details, restoreId: completed.restoreId },
      },
    );
  return new SgwError('notFound', 'restore-not-found', `${path} carries no mark of a restore of ${snapshotId}`, {
    hint: 'Name the image that was being restored, and its snapshot. An image that was not is restored without --resume.',
    details,
  });
}
