/** Encodes pages that lie in files of the write log: what a worker thread of `FramePool` does for an upload. */
import { closeSync, openSync, readSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { SgwError } from '../kit/index.ts';
import { blockViews, FrameEncoder } from './frame-codec.ts';
import type { PackedPagesTask } from './frame-tasks.ts';
import { BLOCK_PAGES, PAGE_BYTES } from './geometry.ts';
import type { EncodedFrames } from './segment-codec.ts';

const block = blockViews(Buffer.alloc(BLOCK_PAGES * PAGE_BYTES));

/** @throws corrupt `log-damaged` */
export function encodePackedPages(task: PackedPagesTask): EncodedFrames {
  const fds = task.files.map((path) => openSync(path, 'r'));
  try {
    return encodeFrom(task, fds);
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

function encodeFrom(task: PackedPagesTask, fds: readonly number[]): EncodedFrames {
  const { pages, places, given, keepsPages } = task;
  const encoder = new FrameEncoder();
  const raw = keepsPages ? Buffer.allocUnsafeSlow(pages.length * PAGE_BYTES) : undefined;
  let rawAt = 0;
  let givenAt = 0;
  for (let i = 0; i < pages.length;) {
    const number = Math.floor((pages[i] ?? 0) / BLOCK_PAGES);
    let mask = 0;
    // Pages that follow each other in the file as in the volume are read at once.
    while (i < pages.length && Math.floor((pages[i] ?? 0) / BLOCK_PAGES) === number) {
      const slot = (pages[i] ?? 0) % BLOCK_PAGES;
      const file = places[i * 3] ?? -1;
      let count = 1;
      if (file < 0) {
        block.bytes.set(given.subarray(givenAt, givenAt + PAGE_BYTES), slot * PAGE_BYTES);
        givenAt += PAGE_BYTES;
      } else {
        count = runAt(task, i, BLOCK_PAGES - slot);
        readRun(task, fds, i, slot, count);
      }
      mask |= ((1 << count) - 1) << slot;
      i += count;
    }
    const kept = encoder.addPages(number, block, mask, task.creators);
    if (raw === undefined) continue;
    block.pages.forEach((page, slot) => {
      if ((kept & (1 << slot)) !== 0) rawAt += page.copy(raw, rawAt);
    });
  }
  const encoded = encoder.finish();
  return raw === undefined ? encoded : { ...encoded, rawPages: raw.subarray(0, rawAt) };
}

/** How many pages from `i` on, at most `countMax`, are neighbours in one file and in the volume. */
function runAt({ pages, places }: PackedPagesTask, i: number, countMax: number): number {
  let count = 1;
  while (
    count < countMax &&
    pages[i + count] === (pages[i] ?? 0) + count &&
    places[(i + count) * 3] === places[i * 3] &&
    places[(i + count) * 3 + 1] === (places[i * 3 + 1] ?? 0) + count * PAGE_BYTES
  )
    count += 1;
  return count;
}

function readRun(task: PackedPagesTask, fds: readonly number[], i: number, slot: number, count: number): void {
  const file = task.places[i * 3] ?? 0;
  const position = task.places[i * 3 + 1] ?? 0;
  const length = count * PAGE_BYTES;
  for (let done = 0; done < length;) {
    const read = readSync(fds[file] ?? -1, block.bytes, slot * PAGE_BYTES + done, length - done, position + done);
    if (read === 0) throw logDamaged(task, i, 'its file ends before it');
    done += read;
  }
  for (let k = 0; k < count; k++) {
    const page = block.pages[slot + k];
    if (page === undefined || crc32(page) !== task.places[(i + k) * 3 + 2])
      throw logDamaged(task, i + k, 'it does not match its checksum');
  }
}

function logDamaged({ files, pages, places }: PackedPagesTask, i: number, why: string): SgwError {
  const path = files[places[i * 3] ?? 0] ?? '';
  const page = pages[i] ?? 0;
  return new SgwError('corrupt', 'log-damaged', `page ${String(page)} in the write log ${path}: ${why}`, {
    hint: 'The disk of the home has lost what was written to it: check it. `sgw doctor` says how to go on.',
    details: { path, page, position: places[i * 3 + 1] ?? 0 },
  });
}
