/**
 * Entries of frames in typed arrays, found by name: 14 bytes an entry, and 4 bytes a bucket of which at most three in four
 * are full. An entry is a number from 1; 0 is none.
 *
 * Growing the buckets goes on in small steps beside everything else, since a gateway can't stop for as long as it takes to move
 * millions: an entry is in the new buckets or in the old ones, and those with numbers below `#movedTo` are in the new ones.
 *
 * The arrays are made for the most entries there can be, since memory that was never touched costs nothing; the buckets, which
 * are touched all over, grow with the entries.
 */

/** Fields of `#what`: place of the segment, pages less one, uses, and four bits. */
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
/** Its units are not one behind the other. */
export const IN_PIECES = 1 << 31;
const FIRST_BUCKETS = 1024;
/** Entries moved to the larger table with each one added: all of them long before it has to grow again. */
const MOVED_AT_ONCE = 8;
const NO_BUCKETS = new Uint32Array(0);

export class FrameIndex {
  #entriesMax: number;
  #what: Uint32Array;
  #frame: Uint16Array;
  #first: Uint32Array;
  /** The next entry of the same queue, or of the list of free ones. */
  #link: Uint32Array;
  #buckets = new Uint32Array(FIRST_BUCKETS);
  #mask = FIRST_BUCKETS - 1;
  /** Those before the last growth, while entries are left in them; else none. */
  #old: Uint32Array = NO_BUCKETS;
  #movedTo = 0;
  #entriesUsed = 1;
  #freeList = 0;
  #count = 0;

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
    this.#what = new Uint32Array(entriesMax + 1);
    this.#frame = new Uint16Array(entriesMax + 1);
    this.#first = new Uint32Array(entriesMax + 1);
    this.#link = new Uint32Array(entriesMax + 1);
  }

  /** There may be more entries from now on. */
  extend(entriesMax: number): void {
    this.#entriesMax = entriesMax;
    this.#what = extended(this.#what, new Uint32Array(entriesMax + 1));
    this.#frame = extended(this.#frame, new Uint16Array(entriesMax + 1));
    this.#first = extended(this.#first, new Uint32Array(entriesMax + 1));
    this.#link = extended(this.#link, new Uint32Array(entriesMax + 1));
  }

  /** Entries that can be found. */
  get count(): number {
    return this.#count;
  }

  /** Whether every entry is in use, dead ones among them. */
  get isFull(): boolean {
    return this.#freeList === 0 && this.#entriesUsed > this.#entriesMax;
  }

  get memoryBytes(): number {
    return this.#entriesUsed * 14 + this.#buckets.byteLength;
  }

  find(place: number, frame: number): number {
    const hash = hashOf(place, frame);
    const mask = this.#mask;
    const buckets = this.#buckets;
    for (let bucket = hash & mask; ; bucket = (bucket + 1) & mask) {
      const entry = buckets[bucket] ?? 0;
      if (entry === 0) break;
      if (this.#frame[entry] === frame && ((this.#what[entry] ?? 0) & PLACE_MASK) === place) return entry;
    }
    return this.#old.length === 0 ? 0 : this.#findOld(place, frame, hash);
  }

  #findOld(place: number, frame: number, hash: number): number {
    const mask = this.#old.length - 1;
    for (let bucket = hash & mask; ; bucket = (bucket + 1) & mask) {
      const entry = this.#old[bucket] ?? 0;
      if (entry === 0) return 0;
      if (this.#frame[entry] === frame && ((this.#what[entry] ?? 0) & PLACE_MASK) === place) return entry;
    }
  }

  /** A new entry, which must not be there yet; 0 when there are as many as there can be. */
  add(place: number, frame: number, pages: number, uses: number): number {
    if (this.#old.length > 0) this.#moveSome(MOVED_AT_ONCE);
    if ((this.#count + 1) * 4 > this.#buckets.length * 3) this.#grow();
    let entry = this.#freeList;
    if (entry !== 0) this.#freeList = this.#link[entry] ?? 0;
    else if (this.#entriesUsed <= this.#entriesMax) entry = this.#entriesUsed++;
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
    if (!this.#leave(this.#buckets, entry)) this.#leave(this.#old, entry);
    this.#what[entry] = (this.#what[entry] ?? 0) | DEAD;
    this.#count--;
  }

  /** Takes an entry out of buckets, if it is in them, and moves up those behind it that would not be found any more. */
  #leave(buckets: Uint32Array, entry: number): boolean {
    const mask = buckets.length - 1;
    let hole = this.#hashOf(entry) & mask;
    while (buckets[hole] !== entry) {
      if ((buckets[hole] ?? 0) === 0) return false;
      hole = (hole + 1) & mask;
    }
    for (let at = (hole + 1) & mask, other; (other = buckets[at] ?? 0) !== 0; at = (at + 1) & mask) {
      if (((at - this.#hashOf(other)) & mask) < ((at - hole) & mask)) continue;
      buckets[hole] = other;
      hole = at;
    }
    buckets[hole] = 0;
    return true;
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
    let bucket = this.#hashOf(entry) & mask;
    while (this.#buckets[bucket] !== 0) bucket = (bucket + 1) & mask;
    this.#buckets[bucket] = entry;
  }

  #grow(): void {
    this.#moveSome(Infinity);
    this.#old = this.#buckets;
    this.#movedTo = 1;
    this.#buckets = new Uint32Array(this.#old.length * 2);
    this.#mask = this.#buckets.length - 1;
  }

  /** Moves entries in the order of their numbers, since their names lie side by side in memory. */
  #moveSome(countMax: number): void {
    if (this.#old.length === 0) return;
    const end = Math.min(this.#movedTo + countMax, this.#entriesUsed);
    // Those that were added since, or are dead, are not in the old buckets.
    for (let entry = this.#movedTo; entry < end; entry++) {
      if (!this.is(entry, DEAD) && this.#leave(this.#old, entry)) this.#enter(entry);
    }
    this.#movedTo = end;
    if (end === this.#entriesUsed) this.#old = NO_BUCKETS;
  }

  #hashOf(entry: number): number {
    return hashOf((this.#what[entry] ?? 0) & PLACE_MASK, this.#frame[entry] ?? 0);
  }
}

function extended<A extends Uint32Array | Uint16Array>(from: A, to: A): A {
  to.set(from);
  return to;
}

function hashOf(place: number, frame: number): number {
  let hash = Math.imul(place, 0x9e37_79b1) ^ Math.imul(frame, 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 15), 0x735a_2d97);
  return hash ^ (hash >>> 15);
}
