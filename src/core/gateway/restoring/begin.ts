/**
 * How a restore begins, and how it is found again (C24). The root's mark is on the disk before the restore's object is in the
 * store: an image without a mark, whose restore is not finishing, is another image.
 */
import { resolve } from 'node:path';
import {
  createRestore,
  endRestore,
  listRestores,
  newRestoreId,
  type RestoreEntry,
  type SnapshotEntry,
} from '../../blockstore/index.ts';
import type { BlockDevice } from '../../blockdevice/index.ts';
import { openImageFile, openNewImage, type ImageFile } from '../../image/index.ts';
import { SgwError, type SnapshotId } from '../../kit/index.ts';
import { beginImage, geometryFor, recogniseImage, type MarkedBy } from '../../restore/index.ts';
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
  const earlier = (await listRestores(blocks, snapshotId, signal)).filter(({ state }) => state === 'restoring');
  if (!force) await refuseUnfinished(path, earlier, signal);
  const before = earlier.length === 0 ? undefined : await placeOf(path);
  const { image, discard } = await openNewImage(path, { sizeBytes, force, signal });
  try {
    const restoreId = newRestoreId(blocks.random, snapshotId);
    const secret = blocks.random.bytes(32);
    const geometry = geometryFor(sizeBytes);
    await beginImage({ image, source, geometry, secret: { restoreId, secret } }, signal);
    const { name, volumeName, seq, createdAt, root } = snapshot;
    const { device, inode } = image.facts();
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
      image: { path, device, inode },
      gatewayId: identity.gatewayId,
      snapshot: { name, volumeName, seq, createdAt, root },
      profile: [],
    };
    await createRestore(blocks, entry, signal);
    for (const old of earlier)
      if (isSamePlace(old, before ?? { device, inode })) await endRestore(blocks, old.restoreId, 'abandoned');
    return { entry, image };
  } catch (error) {
    await discard();
    throw error;
  }
}

type Place = Pick<RestoreEntry['image'], 'device' | 'inode'>;

const isSamePlace = ({ image }: RestoreEntry, { device, inode }: Place): boolean =>
  image.device === device && image.inode === inode;

async function placeOf(path: string): Promise<Place | undefined> {
  const image = await openImageFile(path).catch(() => undefined);
  const facts = image?.facts();
  await image?.close();
  return facts;
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
        hint: `Go on with it: sgw snapshot restore ${found.snapshotId} --image ${path} --resume. Or begin anew with --force.`,
        details: { path, restoreId: found.restoreId },
      },
    );
  } finally {
    await image.close();
  }
}

const candidateOf = (entry: RestoreEntry): MarkedBy & { readonly entry: RestoreEntry } => ({
  entry,
  restoreId: entry.restoreId,
  secret: Buffer.from(entry.secret, 'hex'),
  geometry: { sizeBytes: entry.sizeBytes, blockBytes: entry.blockBytes },
});

/** The restore among `entries`, newest first, that is of this image; undefined when none is. */
export async function recogniseEntry(
  image: ImageFile,
  entries: readonly RestoreEntry[],
  signal: AbortSignal,
): Promise<RestoreEntry | undefined> {
  const found = await recogniseImage(image, entries.map(candidateOf), signal);
  if (found !== undefined) return found.entry;
  const facts = image.facts();
  const fits = (entry: RestoreEntry): boolean => isSamePlace(entry, facts) && entry.sizeBytes <= facts.sizeBytes;
  return entries.find((entry) => entry.isFinishing && fits(entry));
}

/**
 * Finds the restore whose image this is, with nothing but the snapshot's id and the store. One that was completed is found too,
 * while the store has it.
 * @throws notFound `restore-not-found`; what opening the image throws
 */
export async function findRestore(
  session: Session,
  snapshotId: SnapshotId,
  path: string,
  signal: AbortSignal,
): Promise<BegunRestore> {
  const image = await openImageFile(path);
  try {
    const entries = await listRestores(session.blocks, snapshotId, signal);
    const running = entries.filter(({ state }) => state === 'restoring');
    const facts = image.facts();
    const entry =
      (await recogniseEntry(image, running, signal)) ??
      entries.find((one) => one.state === 'completed' && isSamePlace(one, facts));
    if (entry !== undefined) return { entry, image };
    throw new SgwError('notFound', 'restore-not-found', `${path} carries no mark of a restore of ${snapshotId}`, {
      hint: 'Name the image that was being restored, and its snapshot. An image that was not is restored without --resume.',
      details: { path, snapshotId },
    });
  } catch (error) {
    await image.close();
    throw error;
  }
}
