/**
 * The disk image that the benchmarks work on: 4 GiB, sparse, ext4, with about 0.95 GiB of real files of this machine.
 * It is made once and kept; `change` makes a copy of it with some of its data replaced, again by real data.
 */
import { copyFileSync, constants, existsSync, lstatSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { call, treeBytes } from './programs.ts';

const IMAGE_BYTES = 4 * 1024 ** 3;
const FILES_BYTES = 950 * 1024 ** 2;
/** Larger files would make the image one of a few files only. */
const FILE_BYTES_MAX = 32 * 1024 ** 2;
const SOURCES = ['/usr/lib', '/usr/share', '/usr/bin'];
const PIECE_BYTES = 64 * 1024;

export interface Image {
  readonly path: string;
  readonly sizeBytes: number;
  /** What it takes on the disk. */
  readonly dataBytes: number;
}

interface Candidate {
  readonly path: string;
  readonly sizeBytes: number;
  /** Orders the files alike on every run, with no regard to their folders. */
  readonly order: string;
}

/** The image in `folder`, made now if it is not there. */
export function baseImage(folder: string): Image {
  const file = path.join(folder, 'base.img');
  if (!existsSync(file)) {
    const staging = path.join(folder, `files-${String(process.pid)}`);
    mkdirSync(staging, { recursive: true });
    copySome(staging);
    const making = `${file}.making-${String(process.pid)}`;
    call({ argv: ['mke2fs', '-q', '-F', '-t', 'ext4', '-d', staging, making, String(IMAGE_BYTES / 1024) + 'k'] });
    rmSync(staging, { recursive: true });
    renameSync(making, file);
  }
  // Into the page cache, for every contender alike.
  call({ argv: ['sha256sum', file] });
  return { path: file, sizeBytes: IMAGE_BYTES, dataBytes: treeBytes(file) };
}

/** A sparse copy of an image, for `change` to work on. */
export function copyImage(image: Image, file: string): Image {
  call({ argv: ['cp', '--sparse=always', image.path, file] });
  return { ...image, path: file };
}

/**
 * Replaces `share` of the image, in pieces of 64 KiB at places that hold data, by other data of the same image.
 * Different rounds change different places. Answers the bytes changed.
 */
export function change(image: Image, share: number, round: number): number {
  const pieces = Math.floor(image.sizeBytes / PIECE_BYTES);
  const target = Math.round(pieces * share);
  const here = Buffer.alloc(PIECE_BYTES);
  const other = Buffer.alloc(PIECE_BYTES);
  const fd = openSync(image.path, 'r+');
  let changed = 0;
  try {
    for (let step = 0; changed < target; step += 1) {
      const place = pick(`${String(round)}:${String(step)}`, pieces);
      const from = pick(`${String(round)}:${String(step)}:from`, pieces - 1);
      // An odd shift, so that what is written is not a piece that the peers have already.
      readSync(fd, other, 0, PIECE_BYTES, from * PIECE_BYTES + 1 + (step % 4095));
      readSync(fd, here, 0, PIECE_BYTES, place * PIECE_BYTES);
      if (isZero(here) || isZero(other)) continue;
      writeSync(fd, other, 0, PIECE_BYTES, place * PIECE_BYTES);
      changed += 1;
    }
  } finally {
    closeSync(fd);
  }
  return changed * PIECE_BYTES;
}

function copySome(staging: string): void {
  const candidates = SOURCES.filter((folder) => existsSync(folder)).flatMap((folder) => filesBelow(folder));
  candidates.sort((a, b) => (a.order < b.order ? -1 : 1));
  let copied = 0;
  for (const candidate of candidates) {
    if (copied + candidate.sizeBytes > FILES_BYTES) continue;
    const to = path.join(staging, candidate.path);
    mkdirSync(path.dirname(to), { recursive: true });
    copyFileSync(candidate.path, to, constants.COPYFILE_EXCL);
    copied += candidate.sizeBytes;
  }
}

function filesBelow(folder: string): Candidate[] {
  return readdirSync(folder).flatMap((name) => {
    const file = path.join(folder, name);
    const stat = lstatSync(file);
    if (stat.isDirectory()) return filesBelow(file);
    if (!stat.isFile() || stat.size > FILE_BYTES_MAX) return [];
    return [{ path: file, sizeBytes: stat.size, order: digest(file).toString('hex') }];
  });
}

function pick(seed: string, below: number): number {
  return digest(seed).readUInt32BE(0) % below;
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function isZero(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0);
}
