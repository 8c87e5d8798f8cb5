/** The image of the demo: made of data that compresses, data that does not, and a hole. */
import { randomFillSync } from 'node:crypto';
import { constants } from 'node:fs';
import { copyFile, open, stat } from 'node:fs/promises';
import { MIB, throwIfAborted } from '../kit/index.ts';

const IMAGE_BYTES = 64 * MIB;
const COMPARE_BYTES = MIB;
/** Where the demo changes its image, as shares of its size, and how much. */
const CHANGES = [0.1, 0.45, 0.8] as const;
const CHANGE_BYTES = 64 * 1024;

/** Makes a sparse image of 64 MiB with about 12 MiB of data. */
export async function makeImage(path: string): Promise<void> {
  await using file = await open(path, 'wx');
  await file.truncate(IMAGE_BYTES);
  await file.write(randomFillSync(Buffer.alloc(4 * MIB)), 0, 4 * MIB, MIB);
  const text = Buffer.alloc(8 * MIB, 'a line of a log file that repeats itself, as such lines do\n');
  await file.write(text, 0, text.length, 24 * MIB);
}

/** Copies an image, sharing its blocks where the file system can. */
export async function copyImage(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
}

/** Overwrites three places of an image with new data; returns how many bytes. */
export async function changeImage(path: string): Promise<number> {
  const { size } = await stat(path);
  await using file = await open(path, 'r+');
  let changedBytes = 0;
  for (const share of CHANGES) {
    const offset = Math.floor(size * share);
    const length = Math.min(CHANGE_BYTES, size - offset);
    await file.write(randomFillSync(Buffer.alloc(length)), 0, length, offset);
    changedBytes += length;
  }
  return changedBytes;
}

/** Whether two files hold the same bytes. */
export async function isIdentical(left: string, right: string, signal: AbortSignal): Promise<boolean> {
  await using one = await open(left);
  await using other = await open(right);
  if ((await one.stat()).size !== (await other.stat()).size) return false;
  const buffers = [Buffer.alloc(COMPARE_BYTES), Buffer.alloc(COMPARE_BYTES)] as const;
  for (let offset = 0; ;) {
    throwIfAborted(signal);
    const [a, b] = await Promise.all([
      one.read(buffers[0], 0, COMPARE_BYTES, offset),
      other.read(buffers[1], 0, COMPARE_BYTES, offset),
    ]);
    const length = Math.min(a.bytesRead, b.bytesRead);
    if (length === 0) return a.bytesRead === b.bytesRead;
    if (!buffers[0].subarray(0, length).equals(buffers[1].subarray(0, length))) return false;
    offset += length;
  }
}
