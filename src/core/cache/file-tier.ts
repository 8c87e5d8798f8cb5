/**
 * Frames in one file: units of 4096 bytes, a CRC-32 for each in memory, begun with the name of its frame and its place in it,
 * and checked whenever bytes come out of the file. Writes go on behind the caller's back; a frame under way is read from memory.
 *
 * Invariants: a frame's entry is pinned while its write is under way, so that its units are nobody else's until then. What does
 * not match its checksum, or can't be read, is dropped.
 */
import { crc32 } from 'node:zlib';
import type { CacheFile } from './disk.ts';
import { PINNED } from './frame-index.ts';
import { FrameTable, type RestoredFrame } from './frame-table.ts';
import type { SegmentNumbers } from './segment-numbers.ts';
import { WriteQueue } from './write-queue.ts';

const UNIT_BYTES = 4096;
const UNIT_SHIFT = 12;
const FRAME_BYTES_MAX = 65_536;
/** Bytes of writes under way, and never more than a quarter of the file, so that what is pinned is no burden. */
const WRITING_BYTES_MAX = 32 * 1024 * 1024;

/** How a frame is taken in. */
export interface PutOptions {
  /** Somebody asked for it. */
  readonly isUsed: boolean;
  /** Its pages may change, so a copy of them is written. */
  readonly isCopied: boolean;
}

export class FileTier {
  table: FrameTable;
  /** By unit. */
  crcs: Uint32Array;
  readonly writes: WriteQueue;
  readonly file: CacheFile;
  readonly #segments: SegmentNumbers;
  readonly #scratch = Buffer.allocUnsafeSlow(FRAME_BYTES_MAX);
  evictedFrames = 0;
  damagedFrames = 0;

  /** @param onFailure a write failed; its frame is not here any more */
  constructor(file: CacheFile, unitCount: number, segments: SegmentNumbers, onFailure: (error: unknown) => void) {
    this.file = file;
    this.#segments = segments;
    this.table = this.#makeTable(unitCount);
    this.crcs = new Uint32Array(unitCount);
    this.writes = new WriteQueue(file, {
      written: (entry) => {
        this.table.index.set(entry, PINNED, false);
      },
      failed: (entry, error) => {
        this.table.remove(entry);
        onFailure(error);
      },
    });
    this.#allowWrites();
  }

  #allowWrites(): void {
    this.writes.bytesMax = Math.min(WRITING_BYTES_MAX, this.table.pool.unitCount * (UNIT_BYTES / 4));
  }

  #makeTable(unitCount: number): FrameTable {
    return new FrameTable(unitCount, {
      added: (place) => {
        this.#segments.retain(place);
      },
      removed: (place) => {
        this.#segments.release(place);
      },
      evicted: () => {
        this.evictedFrames++;
      },
    });
  }

  get usedBytes(): number {
    return this.table.pool.used * UNIT_BYTES;
  }

  /** What the checksum of a page begins with: its segment, frame and number in it. */
  #seedOf(place: number, frame: number, page: number): number {
    const id = this.#segments.word(place, 0) ^ Math.imul(this.#segments.word(place, 1), 0x9e37_79b1);
    return (id ^ Math.imul((frame << 4) | page, 0x85eb_ca6b)) >>> 0;
  }

  /** Takes in a frame that is not here; whether it will be written. */
  put(place: number, frame: number, pages: Buffer, { isUsed, isCopied }: PutOptions): boolean {
    if (!this.writes.hasRoom(pages.length)) return false;
    const count = pages.length >> UNIT_SHIFT;
    const entry = this.table.add(place, frame, count, isUsed);
    if (entry === 0) return false;
    const { index } = this.table;
    index.set(entry, PINNED, true);
    const runs: { position: number; bytes: number }[] = [];
    let unit = index.firstUnit(entry);
    let end = -1;
    for (let page = 0; page < count; page++) {
      const piece = pages.subarray(page << UNIT_SHIFT, (page + 1) << UNIT_SHIFT);
      this.crcs[unit] = crc32(piece, this.#seedOf(place, frame, page));
      const last = runs.at(-1);
      if (last !== undefined && unit === end) last.bytes += UNIT_BYTES;
      else runs.push({ position: unit * UNIT_BYTES, bytes: UNIT_BYTES });
      end = unit + 1;
      unit = this.table.nextUnit(entry, unit);
    }
    this.writes.add({ entry, pages: isCopied ? Buffer.from(pages) : pages, runs });
    return true;
  }

  /** Copies bytes that are in the frame; false when they are damaged, and then the frame is gone. */
  read(entry: number, from: number, target: Buffer): boolean {
    if (this.table.index.is(entry, PINNED)) {
      const pages = this.writes.pagesOf(entry);
      if (pages !== undefined) return pages.copy(target, 0, from, from + target.length) === target.length;
    }
    const firstPage = from >> UNIT_SHIFT;
    const pageCount = ((from + target.length - 1) >> UNIT_SHIFT) - firstPage + 1;
    const isWhole = pageCount << UNIT_SHIFT === target.length;
    const pages = isWhole ? target : this.#scratch.subarray(0, pageCount << UNIT_SHIFT);
    if (!this.#readPages(entry, firstPage, pages)) {
      this.damagedFrames++;
      this.table.remove(entry);
      return false;
    }
    if (!isWhole) {
      const start = from & (UNIT_BYTES - 1);
      pages.copy(target, 0, start, start + target.length);
    }
    return true;
  }

  #readPages(entry: number, firstPage: number, pages: Buffer): boolean {
    const { table } = this;
    const { index } = table;
    let unit = index.firstUnit(entry);
    for (let i = 0; i < firstPage; i++) unit = table.nextUnit(entry, unit);
    const place = index.placeOf(entry);
    const frame = index.frameOf(entry);
    for (let at = 0, page = firstPage; at < pages.length;) {
      const runStart = unit;
      let runBytes = UNIT_BYTES;
      for (unit = table.nextUnit(entry, unit); at + runBytes < pages.length; unit = table.nextUnit(entry, unit)) {
        if (unit !== runStart + (runBytes >> UNIT_SHIFT)) break;
        runBytes += UNIT_BYTES;
      }
      if (!this.#readRun(pages, at, runBytes, runStart)) return false;
      for (let i = runStart; runBytes > 0; i++, page++, at += UNIT_BYTES, runBytes -= UNIT_BYTES) {
        const piece = pages.length === UNIT_BYTES ? pages : pages.subarray(at, at + UNIT_BYTES);
        if (crc32(piece, this.#seedOf(place, frame, page)) !== this.crcs[i]) return false;
      }
    }
    return true;
  }

  #readRun(pages: Buffer, at: number, bytes: number, unit: number): boolean {
    try {
      return this.file.readSync(pages, at, bytes, unit * UNIT_BYTES) === bytes;
    } catch {
      return false;
    }
  }

  /**
   * Has another size from now on. Frames that lie beyond it go. While it waits for writes under way, new ones are not taken.
   * @throws what the system says when the file can't be made so long; then nothing changed
   */
  async resize(unitCount: number): Promise<void> {
    await this.quiesce();
    try {
      const { unitCount: unitsNow } = this.table.pool;
      if (unitCount > unitsNow) {
        await this.file.truncate(unitCount * UNIT_BYTES);
        this.table.extend(unitCount);
        this.#fitChecksums(unitCount);
      } else if (unitCount < unitsNow) {
        this.#shrink(unitCount);
        await this.file.truncate(unitCount * UNIT_BYTES);
      }
    } finally {
      this.#allowWrites();
    }
  }

  #shrink(unitCount: number): void {
    const old = this.table;
    this.table = this.#makeTable(unitCount);
    this.table.restore(old.frames());
    this.evictedFrames += old.index.count - this.table.index.count;
    old.removeAll();
    this.#fitChecksums(unitCount);
  }

  #fitChecksums(unitCount: number): void {
    const crcs = new Uint32Array(unitCount);
    crcs.set(this.crcs.subarray(0, unitCount));
    this.crcs = crcs;
  }

  /** Begins with frames that are in the file already, with the checksums that are in `crcs` already. */
  adopt(frames: Iterable<RestoredFrame>): void {
    try {
      this.table.restore(frames);
    } catch (error) {
      this.#forget();
      throw error;
    }
  }

  #forget(): void {
    this.table.removeAll();
    this.table = this.#makeTable(this.table.pool.unitCount);
  }

  /** Forgets every frame, and gives their room on the disk back. */
  async clear(): Promise<void> {
    await this.quiesce();
    try {
      this.#forget();
      await this.file.truncate(UNIT_BYTES);
      await this.file.truncate(this.table.pool.unitCount * UNIT_BYTES);
    } finally {
      this.#allowWrites();
    }
  }

  /** Waits for writes under way, and takes no more of them. */
  async quiesce(): Promise<void> {
    this.writes.bytesMax = 0;
    await this.writes.idle();
  }

  /** Forgets every frame, and closes the file. */
  async close(): Promise<void> {
    await this.quiesce();
    this.#forget();
    await this.file.close();
  }
}
