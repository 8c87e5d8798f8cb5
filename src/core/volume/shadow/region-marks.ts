/**
 * Write-intent marks of a shadowed image (C19): before the first write into a region of 4 MiB, its mark is durable. After an
 * unclean stop only marked regions can differ from what the store and the log hold.
 *
 * Invariants: a region is written only while `isMarked`, which says that its mark is on the disk; a mark is taken back only
 * when everything written there is in the store, the image was synced since, and nothing was written there meanwhile. What was taken back may
 * still be found after loss of power, which costs only time.
 */
import { PAGE_BYTES, LEAF_PAGES } from '../../blockstore/index.ts';
import { toSgwError, type SgwError } from '../../kit/index.ts';
import type { MarksFile } from './contract.ts';

export const REGION_PAGES = LEAF_PAGES;
export const REGION_BYTES = REGION_PAGES * PAGE_BYTES;
/** The unit that the file is written in. */
const BLOCK_BYTES = 512;

export const regionOf = (page: number): number => Math.floor(page / REGION_PAGES);
/** Of a byte. */
export const regionAt = (offset: number): number => Math.floor(offset / REGION_BYTES);
export const regionsIn = (sizeBytes: number): number => Math.ceil(sizeBytes / REGION_BYTES);
export const marksBytes = (sizeBytes: number): number =>
  Math.ceil(Math.ceil(regionsIn(sizeBytes) / 8) / BLOCK_BYTES) * BLOCK_BYTES;

/** Regions that were written in one span of time. */
interface Generation {
  readonly regions: Set<number>;
  /** Everything written in it is in the log up to here, and on the disk; undefined: it may not be. */
  lastSequence: number | undefined;
}

export class RegionMarks {
  readonly #file: MarksFile;
  /** What the file says, or will say when the sync under way has ended. */
  readonly #bits: Buffer;
  /** What is on the disk. */
  readonly #durable: Buffer;
  #dirty = new Set<number>();
  #syncing: Promise<void> | undefined;
  #failure: SgwError | undefined;
  #current: Generation = { regions: new Set(), lastSequence: undefined };
  #older: Generation = { regions: new Set(), lastSequence: undefined };
  /** How many hold a region. */
  readonly #held = new Map<number, number>();
  #count = 0;

  /** What the file says is on the disk. */
  constructor(file: MarksFile) {
    this.#file = file;
    this.#bits = Buffer.from(file.read());
    this.#durable = Buffer.from(this.#bits);
    for (const region of this.regions()) {
      this.#current.regions.add(region);
      this.#count += 1;
    }
  }

  get count(): number {
    return this.#count;
  }

  /** Every marked region, ascending. */
  *regions(): Generator<number> {
    for (let byte = 0; byte < this.#bits.length; byte++) {
      const bits = this.#bits[byte] ?? 0;
      if (bits === 0) continue;
      for (let bit = 0; bit < 8; bit++) if ((bits & (1 << bit)) !== 0) yield byte * 8 + bit;
    }
  }

  /** Whether all regions from `first` to `last` may be written now; notes that they are. Cheap. */
  use(first: number, last: number): boolean {
    for (let region = first; region <= last; region++) {
      if (!isSet(this.#durable, region)) return false;
      if (!isSet(this.#bits, region)) return false;
    }
    for (let region = first; region <= last; region++) this.#current.regions.add(region);
    return true;
  }

  /** Marks regions; they may be used when it resolves. @throws what a sync of the marks threw, for ever after */
  async mark(first: number, last: number): Promise<void> {
    for (let region = first; region <= last; region++) {
      if (isSet(this.#bits, region)) continue;
      this.#set(region);
      this.#count += 1;
    }
    // What the sync under way does not cover, the next one does.
    while (!this.#covers(first, last)) await (this.#syncing ??= this.#sync());
  }

  /** As `use`, and they stay marked until the returned function is called, once. Undefined: one may not be written. */
  keep(first: number, last: number): (() => void) | undefined {
    return this.use(first, last) ? this.hold(first, last) : undefined;
  }

  /** Regions that are marked stay so until the returned function is called, once. */
  hold(first: number, last: number): () => void {
    for (let region = first; region <= last; region++) this.#held.set(region, (this.#held.get(region) ?? 0) + 1);
    return () => {
      for (let region = first; region <= last; region++) {
        // As if it had been written now.
        if (isSet(this.#bits, region)) this.#current.regions.add(region);
        const count = (this.#held.get(region) ?? 0) - 1;
        if (count > 0) this.#held.set(region, count);
        else this.#held.delete(region);
      }
    };
  }

  #covers(first: number, last: number): boolean {
    for (let region = first; region <= last; region++) if (!isSet(this.#durable, region)) return false;
    return true;
  }

  #set(region: number): void {
    this.#bits[region >> 3] = (this.#bits[region >> 3] ?? 0) | (1 << (region & 7));
    this.#dirty.add(Math.floor(region / 8 / BLOCK_BYTES));
  }

  async #sync(): Promise<void> {
    try {
      if (this.#failure !== undefined) throw this.#failure;
      const dirty = this.#dirty;
      this.#dirty = new Set();
      const written = this.#write(dirty);
      await this.#file.sync();
      for (const [position, bytes] of written) bytes.copy(this.#durable, position);
    } catch (error) {
      this.#failure ??= toSgwError(error);
      throw this.#failure;
    } finally {
      this.#syncing = undefined;
    }
  }

  #write(blocks: ReadonlySet<number>): [position: number, bytes: Buffer][] {
    return [...blocks].map((block) => {
      const position = block * BLOCK_BYTES;
      const bytes = Buffer.from(this.#bits.subarray(position, position + BLOCK_BYTES));
      this.#file.write(position, bytes);
      return [position, bytes];
    });
  }

  /**
   * Begins a new span of time, unless the one before is still there. True: once the log and the image are synced, say by
   * `turned` what has to be in the store before the span is let go.
   */
  turn(): boolean {
    if (this.#older.regions.size > 0 || this.#current.regions.size === 0) return false;
    this.#older = this.#current;
    this.#current = { regions: new Set(), lastSequence: undefined };
    return true;
  }

  /** Everything that was written in the span before is on the disk, and in the log up to `lastSequence`. */
  turned(lastSequence: number): void {
    this.#older.lastSequence = lastSequence;
  }

  /** What has to be in the store before `release`; undefined: there is nothing to be let go, or not yet. */
  get waitsFor(): number | undefined {
    return this.#older.regions.size === 0 ? undefined : this.#older.lastSequence;
  }

  /**
   * The span before is in the store, and the image was synced behind it: takes back the marks of what was not written since.
   * False while marks are being synced: then not yet.
   */
  release(): boolean {
    // What is being synced would count as durable, and be taken back behind that.
    if (this.#syncing !== undefined) return false;
    for (const region of this.#older.regions) {
      if (this.#current.regions.has(region) || this.#held.has(region)) continue;
      const byte = region >> 3;
      this.#bits[byte] = (this.#bits[byte] ?? 0) & ~(1 << (region & 7));
      this.#durable[byte] = (this.#durable[byte] ?? 0) & ~(1 << (region & 7));
      this.#dirty.add(Math.floor(byte / BLOCK_BYTES));
      this.#count -= 1;
    }
    this.#older = { regions: new Set(), lastSequence: undefined };
    // Without a sync: what is found again costs only time.
    this.#write(this.#dirty);
    this.#dirty = new Set();
    return true;
  }

  close(): void {
    this.#file.close();
  }
}

const isSet = (bits: Buffer, region: number): boolean => ((bits[region >> 3] ?? 0) & (1 << (region & 7))) !== 0;
