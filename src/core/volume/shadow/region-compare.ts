/**
 * Compares one region of an image with what the write log and the store hold of it, and puts what differs into the log (C19,
 * C20). Clients go on meanwhile: a page that they write after the look at the region began is theirs, and is left out.
 *
 * Invariants: from the last look at what was written to the append nothing else runs, so that a page of the image never
 * replaces one that was written since; one region is looked at a time.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import {
  blake3ShortInto,
  PAGE_BYTES,
  PAGE_HASH_BYTES,
  hashesOfLeaf,
  type SegmentReader,
} from '../../blockstore/index.ts';
import type { ImageFile } from '../../image/index.ts';
import { toSgwError } from '../../kit/index.ts';
import { FULL_MASK, NOT_IN_LOG, ZERO_IN_LOG, type WriteLog } from '../../writelog/index.ts';
import type { LiveMap } from '../live-map.ts';
import { imageTruncated } from './image-watch.ts';
import { REGION_BYTES, REGION_PAGES } from './region-marks.ts';
import type { RegionTask } from './region-work.ts';

/** Pages between two breaths. */
const PAGES_AT_A_TIME = 128;
const ZEROES = Buffer.alloc(PAGE_BYTES);

export interface CompareParts {
  readonly image: ImageFile;
  readonly log: WriteLog;
  readonly store: () => { readonly live: LiveMap; readonly segments: SegmentReader };
  /** Waits until `bytes` may be appended by somebody who is in no hurry. */
  readonly room: (bytes: number, signal: AbortSignal) => Promise<void>;
  /** About so many bytes were appended. */
  readonly appended: (bytes: number) => void;
}

/** What a look at a region came to, bytes. */
export interface Compared {
  readonly readBytes: number;
  readonly sentBytes: number;
}

interface Look {
  readonly firstPage: number;
  readonly endPage: number;
  /** Written since the look began. */
  readonly written: Set<number>;
}

export class RegionCompare {
  readonly #parts: CompareParts;
  readonly #bytes = Buffer.allocUnsafe(REGION_BYTES);
  readonly #loggedPage = Buffer.allocUnsafe(PAGE_BYTES);
  readonly #hash = Buffer.alloc(PAGE_HASH_BYTES);
  #look: Look | undefined;

  constructor(parts: CompareParts) {
    this.#parts = parts;
  }

  /** Clients have written pages: what was read of them counts no more. Cheap. */
  written(firstPage: number, pageCount: number): void {
    const look = this.#look;
    if (look === undefined) return;
    const end = Math.min(firstPage + pageCount, look.endPage);
    for (let page = Math.max(firstPage, look.firstPage); page < end; page++) look.written.add(page);
  }

  /** Compares what is to be looked at of a region; all of it is sent where the store can't tell what it has. */
  async compareTask({ region, pages }: RegionTask, signal: AbortSignal): Promise<void> {
    try {
      await this.compare(region, pages, signal);
    } catch (error) {
      if (toSgwError(error).kind !== 'corrupt') throw error;
      await this.compare(region, this.pagesOf(region), signal);
    }
  }

  /**
   * Looks at a whole region, or at `pages` of it, which are taken to differ.
   * @throws what reading the image, the store or appending throws
   */
  async compare(region: number, pages: readonly number[] | 'all', signal: AbortSignal): Promise<Compared> {
    const { image } = this.#parts;
    const firstPage = region * REGION_PAGES;
    const endPage = Math.min(firstPage + REGION_PAGES, Math.ceil(image.sizeBytes / PAGE_BYTES));
    const look: Look = { firstPage, endPage, written: new Set() };
    this.#look = look;
    try {
      // What leaves the log from here on is in the store, and not in these hashes.
      const logged = pages === 'all' ? this.#logged(firstPage, endPage) : new Set<number>();
      const hashes = pages === 'all' ? await this.#hashes(firstPage, signal) : undefined;
      const readBytes = await this.#read(firstPage, endPage, pages, signal);
      const differing: number[] = [];
      const looked = pages === 'all' ? endPage - firstPage : pages.length;
      for (let i = 0; i < looked; i++) {
        const page = pages === 'all' ? firstPage + i : (pages[i] ?? 0);
        if (hashes === undefined || this.#hasLeftLog(page, logged) || this.#differs(page, firstPage, hashes))
          differing.push(page);
        if (i % PAGES_AT_A_TIME === PAGES_AT_A_TIME - 1) await breathe();
      }
      let sentPages = 0;
      const count = piecePages(this.#parts.log.usage.capacityBytes);
      for (let at = 0; at < differing.length; at += count) {
        const piece = differing.slice(at, at + count);
        await this.#parts.room(costBytes(piece.length), signal);
        // What was cut off reads as a hole, and must not become one in the store.
        requireWhole(image);
        // From here to the appends nothing else runs.
        const sent = piece.filter((page) => !look.written.has(page));
        const appends = this.#append(sent, firstPage);
        this.#parts.appended(sent.length * PAGE_BYTES);
        await Promise.all(appends);
        sentPages += sent.length;
      }
      return { readBytes, sentBytes: sentPages * PAGE_BYTES };
    } finally {
      this.#look = undefined;
    }
  }

  /** Pages of which the log says anything. */
  #logged(firstPage: number, endPage: number): Set<number> {
    const { log } = this.#parts;
    const pages = new Set<number>();
    for (let page = log.nextPage(firstPage, endPage); page !== undefined; page = log.nextPage(page + 1, endPage))
      pages.add(page);
    return pages;
  }

  #hasLeftLog(page: number, logged: ReadonlySet<number>): boolean {
    return logged.has(page) && this.#parts.log.lookup(page) === NOT_IN_LOG;
  }

  /** All pages of a region. */
  pagesOf(region: number): number[] {
    const first = region * REGION_PAGES;
    const end = Math.min(first + REGION_PAGES, Math.ceil(this.#parts.image.sizeBytes / PAGE_BYTES));
    return Array.from({ length: end - first }, (_, i) => first + i);
  }

  /** 16 bytes for each page of the region as the store has it; zeroes where it has none. */
  async #hashes(firstPage: number, signal: AbortSignal): Promise<Uint8Array> {
    const { live, segments } = this.#parts.store();
    const runs = await live.map.runsAround(firstPage, signal);
    return await hashesOfLeaf({ firstPage, runs }, segments, signal);
  }

  /** Reads what is to be looked at; holes are zeroes. Returns how much was read. */
  async #read(
    firstPage: number,
    endPage: number,
    pages: readonly number[] | 'all',
    signal: AbortSignal,
  ): Promise<number> {
    const { image } = this.#parts;
    const from = firstPage * PAGE_BYTES;
    const to = Math.min(endPage * PAGE_BYTES, image.sizeBytes);
    if (pages !== 'all') {
      for (const { first, count } of runsOf(pages))
        await this.#readAt(first * PAGE_BYTES, count * PAGE_BYTES, from, signal);
      return pages.length * PAGE_BYTES;
    }
    this.#bytes.fill(0, 0, endPage * PAGE_BYTES - from);
    let readBytes = 0;
    for await (const { offset, length } of image.dataExtents(from, to, signal)) {
      await this.#readAt(offset, length, from, signal);
      readBytes += length;
    }
    return readBytes;
  }

  /** The end of an image that is no whole number of pages is filled up with zeroes. */
  async #readAt(offset: number, length: number, from: number, signal: AbortSignal): Promise<void> {
    const { image } = this.#parts;
    const there = Math.min(length, image.sizeBytes - offset);
    await image.read(offset, this.#bytes.subarray(offset - from, offset - from + there), signal);
    this.#bytes.fill(0, offset - from + there, offset - from + length);
  }

  /** Whether the image's page is another one than the log's, or, where that has none, than the store's. */
  #differs(page: number, firstPage: number, hashes: Uint8Array): boolean {
    const { log } = this.#parts;
    const at = (page - firstPage) * PAGE_BYTES;
    const bytes = this.#bytes.subarray(at, at + PAGE_BYTES);
    const slot = log.lookup(page);
    if (slot === ZERO_IN_LOG) return !bytes.equals(ZEROES);
    if (slot !== NOT_IN_LOG) {
      if (log.maskOf(page) !== FULL_MASK) return true;
      log.readSlots(slot, this.#loggedPage);
      return !bytes.equals(this.#loggedPage);
    }
    const stored = hashes.subarray((page - firstPage) * PAGE_HASH_BYTES, (page - firstPage + 1) * PAGE_HASH_BYTES);
    const isStored = stored.some((byte) => byte !== 0);
    if (bytes.equals(ZEROES)) return isStored;
    if (!isStored) return true;
    blake3ShortInto(bytes, this.#hash, 0);
    return this.#hash.compare(stored) !== 0;
  }

  #append(pages: readonly number[], firstPage: number): Promise<void>[] {
    const { log } = this.#parts;
    const isZero = (page: number): boolean => this.#pageBytes(page, firstPage).equals(ZEROES);
    const zero = pages.filter(isZero);
    const zeroes = new Set(zero);
    return [
      ...runsOf(zero).map(({ first, count }) => log.appendZeroes(first, count)),
      ...runsOf(pages.filter((page) => !zeroes.has(page))).map(({ first, count }) => {
        const at = (first - firstPage) * PAGE_BYTES;
        return log.append(first, this.#bytes.subarray(at, at + count * PAGE_BYTES));
      }),
    ];
  }

  #pageBytes(page: number, firstPage: number): Buffer {
    const at = (page - firstPage) * PAGE_BYTES;
    return this.#bytes.subarray(at, at + PAGE_BYTES);
  }
}

/** What pages take in the log at most, with the headers of many small extents. */
const costBytes = (pages: number): number => pages * PAGE_BYTES * 1.25 + 16 * PAGE_BYTES;

/** Pages that are appended together: a small part of the log. */
const piecePages = (capacityBytes: number): number =>
  Math.min(256, Math.max(8, Math.floor(capacityBytes / 16 / PAGE_BYTES)));

/** Ascending pages as runs. */
function runsOf(pages: readonly number[]): { readonly first: number; readonly count: number }[] {
  const runs: { first: number; count: number }[] = [];
  for (const page of pages) {
    const last = runs.at(-1);
    if (last !== undefined && last.first + last.count === page) last.count += 1;
    else runs.push({ first: page, count: 1 });
  }
  return runs;
}

/** @throws conflict `image-changed` */
function requireWhole(image: ImageFile): void {
  const { sizeBytes } = image.facts();
  if (sizeBytes < image.sizeBytes) throw imageTruncated(image, sizeBytes);
}
