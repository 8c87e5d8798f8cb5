/**
 * Which slot holds the newest version of a page: open addressing over typed arrays, eight bytes a cell and no object per
 * page. 256 tables by hash, so that growing one of them stops nobody for long. Beside them one bit for each leaf of 1024
 * pages that may have entries, so that empty stretches of terabytes are passed over.
 *
 * Invariants: a cell is empty when its value is 0, which no entry's is; a table is at most three quarters full, and has no
 * tombstones; a page that is in has its leaf's bit set (the reverse need not hold).
 */
import { certain } from './certain.ts';
import { assert } from '../kit/index.ts';
import { FULL_MASK } from './contract.ts';

/** Pages of a leaf. */
export const LEAF_PAGES = 1024;
/** Pages above this can't be in a log: 64 TiB. */
export const PAGES_MAX = 2 ** 34;
/** Slots are below this: 4 TiB of log. */
export const SLOTS_MAX = 2 ** 30;

const TABLES = 256;
const CELLS_MIN = 16;
const SLOT_MASK = SLOTS_MAX - 1;
const WORD_COUNT = PAGES_MAX / LEAF_PAGES / 32;

function hashOf(low: number, high: number): number {
  let hash = Math.imul(low ^ Math.imul(high, 0x27d4eb2f), 0x9e3779b1);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}

const highOf = (page: number): number => Math.floor(page / 0x1_0000_0000);

export class PageIndex {
  /** Cells of two words: the page's low 32 bits; its two high bits above the 30 bits of the slot. */
  readonly #tables: Uint32Array[] = [];
  readonly #counts = new Uint32Array(TABLES);
  readonly #leaves = new Uint32Array(WORD_COUNT);
  /** Masks of the pages that were written in part over what is below the log. */
  readonly #masks = new Map<number, number>();
  #size = 0;
  #cells = TABLES * CELLS_MIN;

  constructor() {
    for (let i = 0; i < TABLES; i++) this.#tables.push(new Uint32Array(CELLS_MIN * 2));
  }

  /** Pages that are in. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of the tables. */
  get tableBytes(): number {
    return this.#cells * 8;
  }

  /** The page's slot; 0 when it is not in. */
  get(page: number): number {
    const low = page >>> 0;
    const high = highOf(page);
    const hash = hashOf(low, high);
    const table = certain(this.#tables[hash >>> 24]);
    const mask = table.length - 1;
    for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
      const value = table[at + 1] ?? 0;
      if (value === 0) return 0;
      if (table[at] === low && value >>> 30 === high) return value & SLOT_MASK;
    }
  }

  /** Which sectors its slot has: meaningful only for a page that is in. */
  maskOf(page: number): number {
    return this.#masks.size === 0 ? FULL_MASK : (this.#masks.get(page) ?? FULL_MASK);
  }

  /** Puts a page in, or moves it. */
  set(page: number, slot: number, mask: number): void {
    if (mask !== FULL_MASK) this.#masks.set(page, mask);
    else if (this.#masks.size > 0) this.#masks.delete(page);
    const low = page >>> 0;
    const high = highOf(page);
    const hash = hashOf(low, high);
    const number = hash >>> 24;
    const table = certain(this.#tables[number]);
    const last = table.length - 1;
    for (let at = (hash << 1) & last; ; at = (at + 2) & last) {
      const value = table[at + 1] ?? 0;
      if (value !== 0 && (table[at] !== low || value >>> 30 !== high)) continue;
      table[at] = low;
      table[at + 1] = (high << 30) | slot;
      if (value === 0) this.#added(number, page);
      return;
    }
  }

  #added(number: number, page: number): void {
    this.#size += 1;
    const count = (this.#counts[number] ?? 0) + 1;
    this.#counts[number] = count;
    const leaf = Math.floor(page / LEAF_PAGES);
    this.#leaves[leaf >>> 5] = (this.#leaves[leaf >>> 5] ?? 0) | (1 << (leaf & 31));
    const cells = certain(this.#tables[number]).length / 2;
    if (count * 4 > cells * 3) this.#resize(number, cells * 2);
  }

  /** Takes a page out; false when it was not in. */
  delete(page: number): boolean {
    const low = page >>> 0;
    const high = highOf(page);
    const hash = hashOf(low, high);
    const number = hash >>> 24;
    const table = certain(this.#tables[number]);
    const last = table.length - 1;
    for (let at = (hash << 1) & last; ; at = (at + 2) & last) {
      const value = table[at + 1] ?? 0;
      if (value === 0) return false;
      if (table[at] === low && value >>> 30 === high) {
        closeGap(table, at);
        break;
      }
    }
    if (this.#masks.size > 0) this.#masks.delete(page);
    this.#size -= 1;
    const count = (this.#counts[number] ?? 0) - 1;
    this.#counts[number] = count;
    const cells = table.length / 2;
    if (cells > CELLS_MIN && count * 8 < cells) this.#resize(number, cells / 2);
    return true;
  }

  #resize(number: number, cells: number): void {
    const old = certain(this.#tables[number]);
    const table = new Uint32Array(cells * 2);
    for (let at = 0; at < old.length; at += 2) {
      const value = old[at + 1] ?? 0;
      if (value !== 0) insertNew(table, old[at] ?? 0, value);
    }
    this.#tables[number] = table;
    this.#cells += cells - old.length / 2;
  }

  /** Takes out all pages from `first` to before `end`. The cost follows the pages that are in, not the extent. */
  deleteRange(first: number, end: number): void {
    if (this.#size === 0) return;
    if (end - first > LEAF_PAGES && this.#leavesIn(first, end) * LEAF_PAGES > this.#cells) this.#sweep(first, end);
    else {
      for (let page = this.next(first, end); page !== undefined; page = this.next(page + 1, end)) this.delete(page);
    }
  }

  /** Leaves with their bit set, at least those that the extent touches. */
  #leavesIn(first: number, end: number): number {
    const lastWord = Math.floor((end - 1) / LEAF_PAGES) >>> 5;
    let count = 0;
    for (let word = Math.floor(first / LEAF_PAGES) >>> 5; word <= lastWord; word++) {
      for (let bits = this.#leaves[word] ?? 0; bits !== 0; bits &= bits - 1) count += 1;
    }
    return count;
  }

  /** The same by rebuilding the tables. */
  #sweep(first: number, end: number): void {
    for (let number = 0; number < TABLES; number++) {
      const old = certain(this.#tables[number]);
      let kept = 0;
      for (let at = 0; at < old.length; at += 2) {
        const value = old[at + 1] ?? 0;
        if (value === 0) continue;
        const page = (value >>> 30) * 0x1_0000_0000 + (old[at] ?? 0);
        if (page < first || page >= end) {
          kept += 1;
          continue;
        }
        old[at + 1] = 0;
        if (this.#masks.size > 0) this.#masks.delete(page);
      }
      this.#size -= (this.#counts[number] ?? 0) - kept;
      this.#counts[number] = kept;
      let cells = CELLS_MIN;
      while (kept * 2 > cells) cells *= 2;
      this.#resize(number, cells);
    }
  }

  /** The first page that is in, from `from` to before `end`. */
  next(from: number, end: number): number | undefined {
    for (let page = from; page < end;) {
      const leaf = this.#nextLeaf(Math.floor(page / LEAF_PAGES), Math.ceil(end / LEAF_PAGES));
      if (leaf === undefined) return undefined;
      const leafStart = leaf * LEAF_PAGES;
      const start = Math.max(page, leafStart);
      const stop = Math.min(end, leafStart + LEAF_PAGES);
      for (page = start; page < stop; page++) if (this.get(page) !== 0) return page;
      if (start === leafStart && stop === leafStart + LEAF_PAGES) {
        this.#leaves[leaf >>> 5] = (this.#leaves[leaf >>> 5] ?? 0) & ~(1 << (leaf & 31));
      }
    }
    return undefined;
  }

  #nextLeaf(from: number, end: number): number | undefined {
    let word = from >>> 5;
    const lastWord = (end - 1) >>> 5;
    let bits = (this.#leaves[word] ?? 0) & (-1 << (from & 31));
    while (bits === 0) {
      if (++word > lastWord) return undefined;
      bits = this.#leaves[word] ?? 0;
    }
    const leaf = word * 32 + (31 - Math.clz32(bits & -bits));
    return leaf < end ? leaf : undefined;
  }

  /** Empties it. */
  clear(): void {
    this.deleteRange(0, PAGES_MAX);
    assert(this.#size === 0 && this.#masks.size === 0, 'an emptied index is empty');
  }
}

function insertNew(table: Uint32Array, low: number, value: number): void {
  const last = table.length - 1;
  let at = (hashOf(low, value >>> 30) << 1) & last;
  while (table[at + 1] !== 0) at = (at + 2) & last;
  table[at] = low;
  table[at + 1] = value;
}

/** Empties the cell at `gap` and moves later cells of the chain up, so that every search still ends at its entry. */
function closeGap(table: Uint32Array, gap: number): void {
  const last = table.length - 1;
  for (let at = (gap + 2) & last; ; at = (at + 2) & last) {
    const value = table[at + 1] ?? 0;
    if (value === 0) break;
    const home = (hashOf(table[at] ?? 0, value >>> 30) << 1) & last;
    // It may move when its home is not between the gap and itself.
    if (((at - home) & last) < ((at - gap) & last)) continue;
    table[gap] = table[at] ?? 0;
    table[gap + 1] = value;
    gap = at;
  }
  table[gap + 1] = 0;
}
