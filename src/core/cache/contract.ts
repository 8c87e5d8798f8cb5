/**
 * The contract of the cache (DESIGN section 6, PROTOCOL C14): clean frames, decoded, that can be dropped at any time. One
 * cache serves all volumes of a gateway, so that clones share what they have in common.
 *
 * A frame is 1 to 16 pages of 4096 bytes. It is named by its segment (the random id in it makes the name unique for ever, so
 * nothing in the cache is ever stale) and its number in the segment.
 */

/** A segment as the cache numbers it, from 1, for the life of the process. */
export type SegmentNumber = number;

export interface CacheLimits {
  /** Of the file; 0: no file. */
  readonly fileBytes: number;
  /** Of frames in memory. */
  readonly ramBytes: number;
}

export interface CacheStats {
  readonly limits: CacheLimits;
  readonly fileUsedBytes: number;
  readonly ramUsedBytes: number;
  /** Of both tiers; one that is in both counts twice. */
  readonly frames: number;
  /** Reads answered from memory, from the file, and not at all, in pages, since the start. */
  readonly ramHits: number;
  readonly fileHits: number;
  readonly misses: number;
  readonly evictedFrames: number;
  /** Frames of the file that did not match their checksum, and were dropped. */
  readonly damagedFrames: number;
  /** Of writes to the file that are under way. */
  readonly writingBytes: number;
  /** Frames that were not written to the file: too much was under way, or it can't be written at the moment. */
  readonly unwrittenFrames: number;
  /** Why there is no file, or what went wrong with it last. */
  readonly fileProblem: string | null;
}

export interface FrameCache {
  readonly stats: CacheStats;
  /**
   * The number of the segment with this id (32 hex digits). The same id gets the same number while it has frames here or is one
   * of the last 65,536 without; after that it gets another, and under the old one, which is never given to another segment,
   * nothing is found and nothing is kept. So ask again at a miss, before `put`.
   */
  numberOf(segmentId: string): SegmentNumber;
  /**
   * Copies `target.length` bytes of a frame, from byte `from` of its decoded pages, if the frame is here and matches its
   * checksum; false otherwise, and then `target` holds anything. Synchronous: a microsecond from memory, a few from the file's pages in the kernel. Counts as
   * one use of the frame however many calls of one request ask for it in a row.
   */
  read(segment: SegmentNumber, frame: number, from: number, target: Buffer): boolean;
  /** Whether a frame is here. Is no use of it. */
  has(segment: SegmentNumber, frame: number): boolean;
  /**
   * Takes a frame in; copies it. Never waits and never fails: what can not be kept is dropped. `isUsed` (true) says that
   * somebody asked for it; false for what is read ahead, so that being read once is its first use.
   */
  put(segment: SegmentNumber, frame: number, pages: Buffer, isUsed?: boolean): void;
  /**
   * Takes in a frame that nobody has asked for yet and whose `pages` never change: they are not copied, and are held until
   * they are in the file. It comes to memory when it is read, or at once where there is no file. Otherwise as `put`.
   */
  putUnread(segment: SegmentNumber, frame: number, pages: Buffer): void;
  /** Changes the limits while running; frames beyond them are evicted. */
  resize(limits: CacheLimits): Promise<void>;
  /** Forgets everything. */
  clear(): Promise<void>;
  /** Waits for writes under way, saves the index, closes. Idempotent. */
  close(): Promise<void>;
}
