/** The worker thread of `FramePool`: reads, hashes and compresses blocks of a file, or decodes frames into one. */
import { closeSync, fstatSync, openSync, readlinkSync, readSync, writeSync } from 'node:fs';
import { setPriority } from 'node:os';
import { move, transferableSymbol, valueSymbol, workerData } from 'piscina';
import { SgwError, assert, toSgwError } from '../kit/index.ts';
import { blockViews, decodeFrameInPlace, FrameEncoder, type BlockViews } from './frame-codec.ts';
import { BLOCK_BYTES, BLOCK_PAGES, PAGE_BYTES, PAGE_HASH_BYTES } from './geometry.ts';
import type {
  DecodeTask,
  EncodeTask,
  FrameJob,
  FramesTask,
  PackedPagesTask,
  StoredSpan,
  TaskResult,
} from './frame-tasks.ts';
import { encodePackedPages } from './pages-encoder.ts';
import { popcount16 } from './segment-index.ts';
import type { EncodedFrames } from './segment-codec.ts';

/** Opened anew for each task: the path may name another file by then. */
function withFile<T>(path: string, flags: string, work: (fd: number) => T): T {
  const fd = openSync(path, flags);
  try {
    return work(fd);
  } finally {
    closeSync(fd);
  }
}

/** Encodes the extents of a file. A file that ends early reads as zeroes. */
export function encode(task: EncodeTask): TaskResult<EncodedFrames> {
  return answer(() => {
    const encoded = withFile(task.path, 'r', (fd) => encodeExtents(fd, task));
    return { value: encoded, transfer: [encoded.stored.buffer] };
  });
}

function encodeExtents(fd: number, task: EncodeTask): EncodedFrames {
  const encoder = new FrameEncoder();
  let pagesBefore = 0;
  for (const extent of task.extents) {
    readExtent(fd, extent.offset, extent.length, task.sizeBytes, task.path);
    for (let i = 0; i < extent.length / BLOCK_BYTES; i++) {
      const firstHash = (pagesBefore + i * BLOCK_PAGES) * PAGE_HASH_BYTES;
      const known = task.knownHashes?.subarray(firstHash, firstHash + BLOCK_PAGES * PAGE_HASH_BYTES);
      const block = scratchBlocks[i];
      assert(block !== undefined, 'an extent is read whole');
      encoder.add(extent.offset / BLOCK_BYTES + i, block, known);
    }
    pagesBefore += extent.length / PAGE_BYTES;
  }
  return encoder.finish();
}

/** Extents are read into one buffer, again and again: fresh memory for each would cost page faults. */
let scratch = Buffer.alloc(0);
let scratchBlocks: BlockViews[] = [];

/** Reads to `scratch`; what lies past the file's size becomes zeroes. */
function readExtent(fd: number, offset: number, length: number, sizeBytes: number, path: string): void {
  if (scratch.length < length) {
    scratch = Buffer.allocUnsafeSlow(length);
    scratchBlocks = Array.from({ length: length / BLOCK_BYTES }, (_, i) => blockViews(scratch, i * BLOCK_BYTES));
  }
  const wanted = Math.min(length, Math.max(0, sizeBytes - offset));
  for (let done = 0; done < wanted;) {
    const count = readSync(fd, scratch, done, wanted - done, offset + done);
    if (count === 0) {
      throw new SgwError('conflict', 'image-changed', `${path} became shorter while it was read`, {
        hint: 'Let nothing write to the image meanwhile, then run the same command again.',
        details: { path, sizeBytes: fstatSync(fd).size },
      });
    }
    done += count;
  }
  scratch.fill(0, wanted, length);
}

/** Decodes and checks frames; writes the wanted pages to the target, if there is one. */
export function decode(task: DecodeTask): TaskResult<{ writtenBytes: number }> {
  return answer(() => {
    const { target } = task;
    const writtenBytes =
      target === undefined ? writeFrames(task) : withFile(target.path, 'r+', (fd) => writeFrames(task, fd));
    return { value: { writtenBytes }, transfer: [] };
  });
}

/** Returns the bytes written. */
function writeFrames(task: DecodeTask, fd?: number): number {
  let writtenBytes = 0;
  for (const job of task.frames) {
    const raw = decodeJob(task.spans, job);
    if (fd === undefined || task.target === undefined) continue;
    for (const { slot, page, count } of job.slots) {
      const length = Math.min(count * PAGE_BYTES, task.target.sizeBytes - page * PAGE_BYTES);
      writeFully(fd, raw, slot * PAGE_BYTES, length, page * PAGE_BYTES);
      writtenBytes += length;
    }
  }
  return writtenBytes;
}

function writeFully(fd: number, bytes: Buffer, from: number, length: number, position: number): void {
  for (let done = 0; done < length;) done += writeSync(fd, bytes, from + done, length - done, position + done);
}

/** Encodes pages of the write log. */
export function encodePages(task: PackedPagesTask): TaskResult<EncodedFrames> {
  return answer(() => {
    const encoded = encodePackedPages(task);
    const { stored, rawPages } = encoded;
    return { value: encoded, transfer: [stored.buffer, ...(rawPages === undefined ? [] : [rawPages.buffer])] };
  });
}

/** Decodes and checks whole frames; their pages, one frame after the other. */
export function decodeFrames(task: FramesTask): TaskResult<{ bytes: Uint8Array }> {
  return answer(() => {
    const pages = task.frames.reduce((sum, { entry }) => sum + popcount16(entry.mask), 0);
    const bytes = Buffer.allocUnsafeSlow(pages * PAGE_BYTES);
    let at = 0;
    for (const job of task.frames) at += decodeJob(task.spans, job).copy(bytes, at);
    return { value: { bytes }, transfer: [bytes.buffer] };
  });
}

/** The decoded pages of a frame; valid until the next one. */
function decodeJob(spans: readonly StoredSpan[], job: FrameJob): Buffer {
  const span = spans[job.span];
  assert(span !== undefined, "a frame names one of its task's spans");
  const at = span.bytes.byteOffset + job.entry.offset - span.baseOffset;
  const stored = Buffer.from(span.bytes.buffer, at, job.entry.storedLength);
  return decodeFrameInPlace(job.segmentKey, job.entry, stored, job.pageHashes, job.opening);
}

/** Gives way to others, where the system knows threads as processes (Linux). */
function beNice(): void {
  const { niceness } = (workerData as { niceness?: number } | null) ?? {};
  if (niceness === undefined || niceness === 0) return;
  try {
    setPriority(Number(readlinkSync('/proc/thread-self').split('/').at(-1)), niceness);
  } catch {
    // Then all threads are alike.
  }
}
beNice();

function answer<T extends object>(work: () => { value: T; transfer: ArrayBufferLike[] }): TaskResult<T> {
  try {
    const { value, transfer } = work();
    // Piscina moves the buffers and hands out what is under `valueSymbol`.
    return move({ [transferableSymbol]: transfer, [valueSymbol]: { value } }) as unknown as TaskResult<T>;
  } catch (error) {
    return { error: toSgwError(error).toDocument() };
  }
}
