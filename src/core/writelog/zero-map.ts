/**
 * Which pages read as zeroes by a record that is not in the store yet: whole leaves of 1024 pages as intervals, the others
 * as bitmaps, so that zeroing terabytes costs an object.
 *
 * A page that was written after it was zeroed is in the page index, which is asked first. That is right because zeroes are
 * let go when their record is uploaded, and a page leaves the index by being zeroed again, or later than that. So
 * intervals keep the exact sequence of their record: those that overlap are cut, and the newer one wins. A bitmap may hold
 * zeroes of several records and goes with the newest, so there written pages are taken out of it.
 */
import { certain } from './certain.ts';
import { LEAF_PAGES } from './page-index.ts';

const WORDS = LEAF_PAGES / 32;

/** Leaves from `first` to before `end`. */
interface Interval {
  readonly first: number;
  readonly end: number;
  readonly sequence: number;
}

interface Partial {
  readonly bits: Uint32Array;
  /** Of the newest record in it. */
  sequence: number;
}

const leafOf = (page: number): number => Math.floor(page / LEAF_PAGES);

export class ZeroMap {
  /** Ascending, without overlaps. */
  #intervals: Interval[] = [];
  readonly #partials = new Map<number, Partial>();
  /** The leaves of `#partials`, ascending, while it stays as it is. */
  #sorted: readonly number[] | undefined;
  /** Leaves of `#partials`, each at least once, oldest first by a sequence not above their own. */
  #queue: { readonly leaf: number; readonly sequence: number }[] = [];

  has(page: number): boolean {
    const leaf = leafOf(page);
    if (this.#partials.size > 0) {
      const bits = this.#partials.get(leaf)?.bits;
      const bit = page % LEAF_PAGES;
      if (bits !== undefined && ((bits[bit >>> 5] ?? 0) & (1 << (bit & 31))) !== 0) return true;
    }
    if (this.#intervals.length === 0) return false;
    const interval = this.#intervals[this.#search(leaf)];
    return interval !== undefined && interval.first <= leaf;
  }

  /** Index of the first interval that ends behind `leaf`. */
  #search(leaf: number): number {
    let low = 0;
    let high = this.#intervals.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (certain(this.#intervals[middle]).end > leaf) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Pages from `first` to before `end` are zeroes from record `sequence` on. */
  add(first: number, end: number, sequence: number): void {
    const firstWhole = Math.ceil(first / LEAF_PAGES);
    const endWhole = leafOf(end);
    if (firstWhole > endWhole) {
      this.#addPartial(first, end, sequence);
      return;
    }
    if (first < firstWhole * LEAF_PAGES) this.#addPartial(first, firstWhole * LEAF_PAGES, sequence);
    if (firstWhole < endWhole) this.#addWhole(firstWhole, endWhole, sequence);
    if (endWhole * LEAF_PAGES < end) this.#addPartial(endWhole * LEAF_PAGES, end, sequence);
  }

  #addPartial(first: number, end: number, sequence: number): void {
    const leaf = leafOf(first);
    let partial = this.#partials.get(leaf);
    if (partial === undefined) {
      partial = { bits: new Uint32Array(WORDS), sequence };
      this.#partials.set(leaf, partial);
      this.#sorted = undefined;
      this.#queue.push({ leaf, sequence });
    }
    partial.sequence = sequence;
    setBits(partial.bits, first % LEAF_PAGES, end - leaf * LEAF_PAGES);
  }

  #addWhole(first: number, end: number, sequence: number): void {
    const from = this.#search(first);
    let to = from;
    const pieces: Interval[] = [];
    for (; to < this.#intervals.length; to++) {
      const old = certain(this.#intervals[to]);
      if (old.first >= end) break;
      if (old.first < first) pieces.push({ ...old, end: first });
      if (old.end > end) pieces.push({ ...old, first: end });
    }
    pieces.push({ first, end, sequence });
    pieces.sort((a, b) => a.first - b.first);
    this.#intervals.splice(from, to - from, ...pieces);
    if (this.#partials.size === 0) return;
    this.#sorted = undefined;
    if (end - first <= this.#partials.size) for (let leaf = first; leaf < end; leaf++) this.#partials.delete(leaf);
    else {
      for (const leaf of this.#partials.keys()) if (leaf >= first && leaf < end) this.#partials.delete(leaf);
    }
  }

  /** Pages from `first` on were written by a newer record. */
  written(first: number, pageCount: number): void {
    if (this.#partials.size === 0) return;
    for (let page = first; page < first + pageCount; page++) {
      const bits = this.#partials.get(leafOf(page))?.bits;
      const bit = page % LEAF_PAGES;
      if (bits !== undefined) bits[bit >>> 5] = (bits[bit >>> 5] ?? 0) & ~(1 << (bit & 31));
    }
  }

  /** Lets go of the zeroes of records up to `sequence`. */
  uploaded(sequence: number): void {
    if (this.#intervals.some((interval) => interval.sequence <= sequence)) {
      this.#intervals = this.#intervals.filter((interval) => interval.sequence > sequence);
    }
    this.#sorted = undefined;
    let done = 0;
    const later: { leaf: number; sequence: number }[] = [];
    for (; done < this.#queue.length; done++) {
      const { leaf, sequence: queued } = certain(this.#queue[done]);
      if (queued > sequence) break;
      const partial = this.#partials.get(leaf);
      if (partial === undefined) continue;
      if (partial.sequence <= sequence) this.#partials.delete(leaf);
      else later.push({ leaf, sequence: partial.sequence });
    }
    if (done === 0) return;
    this.#queue = [...this.#queue.slice(done), ...later].sort((a, b) => a.sequence - b.sequence);
  }

  #sortedLeaves(): readonly number[] {
    this.#sorted ??= [...this.#partials.keys()].sort((a, b) => a - b);
    return this.#sorted;
  }

  /** The first page that is zero, from `from` to before `end`. */
  next(from: number, end: number): number | undefined {
    if (this.#intervals.length === 0 && this.#partials.size === 0) return undefined;
    const interval = this.#intervals[this.#search(leafOf(from))];
    const whole = interval === undefined ? end : Math.max(from, interval.first * LEAF_PAGES);
    const stop = Math.min(end, whole);
    const leaves = this.#sortedLeaves();
    for (let i = lowerBound(leaves, leafOf(from)); i < leaves.length; i++) {
      const leaf = leaves[i] ?? 0;
      const leafStart = leaf * LEAF_PAGES;
      if (leafStart >= stop) break;
      const found = nextBit(certain(this.#partials.get(leaf)).bits, Math.max(0, from - leafStart));
      if (found !== undefined && leafStart + found < stop) return leafStart + found;
    }
    return whole < end ? whole : undefined;
  }
}

function lowerBound(values: readonly number[], value: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((values[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function setBits(bits: Uint32Array, from: number, end: number): void {
  for (let bit = from; bit < end;) {
    const word = bit >>> 5;
    const stop = Math.min(end, (word + 1) * 32);
    const high = stop % 32 === 0 ? -1 : (1 << (stop & 31)) - 1;
    bits[word] = (bits[word] ?? 0) | (high & (-1 << (bit & 31)));
    bit = stop;
  }
}

function nextBit(bits: Uint32Array, from: number): number | undefined {
  for (let word = from >>> 5; word < WORDS; word++) {
    const rest = (bits[word] ?? 0) & (word === from >>> 5 ? -1 << (from & 31) : -1);
    if (rest !== 0) return word * 32 + (31 - Math.clz32(rest & -rest));
  }
  return undefined;
}
