import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  FramePool,
  PAGE_BYTES,
  PAGE_HASH_BYTES,
  popcount16,
  type EncodedFrames,
  type FrameJob,
  type PageInput,
} from '../../../src/core/blockstore/index.ts';
import { seededRandom } from '../../../src/core/kit/index.ts';

let folder = '';
const pool = new FramePool({ threads: 1, niceness: 5 });
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'sgw-log-pages-'));
});
afterAll(async () => {
  await pool[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** Log files whose pages are in any order, and what reads them by page of the volume. */
function logFiles(name: string, numbers: readonly number[]): { files: string[]; pages: PageInput[]; all: Buffer[] } {
  const random = seededRandom(5);
  const files = [path.join(folder, `${name}-0`), path.join(folder, `${name}-1`)];
  const parts: Buffer[][] = [[Buffer.alloc(512)], [Buffer.alloc(1024)]];
  const all: Buffer[] = [];
  const pages: PageInput[] = [];
  numbers.forEach((page, i) => {
    const bytes = page % 7 === 3 ? Buffer.alloc(PAGE_BYTES) : Buffer.from(random.bytes(PAGE_BYTES));
    all.push(bytes);
    if (i % 5 === 4) {
      pages.push({ page, bytes });
      return;
    }
    const file = Math.floor(i / 3) % 2;
    const part = parts[file] ?? [];
    pages.push({ page, file, position: part.reduce((sum, { length }) => sum + length, 0), crc32: crc32(bytes) });
    part.push(bytes);
  });
  files.forEach((file, i) => {
    writeFileSync(file, Buffer.concat(parts[i] ?? []));
  });
  return { files, pages, all };
}

function jobsOf(encoded: EncodedFrames): FrameJob[] {
  return encoded.frames.map((entry) => ({
    span: 0,
    entry,
    segmentKey: 'log/1',
    pageHashes: encoded.pageHashes.subarray(
      entry.hashIndex * PAGE_HASH_BYTES,
      (entry.hashIndex + popcount16(entry.mask)) * PAGE_HASH_BYTES,
    ),
    slots: [],
  }));
}

test('pages of log files become frames that decode to them; zero pages are left out and told', async () => {
  const numbers = Array.from({ length: 3000 }, (_, i) => i + Math.floor(i / 10) * 3);
  const { files, pages, all } = logFiles('all', numbers);
  const encoded = await pool.encodePages({ files, pages, creators: 2 });
  expect(new Set(encoded.frames.map(({ creators }) => creators))).toEqual(new Set([2]));
  const decoded = await pool.decodeFrames([{ bytes: encoded.stored, baseOffset: 0 }], jobsOf(encoded));
  const found = new Map<number, Buffer>();
  encoded.frames.forEach((entry, i) => {
    const bits = Array.from({ length: 16 }, (_, bit) => bit).filter((bit) => (entry.mask & (1 << bit)) !== 0);
    bits.forEach((bit, slot) => {
      const page = decoded[i]?.subarray(slot * PAGE_BYTES, (slot + 1) * PAGE_BYTES) ?? Buffer.alloc(0);
      found.set(entry.block * 16 + bit, page);
    });
  });
  const zeroed = new Set(
    encoded.zeroed.flatMap(({ firstPage, pageCount }) => Array.from({ length: pageCount }, (_, i) => firstPage + i)),
  );
  expect(zeroed).toEqual(new Set(numbers.filter((page) => page % 7 === 3)));
  expect(found.size + zeroed.size).toBe(numbers.length);
  numbers.forEach((page, i) => {
    if (!zeroed.has(page)) expect(found.get(page)?.equals(all[i] ?? Buffer.alloc(0))).toBe(true);
  });
});

test('a page that does not match its checksum is reported with its file and page', async () => {
  const { files, pages } = logFiles('bad', [0, 1, 2, 4, 5]);
  const broken = pages.map((page) => (page.page === 1 && 'crc32' in page ? { ...page, crc32: page.crc32 ^ 1 } : page));
  await expect(pool.encodePages({ files, pages: broken, creators: 0 })).rejects.toMatchObject({
    kind: 'corrupt',
    code: 'log-damaged',
    details: { path: files[0], page: 1 },
  });
  const beyond = pages.map((page) => (page.page === 0 && 'file' in page ? { ...page, position: 1 << 30 } : page));
  await expect(pool.encodePages({ files, pages: beyond, creators: 0 })).rejects.toMatchObject({ code: 'log-damaged' });
});

test('a frame whose bytes changed does not decode', async () => {
  const { files, pages } = logFiles('frame', [0, 1, 2]);
  const encoded = await pool.encodePages({ files, pages, creators: 0 });
  const bytes = Buffer.from(encoded.stored);
  bytes[100] = (bytes[100] ?? 0) ^ 1;
  await expect(pool.decodeFrames([{ bytes, baseOffset: 0 }], jobsOf(encoded))).rejects.toMatchObject({
    code: 'object-damaged',
  });
});
