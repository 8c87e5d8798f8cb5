/**
 * The sector-stamp oracle. Every sector that is written carries its address and the number of the write, so that stale,
 * misplaced and torn data are told apart. Writes are numbered in the order in which one connection sends them, which is the
 * order of the volume's log; a trim is a write of zeroes.
 */
export const PAGE = 4096;
const SECTOR = 512;
const MAGIC = 0x73677731;

/** The contents of `pages` pages from `firstPage` on, written by write `number`. */
export function stamped(firstPage: number, pages: number, number: number): Buffer {
  const bytes = Buffer.alloc(pages * PAGE, 0x5a);
  for (let at = 0; at < bytes.length; at += SECTOR) {
    bytes.writeUInt32LE(MAGIC, at);
    bytes.writeDoubleLE(firstPage * PAGE + at, at + 4);
    bytes.writeDoubleLE(number, at + 12);
    bytes.writeUInt32LE((number * 2654435761) >>> 0, at + SECTOR - 4);
  }
  return bytes;
}

/** The number of the write that a page holds; 0 for zeroes. @throws Error for anything else, such as a torn page */
export function stampOf(page: number, bytes: Buffer): number {
  if (bytes.equals(Buffer.alloc(PAGE))) return 0;
  const number = bytes.readDoubleLE(12);
  if (!bytes.equals(stamped(page, 1, number))) throw new Error(`page ${page} is torn, or not what was written there`);
  return number;
}

interface Write {
  readonly number: number;
  readonly page: number;
  readonly pages: number;
  /** A trim: the pages read as zeroes. */
  readonly isZero: boolean;
  state: 'sent' | 'acknowledged' | 'failed';
}

/** Everything that was sent to a volume, and what may be read from it. */
export class StampBook {
  readonly pageCount: number;
  /** In order; forgotten once nothing depends on them. */
  #writes: Write[] = [];
  /** What was on the volume before all of them. */
  readonly #base: Float64Array;
  #next = 1;
  /** The last write that a flush behind it made durable. */
  flushedNumber = 0;

  constructor(pageCount: number) {
    this.pageCount = pageCount;
    this.#base = new Float64Array(pageCount);
  }

  get lastNumber(): number {
    return this.#next - 1;
  }

  send(page: number, pages: number, isZero: boolean): Write {
    const write: Write = { number: this.#next++, page, pages, isZero, state: 'sent' };
    this.#writes.push(write);
    return write;
  }

  /**
   * After the process was killed and the volume was opened again: every acknowledged write is there, unless a later one
   * covers it; one that was not acknowledged may be there or not.
   */
  checkAfterKill(pages: readonly number[]): void {
    for (let page = 0; page < this.pageCount; page++) {
      const found = pages[page] ?? 0;
      const possible = this.#possible(page);
      if (!possible.has(found))
        throw new Error(`page ${page} holds write ${found}; possible are ${[...possible].join(', ')}`);
    }
    this.#settle(pages);
  }

  #possible(page: number): Set<number> {
    let possible = new Set<number>([this.#base[page] ?? 0]);
    for (const write of this.#writes) {
      if (page < write.page || page >= write.page + write.pages) continue;
      const value = write.isZero ? 0 : write.number;
      if (write.state === 'acknowledged') possible = new Set([value]);
      else possible.add(value);
    }
    return possible;
  }

  /** What was found is what there is from now on. */
  #settle(pages: readonly number[]): void {
    pages.forEach((value, page) => {
      this.#base[page] = value;
    });
    this.#writes = [];
    this.flushedNumber = this.lastNumber;
  }

  /**
   * A state from before, such as one that was uploaded when the gateway was lost: exactly what the first k writes since the last
   * settling made, for some k that is at least `atLeast`.
   * @returns k
   */
  checkPrefix(pages: readonly number[], history: readonly PrefixState[], atLeast: number): number {
    for (let at = history.length - 1; at >= 0; at--) {
      const state = history[at];
      if (state === undefined || state.number < atLeast) break;
      if (state.matches(pages)) return state.number;
    }
    throw new Error(`the volume is no state that it ever had since write ${atLeast}`);
  }

  /** The state after each write since the last settling, oldest first, beginning with the settled one. */
  history(): PrefixState[] {
    const states: PrefixState[] = [new PrefixState(0, Float64Array.from(this.#base))];
    let now = Float64Array.from(this.#base);
    for (const { number, page, pages, isZero } of this.#writes) {
      now = Float64Array.from(now);
      now.fill(isZero ? 0 : number, page, page + pages);
      states.push(new PrefixState(number, now));
    }
    return states;
  }
}

export class PrefixState {
  readonly number: number;
  readonly #pages: Float64Array;

  constructor(number: number, pages: Float64Array) {
    this.number = number;
    this.#pages = pages;
  }

  matches(pages: readonly number[]): boolean {
    return this.#pages.every((value, page) => value === (pages[page] ?? 0));
  }
}
