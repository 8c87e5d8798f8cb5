/** The cache of frames in two tiers, memory above a file; each keeps its own order of eviction. */
import { type Clock, type Random, systemClock, systemRandom } from '../kit/index.ts';
import type { CacheLimits, CacheStats, FrameCache } from './contract.ts';
import { SystemDisk, type CacheDisk } from './disk.ts';
import type { FileTier, PutOptions } from './file-tier.ts';
import { MemoryTier } from './memory-tier.ts';
import { closeFile, openFile, type FileParts, type OpenedFile } from './open-file.ts';
import { SegmentNumbers } from './segment-numbers.ts';

const PAGE_BYTES = 4096;
const PAGE_SHIFT = 12;
const FRAME_BYTES_MAX = 65_536;
const FRAME_NUMBER_MAX = 65_535;
/** The file's first unit is its header; a file with room for less than one whole frame is none. */
const FILE_UNITS_MIN = 17;
/** How long nothing is written after a write failed. */
const PAUSE_MS = 10_000;
/** Hits of the file for each frame that they bring to memory when that is full: it costs a read of the whole frame. */
const HITS_A_PROMOTION = 8;

export interface FrameCacheOptions {
  /** Made when it is missing. Nobody else may have it open. */
  readonly directory: string;
  readonly limits: CacheLimits;
  /** Told when the cache goes on without its file, or without saving something; once for each time. */
  readonly onProblem?: (message: string) => void;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly disk?: CacheDisk;
}

class TieredCache implements FrameCache {
  readonly #segments = new SegmentNumbers();
  readonly #memory: MemoryTier;
  readonly #parts: FileParts;
  readonly #clock: Clock;
  readonly #onProblem: (message: string) => void;
  #limits: CacheLimits;
  #file: FileTier | undefined;
  #opened: OpenedFile | undefined;
  #fileProblem: string | null = null;
  #pausedUntilMs = -Infinity;
  #ramHits = 0;
  /** The frame that was read from the file last, and how many hits of memory there were by then. */
  #lastPlace = 0;
  #lastFrame = 0;
  #ramHitsThen = 0;
  #fileHits = 0;
  #misses = 0;
  #unwrittenFrames = 0;
  #fileHitsLeft = HITS_A_PROMOTION;
  #isClosed = false;
  #changed: Promise<void> = Promise.resolve();
  readonly #frame = Buffer.allocUnsafeSlow(FRAME_BYTES_MAX);

  constructor(options: FrameCacheOptions) {
    this.#limits = options.limits;
    this.#parts = {
      disk: options.disk ?? new SystemDisk(options.directory),
      random: options.random ?? systemRandom,
      segments: this.#segments,
      onFailure: (error) => {
        this.#writeFailed(error);
      },
    };
    this.#clock = options.clock ?? systemClock;
    this.#onProblem = options.onProblem ?? (() => undefined);
    this.#memory = new MemoryTier(options.limits.ramBytes, this.#segments, (entry) => {
      this.#demote(entry);
    });
  }

  /** Opens the file; goes on without it when that fails. */
  async openFile(): Promise<void> {
    const unitCount = unitsOf(this.#limits.fileBytes);
    if (unitCount < FILE_UNITS_MIN) return;
    try {
      this.#opened = await openFile(unitCount, this.#parts);
      this.#file = this.#opened.tier;
      this.#fileProblem = null;
    } catch (error) {
      this.#tell(`the cache goes on without its file: ${textOf(error)}`);
    }
  }

  #tell(message: string): void {
    this.#fileProblem = message;
    this.#onProblem(message);
  }

  #writeFailed(error: unknown): void {
    const now = this.#clock.monotonicMs();
    if (now < this.#pausedUntilMs) return;
    this.#pausedUntilMs = now + PAUSE_MS;
    this.#tell(`the cache's file can not be written: ${textOf(error)}`);
  }

  get stats(): CacheStats {
    return {
      limits: this.#limits,
      fileUsedBytes: this.#file?.usedBytes ?? 0,
      ramUsedBytes: this.#memory.usedBytes,
      frames: (this.#file?.table.index.count ?? 0) + this.#memory.table.index.count,
      ramHits: this.#ramHits,
      fileHits: this.#fileHits,
      misses: this.#misses,
      evictedFrames: this.#memory.evictedFrames + (this.#file?.evictedFrames ?? 0),
      damagedFrames: this.#file?.damagedFrames ?? 0,
      writingBytes: this.#file?.writes.bytes ?? 0,
      unwrittenFrames: this.#unwrittenFrames,
      fileProblem: this.#fileProblem,
    };
  }

  numberOf(segmentId: string): number {
    return this.#segments.numberOf(segmentId);
  }

  read(segment: number, frame: number, from: number, target: Buffer): boolean {
    const place = this.#segments.placeOf(segment);
    const { table } = this.#memory;
    const entry = place === 0 ? 0 : table.index.find(place, frame);
    if (entry === 0) return this.#readBelow(place, frame, from, target);
    if (!isInside(table.index.pagesOf(entry), from, target.length)) return this.#miss(from, target.length);
    table.use(entry);
    this.#memory.read(entry, from, target);
    this.#ramHits += pagesTouched(from, target.length);
    return true;
  }

  #readBelow(place: number, frame: number, from: number, target: Buffer): boolean {
    const file = this.#file;
    const entry = place === 0 || file === undefined ? 0 : file.table.index.find(place, frame);
    if (entry === 0 || file === undefined) return this.#miss(from, target.length);
    const pages = file.table.index.pagesOf(entry);
    if (!isInside(pages, from, target.length)) return this.#miss(from, target.length);
    file.table.use(entry);
    if (!file.read(entry, from, target)) return this.#miss(from, target.length);
    this.#fileHits += pagesTouched(from, target.length);
    if (!this.#isSameUse(place, frame)) this.#considerPromotion(file, entry, place, frame, pages, target);
    return true;
  }

  /** Whether the read before this one was of the same frame of the file, too: one who reads it page by page uses it once. */
  #isSameUse(place: number, frame: number): boolean {
    const isSame = place === this.#lastPlace && frame === this.#lastFrame && this.#ramHits === this.#ramHitsThen;
    this.#lastPlace = place;
    this.#lastFrame = frame;
    this.#ramHitsThen = this.#ramHits;
    return isSame;
  }

  #miss(from: number, length: number): boolean {
    this.#misses += pagesTouched(from, length);
    return false;
  }

  /** Brings a frame that was used from the file twice within a while to memory, if that is not done too often. */
  #considerPromotion(file: FileTier, entry: number, place: number, frame: number, pages: number, target: Buffer): void {
    const { table } = this.#memory;
    if (this.#fileHitsLeft > 0) this.#fileHitsLeft--;
    if (!table.ghost.has(place, frame)) {
      table.ghost.add(place, frame);
      return;
    }
    if (this.#fileHitsLeft > 0 && table.pool.free < pages) return;
    this.#fileHitsLeft = HITS_A_PROMOTION;
    const bytes = pages << PAGE_SHIFT;
    if (target.length === bytes) this.#memory.put(place, frame, target, true);
    else {
      const whole = this.#frame.subarray(0, bytes);
      if (file.read(entry, 0, whole)) this.#memory.put(place, frame, whole, true);
    }
  }

  has(segment: number, frame: number): boolean {
    const place = this.#segments.placeOf(segment);
    return place !== 0 && this.#isHere(place, frame);
  }

  #isHere(place: number, frame: number): boolean {
    if (this.#memory.table.index.find(place, frame) !== 0) return true;
    return (this.#file?.table.index.find(place, frame) ?? 0) !== 0;
  }

  put(segment: number, frame: number, pages: Buffer, isUsed = true): void {
    const place = this.#placeFor(segment, frame, pages);
    if (place === 0) return;
    this.#writeToFile(place, frame, pages, { isUsed, isCopied: true });
    this.#putToMemory(place, frame, pages, isUsed);
  }

  putUnread(segment: number, frame: number, pages: Buffer): void {
    const place = this.#placeFor(segment, frame, pages);
    if (place === 0) return;
    if (this.#file === undefined) this.#putToMemory(place, frame, pages, false);
    else this.#writeToFile(place, frame, pages, { isUsed: false, isCopied: false });
  }

  /** Where a frame belongs; 0 when it is none, or of a segment that has no number any more. */
  #placeFor(segment: number, frame: number, pages: Buffer): number {
    const isFrame = pages.length > 0 && pages.length <= FRAME_BYTES_MAX && pages.length % PAGE_BYTES === 0;
    if (!isFrame || frame < 0 || frame > FRAME_NUMBER_MAX || this.#isClosed) return 0;
    return this.#segments.placeOf(segment);
  }

  #putToMemory(place: number, frame: number, pages: Buffer, isUsed: boolean): void {
    if (this.#memory.table.index.find(place, frame) === 0) this.#memory.put(place, frame, pages, isUsed);
  }

  #writeToFile(place: number, frame: number, pages: Buffer, how: PutOptions): void {
    const file = this.#file;
    if (file?.table.index.find(place, frame) !== 0) return;
    const isPaused = this.#clock.monotonicMs() < this.#pausedUntilMs;
    if (isPaused || !file.put(place, frame, pages, how)) this.#unwrittenFrames++;
  }

  /**
   * What was hot in memory is hot in the file, whose copy nobody asked for meanwhile; if it is not there, since its write was
   * dropped or others came, it gets another chance.
   */
  #demote(entry: number): void {
    const { index } = this.#memory.table;
    const place = index.placeOf(entry);
    const frame = index.frameOf(entry);
    const below = this.#file?.table.index.find(place, frame);
    if (below !== 0) {
      if (below !== undefined) this.#file?.table.credit(below);
      return;
    }
    const pages = Buffer.allocUnsafe(index.pagesOf(entry) * PAGE_BYTES);
    this.#memory.read(entry, 0, pages);
    this.#writeToFile(place, frame, pages, { isUsed: true, isCopied: false });
  }

  /** One change of the whole at a time. */
  async #change(change: () => Promise<void>): Promise<void> {
    const changed = this.#changed.then(change);
    this.#changed = changed.catch(() => undefined);
    await changed;
  }

  async resize(limits: CacheLimits): Promise<void> {
    await this.#change(async () => {
      if (this.#isClosed) return;
      this.#limits = limits;
      this.#memory.resize(limits.ramBytes);
      const unitCount = unitsOf(limits.fileBytes);
      if (this.#file === undefined) await this.openFile();
      else if (unitCount < FILE_UNITS_MIN) await this.#removeFile();
      else await this.#file.resize(unitCount);
    }).catch((error: unknown) => {
      this.#tell(`the cache's file keeps its size: ${textOf(error)}`);
    });
  }

  /** Gives back what the file takes on the disk. */
  async #removeFile(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    this.#opened = undefined;
    await file?.clear();
    await file?.file.truncate(0);
    await file?.close();
  }

  async clear(): Promise<void> {
    await this.#change(async () => {
      this.#memory.clear();
      await this.#file?.clear();
    }).catch((error: unknown) => {
      this.#tell(`the cache's file was not emptied: ${textOf(error)}`);
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#change(async () => {
      const opened = this.#opened;
      this.#opened = undefined;
      this.#file = undefined;
      this.#memory.clear();
      this.#memory.resize(0);
      if (opened !== undefined) await closeFile(opened, this.#parts);
    }).catch((error: unknown) => {
      this.#tell(`the cache begins empty next time: ${textOf(error)}`);
    });
  }
}

const unitsOf = (fileBytes: number): number => Math.floor(fileBytes / PAGE_BYTES);

const isInside = (pages: number, from: number, length: number): boolean =>
  from >= 0 && length > 0 && from + length <= pages << PAGE_SHIFT;

const pagesTouched = (from: number, length: number): number =>
  ((from + length - 1) >> PAGE_SHIFT) - (from >> PAGE_SHIFT) + 1;

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Opens the cache of a gateway. Never fails because of its file: then it is a cache in memory. */
export async function openFrameCache(options: FrameCacheOptions): Promise<FrameCache> {
  const cache = new TieredCache(options);
  await cache.openFile();
  return cache;
}
