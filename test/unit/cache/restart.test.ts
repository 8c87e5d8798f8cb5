/** What is there after a restart, and what never is: frames of another life, another file, another size. */
import { copyFile, readFile, readdir, rename, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { CacheLimits, FrameCache } from '../../../src/core/cache/index.ts';
import { seededRandom } from '../../../src/core/kit/index.ts';
import { framePages, segmentId } from './frames.ts';
import { newFolder, openCache, settled } from './setting.ts';

const MIB = 1024 * 1024;
const LIMITS: CacheLimits = { fileBytes: 2 * MIB, ramBytes: 0 };
const seed = Number(process.env['SGW_SEED'] ?? 4);

const pagesOf = (frame: number): number => (frame % 16) + 1;

/** Puts frames of a segment of 1 to 16 pages, so that later ones come to lie in pieces. */
async function fill(cache: FrameCache, segment: number, frames: number): Promise<void> {
  const number = cache.numberOf(segmentId(segment));
  for (let frame = 0; frame < frames; frame++) {
    cache.put(number, frame, framePages(segment, frame, pagesOf(frame)));
    await settled(cache);
  }
}

/** How many frames are found; every one found must be right. */
function found(cache: FrameCache, segment: number, frames: number): number {
  const number = cache.numberOf(segmentId(segment));
  let count = 0;
  for (let frame = 0; frame < frames; frame++) {
    const target = Buffer.alloc(pagesOf(frame) * 4096);
    if (!cache.read(number, frame, 0, target)) continue;
    expect(target.equals(framePages(segment, frame, pagesOf(frame)))).toBe(true);
    count++;
  }
  return count;
}

/** A folder with a cache that was closed after 200 frames of which about the last 60 are there. */
async function closedCache(): Promise<{ directory: string; frames: number }> {
  const directory = await newFolder();
  const cache = await openCache({ directory, limits: LIMITS });
  await fill(cache, 1, 200);
  const frames = found(cache, 1, 200);
  expect(frames).toBeGreaterThan(40);
  await cache.close();
  return { directory, frames };
}

describe('a clean close', () => {
  it('keeps every frame of the file, and only the owner can read the files', async () => {
    const { directory, frames } = await closedCache();
    expect((await readdir(directory)).sort()).toEqual(['frames', 'index']);
    for (const name of ['frames', 'index']) expect((await stat(join(directory, name))).mode & 0o777).toBe(0o600);
    const cache = await openCache({ directory, limits: LIMITS });
    expect(await readdir(directory)).toEqual(['frames']);
    expect(found(cache, 1, 200)).toBe(frames);
    expect(cache.stats).toMatchObject({ damagedFrames: 0, frames });
    await fill(cache, 2, 200);
    expect(found(cache, 1, 200)).toBeLessThan(frames);
    expect(found(cache, 2, 200)).toBeGreaterThan(0);
    expect(cache.stats.damagedFrames).toBe(0);
  });

  it('keeps what lies below the new end when the file is smaller, and all when it is larger', async () => {
    const { directory, frames } = await closedCache();
    const larger = await openCache({ directory, limits: { fileBytes: 4 * MIB, ramBytes: 0 } });
    expect(found(larger, 1, 200)).toBe(frames);
    await larger.close();
    const smaller = await openCache({ directory, limits: { fileBytes: MIB, ramBytes: 0 } });
    const left = found(smaller, 1, 200);
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThan(frames);
    expect(smaller.stats.damagedFrames).toBe(0);
    expect((await stat(join(directory, 'frames'))).size).toBeLessThanOrEqual(MIB);
  });

  it('is forgotten by a process that does not close', async () => {
    const { directory } = await closedCache();
    const index = await readFile(join(directory, 'index'));
    await openCache({ directory, limits: LIMITS });
    // The index of before, put back by hand or by a file system: the file of frames is another one now.
    await writeFile(join(directory, 'index'), index);
    const next = await openCache({ directory, limits: LIMITS });
    expect(found(next, 1, 200)).toBe(0);
    expect(next.stats).toMatchObject({ frames: 0, fileProblem: null });
  });
});

describe('damage', () => {
  it('of the index, anywhere, makes the cache begin empty', async () => {
    const { directory } = await closedCache();
    const index = await readFile(join(directory, 'index'));
    await copyFile(join(directory, 'frames'), join(directory, 'frames.kept'));
    const random = seededRandom(seed);
    for (let round = 0; round < 40; round++) {
      const bad = Buffer.from(index);
      const at = Math.floor(random.float() * bad.length);
      if (round % 2 === 0) bad.writeUInt8(bad.readUInt8(at) ^ (1 << (round % 8)), at);
      await copyFile(join(directory, 'frames.kept'), join(directory, 'frames'));
      await writeFile(join(directory, 'index'), round % 2 === 0 ? bad : bad.subarray(0, at));
      const cache = await openCache({ directory, limits: LIMITS });
      expect(cache.stats, `seed ${seed}, round ${round}`).toMatchObject({ frames: 0, fileProblem: null });
      const number = cache.numberOf(segmentId(1));
      cache.put(number, 0, framePages(1, 0, 1));
      expect(cache.has(number, 0)).toBe(true);
      await cache.close();
    }
  });

  it('of the file costs the frames that it hits', async () => {
    const { directory, frames } = await closedCache();
    const path = join(directory, 'frames');
    const bytes = await readFile(path);
    const random = seededRandom(seed);
    for (let i = 0; i < 20; i++) {
      const at = 4096 + Math.floor(random.float() * (bytes.length - 4096));
      bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << (i % 8)), at);
    }
    await writeFile(path, bytes);
    const cache = await openCache({ directory, limits: LIMITS });
    const left = found(cache, 1, 200);
    const { damagedFrames } = cache.stats;
    expect(damagedFrames).toBeGreaterThan(0);
    expect(left).toBe(frames - damagedFrames);
    expect(found(cache, 1, 200)).toBe(left);
    // A damaged frame can come again.
    const before = cache.stats.frames;
    await fill(cache, 1, 200);
    expect(cache.stats.frames).toBeGreaterThanOrEqual(before);
    found(cache, 1, 200);
    expect(cache.stats.damagedFrames).toBe(damagedFrames);
  });

  it.each(['swapped', 'truncated', 'gone', 'grown'])(
    'of the whole file (%s): nothing of it is believed',
    async (how) => {
      const { directory } = await closedCache();
      const path = join(directory, 'frames');
      if (how === 'swapped') {
        const other = await closedCache();
        await rename(join(other.directory, 'frames'), path);
      } else if (how === 'truncated') await truncate(path, MIB);
      else if (how === 'grown') await truncate(path, 3 * MIB);
      else await rename(path, `${path}.away`);
      const cache = await openCache({ directory, limits: LIMITS });
      expect(found(cache, 1, 200)).toBe(0);
      await fill(cache, 1, 10);
      expect(found(cache, 1, 10)).toBe(10);
    },
  );

  it('of pages that were exchanged is found, since a checksum belongs to its place', async () => {
    const directory = await newFolder();
    const cache = await openCache({ directory, limits: LIMITS });
    const number = cache.numberOf(segmentId(1));
    // Pages full of one byte: frames in a new file lie one behind the other, behind its header.
    cache.put(number, 1, Buffer.alloc(4096, 1));
    cache.put(number, 2, Buffer.alloc(4096, 2));
    await settled(cache);
    const path = join(directory, 'frames');
    const bytes = await readFile(path);
    expect([bytes[4096], bytes[8192]]).toEqual([1, 2]);
    await writeFile(
      path,
      Buffer.concat([bytes.subarray(0, 4096), Buffer.alloc(4096, 2), Buffer.alloc(4096, 1), bytes.subarray(12288)]),
    );
    const target = Buffer.alloc(4096);
    expect([cache.read(number, 1, 0, target), cache.read(number, 2, 0, target)]).toEqual([false, false]);
    expect(cache.stats).toMatchObject({ damagedFrames: 2, frames: 0 });
  });
});
