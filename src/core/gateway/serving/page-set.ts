/**
 * A set of pages that is small where little is in it: a bitmap for each stretch of 1024 pages, and one word for those that
 * are full. Grows with what is added, never with the volume.
 */
const STRETCH_PAGES = 1024;

export class PageSet {
  readonly #stretches = new Map<number, Uint8Array | 'full'>();

  add(firstPage: number, pageCount: number): void {
    const end = firstPage + pageCount;
    for (let page = firstPage; page < end;) {
      const stretch = Math.floor(page / STRETCH_PAGES);
      const start = stretch * STRETCH_PAGES;
      const stop = Math.min(end, start + STRETCH_PAGES);
      if (stop - page === STRETCH_PAGES) this.#stretches.set(stretch, 'full');
      else this.#addWithin(stretch, page - start, stop - start);
      page = stop;
    }
  }

  #addWithin(stretch: number, from: number, to: number): void {
    let bits = this.#stretches.get(stretch);
    if (bits === 'full') return;
    if (bits === undefined) {
      bits = new Uint8Array(STRETCH_PAGES / 8);
      this.#stretches.set(stretch, bits);
    }
    for (let i = from; i < to; i++) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
  }

  has(page: number): boolean {
    const bits = this.#stretches.get(Math.floor(page / STRETCH_PAGES));
    if (bits === undefined || bits === 'full') return bits === 'full';
    const at = page % STRETCH_PAGES;
    return ((bits[at >> 3] ?? 0) & (1 << (at & 7))) !== 0;
  }

  /** The first page from `from` on, below `to`, that is in the set, or is not, otherwise than `isIn`; `to` when there is none. */
  endOf(isIn: boolean, from: number, to: number): number {
    for (let page = from; page < to;) {
      const stretch = Math.floor(page / STRETCH_PAGES);
      const stop = Math.min(to, (stretch + 1) * STRETCH_PAGES);
      const bits = this.#stretches.get(stretch);
      if (bits === undefined || bits === 'full') {
        if ((bits === 'full') !== isIn) return page;
        page = stop;
        continue;
      }
      for (; page < stop; page++) if (this.has(page) !== isIn) return page;
    }
    return to;
  }
}
