/**
 * Numbers for segments, so that the name of a frame fits into a few bits. Memory is bounded by the segments that have frames
 * in the cache, and IDLE_MAX that have none.
 *
 * Invariants: a number is given to one segment only, for the life of the process; the same id gets the same number until it
 * was forgotten, which happens only to segments without frames. A number is a place in the table (22 bits) and how often that
 * place was given away before (10 bits); a place that was given away that often is never used again.
 */
import { SgwError } from '../kit/index.ts';

const PLACE_BITS = 22;
const PLACE_MASK = (1 << PLACE_BITS) - 1;
const GENERATION_MAX = 1023;
/** Segments without frames that are remembered, oldest forgotten first. */
export const IDLE_MAX = 65_536;
const FIRST_PLACES = 1024;

export class SegmentNumbers {
  /** Four words a place: the id. */
  #ids = new Uint32Array(FIRST_PLACES * 4);
  #frames = new Uint32Array(FIRST_PLACES);
  #generations = new Uint16Array(FIRST_PLACES);
  /** 1 while the place is in the ring of idle ones. */
  #isQueued = new Uint8Array(FIRST_PLACES);
  /** Open addressing with linear probing; 0 is empty. */
  #buckets = new Uint32Array(FIRST_PLACES * 2);
  /** Place 0 is nobody's. */
  #placesUsed = 1;
  #known = 0;
  readonly #freePlaces: number[] = [];
  readonly #idle = new Uint32Array(IDLE_MAX);
  #idleHead = 0;
  #idleCount = 0;

  /** Segments that have a number now. */
  get known(): number {
    return this.#known;
  }

  get memoryBytes(): number {
    const places = this.#frames.length;
    return places * (16 + 4 + 2 + 1) + this.#buckets.byteLength + this.#idle.byteLength;
  }

  /**
   * The number of a segment; 0, under which nothing is kept, when four million segments have frames.
   * @throws internal when the id is not 32 hex digits
   */
  numberOf(segmentId: string): number {
    const a = Number.parseInt(segmentId.slice(0, 8), 16);
    const b = Number.parseInt(segmentId.slice(8, 16), 16);
    const c = Number.parseInt(segmentId.slice(16, 24), 16);
    const d = Number.parseInt(segmentId.slice(24, 32), 16);
    if (segmentId.length !== 32 || Number.isNaN(a + b + c + d)) {
      throw new SgwError('internal', 'assertion', `"${segmentId}" is no segment id`);
    }
    return this.numberOfWords(a, b, c, d);
  }

  /** The same of an id's four big-endian words. */
  numberOfWords(a: number, b: number, c: number, d: number): number {
    const mask = this.#buckets.length - 1;
    let bucket = (a ^ d) & mask;
    for (let place; (place = this.#buckets[bucket] ?? 0) !== 0; bucket = (bucket + 1) & mask) {
      const at = place * 4;
      const ids = this.#ids;
      if (ids[at] === a && ids[at + 1] === b && ids[at + 2] === c && ids[at + 3] === d) return this.#numberAt(place);
    }
    return this.#add(a, b, c, d);
  }

  #numberAt(place: number): number {
    return (((this.#generations[place] ?? 0) << PLACE_BITS) | place) >>> 0;
  }

  #add(a: number, b: number, c: number, d: number): number {
    const place = this.#newPlace();
    if (place === 0) return 0;
    this.#ids[place * 4] = a;
    this.#ids[place * 4 + 1] = b;
    this.#ids[place * 4 + 2] = c;
    this.#ids[place * 4 + 3] = d;
    this.#known++;
    this.#link(place);
    this.#queueIdle(place);
    return this.#numberAt(place);
  }

  #newPlace(): number {
    const free = this.#freePlaces.pop();
    if (free !== undefined) return free;
    if (this.#placesUsed > PLACE_MASK) return 0;
    if (this.#placesUsed === this.#frames.length) this.#grow();
    return this.#placesUsed++;
  }

  #grow(): void {
    const places = this.#frames.length * 2;
    this.#ids = widened(this.#ids, new Uint32Array(places * 4));
    this.#frames = widened(this.#frames, new Uint32Array(places));
    this.#generations = widened(this.#generations, new Uint16Array(places));
    this.#isQueued = widened(this.#isQueued, new Uint8Array(places));
    const old = this.#buckets;
    this.#buckets = new Uint32Array(places * 2);
    for (const place of old) if (place !== 0) this.#link(place);
  }

  #link(place: number): void {
    const mask = this.#buckets.length - 1;
    let bucket = this.#homeOf(place) & mask;
    while (this.#buckets[bucket] !== 0) bucket = (bucket + 1) & mask;
    this.#buckets[bucket] = place;
  }

  #homeOf(place: number): number {
    return (this.#ids[place * 4] ?? 0) ^ (this.#ids[place * 4 + 3] ?? 0);
  }

  #unlink(place: number): void {
    const buckets = this.#buckets;
    const mask = buckets.length - 1;
    let hole = this.#homeOf(place) & mask;
    while (buckets[hole] !== place) hole = (hole + 1) & mask;
    for (let at = (hole + 1) & mask, other; (other = buckets[at] ?? 0) !== 0; at = (at + 1) & mask) {
      const distance = (at - this.#homeOf(other)) & mask;
      if (distance < ((at - hole) & mask)) continue;
      buckets[hole] = other;
      hole = at;
    }
    buckets[hole] = 0;
  }

  #queueIdle(place: number): void {
    if (this.#isQueued[place] === 1) return;
    if (this.#idleCount === IDLE_MAX) this.#forgetOldest();
    this.#isQueued[place] = 1;
    this.#idle[(this.#idleHead + this.#idleCount) % IDLE_MAX] = place;
    this.#idleCount++;
  }

  #forgetOldest(): void {
    const place = this.#idle[this.#idleHead] ?? 0;
    this.#idleHead = (this.#idleHead + 1) % IDLE_MAX;
    this.#idleCount--;
    this.#isQueued[place] = 0;
    if (this.#frames[place] !== 0) return;
    this.#unlink(place);
    this.#known--;
    const generation = (this.#generations[place] ?? 0) + 1;
    this.#generations[place] = generation;
    if (generation <= GENERATION_MAX) this.#freePlaces.push(place);
  }

  /** The place in the table of a number, by which frames are kept; 0 when it was forgotten or never given. */
  placeOf(number: number): number {
    const place = number & PLACE_MASK;
    return place < this.#placesUsed && this.#generations[place] === number >>> PLACE_BITS ? place : 0;
  }

  /** A word of the id at a place, 0 to 3. */
  word(place: number, index: number): number {
    return this.#ids[place * 4 + index] ?? 0;
  }

  /** One more frame of the segment is kept. */
  retain(place: number): void {
    this.#frames[place] = (this.#frames[place] ?? 0) + 1;
  }

  /** One less. */
  release(place: number): void {
    const left = (this.#frames[place] ?? 0) - 1;
    this.#frames[place] = left;
    if (left === 0) this.#queueIdle(place);
  }
}

function widened<A extends Uint32Array | Uint16Array | Uint8Array>(from: A, to: A): A {
  to.set(from);
  return to;
}
