/** Frames in memory: units of 4096 bytes in chunks of 4 MiB, which are made when they are first needed. */
import { IN_MAIN } from './frame-index.ts';
import { FrameTable } from './frame-table.ts';
import type { SegmentNumbers } from './segment-numbers.ts';

const UNIT_BYTES = 4096;
const UNIT_SHIFT = 12;
const CHUNK_SHIFT = 10;
const CHUNK_UNITS = 1 << CHUNK_SHIFT;

export class MemoryTier {
  table: FrameTable;
  readonly #segments: SegmentNumbers;
  /** Told of a frame that leaves memory and was used again while it was here; its bytes can be read meanwhile. */
  readonly #demote: (entry: number) => void;
  #chunks: Buffer[] = [];
  evictedFrames = 0;

  constructor(ramBytes: number, segments: SegmentNumbers, demote: (entry: number) => void) {
    this.#segments = segments;
    this.#demote = demote;
    this.table = this.#makeTable(ramBytes);
  }

  #makeTable(ramBytes: number): FrameTable {
    // Unit 0, which is nobody's, is not made: a chunk has the units from 1024 i + 1 to 1024 i + 1024.
    return new FrameTable(Math.floor(ramBytes / UNIT_BYTES) + 1, {
      added: (place) => {
        this.#segments.retain(place);
      },
      removed: (place) => {
        this.#segments.release(place);
      },
      evicted: (entry) => {
        this.#evicted(entry);
      },
    });
  }

  #evicted(entry: number): void {
    this.evictedFrames++;
    if (this.table.index.is(entry, IN_MAIN)) this.#demote(entry);
  }

  get usedBytes(): number {
    return this.table.pool.used * UNIT_BYTES;
  }

  /** Copies bytes of a frame that is here; they must be in it. */
  read(entry: number, from: number, target: Buffer): void {
    const { table } = this;
    let unit = table.index.firstUnit(entry);
    let skip = from;
    for (; skip >= UNIT_BYTES; skip -= UNIT_BYTES) unit = table.nextUnit(entry, unit);
    for (let at = 0; ;) {
      const last = this.#runEnd(entry, unit, skip + target.length - at);
      const place = unit - 1;
      const start = ((place & (CHUNK_UNITS - 1)) << UNIT_SHIFT) + skip;
      const end = Math.min(start + target.length - at, (((last - 1) & (CHUNK_UNITS - 1)) + 1) << UNIT_SHIFT);
      this.#chunks[place >> CHUNK_SHIFT]?.copy(target, at, start, end);
      at += end - start;
      if (at >= target.length) return;
      unit = table.nextUnit(entry, last);
      skip = 0;
    }
  }

  /** The last unit that follows in the same chunk without a gap, of as many as `bytes` need. */
  #runEnd(entry: number, unit: number, bytes: number): number {
    let last = unit;
    for (let left = bytes - UNIT_BYTES; left > 0; left -= UNIT_BYTES) {
      // A chunk ends with a multiple of its number of units.
      if ((last & (CHUNK_UNITS - 1)) === 0 || this.table.nextUnit(entry, last) !== last + 1) break;
      last++;
    }
    return last;
  }

  /** Takes in a frame that is not here; whether there was room for it. */
  put(place: number, frame: number, pages: Buffer, isUsed: boolean): boolean {
    const count = pages.length >> UNIT_SHIFT;
    const entry = this.table.add(place, frame, count, isUsed);
    if (entry === 0) return false;
    let unit = this.table.index.firstUnit(entry);
    for (let at = 0; at < pages.length; at += UNIT_BYTES) {
      const start = ((unit - 1) & (CHUNK_UNITS - 1)) << UNIT_SHIFT;
      pages.copy(this.#chunkOf(unit), start, at, at + UNIT_BYTES);
      unit = this.table.nextUnit(entry, unit);
    }
    return true;
  }

  #chunkOf(unit: number): Buffer {
    const number = (unit - 1) >> CHUNK_SHIFT;
    return (this.#chunks[number] ??= Buffer.allocUnsafeSlow(this.#chunkUnits(number) << UNIT_SHIFT));
  }

  #chunkUnits(number: number): number {
    return Math.min(CHUNK_UNITS, this.table.pool.unitCount - 1 - number * CHUNK_UNITS);
  }

  /** Has another size from now on. Frames that lie beyond it go. */
  resize(ramBytes: number): void {
    const unitCount = Math.floor(ramBytes / UNIT_BYTES) + 1;
    if (unitCount > this.table.pool.unitCount) this.table.extend(unitCount);
    else this.#shrink(ramBytes);
    const last = this.#chunks.length - 1;
    const chunk = this.#chunks[last];
    if (chunk === undefined) return;
    // A last chunk may have been shorter, or be shorter now.
    this.#chunks[last] = Buffer.allocUnsafeSlow(this.#chunkUnits(last) << UNIT_SHIFT);
    chunk.copy(this.#chunks[last]);
  }

  #shrink(ramBytes: number): void {
    const old = this.table;
    this.table = this.#makeTable(ramBytes);
    this.table.restore(old.frames());
    this.evictedFrames += old.index.count - this.table.index.count;
    old.removeAll();
    this.#chunks.length = Math.min(this.#chunks.length, Math.ceil((this.table.pool.unitCount - 1) / CHUNK_UNITS));
  }

  clear(): void {
    const bytes = (this.table.pool.unitCount - 1) * UNIT_BYTES;
    this.table.removeAll();
    this.#chunks = [];
    this.table = this.#makeTable(bytes);
  }
}
