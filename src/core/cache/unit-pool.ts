/**
 * Which units of 4096 bytes of a store are free, and which follow one another in a frame. A frame takes any free units, so that
 * nothing is lost to fragmentation, and consecutive ones where it can.
 *
 * Unit 0 is nobody's. `#next` is touched for frames in pieces only, so that it costs no memory for the others.
 */

/** Free runs that are looked at for one that fits. */
const LOOK_AT_RUNS = 32;

export class UnitPool {
  /** Units there are, with unit 0. */
  unitCount: number;
  #next: Uint32Array;
  /** Units from here on were never used. */
  #fresh = 1;
  /** Free runs: start and length, as a stack. */
  #runs = new Uint32Array(64);
  #runsLength = 0;
  #free: number;

  constructor(unitCount: number) {
    this.unitCount = Math.max(1, unitCount);
    this.#next = new Uint32Array(this.unitCount);
    this.#free = this.unitCount - 1;
  }

  get free(): number {
    return this.#free;
  }

  get used(): number {
    return this.unitCount - 1 - this.#free;
  }

  /** The unit behind this one in a frame that is in pieces. */
  next(unit: number): number {
    return this.#next[unit] ?? 0;
  }

  /** Says which unit follows in a frame that is in pieces. */
  setNext(unit: number, next: number): void {
    this.#next[unit] = next;
  }

  /** The first of `count` units one behind the other; 0 when there are not so many together. */
  takeTogether(count: number): number {
    const fitting = this.#fittingRun(count);
    if (fitting < 0 && this.unitCount - this.#fresh < count) return 0;
    this.#free -= count;
    return fitting >= 0 ? this.#takeFrom(fitting, count) : this.#takeFresh(count);
  }

  /** The first of `count` units, of which so many must be free, linked by `next`. */
  takePieces(count: number): number {
    this.#free -= count;
    let first = 0;
    let last = 0;
    for (let missing = count; missing > 0;) {
      const isFresh = this.#runsLength === 0;
      const run = this.#runsLength - 2;
      const part = Math.min(missing, isFresh ? missing : (this.#runs[run + 1] ?? 0));
      const start = isFresh ? this.#takeFresh(part) : this.#takeFrom(run, part);
      if (first === 0) first = start;
      else this.#next[last] = start;
      last = start + part - 1;
      for (let unit = start; unit < last; unit++) this.#next[unit] = unit + 1;
      missing -= part;
    }
    return first;
  }

  /** The best of the runs on top: as long as asked for, else the shortest that is longer; -1 when none is. */
  #fittingRun(count: number): number {
    let best = -1;
    let bestLength = Infinity;
    const lowest = Math.max(0, this.#runsLength - 2 * LOOK_AT_RUNS);
    for (let run = this.#runsLength - 2; run >= lowest; run -= 2) {
      const length = this.#runs[run + 1] ?? 0;
      if (length === count) return run;
      if (length > count && length < bestLength) {
        best = run;
        bestLength = length;
      }
    }
    return best;
  }

  #takeFrom(run: number, count: number): number {
    const start = this.#runs[run] ?? 0;
    const length = this.#runs[run + 1] ?? 0;
    if (length > count) {
      this.#runs[run] = start + count;
      this.#runs[run + 1] = length - count;
    } else {
      this.#runsLength -= 2;
      this.#runs[run] = this.#runs[this.#runsLength] ?? 0;
      this.#runs[run + 1] = this.#runs[this.#runsLength + 1] ?? 0;
    }
    return start;
  }

  #takeFresh(count: number): number {
    const start = this.#fresh;
    this.#fresh += count;
    return start;
  }

  /** Gives back the units of a frame. */
  release(first: number, count: number, isInPieces: boolean): void {
    this.#free += count;
    if (!isInPieces) {
      this.#push(first, count);
      return;
    }
    let start = first;
    let unit = first;
    for (let left = count; left > 0; left--) {
      const next = left === 1 ? 0 : this.next(unit);
      if (next !== unit + 1) {
        this.#push(start, unit + 1 - start);
        start = next;
      }
      unit = next;
    }
  }

  #push(start: number, length: number): void {
    if (this.#runsLength === this.#runs.length) {
      const longer = new Uint32Array(this.#runs.length * 2);
      longer.set(this.#runs);
      this.#runs = longer;
    }
    this.#runs[this.#runsLength++] = start;
    this.#runs[this.#runsLength++] = length;
  }

  /** There are more units from now on. */
  extend(unitCount: number): void {
    this.#free += unitCount - this.unitCount;
    this.unitCount = unitCount;
    const next = new Uint32Array(unitCount);
    next.set(this.#next);
    this.#next = next;
  }

  /** Begins with units that are taken already: bit `unit % 8` of byte `unit / 8` says which. */
  adopt(taken: Uint8Array): void {
    const isTaken = (unit: number): boolean => (((taken[unit >> 3] ?? 0) >> (unit & 7)) & 1) === 1;
    this.#free = 0;
    let last = this.unitCount - 1;
    while (last > 0 && !isTaken(last)) last--;
    this.#fresh = last + 1;
    this.#free = this.unitCount - this.#fresh;
    for (let end = last; end > 0;) {
      let unit = end;
      while (unit > 0 && isTaken(unit)) unit--;
      end = unit;
      while (unit > 0 && !isTaken(unit)) unit--;
      if (end > unit) {
        this.#push(unit + 1, end - unit);
        this.#free += end - unit;
      }
      end = unit;
    }
  }
}
