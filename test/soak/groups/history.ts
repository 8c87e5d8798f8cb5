/**
 * What clients saw of pages, each of which is one register: a page is written by one request at a time, with a number that only grows,
 * and read by any. So whether a history is linearizable is told page by page: a read shows no older write than the newest that had
 * ended when it began, nor than what a read showed that had ended by then, and none that had not begun when it ended.
 */

interface Write {
  readonly number: number;
  readonly beganMs: number;
  /** Infinity until it was acknowledged. */
  endedMs: number;
}

interface Register {
  /** In the order of their numbers. */
  writes: Write[];
  /** The greatest number that a read or an acknowledged write has shown, and since when it has to be seen: ascending in both. */
  seen: { readonly number: number; readonly sinceMs: number }[];
}

/** Kept of the past: reads that take longer are judged less sharply. */
const KEPT = 64;

export class History {
  readonly #registers: Register[];
  reads = 0;
  writes = 0;

  constructor(pages: number) {
    this.#registers = Array.from({ length: pages }, () => ({ writes: [], seen: [] }));
  }

  /** A write of `number` begins; the returned function is called when it was acknowledged. */
  write(page: number, number: number, nowMs: number): (endedMs: number) => void {
    const register = this.#at(page);
    const write: Write = { number, beganMs: nowMs, endedMs: Number.POSITIVE_INFINITY };
    register.writes.push(write);
    return (endedMs) => {
      write.endedMs = endedMs;
      this.writes += 1;
      see(register, number, endedMs);
    };
  }

  /** A read that began and ended then has shown `number`; 0: nothing was ever written. @throws Error when it may not have */
  read(page: number, number: number, beganMs: number, endedMs: number, who: string): void {
    const register = this.#at(page);
    this.reads += 1;
    const least = register.seen.findLast(({ sinceMs }) => sinceMs < beganMs)?.number ?? 0;
    if (number < least)
      throw new Error(
        `page ${String(page)}: ${who} read write ${String(number)} where write ${String(least)} was there already ` +
          `(from ${beganMs.toFixed(0)} to ${endedMs.toFixed(0)} ms)`,
      );
    if (number > 0) {
      const write = register.writes.find((one) => one.number === number);
      // One that is so old that it was forgotten is less than `least`, unless nothing newer was acknowledged since.
      if (write !== undefined && write.beganMs > endedMs)
        throw new Error(`page ${String(page)}: ${who} read write ${String(number)} before it was sent`);
      if (write === undefined && number > (register.writes.at(-1)?.number ?? 0))
        throw new Error(`page ${String(page)}: ${who} read write ${String(number)}, which nobody has sent`);
    }
    see(register, number, endedMs);
  }

  #at(page: number): Register {
    const register = this.#registers[page];
    if (register === undefined) throw new Error(`there is no page ${String(page)}`);
    return register;
  }
}

function see(register: Register, number: number, sinceMs: number): void {
  const { seen } = register;
  if ((seen.at(-1)?.number ?? -1) >= number) {
    // It was known later than something newer: but perhaps of an earlier time.
    const at = seen.findIndex((one) => one.number >= number);
    const next = seen[at];
    if (next === undefined || next.sinceMs <= sinceMs || (seen[at - 1]?.sinceMs ?? -1) > sinceMs) return;
    seen.splice(at, 0, { number, sinceMs });
  } else {
    // What is newer and was known sooner makes older knowledge of a later time needless.
    while ((seen.at(-1)?.sinceMs ?? -1) >= sinceMs) seen.pop();
    seen.push({ number, sinceMs });
  }
  if (seen.length > KEPT) seen.shift();
  const kept = seen[0]?.number ?? 0;
  if (register.writes.length > KEPT) register.writes = register.writes.filter((one) => one.number >= kept);
}
