/**
 * Writes a view into a sparse raw output.
 */
import { stat } from 'node:fs/promises';
import { PAGE_BYTES, type FramePool, type VolumeView } from '../blockstore/index.ts';
import type { SparseOutput } from '../image/index.ts';
import { assert, MIB, SgwError } from '../kit/index.ts';
import { firstDifference } from './check-written.ts';
import { countMismatch } from './map-count.ts';
import { readView } from './read-view.ts';

const CHECKPOINT_BYTES = 64 * MIB;

interface TransferOptions {
  readonly pool: FramePool;
  readonly view: VolumeView;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface ExportOptions extends TransferOptions {
  /** Made with the view's size. Goes on from where it was resumed. Not finished here. */
  readonly output: SparseOutput;
  /** Bytes of the image between two durable watermarks: what a killed export does again at most. Default 64 MiB. */
  readonly checkpointBytes?: number;
}

export interface ExportReport {
  /** Bytes of data in the image; the rest are holes. */
  readonly dataBytes: number;
  /** Bytes written by this run. */
  readonly writtenBytes: number;
}

/**
 * Writes all mapped pages of the view from the output's watermark on, each checked against its stored hash after
 * decompression, and vouches for the whole in a last checkpoint. Durable when it resolves; the caller finishes the output.
 * What an earlier run wrote is read back and checked first.
 * @throws corrupt naming object and extent; conflict `output-changed` when the file has another size at the end, or what
 * an earlier run wrote is not in it any more, which discards it; aborted
 */
export async function exportView(options: ExportOptions): Promise<ExportReport> {
  const { pool, view, output, signal, checkpointBytes = CHECKPOINT_BYTES } = options;
  assert(output.sizeBytes === view.sizeBytes, 'the output has the size of the view');
  if (output.resumedFrom > 0) await checkResumed(options);
  const fromPage = Math.ceil(output.resumedFrom / PAGE_BYTES);
  const totalPages = view.map.mappedPages;
  let donePages = await pagesBelow(view, fromPage, signal);
  const checkpoints = new Checkpoints(output, checkpointBytes);
  const { writtenBytes } = await readView({
    pool,
    view,
    target: { path: output.partialPath, sizeBytes: view.sizeBytes },
    fromPage,
    signal,
    onDone: async (pages, donePage) => {
      donePages += pages;
      options.onProgress?.(donePages * PAGE_BYTES, totalPages * PAGE_BYTES);
      if (donePage !== undefined) await checkpoints.reach(Math.min(donePage * PAGE_BYTES, view.sizeBytes));
    },
  });
  if (donePages !== totalPages) throw countMismatch(donePages, totalPages);
  await checkpoints.settle();
  await output.checkpoint(view.sizeBytes);
  const { size } = await stat(output.partialPath);
  if (size !== view.sizeBytes) throw outputChanged(output.partialPath, size, view.sizeBytes);
  return { dataBytes: await dataBytesOf(view, signal), writtenBytes };
}

async function checkResumed({ pool, view, output, signal }: ExportOptions): Promise<void> {
  const file = { pool, view, path: output.partialPath, endBytes: output.resumedFrom };
  const offset = await firstDifference(file, signal ?? new AbortController().signal);
  if (offset === undefined) return;
  await output.discard();
  throw new SgwError('conflict', 'output-changed', `${output.partialPath} was changed at byte ${String(offset)}`, {
    hint: 'The partial file is removed. Run the same command again: it starts anew.',
    details: { path: output.partialPath, offset },
  });
}

/** Makes watermarks durable beside the writing, so that the disk is busy from the start and not only at the end. */
class Checkpoints {
  readonly #output: SparseOutput;
  readonly #everyBytes: number;
  #begun: number;
  #underWay: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(output: SparseOutput, everyBytes: number) {
    this.#output = output;
    this.#everyBytes = everyBytes;
    this.#begun = output.resumedFrom;
  }

  /** Everything below `watermark` is written: begins a checkpoint if it is time and none is under way. @throws what an earlier one threw */
  async reach(watermark: number): Promise<void> {
    if (this.#failure !== undefined) await this.settle();
    if (this.#underWay !== undefined || watermark - this.#begun < this.#everyBytes) return;
    this.#begun = watermark;
    this.#underWay = this.#output
      .checkpoint(watermark)
      .catch((error: unknown) => {
        this.#failure = { error };
      })
      .finally(() => {
        this.#underWay = undefined;
      });
  }

  /** Waits for the checkpoint under way. @throws what one of them threw */
  async settle(): Promise<void> {
    await this.#underWay;
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

/** Mapped bytes; of a last page that reaches over the end of the volume, only what lies within. */
async function dataBytesOf(view: VolumeView, signal: AbortSignal | undefined): Promise<number> {
  const mappedBytes = view.map.mappedPages * PAGE_BYTES;
  const tailBytes = view.sizeBytes % PAGE_BYTES;
  if (tailBytes === 0) return mappedBytes;
  const lastPage = Math.floor(view.sizeBytes / PAGE_BYTES);
  const runs = await view.map.runsAround(lastPage, signal);
  const isMapped = runs.some((run) => run.page <= lastPage && lastPage < run.page + run.count);
  return isMapped ? mappedBytes - PAGE_BYTES + tailBytes : mappedBytes;
}

async function pagesBelow(view: VolumeView, toPage: number, signal: AbortSignal | undefined): Promise<number> {
  let pages = 0;
  if (toPage === 0) return pages;
  for await (const leaf of view.map.leaves({ toPage, ...(signal === undefined ? {} : { signal }) })) {
    for (const run of leaf.runs) if (run.page + run.count <= toPage) pages += run.count;
  }
  return pages;
}

function outputChanged(path: string, sizeBytes: number, expectedBytes: number): SgwError {
  return new SgwError(
    'conflict',
    'output-changed',
    `${path} has ${String(sizeBytes)} bytes instead of ${String(expectedBytes)}: something else wrote it`,
    {
      hint: 'Run the same command again.',
      details: { path, sizeBytes, expectedBytes },
    },
  );
}
