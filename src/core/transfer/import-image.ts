/**
 * Imports a raw image into an open volume: scan, encode in worker threads, pack, commit.
 *
 * Memory is bounded by the raw bytes of the tasks under way, the batch being filled and the commits under way.
 * An import that stops half-way leaves inconsistent commits behind; running it again compares page
 * hashes, goes on from there, and ends with a consistent commit (C7).
 */
import { stat } from 'node:fs/promises';
import { PAGE_BYTES, type EncodedFrames, type FramePool, type VolumeWriter } from '../blockstore/index.ts';
import type { RawImage } from '../image/index.ts';
import { SgwError } from '../kit/index.ts';
import { encodeTask } from './encode-task.ts';
import { planImport, TASK_BYTES, type ImportTask } from './import-plan.ts';
import { runInOrder } from './ordered-pipeline.ts';
import { SegmentPacker } from './segment-packer.ts';

export interface ImportOptions {
  readonly pool: FramePool;
  readonly writer: VolumeWriter;
  /** What people call the volume; its id when absent. */
  readonly volumeName?: string;
  readonly image: RawImage;
  /** Compare with the pages that the volume has, and commit only the difference. Without it the volume must be empty. */
  readonly diff: boolean;
  /** End with a consistent commit even if nothing differs: the volume has an unfinished import. */
  readonly alwaysCommit: boolean;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal;
}

export interface ImportReport {
  /** Bytes of the image that were read. */
  readonly readBytes: number;
  /** Bytes of pages committed, before compression. */
  readonly changedBytes: number;
  /** Bytes of pages that were mapped and are zero now. */
  readonly zeroedBytes: number;
  /** Bytes of frames and their tables that went into the store. */
  readonly storedBytes: number;
  /** False when the volume was like the image already and nothing was committed. */
  readonly committed: boolean;
}

/** Tables of a segment take this much for each frame. */
const FRAME_TABLE_BYTES = 32;

/**
 * Makes the volume read as the image does; a volume smaller than the image grows to its size. Durable in the store when it resolves.
 * @throws invalid `image-smaller`; conflict `image-changed` when the image was written meanwhile (the import is left
 * unfinished); aborted; what the store and the writer throw
 */
export async function importImage(options: ImportOptions): Promise<ImportReport> {
  const { pool, writer, image, signal } = options;
  if (image.sizeBytes < writer.sizeBytes) {
    throw imageSmaller(image, writer.sizeBytes, options.volumeName ?? writer.volumeId);
  }
  const mapped =
    options.diff && writer.map.mappedPages > 0 ? { map: writer.map, segments: writer.segments } : undefined;
  const packer = new SegmentPacker(writer, image.sizeBytes);
  const report = { readBytes: 0, changedBytes: 0, zeroedBytes: 0, storedBytes: 0 };
  const stop = new AbortController();
  const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  try {
    await runInOrder<ImportTask, EncodedFrames | undefined>({
      source: planImport(image, mapped, either),
      weigh: (task) => task.dataBytes,
      weightMax: Math.max(8, 3 * pool.threads) * TASK_BYTES,
      work: async (task, workSignal) => await encodeTask(pool, image, task, workSignal),
      consume: async (task, encoded) => {
        await packer.add(encoded, task.unmap, either);
        count(report, task, encoded, image.sizeBytes);
        options.onProgress?.(Math.min(task.endBytes, image.sizeBytes), image.sizeBytes);
      },
      signal,
    });
    if (await wasChanged(image)) throw imageChanged(image);
    const committed = packer.hasChanges || options.alwaysCommit;
    await packer.finish({ force: options.alwaysCommit, signal: either });
    return { ...report, committed };
  } catch (error) {
    stop.abort();
    await packer.settle();
    throw error;
  }
}

function count(
  report: { readBytes: number; changedBytes: number; zeroedBytes: number; storedBytes: number },
  task: ImportTask,
  encoded: EncodedFrames | undefined,
  imageBytes: number,
): void {
  for (const extent of [...task.unmap, ...(encoded?.zeroed ?? [])]) report.zeroedBytes += extent.pageCount * PAGE_BYTES;
  if (encoded === undefined) return;
  report.readBytes += encoded.readBytes - beyondEnd(task, imageBytes);
  report.changedBytes += encoded.dataPages * PAGE_BYTES;
  report.storedBytes += encoded.stored.length + encoded.pageHashes.length + encoded.frames.length * FRAME_TABLE_BYTES;
}

/** The last block reaches over the end of an image whose size is no multiple of 64 KiB. */
function beyondEnd(task: ImportTask, imageBytes: number): number {
  const last = task.extents.at(-1);
  return last === undefined ? 0 : Math.max(0, last.offset + last.length - imageBytes);
}

function imageSmaller(image: RawImage, volumeBytes: number, volume: string): SgwError {
  return new SgwError(
    'invalid',
    'image-smaller',
    `${image.path} has ${String(image.sizeBytes)} bytes, fewer than the volume's ${String(volumeBytes)}`,
    {
      hint: `To cut the volume to the image's size first: sgw volume resize ${volume} --size ${String(image.sizeBytes)} --shrink`,
      details: { path: image.path, imageBytes: image.sizeBytes, volumeBytes },
    },
  );
}

/** Also true when another file took the name meanwhile: the workers read by name. */
async function wasChanged(image: RawImage): Promise<boolean> {
  if (await image.changedSinceOpen()) return true;
  const named = await stat(image.path, { bigint: true }).catch(() => undefined);
  return named === undefined || String(named.ino) !== image.inode || String(named.dev) !== image.device;
}

function imageChanged(image: RawImage): SgwError {
  return new SgwError('conflict', 'image-changed', `${image.path} was written while it was imported`, {
    hint: 'Stop whatever writes to the image, then run the same command again: it goes on where it can.',
    details: { path: image.path },
  });
}
