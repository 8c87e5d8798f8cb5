/**
 * Checks what an earlier run left of an export before this one goes on behind it: every page below the watermark is read
 * back and compared with its stored hash, holes with pages that are not mapped. So a resumed export vouches for the
 * whole file, not only for what it wrote itself.
 */
import { BLOCK_PAGES, PAGE_BYTES, type EncodedFrames, type FramePool, type VolumeView } from '../blockstore/index.ts';
import { encodeTask } from './encode-task.ts';
import { planImport, TASK_BYTES, type ImportTask } from './import-plan.ts';
import { runInOrder } from './ordered-pipeline.ts';

const TASKS_UNDER_WAY = 8;

/** Returns the offset of the first page below `endBytes` that is not as the view has it; undefined when all are. */
export async function firstDifference(
  options: { readonly pool: FramePool; readonly view: VolumeView; readonly path: string; readonly endBytes: number },
  signal: AbortSignal,
): Promise<number | undefined> {
  const { pool, view, path, endBytes } = options;
  // Loaded when it is used: every command loads this room, few resume an export.
  const { openRawImage } = await import('../image/index.ts');
  await using image = await openRawImage(path, { signal });
  let found: number | undefined;
  const note = (task: ImportTask, encoded: EncodedFrames | undefined): void => {
    const pages = [
      ...task.unmap.map((extent) => extent.firstPage),
      ...(encoded?.zeroed ?? []).map((extent) => extent.firstPage),
      ...(encoded?.frames ?? []).map((frame) => frame.block * BLOCK_PAGES + Math.log2(frame.mask & -frame.mask)),
    ];
    const first = Math.min(...pages) * PAGE_BYTES;
    if (first < endBytes) found = Math.min(first, found ?? first);
  };
  await runInOrder<ImportTask, EncodedFrames | undefined>({
    source: tasksBelow(endBytes, planImport(image, { map: view.map, segments: view.segments }, signal)),
    weigh: (task) => task.dataBytes,
    weightMax: TASKS_UNDER_WAY * TASK_BYTES,
    work: async (task, workSignal) => await encodeTask(pool, image, task, workSignal),
    consume: async (task, encoded) => {
      note(task, encoded);
      return Promise.resolve();
    },
    signal,
  });
  return found;
}

/** The tasks up to the one that reaches the watermark. */
async function* tasksBelow(endBytes: number, tasks: AsyncIterable<ImportTask>): AsyncGenerator<ImportTask> {
  for await (const task of tasks) {
    yield task;
    if (task.endBytes >= endBytes) return;
  }
}
