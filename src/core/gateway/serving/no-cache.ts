/** A cache that keeps nothing, for work on a volume that reads next to nothing. */
import type { FrameCache } from '../../cache/index.ts';

const nothing = async (): Promise<void> => Promise.resolve();

export const noCache: FrameCache = {
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
  numberOf: () => 1,
  read: () => false,
  has: () => false,
  put: () => undefined,
  putUnread: () => undefined,
  resize: nothing,
  clear: nothing,
  close: nothing,
};
