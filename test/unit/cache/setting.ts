/** What the tests of the cache share: folders of their own, and frames that say what they are. */
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

/** The id of segment `n`: 32 hex digits. */
export const segmentId = (n: number): string => (n * 2654435761).toString(16).padStart(16, '0').padStart(32, 'a5');

/** The pages of a frame: all different, from frame to frame and page to page. */
export function framePages(segment: number, frame: number, pages: number): Buffer {
  const out = Buffer.alloc(pages * 4096);
  for (let page = 0; page < pages; page++) {
    const at = page * 4096;
    out.fill((segment * 7 + frame * 13 + page + 1) & 0xff, at, at + 4096);
    out.writeUInt32LE(segment, at);
    out.writeUInt32LE(frame, at + 4);
    out.writeUInt32LE(page, at + 4092);
  }
  return out;
}

/** Waits until no write of a frame is under way. */
export async function settled(cache: FrameCache): Promise<void> {
  while (cache.stats.writingBytes > 0) await new Promise((resolve) => setImmediate(resolve));
}
