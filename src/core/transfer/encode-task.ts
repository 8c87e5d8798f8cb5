/** What a planned task becomes: the frames of an image that differ from what the volume holds. */
import type { EncodedFrames, FramePool } from '../blockstore/index.ts';
import type { RawImage } from '../image/index.ts';
import type { ImportTask } from './import-plan.ts';

/** Encodes a task in the worker threads; undefined when it only unmaps. @throws what `FramePool.encodeFile` throws */
export async function encodeTask(
  pool: FramePool,
  image: RawImage,
  task: ImportTask,
  signal: AbortSignal,
): Promise<EncodedFrames | undefined> {
  if (task.extents.length === 0) return undefined;
  return await pool.encodeFile(
    {
      path: image.path,
      sizeBytes: image.sizeBytes,
      extents: task.extents,
      ...(task.known === undefined ? {} : { knownHashes: task.known }),
    },
    { signal },
  );
}
