/** What the log says of each page of the volume: the index of slots, and the zeroes. Knows nothing of how it got there. */
import { FULL_MASK, LOG_PAGE_BYTES, NOT_IN_LOG, ZERO_IN_LOG, type LogExtent, type Slot } from './contract.ts';
import { PageIndex, PAGES_MAX } from './page-index.ts';
import type { RingFile } from './ring-file.ts';
import { ZeroMap } from './zero-map.ts';

export class VolumePages {
  readonly #index = new PageIndex();
  readonly #zeroes = new ZeroMap();

  lookup(page: number): Slot {
    const slot = this.#index.get(page);
    if (slot !== 0) return slot;
    return this.#zeroes.has(page) ? ZERO_IN_LOG : NOT_IN_LOG;
  }

  /** Meaningful for a page with a slot. */
  maskOf(page: number): number {
    return this.#index.maskOf(page);
  }

  next(from: number, end: number): number | undefined {
    const zero = this.#zeroes.next(from, end);
    return this.#index.next(from, zero ?? end) ?? zero;
  }

  /** How many pages from `page` on are in the same state; with slots: in consecutive ones, and all of them whole. */
  runLength(page: number, countMax: number): number {
    const first = this.lookup(page);
    if (first === NOT_IN_LOG) return (this.next(page, page + countMax) ?? page + countMax) - page;
    let count = 1;
    if (first === ZERO_IN_LOG) {
      while (count < countMax && this.lookup(page + count) === ZERO_IN_LOG) count++;
    } else if (this.maskOf(page) === FULL_MASK) {
      while (
        count < countMax &&
        this.#index.get(page + count) === first + count &&
        this.maskOf(page + count) === FULL_MASK
      ) {
        count++;
      }
    }
    return count;
  }

  written(firstPage: number, pageCount: number, mask: number, slot: Slot, file: RingFile): void {
    for (let i = 0; i < pageCount; i++) {
      this.#index.set(firstPage + i, slot + i, mask);
      file.setOwner(slot + i - file.firstSlot, firstPage + i);
    }
    this.#zeroes.written(firstPage, pageCount);
  }

  zeroed(firstPage: number, endPage: number, sequence: number): void {
    if (endPage <= firstPage) return;
    this.#index.deleteRange(firstPage, endPage);
    this.#zeroes.add(firstPage, endPage, sequence);
  }

  resized(sizeBytes: number, sequence: number): void {
    this.zeroed(Math.ceil(sizeBytes / LOG_PAGE_BYTES), PAGES_MAX, sequence);
  }

  /** The same for a record that was read back. */
  apply(extent: LogExtent, sequence: number, file: RingFile): void {
    switch (extent.kind) {
      case 'pages':
        this.written(extent.firstPage, extent.pageCount, FULL_MASK, extent.slot, file);
        break;
      case 'sectors':
        this.written(extent.page, 1, extent.mask, extent.slot, file);
        break;
      case 'zeroes':
        this.zeroed(extent.firstPage, extent.firstPage + extent.pageCount, sequence);
        break;
      case 'resize':
        this.resized(extent.sizeBytes, sequence);
        break;
      case 'barrier':
        break;
    }
  }

  /** Zeroes of records up to `sequence` are in the store, so what is below the log says the same. */
  uploaded(sequence: number): void {
    this.#zeroes.uploaded(sequence);
  }

  /** Pages whose newest version is in `file`. */
  *newestIn(file: RingFile): Generator<readonly [page: number, slot: Slot]> {
    for (const owner of file.owners()) if (this.#index.get(owner[0]) === owner[1]) yield owner;
  }

  /** Forgets them. */
  forget(file: RingFile): void {
    for (const [page] of this.newestIn(file)) this.#index.delete(page);
  }
}
