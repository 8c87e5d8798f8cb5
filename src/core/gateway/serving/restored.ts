/**
 * An image that is served while it is restored, and after; a volume may shadow it. The restore goes on in the background, also
 * over a restart of the gateway; when it ends, the image is served as it is until it is detached.
 */
import { getRestore, isRestoreId, type RestoreEntry } from '../../blockstore/index.ts';
import { openImageFile, type ImageFile } from '../../image/index.ts';
import { assert, SgwError, type VolumeId } from '../../kit/index.ts';
import { ImageDevice, RestoringImage } from '../../restore/index.ts';
import type { AttachmentState } from '../../state/index.ts';
import { recogniseEntry } from '../restoring/begin.ts';
import { openRunning, type RunningRestore } from '../restoring/running.ts';
import { openVolume, type Opened, type Opening } from './opened.ts';
import type { RestoreReport } from './served.ts';

type RestoredRow = AttachmentState & Required<Pick<AttachmentState, 'restore'>>;

/**
 * `opened` is the image when it has just been recognised; it is closed when this fails.
 * @throws notFound `restore-not-found`; conflict `restore-abandoned`, `restore-image-other`, `image-in-use`; what opening the image
 * throws
 */
export async function openRestored(opening: Opening, row: RestoredRow, opened?: ImageFile): Promise<Opened> {
  const { session, call } = opening;
  const { restore: record, volumeId } = row;
  assert(isRestoreId(record.restoreId), 'the state names restores by their ids');
  const entry = await getRestore(session.blocks, record.restoreId, call.signal);
  if (entry.state === 'abandoned')
    throw new SgwError('conflict', 'restore-abandoned', `restore ${entry.restoreId} was given up for another one`, {
      hint: 'Detach it.',
      details: { restoreId: entry.restoreId },
    });
  const image = opened ?? (await openImageFile(record.path));
  try {
    if (entry.state === 'completed') {
      if (volumeId === null) return openCompleted(entry, image);
      const shadow = await openVolume(opening, row, volumeId as VolumeId, async () => Promise.resolve(image));
      return { ...shadow, restore: () => completedReport(entry, image) };
    }
    if (opened === undefined) await requireOwn(entry, image, call.signal);
    return await openRestoring(opening, row, entry, image);
  } catch (error) {
    await image.close();
    throw error;
  }
}

/** An image without the restore's marks is another one, and what is missing of it would be taken for restored. */
async function requireOwn(entry: RestoreEntry, image: ImageFile, signal: AbortSignal): Promise<void> {
  if ((await recogniseEntry(image, [entry], signal)) !== undefined) return;
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
  return {
    ...about(entry, image),
    device: new ImageDevice(image, entry.sizeBytes),
    restore: () => completedReport(entry, image),
    close: async () => image.close(),
  };
}

const completedReport = ({ restoreId, sizeBytes }: RestoreEntry, { path }: ImageFile): RestoreReport => ({
  ...{ restoreId, path, state: 'completed', doneBytes: sizeBytes, totalBytes: sizeBytes, leftMs: 0 },
  ...{ demandReads: 0, demandReadMs: 0, failure: undefined },
});

async function openRestoring(
  opening: Opening,
  row: RestoredRow,
  entry: RestoreEntry,
  image: ImageFile,
): Promise<Opened> {
  const { session, parts, cache, settings, call } = opening;
  const { volumeId, restore: record } = row;
  const { readAheadBytes } = await settings(volumeId ?? '');
  const running = await openRunning(
    { session, parts, cache, readAheadBytes, entry, image, rateBytes: record.rateBytes, isServed: true },
    call.signal,
  );
  const { restore } = running;
  const report = (): RestoreReport => {
    const { isCompleted, failure, ...progress } = restore.progress;
    const state = isCompleted ? 'completed' : 'restoring';
    return { restoreId: entry.restoreId, path: image.path, state, ...progress, failure };
  };
  try {
    const opened =
      volumeId === null
        ? openImage(entry, image, running)
        : await openVolume(opening, row, volumeId as VolumeId, async () =>
            // It writes through the restore, and never past it (C25).
            Promise.resolve(new RestoringImage(image, restore, running.close)),
          );
    // How it ends is told by its progress.
    void restore.run().catch(() => undefined);
    return { ...opened, restore: report };
  } catch (error) {
    await running.close();
    throw error;
  }
}

function openImage(entry: RestoreEntry, image: ImageFile, { restore, close }: RunningRestore): Opened {
  return {
    ...about(entry, image),
    device: restore.device,
    close: async () => {
      await Promise.resolve(restore.device.flush()).catch(() => undefined);
      await close();
    },
  };
}
