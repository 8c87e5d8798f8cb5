/** The disk image of the quickstart: made of real files, changed in known pages, compared byte for byte. */
import { spawnSync } from 'node:child_process';
import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, readSync, statSync, writeSync } from 'node:fs';
import { globSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from './root.ts';

export const PAGE_BYTES = 4096;
const IMAGE_BYTES = 1024 ** 3;
const COMPARE_BYTES = 1024 ** 2;
/** Real files for the image: what `npm ci` installed, which every checkout has. */
const FILES = path.join(ROOT, 'node_modules');
/** A system's directories of administration are not on every user's PATH. */
const MKE2FS = ['mke2fs', '/usr/sbin/mke2fs', '/sbin/mke2fs'];
/** Without mke2fs: this much of the largest files, one after the other with holes between. */
const CONCATENATED_BYTES = 256 * 1024 ** 2;
const GAP_BYTES = 1024 ** 2;
/** Single pages of the image that the quickstart changes, and pages in a row that it clears. */
const CHANGED_PAGES = 400;
const CLEARED_PAGES = 16;

/** Makes the image, and says of what. */
export function makeImage(file: string): string {
  for (const program of MKE2FS) {
    const made = spawnSync(program, ['-q', '-F', '-t', 'ext4', '-d', FILES, file, `${String(IMAGE_BYTES / 1024)}k`]);
    if (made.signal !== null) throw new Error(`mke2fs was ended by ${made.signal}`);
    if (made.status === 0) return 'an ext4 file system with the files of node_modules, by mke2fs';
  }
  concatenate(file);
  return 'the largest files of node_modules, one after the other with holes between (there is no mke2fs here)';
}

/** How an image was changed, in pages of 4 KiB whose contents differ from before. */
export interface Changes {
  /** Page numbers that hold other data now. */
  readonly changed: ReadonlySet<number>;
  /** Page numbers that held data and read as zeroes now. */
  readonly zeroed: ReadonlySet<number>;
}

/** Overwrites pages all over the image with the contents of other pages, and clears some. */
export function changeImage(file: string): Changes {
  const fd = openSync(file, 'r+');
  try {
    const pages = Math.floor(fstatSync(fd).size / PAGE_BYTES);
    const changed = new Set<number>();
    const zeroed = new Set<number>();
    const stride = Math.floor(pages / CHANGED_PAGES);
    for (let step = 1; step < CHANGED_PAGES; step += 1) {
      const page = step * stride;
      const before = readPage(fd, page);
      const after = readPage(fd, (page + 7 * stride + step) % pages);
      if (isZero(after) || after.equals(before)) continue;
      writePage(fd, page, after);
      changed.add(page);
    }
    const none = Buffer.alloc(PAGE_BYTES);
    for (let page = 0; page < pages && zeroed.size < CLEARED_PAGES; page += 1) {
      if (changed.has(page) || isZero(readPage(fd, page))) continue;
      writePage(fd, page, none);
      zeroed.add(page);
    }
    return { changed, zeroed };
  } finally {
    closeSync(fd);
  }
}

/** Where two files differ first, or undefined when they are byte for byte the same. */
export function firstDifference(left: string, right: string): number | undefined {
  const [a, b] = [Buffer.alloc(COMPARE_BYTES), Buffer.alloc(COMPARE_BYTES)];
  const [one, other] = [openSync(left, 'r'), openSync(right, 'r')];
  try {
    const sizes = [fstatSync(one).size, fstatSync(other).size] as const;
    for (let offset = 0; offset < Math.min(...sizes); offset += COMPARE_BYTES) {
      const length = readSync(one, a, 0, COMPARE_BYTES, offset);
      readSync(other, b, 0, COMPARE_BYTES, offset);
      if (a.compare(b, 0, length, 0, length) !== 0) return offset + a.findIndex((byte, at) => byte !== b[at]);
    }
    return sizes[0] === sizes[1] ? undefined : Math.min(...sizes);
  } finally {
    closeSync(one);
    closeSync(other);
  }
}

/** What a file takes on the disk. */
export function allocatedBytes(file: string): number {
  return statSync(file).blocks * 512;
}

function concatenate(file: string): void {
  const sized = globSync('**/*', { cwd: FILES, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .map((name) => ({ name, sizeBytes: statSync(name).size }));
  sized.sort((a, b) => b.sizeBytes - a.sizeBytes);
  const fd = openSync(file, 'wx');
  try {
    let offset = 0;
    for (const { name, sizeBytes } of sized) {
      if (offset + sizeBytes > CONCATENATED_BYTES) continue;
      writeSync(fd, readFileSync(name), 0, sizeBytes, offset);
      offset += sizeBytes + GAP_BYTES;
    }
    ftruncateSync(fd, IMAGE_BYTES);
  } finally {
    closeSync(fd);
  }
}

function readPage(fd: number, page: number): Buffer {
  const bytes = Buffer.alloc(PAGE_BYTES);
  readSync(fd, bytes, 0, PAGE_BYTES, page * PAGE_BYTES);
  return bytes;
}

function writePage(fd: number, page: number, bytes: Buffer): void {
  writeSync(fd, bytes, 0, PAGE_BYTES, page * PAGE_BYTES);
}

function isZero(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0);
}
