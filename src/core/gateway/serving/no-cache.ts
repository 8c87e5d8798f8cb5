/** A cache that keeps nothing, for work that reads everything once, or next to nothing. */
import type { FrameCache } from '../../cache/index.ts';

const nothing = async (): Promise<void> => Promise.resolve();

/** Segments have numbers all the same: frames that are under way are told apart by them. */
export function noCache(): FrameCache {
  const numbers = new Map<string, number>();
  return {
    stats: {
      limits: { fileBytes: 0, ramBytes: 0 },
      fileUsedBytes: 0,
      ramUsedBytes: 0,
      frames: 0,
      ramHits: 0,
      fileHits: 0,
      misses: 0,
      evictedFrames: 0,
      damagedFrames: 0,
      writingBytes: 0,
      unwrittenFrames: 0,
      fileProblem: null,
    },
    numberOf: (segmentId) => {
      const number = numbers.get(segmentId) ?? numbers.size + 1;
      numbers.set(segmentId, number);
      return number;
    },
    read: () => false,
    has: () => false,
    put: () => undefined,
    putUnread: () => undefined,
    resize: nothing,
    clear: nothing,
    close: nothing,
  };
}
