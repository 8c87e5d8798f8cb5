/**
 * An image that is served while it is restored, and after. The restore goes on in the background, also over a restart of the
 * gateway; when it ends, the image is served as it is until it is detached.
 */
import { getRestore, isRestoreId, type RestoreEntry } from '../../blockstore/index.ts';
import { openImageFile, type ImageFile } from '../../image/index.ts';
import { assert, SgwError } from '../../kit/index.ts';
import { ImageDevice } from '../../restore/index.ts';
import type { RestoreState } from '../../state/index.ts';
import { recogniseEntry } from '../restoring/begin.ts';
import { openRunning } from '../restoring/running.ts';
import type { Opened, Opening } from './opened.ts';
import type { RestoreReport } from './served.ts';

/**
 * `opened` is the image when it has just been recognised; it is closed when this fails.
 * @throws notFound `restore-not-found`; conflict `restore-abandoned`, `restore-image-other`, `image-in-use`; what opening the image
 * throws
 */
export async function openRestored(opening: Opening, record: RestoreState, opened?: ImageFile): Promise<Opened> {
  const { session, call } = opening;
  assert(isRestoreId(record.restoreId), 'the state names restores by their ids');
  const entry = await getRestore(session.blocks, record.restoreId, call.signal);
  if (entry.state === 'abandoned')
    throw new SgwError('conflict', 'restore-abandoned', `restore ${entry.restoreId} was given up for another one`, {
      hint: 'Detach it.',
      details: { restoreId: entry.restoreId },
    });
  const image = opened ?? (await openImageFile(record.path));
  try {
    return entry.state === 'completed'
      ? openCompleted(entry, image)
      : await openRestoring(
          opening,
          record,
          opened === undefined ? await requireOwn(entry, image, call.signal) : entry,
          image,
        );
  } catch (error) {
    await image.close();
    throw error;
  }
}

/** An image without the restore's marks is another one, and what is missing of it would be taken for restored. */
async function requireOwn(entry: RestoreEntry, image: ImageFile, signal: AbortSignal): Promise<RestoreEntry> {
  if ((await recogniseEntry(image, [entry], signal)) !== undefined) return entry;
  throw new SgwError(
    'conflict',
    'restore-image-other',
    `${image.path} is not the image that is being restored: it carries no mark of ${entry.restoreId}`,
    {
      hint: 'Put the image back in its place, or detach the export and restore the snapshot anew.',
      details: { path: image.path, restoreId: entry.restoreId },
    },
  );
}

const about = (entry: RestoreEntry, { path }: ImageFile): Pick<Opened, 'name' | 'description' | 'lineage'> => ({
  name: entry.snapshot.name,
  description: `image ${path}, restored from snapshot ${entry.snapshot.name} of ${entry.snapshot.volumeName}`,
  lineage: entry.restoreId,
});

function openCompleted(entry: RestoreEntry, image: ImageFile): Opened {
  const { sizeBytes } = entry;
  return {
    ...about(entry, image),
    device: new ImageDevice(image, sizeBytes),
    restore: () => ({
      restoreId: entry.restoreId,
      path: image.path,
      state: 'completed',
      doneBytes: sizeBytes,
      totalBytes: sizeBytes,
      leftMs: 0,
      demandReads: 0,
      demandReadMs: 0,
      failure: undefined,
    }),
    close: async () => image.close(),
  };
}

async function openRestoring(
  { session, parts, cache, settings, call }: Opening,
  record: RestoreState,
  entry: RestoreEntry,
  image: ImageFile,
): Promise<Opened> {
  const { readAheadBytes } = await settings('');
  const running = await openRunning(
    { session, parts, cache, readAheadBytes, entry, image, rateBytes: record.rateBytes, isServed: true },
    call.signal,
  );
  const { restore } = running;
  // How it ends is told by its progress.
  void restore.run().catch(() => undefined);
  return {
    ...about(entry, image),
    // Here a shadowing volume can be put over the image: it writes through this device, and never past it (C25).
    device: restore.device,
    restore: (): RestoreReport => {
      const { isCompleted, failure, ...progress } = restore.progress;
      const { restoreId } = entry;
      return { restoreId, path: image.path, state: isCompleted ? 'completed' : 'restoring', ...progress, failure };
    },
    close: async () => {
      await Promise.resolve(restore.device.flush()).catch(() => undefined);
      await running.close();
    },
  };
}
