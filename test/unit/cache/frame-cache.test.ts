import { describe, expect, it } from 'vitest';
import { framePages, segmentId } from './frames.ts';
import { newFolder, openCache, settled } from './setting.ts';

const MIB = 1024 * 1024;

describe('frames in and out', () => {
  it.each([
    ['memory', 0, 4 * MIB],
    ['the file', 4 * MIB, 0],
    ['both', 4 * MIB, MIB],
  ])('any bytes of a frame come back from %s', async (_, fileBytes, ramBytes) => {
    const cache = await openCache({ directory: await newFolder(), limits: { fileBytes, ramBytes } });
    const segment = cache.numberOf(segmentId(1));
    for (let frame = 0; frame < 16; frame++) cache.put(segment, frame, framePages(1, frame, frame + 1));
    for (let round = 0; round < 2; round++) {
      for (let frame = 0; frame < 16; frame++) {
        const pages = framePages(1, frame, frame + 1);
        for (const [from, length] of [
          [0, pages.length],
          [0, 4096],
          [512, 1024],
          [pages.length - 4096, 4096],
          [pages.length - 3000, 2000],
        ] as const) {
          const target = Buffer.alloc(length);
          expect(cache.read(segment, frame, from, target)).toBe(true);
          expect(target.equals(pages.subarray(from, from + length))).toBe(true);
        }
      }
      await settled(cache);
    }
    expect(cache.has(segment, 3)).toBe(true);
    expect(cache.has(segment, 16)).toBe(false);
    expect(cache.read(segment, 16, 0, Buffer.alloc(4096))).toBe(false);
    expect(cache.read(segment, 0, 0, Buffer.alloc(8192))).toBe(false);
    expect(cache.stats).toMatchObject({ damagedFrames: 0, unwrittenFrames: 0, fileProblem: null });
  });

  it('frames that nobody has read yet come from the file, before and after they are in it, and cost no memory', async () => {
    const directory = await newFolder();
    const cache = await openCache({ directory, limits: { fileBytes: 4 * MIB, ramBytes: MIB } });
    const segment = cache.numberOf(segmentId(1));
    const together = Buffer.concat(Array.from({ length: 40 }, (_, frame) => framePages(1, frame, 1)));
    const pagesOf = (frame: number): Buffer => together.subarray(frame * 4096, (frame + 1) * 4096);
    for (let frame = 0; frame < 40; frame++) cache.putUnread(segment, frame, pagesOf(frame));
    expect(cache.stats).toMatchObject({ writingBytes: 40 * 4096, ramUsedBytes: 0, fileUsedBytes: 40 * 4096 });
    for (let round = 0; round < 2; round++) {
      for (let frame = 0; frame < 40; frame++) {
        const target = Buffer.alloc(4096);
        expect(cache.read(segment, frame, 0, target)).toBe(true);
        expect(target.equals(framePages(1, frame, 1))).toBe(true);
      }
      await settled(cache);
    }
    expect(cache.stats).toMatchObject({ damagedFrames: 0, unwrittenFrames: 0, fileProblem: null });
  });

  it('a frame that nobody has read yet is in memory where there is no file', async () => {
    const cache = await openCache({ directory: await newFolder(), limits: { fileBytes: 0, ramBytes: MIB } });
    const segment = cache.numberOf(segmentId(1));
    cache.putUnread(segment, 0, framePages(1, 0, 2));
    const target = Buffer.alloc(8192);
    expect(cache.read(segment, 0, 0, target)).toBe(true);
    expect(target.equals(framePages(1, 0, 2))).toBe(true);
  });
});
