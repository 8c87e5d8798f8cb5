/**
 * Worker threads that compress, hash, decompress and check frames: the only place where volume data costs CPU.
 * Threads start with the first task, or when told to. Callers bound what is under way (`Semaphore`); the pool queues no more than that.
 */
import { availableParallelism } from 'node:os';
import { SgwError, throwIfAborted } from '../kit/index.ts';
import type {
  DecodeTask,
  EncodeTask,
  FrameJob,
  FramesTask,
  PackedPagesTask,
  PagesTask,
  StoredSpan,
  TaskResult,
} from './frame-tasks.ts';
import { PAGE_BYTES } from './geometry.ts';
import type { Cancellable } from './options.ts';
import type { EncodedFrames } from './segment-codec.ts';
import { popcount16 } from './segment-index.ts';

/** Memory under way grows with the threads. */
const THREADS_MAX = 16;
/** Smaller buffers may be slices of the pool that Buffer shares among its users. */
const MOVED_BYTES_MIN = 256 * 1024;

interface Threads {
  run(task: object, options: { name: string; transferList: readonly ArrayBuffer[] }): Promise<unknown>;
  destroy(): Promise<void>;
}

export class FramePool implements AsyncDisposable {
  readonly threads: number;
  readonly #niceness: number;
  #started: Promise<Threads> | undefined;

  /** `niceness`: how far the threads give way to others (0 to 19), where the system lets them. */
  constructor(options: { readonly threads?: number; readonly niceness?: number } = {}) {
    this.#niceness = options.niceness ?? 0;
    this.threads = options.threads ?? Math.min(availableParallelism(), THREADS_MAX);
  }

  /** Starts the threads, so that they are there when the first task comes. Never fails: a task tells. */
  start(): void {
    this.#started ??= startThreads(this.threads, this.#niceness);
    this.#started.catch(() => undefined);
  }

  /**
   * Reads 64 KiB-aligned extents of a file or block device and encodes their frames; zero pages are left out, and
   * with `knownHashes` also pages that are in the volume already.
   * @throws conflict `image-changed`; what reading the file throws
   */
  async encodeFile(task: EncodeTask, { signal }: Cancellable = {}): Promise<EncodedFrames> {
    return this.#run<EncodedFrames>('encode', task, signal);
  }

  /**
   * Decodes and checks frames, and writes pages to the target if there is one. Large spans are moved to the worker: the
   * caller's buffers are empty afterwards.
   * @throws corrupt `object-damaged`
   */
  async decode(task: DecodeTask, { signal }: Cancellable = {}): Promise<{ readonly writtenBytes: number }> {
    const buffers = new Set<ArrayBuffer>();
    for (const { bytes } of task.spans) {
      if (bytes.buffer instanceof ArrayBuffer && bytes.buffer.byteLength >= MOVED_BYTES_MIN) buffers.add(bytes.buffer);
    }
    return this.#run<{ writtenBytes: number }>('decode', task, signal, [...buffers]);
  }

  /**
   * Encodes pages of the write log, which the thread reads itself. Zero pages are left out and told in `zeroed`.
   * @throws corrupt `log-damaged` when a page does not match its CRC-32
   */
  async encodePages(task: PagesTask, { signal }: Cancellable = {}): Promise<EncodedFrames> {
    return this.#run<EncodedFrames>('encodePages', packPages(task), signal);
  }

  /**
   * Decodes and checks frames; returns the pages of each, in order. The spans' bytes are copied to the thread.
   * @throws corrupt `object-damaged`
   */
  async decodeFrames(spans: readonly StoredSpan[], frames: readonly FrameJob[]): Promise<Buffer[]> {
    const task: FramesTask = { spans, frames };
    const { bytes } = await this.#run<{ bytes: Uint8Array }>('decodeFrames', task, undefined);
    const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    return frames.map(({ entry }) => {
      const length = popcount16(entry.mask) * PAGE_BYTES;
      at += length;
      return all.subarray(at - length, at);
    });
  }

  async #run<T extends object>(
    name: string,
    task: object,
    signal: AbortSignal | undefined,
    transferList: readonly ArrayBuffer[] = [],
  ): Promise<T> {
    throwIfAborted(signal);
    this.#started ??= startThreads(this.threads, this.#niceness);
    const threads = await this.#started;
    const result = (await threads.run(task, { name, transferList })) as TaskResult<T>;
    if ('value' in result) return result.value;
    const { kind, code, message, hint, details } = result.error;
    throw new SgwError(kind, code, message, { ...(hint === null ? {} : { hint }), details });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const started = this.#started;
    this.#started = undefined;
    // Threads that did not start have failed the task that asked for them already.
    const threads = await started?.catch(() => undefined);
    await threads?.destroy();
  }
}

async function startThreads(count: number, niceness: number): Promise<Threads> {
  const { Piscina } = await import('piscina');
  const file = import.meta.url.endsWith('.ts') ? './frame-worker.ts' : './frame-worker.js';
  return new Piscina({
    filename: new URL(file, import.meta.url).href,
    minThreads: count,
    maxThreads: count,
    // Each task is long compared with the cost of asking for it; polling would burn a core while idle.
    atomics: 'disabled',
    concurrentTasksPerWorker: 1,
    execArgv: [],
    workerData: { niceness },
  });
}

function packPages({ files, pages, creators, keepsPages = false }: PagesTask): PackedPagesTask {
  const numbers = new Float64Array(pages.length);
  const places = new Float64Array(pages.length * 3);
  const given: Uint8Array[] = [];
  pages.forEach((input, i) => {
    numbers[i] = input.page;
    if ('bytes' in input) {
      places[i * 3] = -1;
      given.push(input.bytes);
    } else {
      places[i * 3] = input.file;
      places[i * 3 + 1] = input.position;
      places[i * 3 + 2] = input.crc32;
    }
  });
  return { files, pages: numbers, places, given: Buffer.concat(given), creators, keepsPages };
}
