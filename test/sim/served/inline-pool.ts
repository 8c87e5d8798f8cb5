/**
 * Encodes and decodes in the thread of the simulation, through the code that the worker threads run, so that a run is decided
 * by its seed alone. Encoding takes some virtual time: much can happen meanwhile.
 */
import { crc32 } from 'node:zlib';
import { decodeFrame } from '../../../src/core/blockstore/frame-codec.ts';
import {
  FramePool,
  popcount16,
  type EncodedFrames,
  type FrameJob,
  PAGE_BYTES,
} from '../../../src/core/blockstore/index.ts';
import type { PagesTask, StoredSpan } from '../../../src/core/blockstore/frame-tasks.ts';
import { encodePackedPages } from '../../../src/core/blockstore/pages-encoder.ts';
import { SgwError, throwIfAborted } from '../../../src/core/kit/index.ts';
import type { DiskSteps, SimLogDisk } from './sim-log-disk.ts';

export class InlinePool extends FramePool {
  readonly #disk: SimLogDisk;
  readonly #steps: DiskSteps;

  constructor(disk: SimLogDisk, steps: DiskSteps) {
    super({ threads: 1 });
    this.#disk = disk;
    this.#steps = steps;
  }

  override async encodePages(task: PagesTask, { signal }: { signal?: AbortSignal } = {}): Promise<EncodedFrames> {
    await this.#steps.step('encode');
    throwIfAborted(signal);
    const given = task.pages.map((page) => ('bytes' in page ? page.bytes : this.#read(task, page)));
    return encodePackedPages({
      files: [],
      pages: Float64Array.from(task.pages, ({ page }) => page),
      places: Float64Array.from({ length: task.pages.length * 3 }, (_, i) => (i % 3 === 0 ? -1 : 0)),
      given: Buffer.concat(given),
      creators: task.creators,
      keepsPages: task.keepsPages ?? false,
    });
  }

  #read(task: PagesTask, page: { readonly file: number; readonly position: number; readonly crc32: number }): Buffer {
    const bytes = this.#disk.bytesAt(task.files[page.file] ?? '', page.position, PAGE_BYTES);
    if (crc32(bytes) !== page.crc32)
      throw new SgwError('corrupt', 'log-damaged', 'a page of the log does not match its checksum');
    return bytes;
  }

  override async decodeFrames(spans: readonly StoredSpan[], frames: readonly FrameJob[]): Promise<Buffer[]> {
    await this.#steps.step('decode');
    return frames.map(({ span, entry, segmentKey, pageHashes, opening }) => {
      const from = spans[span];
      const at = entry.offset - (from?.baseOffset ?? 0);
      const stored = Buffer.from(from?.bytes.subarray(at, at + entry.storedLength) ?? []);
      const pages = decodeFrame(segmentKey, entry, stored, pageHashes, opening);
      return Buffer.from(pages.subarray(0, popcount16(entry.mask) * PAGE_BYTES));
    });
  }
}
