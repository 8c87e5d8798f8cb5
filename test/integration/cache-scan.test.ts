/** Whether one that reads everything once drives out of the cache what others read again and again. */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { seededRandom, type Random } from '../../src/core/kit/index.ts';
import type { VolumeStats } from '../../src/core/volume/index.ts';
import { LiveHome, PAGE } from './live-home.ts';

const SEED = Number(process.env['SGW_SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));
const MIB = 1 << 20;
const CACHE_BYTES = 16 * MIB;
const VOLUME_BYTES = 10 * CACHE_BYTES;
/** What is fetched and cached at once. */
const FRAME_BYTES = 64 * 1024;
/** Hot pages, each in a frame of its own: altogether a third of the cache. */
const HOT = CACHE_BYTES / FRAME_BYTES / 3;
const SCAN_READ_BYTES = 256 * 1024;

/** Bytes that do not compress, so that the volume is ten times the cache in it, too. */
async function writeImage(file: string, random: Random): Promise<void> {
  await using image = await open(file, 'w');
  for (let at = 0; at < VOLUME_BYTES; at += MIB) await image.write(random.bytes(MIB), 0, MIB, at);
}

it(`a full sequential read of a volume ten times the cache leaves the hit rate of the hot set within ten points (seed ${String(SEED)})`, async () => {
  const random = seededRandom(SEED);
  await using home = await LiveHome.start();
  await using process = await home.process();
  const file = join(home.directory, 'image');
  await writeImage(file, random);
  await process.call('configure', { cacheBytes: CACHE_BYTES, cacheRamBytes: CACHE_BYTES / 4 });
  await process.call('volume.import', { file, name: 'large' });
  await process.serve();
  const { volumeId } = await process.call('volume.attach', { volume: 'large' });
  const { device, release } = await process.serving.open('large');
  const stats = (): VolumeStats => {
    const volume = process.serving.ofVolume(volumeId ?? '')?.volume;
    if (volume === undefined) throw new Error('it is not served');
    return volume.stats;
  };
  const page = Buffer.alloc(PAGE);
  const readPage = async (at: number): Promise<void> => device.read(at * PAGE, page);
  const frames = VOLUME_BYTES / FRAME_BYTES;
  const pagesOfFrame = FRAME_BYTES / PAGE;
  const hot = new Set<number>();
  while (hot.size < HOT)
    hot.add(Math.floor(random.float() * frames) * pagesOfFrame + Math.floor(random.float() * pagesOfFrame));
  const hotPages = [...hot];
  /** Each hot page once, so that what was driven out is missed, and not made good by reading it again. */
  const hitRate = async (): Promise<number> => {
    const before = stats();
    for (const at of hotPages) await readPage(at);
    const after = stats();
    const hits = after.cacheHits - before.cacheHits;
    expect(after.logHits).toBe(0);
    expect(hits + after.storeReads - before.storeReads).toBe(hotPages.length);
    return hits / hotPages.length;
  };

  for (let i = 0; i < 20 * HOT; i++) await readPage(hotPages[Math.floor(random.float() * hotPages.length)] ?? 0);
  const before = await hitRate();
  expect(before).toBeGreaterThan(0.9);
  const target = Buffer.alloc(SCAN_READ_BYTES);
  const fetched = stats().downloadedBytes;
  for (let at = 0; at < VOLUME_BYTES; at += SCAN_READ_BYTES) await device.read(at, target);
  // It was read from the store, and so went past the cache in full.
  expect(stats().downloadedBytes - fetched).toBeGreaterThan(0.9 * (VOLUME_BYTES - CACHE_BYTES));
  const after = await hitRate();
  expect(after).toBeGreaterThanOrEqual(before - 0.1);
  await release();
}, 240_000);
