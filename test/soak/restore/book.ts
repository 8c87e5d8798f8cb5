/** What pages of an image may hold while it is restored under load and killed: pages are looked at in any order, some never. */

interface Sent {
  readonly number: number;
  /** What the page reads as: the write's number, or 0 for zeroes. */
  readonly value: number;
  isAcknowledged: boolean;
}

export class PageBook {
  readonly pageCount: number;
  /** By page: what was sent since it was looked at last, in order. */
  readonly #sent = new Map<number, Sent[]>();
  readonly #known: Float64Array;
  #lastNumber: number;

  /** `known`: what the pages hold at first; their numbers are below `firstNumber`. */
  constructor(known: readonly number[], firstNumber: number) {
    this.pageCount = known.length;
    this.#known = Float64Array.from(known);
    this.#lastNumber = firstNumber - 1;
  }

  /** A write, or with `isZero` a trim, goes out. Returns its number, and what to call when it is acknowledged. */
  send(page: number, pages: number, isZero: boolean): { readonly number: number; readonly acknowledge: () => void } {
    const number = ++this.#lastNumber;
    const own: Sent[] = [];
    for (let at = page; at < page + pages; at++) {
      const sent = { number, value: isZero ? 0 : number, isAcknowledged: false };
      this.#sent.set(at, [...(this.#sent.get(at) ?? []), sent]);
      own.push(sent);
    }
    return {
      number,
      acknowledge: () => {
        for (const sent of own) sent.isAcknowledged = true;
      },
    };
  }

  /** Pages that something was sent to, and that nobody looked at since. */
  get open(): number[] {
    return [...this.#sent.keys()];
  }

  /** A page was read while nothing is sent to it. @throws Error when it can't hold that */
  look(page: number, found: number): void {
    let possible = new Set([this.#known[page] ?? 0]);
    for (const { value, isAcknowledged } of this.#sent.get(page) ?? []) {
      if (isAcknowledged) possible = new Set([value]);
      else possible.add(value);
    }
    if (!possible.has(found))
      throw new Error(`page ${page} holds write ${found}; possible are ${[...possible].join(', ')}`);
    this.#known[page] = found;
    this.#sent.delete(page);
  }
}
