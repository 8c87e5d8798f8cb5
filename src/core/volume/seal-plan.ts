/**
 * What one segment will hold: a run of the write log's records, folded. Later writes of a page replace earlier ones, zeroes
 * become explicit extents, and the size is that of the last record (C5, C9). Pure: no file is read.
 */
import type { PageExtent } from '../blockstore/index.ts';
import { LOG_PAGE_BYTES, FULL_MASK, type LogRecord, type Slot } from '../writelog/index.ts';

/** A page as the log holds it. */
export interface PlannedPage {
  readonly page: number;
  readonly slot: Slot;
  readonly checksum: number;
  /** Sectors that count; the others come from what is below. */
  readonly mask: number;
}

export interface SealedRecords {
  readonly incarnation: string;
  readonly first: number;
  readonly last: number;
}

export class SealPlan {
  readonly #pages = new Map<number, PlannedPage>();
  readonly #zeroes: PageExtent[] = [];
  #records: SealedRecords | undefined;
  #sizeBytes: number;
  #barrier: string | undefined;
  #isResized = false;
  #logBytes = 0;

  /** `sizeBytes`: the volume's size before the first record. */
  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
  }

  /** Pages that the segment will hold at most. */
  get pageCount(): number {
    return this.#pages.size;
  }

  get zeroCount(): number {
    return this.#zeroes.length;
  }

  get logBytes(): number {
    return this.#logBytes;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Whether a record changes the volume's size. */
  get isResized(): boolean {
    return this.#isResized;
  }

  get records(): SealedRecords | undefined {
    return this.#records;
  }

  /** The snapshot that shows the state after the last record. Nothing may be added behind it. */
  get barrier(): string | undefined {
    return this.#barrier;
  }

  /** Whether the record may join: it is of the same incarnation, and no barrier came before. */
  accepts(record: LogRecord): boolean {
    if (this.#barrier !== undefined) return false;
    return this.#records === undefined || this.#records.incarnation === record.incarnation;
  }

  /** Adds the next record; true. */
  add(record: LogRecord): true {
    this.#records = {
      incarnation: record.incarnation,
      first: this.#records?.first ?? record.sequence,
      last: record.sequence,
    };
    this.#logBytes += record.logBytes;
    for (const extent of record.extents) {
      switch (extent.kind) {
        case 'pages':
          for (let i = 0; i < extent.pageCount; i++) {
            const page = extent.firstPage + i;
            const checksum = extent.checksums[i] ?? 0;
            this.#pages.set(page, { page, slot: extent.slot + i, checksum, mask: FULL_MASK });
          }
          break;
        case 'sectors':
          // The log has merged into this slot what it had of the page before, so it stands for all of it.
          this.#pages.set(extent.page, extent);
          break;
        case 'zeroes':
          this.#zero(extent);
          break;
        case 'resize':
          this.#resize(extent.sizeBytes);
          break;
        case 'barrier':
          this.#barrier = extent.name;
          break;
      }
    }
    return true;
  }

  #zero(extent: PageExtent): void {
    const end = extent.firstPage + extent.pageCount;
    if (extent.pageCount < this.#pages.size) {
      for (let page = extent.firstPage; page < end; page++) this.#pages.delete(page);
    } else {
      for (const page of this.#pages.keys()) if (page >= extent.firstPage && page < end) this.#pages.delete(page);
    }
    const { firstPage, pageCount } = extent;
    this.#zeroes.push({ firstPage, pageCount });
  }

  #resize(sizeBytes: number): void {
    this.#isResized = true;
    const firstPage = Math.ceil(sizeBytes / LOG_PAGE_BYTES);
    const pageCount = Math.ceil(this.#sizeBytes / LOG_PAGE_BYTES) - firstPage;
    if (pageCount > 0) this.#zero({ firstPage, pageCount });
    this.#sizeBytes = sizeBytes;
  }

  /** The pages, ascending. */
  pages(): PlannedPage[] {
    return [...this.#pages.values()].sort((a, b) => a.page - b.page);
  }

  /** What becomes zeroes, ascending and without overlap, without pages that were written behind it. */
  zeroes(): PageExtent[] {
    const merged = mergeExtents(this.#zeroes);
    if (merged.length === 0) return merged;
    const written = [...this.#pages.keys()].sort((a, b) => a - b);
    return subtractPages(merged, written);
  }
}

/** Extents in order, those that touch or overlap made one. */
function mergeExtents(extents: readonly PageExtent[]): PageExtent[] {
  const merged: { firstPage: number; pageCount: number }[] = [];
  for (const { firstPage, pageCount } of [...extents].sort((a, b) => a.firstPage - b.firstPage)) {
    const last = merged.at(-1);
    const end = firstPage + pageCount;
    if (last !== undefined && firstPage <= last.firstPage + last.pageCount)
      last.pageCount = Math.max(last.pageCount, end - last.firstPage);
    else merged.push({ firstPage, pageCount });
  }
  return merged;
}

/** What is left of `extents` without `pages`; both ascending. */
function subtractPages(extents: readonly PageExtent[], pages: readonly number[]): PageExtent[] {
  const left: PageExtent[] = [];
  let at = 0;
  for (const { firstPage, pageCount } of extents) {
    let from = firstPage;
    const end = firstPage + pageCount;
    while (at < pages.length && (pages[at] ?? 0) < from) at += 1;
    for (; at < pages.length && (pages[at] ?? 0) < end; at++) {
      const page = pages[at] ?? 0;
      if (page > from) left.push({ firstPage: from, pageCount: page - from });
      from = page + 1;
    }
    if (from < end) left.push({ firstPage: from, pageCount: end - from });
  }
  return left;
}
