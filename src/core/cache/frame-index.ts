/**
 * Entries of frames in typed arrays, found by name: 14 bytes an entry, and 4 bytes a bucket of which at most three in four
 * are full. An entry is a number from 1; 0 is none.
 *
 * The arrays are made for the most entries there can be, since memory that was never touched costs nothing; the buckets, which
 * are touched all over, grow with the entries.
 */

/** Fields of `#what`: place of the segment, pages less one, uses, and three bits. */
const PLACE_MASK = 0x3f_ffff;
const PAGES_SHIFT = 22;
const USES_SHIFT = 26;
export const USES_MAX = 3;
/** In the main queue, not the small one. */
export const IN_MAIN = 1 << 28;
/** Not to be evicted: it is being written. */
export const PINNED = 1 << 29;
/** Removed, but still in its queue. */
export const DEAD = 1 << 30;
const FIRST_BUCKETS = 1024;

export class FrameIndex {
  readonly entriesMax: number;
  readonly #what: Uint32Array;
  readonly #frame: Uint16Array;
  readonly #first: Uint32Array;
  /** The next entry of the same queue, or of the list of free ones. */
  readonly #link: Uint32Array;
  #buckets = new Uint32Array(FIRST_BUCKETS);
  #mask = FIRST_BUCKETS - 1;
  #entriesUsed = 1;
  #freeList = 0;
  #count = 0;

  constructor(entriesMax: number) {
    this.entriesMax = entriesMax;
    this.#what = new Uint32Array(entriesMax + 1);
    this.#frame = new Uint16Array(entriesMax + 1);
    this.#first = new Uint32Array(entriesMax + 1);
    this.#link = new Uint32Array(entriesMax + 1);
  }

  /** Entries that can be found. */
  get count(): number {
    return this.#count;
  }

  /** Whether every entry is in use, dead ones among them. */
  get isFull(): boolean {
    return this.#freeList === 0 && this.#entriesUsed > this.entriesMax;
  }

  get memoryBytes(): number {
    return this.#entriesUsed * 14 + this.#buckets.byteLength;
  }

  find(place: number, frame: number): number {
    const mask = this.#mask;
    const buckets = this.#buckets;
    for (let bucket = hashOf(place, frame) & mask; ; bucket = (bucket + 1) & mask) {
      const entry = buckets[bucket] ?? 0;
      if (entry === 0) return 0;
      if (this.#frame[entry] === frame && ((this.#what[entry] ?? 0) & PLACE_MASK) === place) return entry;
    }
  }

  /** A new entry, which must not be there yet; 0 when there are as many as there can be. */
  add(place: number, frame: number, pages: number, uses: number): number {
    // Before the entry is made: growing takes every entry that is not dead for one that has a bucket.
    if ((this.#count + 1) * 4 > this.#buckets.length * 3) this.#grow();
    let entry = this.#freeList;
    if (entry !== 0) this.#freeList = this.#link[entry] ?? 0;
    else if (this.#entriesUsed <= this.entriesMax) entry = this.#entriesUsed++;
    else return 0;
    this.#what[entry] = place | ((pages - 1) << PAGES_SHIFT) | (uses << USES_SHIFT);
    this.#frame[entry] = frame;
    this.#link[entry] = 0;
    this.#count++;
    this.#enter(entry);
    return entry;
  }

  /** The entry is not found any more; it stays an entry, dead, until it is freed. */
  kill(entry: number): void {
    const buckets = this.#buckets;
    const mask = this.#mask;
    let hole = this.#homeOf(entry);
    while (buckets[hole] !== entry) hole = (hole + 1) & mask;
    for (let at = (hole + 1) & mask, other; (other = buckets[at] ?? 0) !== 0; at = (at + 1) & mask) {
      if (((at - this.#homeOf(other)) & mask) < ((at - hole) & mask)) continue;
      buckets[hole] = other;
      hole = at;
    }
    buckets[hole] = 0;
    this.#what[entry] = (this.#what[entry] ?? 0) | DEAD;
    this.#count--;
  }

  /** A dead entry, in no queue any more, can be another one from now on. */
  free(entry: number): void {
    this.#link[entry] = this.#freeList;
    this.#freeList = entry;
  }

  placeOf(entry: number): number {
    return (this.#what[entry] ?? 0) & PLACE_MASK;
  }

  frameOf(entry: number): number {
    return this.#frame[entry] ?? 0;
  }

  pagesOf(entry: number): number {
    return (((this.#what[entry] ?? 0) >>> PAGES_SHIFT) & 0xf) + 1;
  }

  usesOf(entry: number): number {
    return ((this.#what[entry] ?? 0) >>> USES_SHIFT) & USES_MAX;
  }

  setUses(entry: number, uses: number): void {
    this.#what[entry] = ((this.#what[entry] ?? 0) & ~(USES_MAX << USES_SHIFT)) | (uses << USES_SHIFT);
  }

  is(entry: number, flag: number): boolean {
    return ((this.#what[entry] ?? 0) & flag) !== 0;
  }

  set(entry: number, flag: number, value: boolean): void {
    const what = this.#what[entry] ?? 0;
    this.#what[entry] = value ? what | flag : what & ~flag;
  }

  /** The first unit of its pages. */
  firstUnit(entry: number): number {
    return this.#first[entry] ?? 0;
  }

  setFirstUnit(entry: number, unit: number): void {
    this.#first[entry] = unit;
  }

  /** The next entry of its queue. */
  link(entry: number): number {
    return this.#link[entry] ?? 0;
  }

  setLink(entry: number, next: number): void {
    this.#link[entry] = next;
  }

  #enter(entry: number): void {
    const mask = this.#mask;
    let bucket = this.#homeOf(entry);
    while (this.#buckets[bucket] !== 0) bucket = (bucket + 1) & mask;
    this.#buckets[bucket] = entry;
  }

  #grow(): void {
    this.#buckets = new Uint32Array(this.#buckets.length * 2);
    this.#mask = this.#buckets.length - 1;
    // In the order of entries, whose names lie side by side in memory; the order of buckets would be slower by far.
    for (let entry = 1; entry < this.#entriesUsed; entry++) if (!this.is(entry, DEAD)) this.#enter(entry);
  }

  #homeOf(entry: number): number {
    return hashOf((this.#what[entry] ?? 0) & PLACE_MASK, this.#frame[entry] ?? 0) & this.#mask;
  }
}

function hashOf(place: number, frame: number): number {
  let hash = Math.imul(place, 0x9e37_79b1) ^ Math.imul(frame, 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 15), 0x735a_2d97);
  return hash ^ (hash >>> 15);
}
