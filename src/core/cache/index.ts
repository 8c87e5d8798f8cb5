/** Room `cache` (level 3): clean frames, decoded, in memory and in a file (DESIGN section 6, PROTOCOL C14). */
export type { CacheLimits, CacheStats, FrameCache } from './contract.ts';
export type { CacheDisk, CacheFile } from './disk.ts';
export { openFrameCache, type FrameCacheOptions } from './frame-cache.ts';
export { ReadAhead, type ReadAheadExtent } from './read-ahead.ts';
