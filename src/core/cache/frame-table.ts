/**
 * Which frames a tier keeps, and where: names, units, and the order of eviction, which is S3-FIFO (Yang et al., "FIFO queues
 * are all you need for cache eviction", SOSP 2023). New frames enter a small queue that has a tenth of the units; those used
 * again before they reach its end move to the main queue, the others leave, and only their names are remembered for a while: a
 * frame that comes back in that time goes to the main queue at once. The main queue is FIFO with a second chance for each use,
 * up to three. So what a scan reads once passes through a tenth of the tier.
 *
 * Moving between queues changes links only; the bytes of a frame stay where they are until it is evicted.
 */
import { DEAD, FrameIndex, IN_MAIN, PINNED, USES_MAX } from './frame-index.ts';
import { Ghost } from './ghost.ts';
import { UnitPool } from './unit-pool.ts';

/** Uses that take a frame from the small queue to the main one: the first one brings it in. */
const USES_TO_STAY = 2;
const SMALL_PART = 0.1;
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
  readonly #smallUnits: number;
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

  /** Notes that the frame was used. */
  use(entry: number): void {
    if (--this.#untilForgotten === 0) this.#forgetLatest();
    if (entry === this.#latest0) return;
    if (entry === this.#latest1 || entry === this.#latest2 || entry === this.#latest3) return;
    this.#noteLatest(entry);
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
    this.index.setFirstUnit(entry, this.pool.take(pages));
    this.#append(entry, isRemembered);
    this.ghost.fit(this.index.count);
    this.#events.added(place);
    if (isUsed) this.#noteLatest(entry);
    return entry;
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
    if (isSmall) this.ghost.add(index.placeOf(entry), index.frameOf(entry));
    this.#events.evicted?.(entry);
    this.#drop(entry);
    index.free(entry);
  }

  #drop(entry: number): void {
    const { index } = this;
    this.#events.removed(index.placeOf(entry), entry);
    this.pool.release(index.firstUnit(entry), index.pagesOf(entry));
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

  /** Takes over a frame from before whose units are known; the pool must be told by `adopt` when all are here. */
  restore(place: number, frame: number, units: readonly number[], uses: number, isMain: boolean): number {
    const entry = this.index.add(place, frame, units.length, uses);
    if (entry === 0) return 0;
    this.index.setFirstUnit(entry, units[0] ?? 0);
    for (let i = 1; i < units.length; i++) this.pool.setNext(units[i - 1] ?? 0, units[i] ?? 0);
    this.#append(entry, isMain);
    this.#events.added(place);
    return entry;
  }
}
