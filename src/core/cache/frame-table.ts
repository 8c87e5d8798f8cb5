/**
 * Which frames a tier keeps, and where: names, units, and the order of eviction, which is S3-FIFO (Yang et al., "FIFO queues
 * are all you need for cache eviction", SOSP 2023). New frames enter a small queue that has a twentieth of the units; those used
 * again before they reach its end move to the main queue, the others leave, and only their names are remembered for a while: a
 * frame that comes back in that time goes to the main queue at once. The main queue is FIFO with a second chance for each use,
 * up to three. So what a scan reads once passes through a twentieth of the tier (the paper has a tenth, with which a scan takes more of a hot
 * set that nearly fills the tier; what reuses later than that is caught by the remembered names).
 *
 * Moving between queues changes links only; the bytes of a frame stay where they are until it is evicted.
 */
import { DEAD, FrameIndex, IN_MAIN, IN_PIECES, PINNED, USES_MAX } from './frame-index.ts';
import { Ghost } from './ghost.ts';
import { UnitPool } from './unit-pool.ts';

/** Uses that take a frame from the small queue to the main one: the first one brings it in. */
const USES_TO_STAY = 2;
const SMALL_PART = 0.05;
/** Reads after which frames used lately count again. */
const LATELY = 1024;

interface Queue {
  head: number;
  tail: number;
  units: number;
}

export interface TableEvents {
  /** A frame is kept from now on. */
  added(place: number): void;
  /** A frame goes; its units are still its own during the call. */
  removed(place: number, entry: number): void;
  /** It goes because others need its units; the same moment, before `removed`. */
  evicted?(entry: number): void;
}

export class FrameTable {
  readonly index: FrameIndex;
  readonly pool: UnitPool;
  readonly ghost = new Ghost();
  readonly #events: TableEvents;
  readonly #small: Queue = { head: 0, tail: 0, units: 0 };
  readonly #main: Queue = { head: 0, tail: 0, units: 0 };
  #smallUnits: number;
  /** The frames used last: the calls of one request, or of a few side by side, are one use of each. */
  #latest0 = 0;
  #latest1 = 0;
  #latest2 = 0;
  #latest3 = 0;
  #untilForgotten = LATELY;

  /** A table of `unitCount` units, the first of which is nobody's. */
  constructor(unitCount: number, events: TableEvents) {
    this.pool = new UnitPool(unitCount);
    this.index = new FrameIndex(this.pool.unitCount - 1);
    this.#smallUnits = Math.floor((this.pool.unitCount - 1) * SMALL_PART);
    this.#events = events;
  }

  /** There are more units from now on. */
  extend(unitCount: number): void {
    this.pool.extend(unitCount);
    this.index.extend(unitCount - 1);
    this.#smallUnits = Math.floor((unitCount - 1) * SMALL_PART);
  }

  /** Notes that the frame was used. */
  use(entry: number): void {
    if (--this.#untilForgotten === 0) this.#forgetLatest();
    if (entry === this.#latest0) return;
    if (entry === this.#latest1 || entry === this.#latest2 || entry === this.#latest3) return;
    this.#noteLatest(entry);
    this.credit(entry);
  }

  /** Counts a use that was made elsewhere, of another copy. */
  credit(entry: number): void {
    const uses = this.index.usesOf(entry);
    if (uses < USES_MAX) this.index.setUses(entry, uses + 1);
  }

  #noteLatest(entry: number): void {
    this.#latest3 = this.#latest2;
    this.#latest2 = this.#latest1;
    this.#latest1 = this.#latest0;
    this.#latest0 = entry;
  }

  #forgetLatest(): void {
    this.#untilForgotten = LATELY;
    this.#latest0 = 0;
    this.#latest1 = 0;
    this.#latest2 = 0;
    this.#latest3 = 0;
  }

  /**
   * Makes an entry with units for a frame that is not here, evicting others; 0 when that can't be. `isUsed` says whether
   * somebody asked for it, so that one more use shows that it is worth keeping.
   */
  add(place: number, frame: number, pages: number, isUsed: boolean): number {
    const isRemembered = this.ghost.take(place, frame);
    if (!this.#makeRoom(pages)) return 0;
    const entry = this.index.add(place, frame, pages, isUsed ? 1 : 0);
    if (entry === 0) return 0;
    this.#giveUnits(entry, pages);
    this.#append(entry, isRemembered);
    this.ghost.fit(this.index.count);
    this.#events.added(place);
    if (isUsed) this.#noteLatest(entry);
    return entry;
  }

  #giveUnits(entry: number, pages: number): void {
    const together = this.pool.takeTogether(pages);
    this.index.setFirstUnit(entry, together === 0 ? this.pool.takePieces(pages) : together);
    if (together === 0) this.index.set(entry, IN_PIECES, true);
  }

  /** The unit behind this one in a frame. */
  nextUnit(entry: number, unit: number): number {
    return this.index.is(entry, IN_PIECES) ? this.pool.next(unit) : unit + 1;
  }

  #makeRoom(pages: number): boolean {
    if (pages > this.pool.unitCount - 1) return false;
    // Each turn evicts, moves, or takes a use away, so this is more than it ever takes when one frame can be evicted.
    let turns = (this.index.count + 1) * (USES_MAX + 2) + 64;
    while (this.pool.free < pages || this.index.isFull) {
      if (turns-- === 0 || !this.#turn()) return false;
    }
    return true;
  }

  /** One step of eviction; false when there is nothing at all. */
  #turn(): boolean {
    const isSmall = this.#small.head !== 0 && (this.#small.units > this.#smallUnits || this.#main.head === 0);
    const queue = isSmall ? this.#small : this.#main;
    const entry = queue.head;
    if (entry === 0) return false;
    const { index } = this;
    queue.head = index.link(entry);
    if (queue.head === 0) queue.tail = 0;
    if (index.is(entry, DEAD)) {
      index.free(entry);
      return true;
    }
    queue.units -= index.pagesOf(entry);
    const uses = index.usesOf(entry);
    if (index.is(entry, PINNED)) this.#append(entry, !isSmall);
    else if (isSmall && uses >= USES_TO_STAY) {
      index.setUses(entry, 0);
      this.#append(entry, true);
    } else if (!isSmall && uses > 0) {
      index.setUses(entry, uses - 1);
      this.#append(entry, true);
    } else this.#evict(entry, isSmall);
    return true;
  }

  #evict(entry: number, isSmall: boolean): void {
    const { index } = this;
    // What was read ahead and never asked for was not used at all: asked for later, that is its first use.
    if (isSmall && index.usesOf(entry) > 0) this.ghost.add(index.placeOf(entry), index.frameOf(entry));
    this.#events.evicted?.(entry);
    this.#drop(entry);
    index.free(entry);
  }

  #drop(entry: number): void {
    const { index } = this;
    this.#events.removed(index.placeOf(entry), entry);
    this.pool.release(index.firstUnit(entry), index.pagesOf(entry), index.is(entry, IN_PIECES));
    index.kill(entry);
    if (entry === this.#latest0 || entry === this.#latest1 || entry === this.#latest2 || entry === this.#latest3) {
      this.#forgetLatest();
    }
  }

  #append(entry: number, isMain: boolean): void {
    const queue = isMain ? this.#main : this.#small;
    this.index.set(entry, IN_MAIN, isMain);
    this.index.setLink(entry, 0);
    if (queue.tail === 0) queue.head = entry;
    else this.index.setLink(queue.tail, entry);
    queue.tail = entry;
    queue.units += this.index.pagesOf(entry);
  }

  /** Drops a frame that is no good. Its entry stays in its queue, dead, until its turn comes. */
  remove(entry: number): void {
    const queue = this.index.is(entry, IN_MAIN) ? this.#main : this.#small;
    queue.units -= this.index.pagesOf(entry);
    this.#drop(entry);
  }

  /** Entries in the order in which they leave, those of the small queue first. */
  *entries(): Generator<number> {
    for (const queue of [this.#small, this.#main]) {
      for (let entry = queue.head; entry !== 0; entry = this.index.link(entry)) {
        if (!this.index.is(entry, DEAD)) yield entry;
      }
    }
  }

  /** The units of a frame, in the order of its pages. */
  unitsOf(entry: number): number[] {
    const units: number[] = [];
    const pages = this.index.pagesOf(entry);
    for (let unit = this.index.firstUnit(entry); units.length < pages; unit = this.nextUnit(entry, unit))
      units.push(unit);
    return units;
  }

  /** Takes over frames from before, in the order of `entries`; whatever was here must be gone. */
  restore(frames: Iterable<RestoredFrame>): void {
    const taken = new Uint8Array((this.pool.unitCount + 7) >> 3);
    for (const { place, frame, units, uses, isMain } of frames) {
      if (!claim(taken, units, this.pool.unitCount)) continue;
      if (this.index.find(place, frame) !== 0) throw new RangeError('a frame is there twice');
      const entry = this.index.add(place, frame, units.length, uses);
      this.index.setFirstUnit(entry, units[0] ?? 0);
      if (isInPieces(units)) this.#link(entry, units);
      this.#append(entry, isMain);
      this.#events.added(place);
    }
    this.pool.adopt(taken);
    this.ghost.fit(this.index.count);
  }

  #link(entry: number, units: readonly number[]): void {
    this.index.set(entry, IN_PIECES, true);
    for (let i = 1; i < units.length; i++) this.pool.setNext(units[i - 1] ?? 0, units[i] ?? 0);
  }

  /** Everything here, for `restore` of another table. */
  *frames(): Generator<RestoredFrame> {
    const { index } = this;
    for (const entry of this.entries()) {
      yield {
        place: index.placeOf(entry),
        frame: index.frameOf(entry),
        units: this.unitsOf(entry),
        uses: index.usesOf(entry),
        isMain: index.is(entry, IN_MAIN),
      };
    }
  }

  /** Drops every frame. */
  removeAll(): void {
    // Links of dead entries stay until their turn comes, so that the walk goes on.
    for (const entry of this.entries()) this.remove(entry);
  }
}

/** Whether units are not one behind the other. */
export function isInPieces(units: readonly number[]): boolean {
  const [first = 0] = units;
  return units.some((unit, i) => unit !== first + i);
}

export interface RestoredFrame {
  readonly place: number;
  readonly frame: number;
  readonly units: readonly number[];
  readonly uses: number;
  readonly isMain: boolean;
}

/**
 * Marks units as taken; false, and nothing is marked, when one is beyond the end.
 * @throws RangeError when one is taken already
 */
function claim(taken: Uint8Array, units: readonly number[], unitCount: number): boolean {
  if (units.some((unit) => unit >= unitCount)) return false;
  for (const unit of units) {
    const byte = taken[unit >> 3] ?? 0;
    const bit = 1 << (unit & 7);
    if ((byte & bit) !== 0) throw new RangeError('two frames have the same unit');
    taken[unit >> 3] = byte | bit;
  }
  return true;
}
