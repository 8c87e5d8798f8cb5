/** What a scan does to the frames that are used again and again. */
import { describe, expect, it } from 'vitest';
import type { CacheLimits, FrameCache } from '../../../src/core/cache/index.ts';
import { seededRandom } from '../../../src/core/kit/index.ts';
import { segmentId } from './frames.ts';
import { newFolder, openCache, settled } from './setting.ts';

const MIB = 1024 * 1024;
const target = Buffer.alloc(4096);

/** Reads a page as a volume does: a miss brings the frame in. */
async function readPage(
  cache: FrameCache,
  segment: number,
  frame: number,
  page: number,
  frameBytes: Buffer,
): Promise<boolean> {
  if (cache.read(segment, frame, page * 4096, target)) return true;
  cache.put(segment, frame, frameBytes);
  if (cache.stats.writingBytes > 512 * 1024) await settled(cache);
  return false;
}

interface Scene {
  readonly limits: CacheLimits;
  readonly pages: number;
  /** Part of the larger tier that the hot set takes. */
  readonly hotPart: number;
  /** Hot reads between two frames of the scan. */
  readonly beside: number;
  /** Frames that the scan is read ahead; by default none. */
  readonly ahead?: number;
}

/** Hit rates of the hot set: before, during and after a scan of ten times the cache. */
async function hitRates({
  limits,
  pages,
  hotPart,
  beside,
  ahead = 0,
}: Scene): Promise<{ before: number; during: number; after: number }> {
  const cache = await openCache({ directory: await newFolder(), limits });
  const random = seededRandom(Number(process.env['SGW_SEED'] ?? 1));
  const frameBytes = Buffer.alloc(pages * 4096, 5);
  const capacity = Math.max(limits.fileBytes, limits.ramBytes);
  const hotFrames = Math.floor((capacity * hotPart) / frameBytes.length);
  const hot = cache.numberOf(segmentId(1));
  const pass = async (): Promise<number> => {
    let hits = 0;
    for (let i = 0; i < hotFrames; i++) {
      const frame = Math.floor(random.float() * hotFrames);
      if (await readPage(cache, hot, frame, i % pages, frameBytes)) hits++;
    }
    return hits / hotFrames;
  };
  for (let i = 0; i < 6; i++) await pass();
  const before = await pass();
  let hits = 0;
  const scanFrames = Math.floor((10 * capacity) / frameBytes.length);
  for (let i = 0; i < scanFrames; i++) {
    const segment = cache.numberOf(segmentId(2 + (i >> 12)));
    for (let next = i; ahead > 0 && i % ahead === 0 && next < i + ahead; next++) {
      cache.put(cache.numberOf(segmentId(2 + (next >> 12))), next & 4095, frameBytes, false);
      if (cache.stats.writingBytes > 512 * 1024) await settled(cache);
    }
    for (let page = 0; page < pages; page++) await readPage(cache, segment, i & 4095, page, frameBytes);
    for (let j = 0; j < beside; j++) {
      if (await readPage(cache, hot, Math.floor(random.float() * hotFrames), 0, frameBytes)) hits++;
    }
  }
  return { before, during: beside === 0 ? before : hits / (scanFrames * beside), after: await pass() };
}

describe('a sequential read of ten times the cache leaves the hit rate of the hot set within ten points', () => {
  it.each([
    ['file, frames of 16 pages, half of it hot', { fileBytes: 16 * MIB, ramBytes: 0 }, 16, 0.5, 0],
    ['file, frames of 16 pages, 85 % hot', { fileBytes: 16 * MIB, ramBytes: 0 }, 16, 0.85, 0],
    ['file, frames of 16 pages, 95 % hot', { fileBytes: 16 * MIB, ramBytes: 0 }, 16, 0.95, 0],
    ['file, frames of 1 page, 90 % hot', { fileBytes: 4 * MIB, ramBytes: 0 }, 1, 0.9, 0],
    ['file, with hot reads beside the scan, 85 % hot', { fileBytes: 16 * MIB, ramBytes: 0 }, 16, 0.85, 1],
    ['memory, 85 % hot', { fileBytes: 0, ramBytes: 16 * MIB }, 16, 0.85, 0],
    ['memory, 95 % hot', { fileBytes: 0, ramBytes: 16 * MIB }, 16, 0.95, 0],
    ['memory above a file, 85 % hot', { fileBytes: 16 * MIB, ramBytes: 4 * MIB }, 16, 0.85, 0],
    ['memory above a file, hot reads beside', { fileBytes: 16 * MIB, ramBytes: 4 * MIB }, 16, 0.85, 1],
  ] as const)('%s', async (_, limits, pages, hotPart, beside) => {
    const rates = await hitRates({ limits, pages, hotPart, beside });
    expect(rates.before).toBeGreaterThan(0.9);
    expect(rates.during).toBeGreaterThan(rates.before - 0.1);
    expect(rates.after).toBeGreaterThan(rates.before - 0.1);
  });
});

it.each([
  ['less', 8],
  ['more', 64],
])('a scan that is read ahead by %s than the small queue holds leaves the hot set, too', async (_, ahead) => {
  const limits = { fileBytes: 16 * MIB, ramBytes: 4 * MIB };
  const rates = await hitRates({ limits, pages: 16, hotPart: 0.5, beside: 0, ahead });
  expect(rates.before).toBeGreaterThan(0.9);
  expect(rates.after).toBeGreaterThan(rates.before - 0.1);
});

describe('memory above a file', () => {
  it('keeps what fits and is hot while a scan goes by', async () => {
    const cache = await openCache({ directory: await newFolder(), limits: { fileBytes: 32 * MIB, ramBytes: 4 * MIB } });
    const frameBytes = Buffer.alloc(65536, 5);
    const hot = cache.numberOf(segmentId(1));
    for (let round = 0; round < 4; round++) {
      for (let frame = 0; frame < 48; frame++) await readPage(cache, hot, frame, 0, frameBytes);
    }
    for (let i = 0; i < 5000; i++) await readPage(cache, cache.numberOf(segmentId(2)), i, 0, frameBytes);
    const { ramHits } = cache.stats;
    for (let frame = 0; frame < 48; frame++) await readPage(cache, hot, frame, 0, frameBytes);
    expect(cache.stats.ramHits - ramHits).toBeGreaterThan(43);
  });

  it('takes in what is read from the file again and again', async () => {
    const cache = await openCache({ directory: await newFolder(), limits: { fileBytes: 32 * MIB, ramBytes: 4 * MIB } });
    const frameBytes = Buffer.alloc(65536, 5);
    const segment = cache.numberOf(segmentId(1));
    for (let frame = 0; frame < 400; frame++) await readPage(cache, segment, frame, 0, frameBytes);
    await settled(cache);
    for (let round = 0; round < 40; round++) {
      for (let frame = 0; frame < 32; frame++) await readPage(cache, segment, frame, round % 16, frameBytes);
    }
    const { ramHits } = cache.stats;
    for (let frame = 0; frame < 32; frame++) await readPage(cache, segment, frame, 0, frameBytes);
    expect(cache.stats.ramHits - ramHits).toBe(32);
  });
});
