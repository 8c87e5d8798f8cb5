/** What the tests of the cache share: folders of their own, caches that are closed. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import { openFrameCache, type FrameCache, type FrameCacheOptions } from '../../../src/core/cache/index.ts';

const folders: string[] = [];
const caches: FrameCache[] = [];

afterEach(async () => {
  for (const cache of caches.splice(0)) await cache.close();
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

export async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sgw-cache-'));
  folders.push(folder);
  return folder;
}

/** A cache that is closed when the test ends. */
export async function openCache(options: FrameCacheOptions): Promise<FrameCache> {
  const cache = await openFrameCache(options);
  caches.push(cache);
  return cache;
}

/** Waits until no write of a frame is under way. */
export async function settled(cache: FrameCache): Promise<void> {
  while (cache.stats.writingBytes > 0) await new Promise((resolve) => setImmediate(resolve));
}
