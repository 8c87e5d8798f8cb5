/**
 * What a disk of the soak holds, as one number a page. A page's bytes follow from its number and say it: a page that
 * is stale, misplaced or torn is told from every one that was ever written there.
 *
 * A number is the generation in the upper 16 bits and, in the lower, the page's own address, or SHARED for a page that
 * may stand anywhere (so that there are duplicates). 0 is a page of zeroes.
 */
import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import type { Random } from '../../src/core/kit/index.ts';

export const PAGE_BYTES = 4096;
const WORDS = PAGE_BYTES / 4;
const SHARED = 0xffff;
const MAGIC = 0x6b616f73;
/** Words of a page that do not compress; the rest repeats. */
const NOISE_WORDS = 960;
const READ_PAGES = 256;

/** The numbers of a disk's pages. */
export type DiskState = Uint32Array;

/** A name for a state: equal for equal states only. */
export const stateName = (state: DiskState): string =>
  createHash('sha256')
    .update(new Uint8Array(state.buffer, state.byteOffset, state.byteLength))
    .digest('hex')
    .slice(0, 16);

/** A new disk: runs of data, of duplicates and of zeroes. `mappedPart` is the part of it that is not zeroes. */
export function newState(random: Random, pages: number, generation: number, mappedPart: number): DiskState {
  const state = new Uint32Array(pages);
  for (let page = 0; page < pages;) {
    const run = 1 + Math.floor(random.float() * 60);
    const isMapped = random.float() < mappedPart;
    const isShared = random.float() < 0.1;
    for (let i = page; i < Math.min(pages, page + run); i++) {
      if (isMapped) state[i] = pageNumber(generation, isShared ? SHARED : i);
    }
    page += run;
  }
  return state;
}

/** The state after `part` of the pages were written, some of them with zeroes or with duplicates. */
export function changedState(random: Random, state: DiskState, generation: number, part: number): DiskState {
  const next = state.slice();
  for (let left = Math.max(1, Math.round(state.length * part)); left > 0;) {
    const run = Math.min(left, 1 + Math.floor(random.float() * 24));
    const first = Math.floor(random.float() * state.length);
    const kind = random.float();
    for (let i = first; i < Math.min(state.length, first + run); i++) {
      next[i] = kind < 0.1 ? 0 : pageNumber(generation, kind < 0.2 ? SHARED : i);
    }
    left -= run;
  }
  return next;
}

const pageNumber = (generation: number, address: number): number => ((generation << 16) | address) >>> 0;

const page = new Uint32Array(WORDS);
const pageBytes = Buffer.from(page.buffer);

/** The bytes of the page `number`; valid until the next call. */
function bytesOf(number: number): Buffer {
  if (number === 0) {
    page.fill(0);
    return pageBytes;
  }
  let noise = (number ^ 0x9e3779b9) >>> 0 || 1;
  for (let i = 0; i < NOISE_WORDS; i++) {
    noise ^= noise << 13;
    noise ^= noise >>> 17;
    noise ^= noise << 5;
    page[i] = noise;
  }
  page.fill(number, NOISE_WORDS);
  page[0] = MAGIC;
  page[1] = number;
  return pageBytes;
}

/** Makes the file at `path` hold `state`; with `before`, only what differs is written. Durable. */
export function writeState(path: string, state: DiskState, before?: DiskState): void {
  const fd = openSync(path, before === undefined ? 'w' : 'r+');
  try {
    ftruncateSync(fd, state.length * PAGE_BYTES);
    state.forEach((number, index) => {
      if (number !== (before?.[index] ?? 0)) writeSync(fd, bytesOf(number), 0, PAGE_BYTES, index * PAGE_BYTES);
    });
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** The number of the page at `index` that reads as `bytes`. @throws Error for bytes that were never written there */
export function numberOf(bytes: Buffer, index: number): number {
  const number = bytes.readUInt32LE(0) === 0 ? 0 : bytes.readUInt32LE(4);
  if (!bytesOf(number).equals(bytes)) throw new Error(`page ${index} holds bytes that were never written`);
  if (number !== 0 && (number & 0xffff) !== SHARED && (number & 0xffff) !== index)
    throw new Error(`page ${index} holds page ${number & 0xffff} of generation ${number >>> 16}`);
  return number;
}

/** The state of the disk in the file at `path`. @throws Error for pages that were never written there */
export function readState(path: string, pages: number): DiskState {
  const fd = openSync(path, 'r');
  try {
    const state = new Uint32Array(pages);
    const buffer = Buffer.alloc(READ_PAGES * PAGE_BYTES);
    for (let first = 0; first < pages; first += READ_PAGES) {
      const count = Math.min(READ_PAGES, pages - first);
      const read = readSync(fd, buffer, 0, count * PAGE_BYTES, first * PAGE_BYTES);
      if (read !== count * PAGE_BYTES) throw new Error(`${path} ends at page ${first + Math.floor(read / PAGE_BYTES)}`);
      for (let i = 0; i < count; i++)
        state[first + i] = numberOf(buffer.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES), first + i);
    }
    if (readSync(fd, buffer, 0, 1, pages * PAGE_BYTES) !== 0) throw new Error(`${path} is longer than its disk`);
    return state;
  } finally {
    closeSync(fd);
  }
}

/** How two states differ, for people. */
export function describeDifference(found: DiskState, expected: DiskState): string {
  const pages: number[] = [];
  found.forEach((number, index) => {
    if (number !== expected[index]) pages.push(index);
  });
  const shown = pages
    .slice(0, 5)
    .map((index) => `page ${index} is of generation ${found[index]! >>> 16}, not ${expected[index]! >>> 16}`);
  return `${pages.length} pages differ: ${shown.join('; ')}`;
}
