/**
 * Pages that were written to the image and not logged: what a resync sends (C21). In memory only, since after a crash the marked
 * regions are compared. Up to a number of regions it knows single pages, beyond that whole regions.
 */
import { PAGE_BYTES } from '../../blockstore/index.ts';
import { REGION_BYTES, REGION_PAGES, regionOf } from './region-marks.ts';

/** 128 bytes each, and as much again for keeping them. */
const EXACT_REGIONS_MAX = 65_536;
const WORDS = REGION_PAGES / 32;

/** `all`: some page of the region; else one bit a page. */
type Pages = Uint32Array | 'all';

export class TouchedPages {
  readonly #regions = new Map<number, Pages>();
  #bytes = 0;

  /** At most so much has to be looked at. */
  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#regions.size === 0;
  }

  add(firstPage: number, pageCount: number): void {
    for (let page = firstPage; page < firstPage + pageCount; page++) {
      const region = regionOf(page);
      let pages = this.#regions.get(region);
      if (pages === 'all') {
        page = (region + 1) * REGION_PAGES - 1;
        continue;
      }
      if (pages === undefined) {
        if (this.#regions.size >= EXACT_REGIONS_MAX) {
          this.#regions.set(region, 'all');
          this.#bytes += REGION_BYTES;
          continue;
        }
        pages = new Uint32Array(WORDS);
        this.#regions.set(region, pages);
      }
      const at = page % REGION_PAGES;
      const bit = 1 << (at & 31);
      const word = pages[at >> 5] ?? 0;
      if ((word & bit) !== 0) continue;
      pages[at >> 5] = word | bit;
      this.#bytes += PAGE_BYTES;
    }
  }

  /** Pages of a region, ascending, which are forgotten; `all` when they are not known. Undefined: no region is left. */
  takeRegion(): { readonly region: number; readonly pages: readonly number[] | 'all' } | undefined {
    const next = this.#regions.entries().next();
    if (next.done === true) return undefined;
    const [region, pages] = next.value;
    this.#regions.delete(region);
    if (pages === 'all') {
      this.#bytes -= REGION_BYTES;
      return { region, pages };
    }
    const found: number[] = [];
    for (let at = 0; at < REGION_PAGES; at++)
      if (((pages[at >> 5] ?? 0) & (1 << (at & 31))) !== 0) found.push(region * REGION_PAGES + at);
    this.#bytes -= found.length * PAGE_BYTES;
    return { region, pages: found };
  }
}

/** The pages that bytes from `offset` lie in, wholly or in part. */
export function pagesOf(offset: number, length: number): [firstPage: number, pageCount: number] {
  const firstPage = Math.floor(offset / PAGE_BYTES);
  return [firstPage, Math.ceil((offset + length) / PAGE_BYTES) - firstPage];
}
