/** Which parts of a map a sample is of. Pure: no store. */
import { LEAF_PAGES } from '../blockstore/index.ts';
import type { Random } from '../kit/index.ts';

/** However small the share, so many parts are read where there are so many. */
const PARTS_MIN = 4;

/** What a walk through a map asks, for each node from the root down. */
interface Node {
  readonly mappedPages: number;
}

/**
 * Takes whole parts of a map, of at most a leaf's mapped pages each, evenly spaced over all parts from a random place on. A
 * part is taken as often whether it is full or sparse, so the share of pages that is read is that of parts, about.
 *
 * Invariant: what lies below a part is taken with it; `leave` is told of each node that was entered, innermost first.
 */
export class MapSample {
  readonly #share: number;
  #due: number;
  /** How deep the walk is within a part; 0: in none. */
  #depth = 0;
  #parts = 0;
  #pages = 0;

  /** `share`: above 0, up to 1. `mappedPages`: of the whole map. */
  constructor(share: number, mappedPages: number, random: Random) {
    this.#share = Math.max(share, Math.min(1, (PARTS_MIN * LEAF_PAGES) / Math.max(1, mappedPages)));
    this.#due = random.float();
  }

  /** Whether everything is read after all, since there is so little. */
  get isAll(): boolean {
    return this.#share >= 1;
  }

  /** Parts that were taken, and the pages that these count. */
  get taken(): { readonly parts: number; readonly pages: number } {
    return { parts: this.#parts, pages: this.#pages };
  }

  /** Whether what lies below the node is read. */
  readonly enter = ({ mappedPages }: Node): boolean => {
    if (this.#depth > 0) {
      this.#depth += 1;
      return true;
    }
    if (mappedPages > LEAF_PAGES) return true;
    this.#due += this.#share;
    if (this.#due < 1) return false;
    this.#due -= 1;
    this.#depth = 1;
    this.#parts += 1;
    this.#pages += mappedPages;
    return true;
  };

  /** After what lies below an entered node. */
  readonly leave = (): void => {
    if (this.#depth > 0) this.#depth -= 1;
  };
}
