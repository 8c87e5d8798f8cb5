/** The worker thread of `FramePool`: reads, hashes and compresses blocks of a file, or decodes frames into one. */
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { SgwError, toSgwError } from '../kit/index.ts';
import { decodeFrame, FrameEncoder } from './frame-codec.ts';
import { BLOCK_BYTES, BLOCK_PAGES, PAGE_BYTES, PAGE_HASH_BYTES } from './geometry.ts';
import type { DecodeTask, EncodeTask, TaskResult } from './frame-tasks.ts';
import type { EncodedFrames } from './segment-codec.ts';

/** One open file per worker, since consecutive tasks work on the same one. */
let openFile: { path: string; flags: string; fd: number } | undefined;

function fileFor(path: string, flags: string): number {
  if (openFile?.path === path && openFile.flags === flags) return openFile.fd;
  closeFile();
  openFile = { path, flags, fd: openSync(path, flags) };
  return openFile.fd;
}

function closeFile(): void {
  if (openFile !== undefined) closeSync(openFile.fd);
  openFile = undefined;
}

/** Encodes the extents of a file. A file that ends early reads as zeroes. */
export function encode(task: EncodeTask): TaskResult<EncodedFrames> {
  return answer(() => {
    const fd = fileFor(task.path, 'r');
    const encoder = new FrameEncoder();
    let pagesBefore = 0;
    for (const extent of task.extents) {
      const bytes = readExtent(fd, extent.offset, extent.length, task.sizeBytes, task.path);
      for (let at = 0; at < extent.length; at += BLOCK_BYTES) {
        const block = bytes.subarray(at, at + BLOCK_BYTES);
        const firstHash = (pagesBefore + at / PAGE_BYTES) * PAGE_HASH_BYTES;
        const known = task.knownHashes?.subarray(firstHash, firstHash + BLOCK_PAGES * PAGE_HASH_BYTES);
        encoder.add((extent.offset + at) / BLOCK_BYTES, block, known);
      }
      pagesBefore += extent.length / PAGE_BYTES;
    }
    const encoded = encoder.finish();
    return { value: encoded, transfer: [encoded.stored.buffer] };
  });
}

/** Extents are read into one buffer, again and again: fresh memory for each would cost page faults. */
let scratch = Buffer.alloc(0);

function readExtent(fd: number, offset: number, length: number, sizeBytes: number, path: string): Buffer {
  if (scratch.length < length) scratch = Buffer.allocUnsafeSlow(length);
  const bytes = scratch.subarray(0, length);
  const wanted = Math.min(length, Math.max(0, sizeBytes - offset));
  let done = 0;
  while (done < wanted) {
    const count = readSync(fd, bytes, done, wanted - done, offset + done);
    if (count === 0) {
      throw new SgwError('conflict', 'image-changed', `${path} became shorter while it was read`, {
        hint: 'Let nothing write to the image meanwhile, then run the same command again.',
        details: { path, sizeBytes: fstatSync(fd).size },
      });
    }
    done += count;
  }
  bytes.fill(0, wanted);
  return bytes;
}

/** Decodes and checks frames; writes the wanted pages to the target, if there is one. */
export function decode(task: DecodeTask): TaskResult<{ writtenBytes: number }> {
  return answer(() => {
    const fd = task.target === undefined ? undefined : fileFor(task.target.path, 'r+');
    let writtenBytes = 0;
    for (const job of task.frames) {
      const span = task.spans[job.span];
      if (span === undefined) throw new SgwError('internal', 'assertion', "a frame names one of its task's spans");
      const at = job.entry.offset - span.baseOffset;
      const stored = Buffer.from(span.bytes.buffer, span.bytes.byteOffset + at, job.entry.storedLength);
      const raw = decodeFrame(job.segmentKey, job.entry, stored, job.pageHashes);
      if (fd === undefined || task.target === undefined) continue;
      for (const { slot, page, count } of job.slots) {
        const length = Math.min(count * PAGE_BYTES, task.target.sizeBytes - page * PAGE_BYTES);
        writeFully(fd, raw, slot * PAGE_BYTES, length, page * PAGE_BYTES);
        writtenBytes += length;
      }
    }
    return { value: { writtenBytes }, transfer: [] };
  });
}

function writeFully(fd: number, bytes: Buffer, from: number, length: number, position: number): void {
  for (let done = 0; done < length;) done += writeSync(fd, bytes, from + done, length - done, position + done);
}

function answer<T extends object>(work: () => { value: T; transfer: ArrayBufferLike[] }): TaskResult<T> {
  try {
    const { value, transfer } = work();
    // Piscina moves the buffers and hands out what is under `valueSymbol`.
    return move({ [transferableSymbol]: transfer, [valueSymbol]: { value } }) as unknown as TaskResult<T>;
  } catch (error) {
    closeFile();
    return { error: toSgwError(error).toDocument() };
  }
}
