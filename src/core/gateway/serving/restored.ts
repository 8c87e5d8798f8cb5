/**
 * An image that is served while it is restored, and after; a volume may shadow it. The restore goes on in the background, also
 * over a restart of the gateway; when it ends, the image is served as it is until it is detached.
 */
import { getRestore, isRestoreId, noteKnown, type RestoreEntry } from '../../blockstore/index.ts';
import { openImageFile, type ImageFile } from '../../image/index.ts';
import { assert, SgwError, type VolumeId } from '../../kit/index.ts';
import { ImageDevice, RestoringImage } from '../../restore/index.ts';
import type { AttachmentState, CompletedRestore } from '../../state/index.ts';
import { recogniseEntry } from '../restoring/begin.ts';
import { openRunning, type RunningRestore } from '../restoring/running.ts';
import { openVolume, type Opened, type Opening } from './opened.ts';
import type { RestoreReport } from './served.ts';

type RestoredRow = AttachmentState & Required<Pick<AttachmentState, 'restore'>>;
type CompletedRow = RestoredRow & { readonly restore: { readonly completed: CompletedRestore } };
/** Makes it durable in the state that a restore is completed. @throws what changing the state throws */
type NoteCompleted = (completed: CompletedRestore) => Promise<void>;

/** Whether the state says that the image is restored: then it is what it is, and the restore in the store means nothing. */
export const isCompleted = (row: AttachmentState): row is CompletedRow => row.restore?.completed !== undefined;

/**
 * `opened` is the image when it has just been recognised; it is closed when this fails.
 * @throws notFound `restore-not-found`; conflict `restore-abandoned`, `restore-image-other`, `image-in-use`; what opening the image
 * throws
 */
export async function openRestored(
  opening: Opening,
  row: RestoredRow,
  noteCompleted: NoteCompleted,
  opened?: ImageFile,
): Promise<Opened> {
  const { session, call } = opening;
  const { restore: record, volumeId } = row;
  assert(isRestoreId(record.restoreId), 'the state names restores by their ids');
  const entry = await getRestore(session.blocks, record.restoreId, call.signal);
  if (entry.state === 'abandoned')
    throw new SgwError('conflict', 'restore-abandoned', `restore ${entry.restoreId} was given up for another one`, {
      hint: 'Detach it.',
      details: { restoreId: entry.restoreId },
    });
  const image = opened ?? (await openImageFile(record.path, undefined, entry.sizeBytes));
  try {
    const { name, volumeName } = entry.snapshot;
    const completed = { name, volumeName, sizeBytes: entry.sizeBytes };
    const note = async (): Promise<void> => noteCompleted(completed);
    if (entry.state === 'completed') {
      // Else the next start does.
      await note()
        .then(async () => noteKnown(session.blocks, entry.restoreId))
        .catch(() => undefined);
      const ended = { ...row, restore: { ...record, completed } };
      return volumeId === null ? ofCompleted(ended, image) : await openShadowed(opening, ended, image);
    }
    if (opened === undefined) await requireOwn(entry, image, call.signal);
    return await openRestoring({ opening, row, entry, image, onCompleted: note });
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

/** Opens an image that is restored, and not shadowed: the store is not asked. @throws what opening the image throws */
export async function openCompleted(row: CompletedRow): Promise<Opened> {
  return ofCompleted(row, await openImageFile(row.restore.path));
}

function ofCompleted({ restore: { restoreId, completed } }: CompletedRow, image: ImageFile): Opened {
  // What a device has behind the snapshot's end was never restored; a file was made of that size, and is its owner's to resize.
  const sizeBytes = image.kind === 'file' ? image.sizeBytes : Math.min(image.sizeBytes, completed.sizeBytes);
  return {
    ...about(completed, restoreId, image),
    device: new ImageDevice(image, sizeBytes),
    restore: completedReport(restoreId, image.path, sizeBytes),
    close: async () => image.close(),
  };
}

/** Opens the volume that shadows an image which is restored. `image` is closed with it. @throws what opening the volume throws */
export async function openShadowed(opening: Opening, row: CompletedRow, image?: ImageFile): Promise<Opened> {
  const { volumeId, restore } = row;
  const { restoreId, path, completed } = restore;
  // What a device has behind the snapshot's end is none of the volume.
  const open = async (): Promise<ImageFile> => image ?? (await openImageFile(path, undefined, completed.sizeBytes));
  const shadow = await openVolume(opening, row, volumeId as VolumeId, open);
  return { ...shadow, restore: completedReport(restoreId, path, completed.sizeBytes) };
}

const about = (
  { name, volumeName }: Pick<CompletedRestore, 'name' | 'volumeName'>,
  restoreId: string,
  { path }: ImageFile,
): Pick<Opened, 'name' | 'description' | 'lineage'> => ({
  name,
  description: `image ${path}, restored from snapshot ${name} of ${volumeName}`,
  lineage: restoreId,
});

const completedReport = (restoreId: string, path: string, sizeBytes: number) => (): RestoreReport => ({
  ...{ restoreId, path, state: 'completed', doneBytes: sizeBytes, totalBytes: sizeBytes, leftMs: 0 },
  ...{ demandReads: 0, demandReadMs: 0, failure: undefined },
});

interface Restoring {
  readonly opening: Opening;
  readonly row: RestoredRow;
  readonly entry: RestoreEntry;
  readonly image: ImageFile;
  readonly onCompleted: () => Promise<void>;
}

async function openRestoring({ opening, row, entry, image, onCompleted }: Restoring): Promise<Opened> {
  const { session, parts, cache, settings, call } = opening;
  const { volumeId, restore: record } = row;
  const { readAheadBytes } = await settings(volumeId ?? '');
  const running = await openRunning(
    { session, parts, cache, readAheadBytes, entry, image, rateBytes: record.rateBytes, isServed: true, onCompleted },
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
    ...about(entry.snapshot, entry.restoreId, image),
    device: restore.device,
    close: async () => {
      await Promise.resolve(restore.device.flush()).catch(() => undefined);
      await close();
    },
  };
}
