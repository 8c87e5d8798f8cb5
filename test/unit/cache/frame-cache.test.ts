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
});
