/**
 * Reads pages of a served volume (DESIGN section 6): the write log, then the cache, then the object store, then zeroes. What is
 * in memory or in the page cache is copied before the call returns; only what the store has to be asked for makes a promise.
 *
 * A page that had to be fetched is looked up again afterwards: it may have been written, uploaded or moved meanwhile. So a read
 * may have pages from before and from after a write; but of an atomic write it sees all or nothing, and begins again for that.
 */
import { PAGE_BYTES, type PagePlace } from '../blockstore/index.ts';
import type { FrameCache } from '../cache/index.ts';
import type { SgwError } from '../kit/index.ts';
import { assert, toSgwError, type Clock } from '../kit/index.ts';
import { FULL_MASK, LOG_SECTOR_BYTES, NOT_IN_LOG, ZERO_IN_LOG, type WriteLog } from '../writelog/index.ts';
import type { Counters } from './counters.ts';
import type { WantedFrame } from './frame-source.ts';
import type { LiveMap } from './live-map.ts';

/** Pages of one read that are fetched together. */
const FETCH_PAGES_MAX = 2048;
/** Frames of one prefetch. */
const PREFETCH_FRAMES_MAX = 1024;
const RETRY_MS = [100, 250, 500, 1000, 2000, 5000] as const;

/** What of a write log is read. */
export type LogReading = Pick<WriteLog, 'lookup' | 'maskOf' | 'nextPage' | 'readSlots' | 'runLength'>;

export interface PageReaderParts {
  readonly log: LogReading;
  readonly cache: FrameCache;
  readonly clock: Clock;
  readonly counters: Counters;
  /** The map as it is now. */
  readonly live: () => LiveMap;
  /** Why nothing can be read any more; undefined while it can. */
  readonly failure: () => SgwError | undefined;
  /** Ends waiting for a store that is out of reach. */
  readonly closing: AbortSignal;
}

/** What is below the log at a page: 4096 bytes, and where they are stored; source 0: nowhere. */
export interface PageBelow {
  readonly live: LiveMap;
  readonly source: number;
  readonly frame: number;
  readonly slot: number;
  readonly creators: readonly string[];
  readonly bytes: Buffer;
}

/** Part of a page that must be fetched. */
interface Missing {
  readonly page: number;
  /** Where it goes in the target. */
  readonly at: number;
  /** Bytes of the page to leave out before. */
  readonly skip: number;
  readonly length: number;
}

/** A read that waits for what is fetched. */
interface WaitingRead {
  readonly offset: number;
  readonly end: number;
  /** Atomic writes of some of it since it began. */
  replacements: number;
}

export class PageReader {
  readonly #parts: PageReaderParts;
  readonly #waiting = new Set<WaitingRead>();
  readonly #place: PagePlace = { source: 0, frame: 0, slot: 0 };
  readonly #next: PagePlace = { source: 0, frame: 0, slot: 0 };
  readonly #scratch = Buffer.alloc(PAGE_BYTES);

  constructor(parts: PageReaderParts) {
    this.#parts = parts;
  }

  /** Fills `target` with the volume's bytes from `offset` on. Undefined: done. */
  read(offset: number, target: Buffer, signal?: AbortSignal): Promise<void> | undefined {
    const missing = this.#copyAll(offset, target);
    return missing === undefined ? undefined : this.#readWaiting(offset, missing, target, signal);
  }

  /** An atomic write took effect in this task. */
  replaced(offset: number, length: number): void {
    for (const read of this.#waiting) if (read.offset < offset + length && offset < read.end) read.replacements += 1;
  }

  async #readWaiting(
    offset: number,
    missing: readonly Missing[],
    target: Buffer,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const read: WaitingRead = { offset, end: offset + target.length, replacements: 0 };
    this.#waiting.add(read);
    try {
      let left: readonly Missing[] | undefined = missing;
      while (left !== undefined) {
        const { replacements } = read;
        await this.#fetchAll(left, target, signal);
        left = read.replacements === replacements ? undefined : this.#copyAll(offset, target);
      }
    } finally {
      this.#waiting.delete(read);
    }
  }

  /** Copies what is at hand, all at one moment; returns what is not, undefined when that is nothing. */
  #copyAll(offset: number, target: Buffer): Missing[] | undefined {
    let missing: Missing[] | undefined;
    const end = target.length;
    for (let at = 0; at < end;) {
      const position = offset + at;
      const page = Math.floor(position / PAGE_BYTES);
      const skip = position - page * PAGE_BYTES;
      const done = this.#copy(page, skip, at === 0 && skip === 0 ? target : target.subarray(at));
      if (done > 0) at += done;
      else {
        const length = Math.min(PAGE_BYTES - skip, end - at);
        missing ??= [];
        missing.push({ page, at, skip, length });
        at += length;
      }
    }
    return missing;
  }

  /**
   * One whole page, from what is below the log only: for merging sectors. The bytes are the caller's.
   * @throws corrupt when what is stored there is damaged; what the store throws
   */
  async readBelow(page: number, signal?: AbortSignal): Promise<PageBelow> {
    for (;;) {
      const live = this.#parts.live();
      const where = live.map.locate(page, this.#place);
      if (where === 'unmapped')
        return { live, source: 0, frame: 0, slot: 0, creators: [], bytes: Buffer.alloc(PAGE_BYTES) };
      if (where === 'mapped') {
        const { source, frame, slot } = this.#place;
        const bytes = Buffer.alloc(PAGE_BYTES);
        const segment = live.segmentOf(source);
        const ref = live.refOf(source);
        const below = { live, source, frame, slot, creators: ref.creators, bytes };
        if (this.#parts.cache.read(segment, frame, slot * PAGE_BYTES, bytes)) return below;
        const [pages] = await live.frames.get([{ ref, segment, frame }], signal);
        assert(pages !== undefined, 'a frame that is asked for is answered');
        pages.copy(bytes, 0, slot * PAGE_BYTES);
        return below;
      }
      await live.map.load(page, signal);
    }
  }

  /** As `readBelow`, but a store that is out of reach is asked again. */
  async waitBelow(page: number, signal?: AbortSignal): Promise<PageBelow> {
    const either = this.#orClosing(signal);
    for (let tries = 0; ; tries++) {
      try {
        return await this.readBelow(page, either);
      } catch (error) {
        await this.#pauseAfter(error, tries, either);
      }
    }
  }

  #orClosing(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#parts.closing : AbortSignal.any([signal, this.#parts.closing]);
  }

  /** @throws the error, unless trying again may mend it */
  async #pauseAfter(error: unknown, tries: number, signal: AbortSignal): Promise<void> {
    const failed = toSgwError(error);
    if ((failed.kind !== 'unavailable' && failed.kind !== 'timeout') || signal.aborted) throw failed;
    await this.#parts.clock.sleep(RETRY_MS[Math.min(tries, RETRY_MS.length - 1)] ?? 0, signal);
  }

  /**
   * Makes of what was found below a page what the page holds now: with what the log has of it, in place. False when
   * something else is below it by now.
   */
  overlayLog(page: number, below: PageBelow): boolean {
    const { log } = this.#parts;
    const place = this.#place;
    const slot = log.lookup(page);
    if (slot === ZERO_IN_LOG) below.bytes.fill(0);
    else if (slot >= 0 && log.maskOf(page) === FULL_MASK) log.readSlots(slot, below.bytes);
    else {
      const live = this.#parts.live();
      const where = live.map.locate(page, place);
      if (live !== below.live || where === 'absent') return false;
      if (where === 'unmapped' ? below.source !== 0 : !isAt(place, below)) return false;
      if (slot >= 0) overlaySectors(log, slot, log.maskOf(page), below.bytes);
    }
    return true;
  }

  /** Gets what of an extent is in the store only into the cache. */
  async prefetch(offset: number, length: number): Promise<void> {
    const { log, cache, closing } = this.#parts;
    const live = this.#parts.live();
    const place: PagePlace = { source: 0, frame: 0, slot: 0 };
    const wanted = new Map<number, WantedFrame>();
    const end = Math.ceil((offset + length) / PAGE_BYTES);
    for (let page = Math.floor(offset / PAGE_BYTES); page < end && wanted.size < PREFETCH_FRAMES_MAX; page++) {
      if (log.lookup(page) !== NOT_IN_LOG) continue;
      let where = live.map.locate(page, place);
      if (where === 'absent') {
        await live.map.load(page, closing);
        where = live.map.locate(page, place);
      }
      if (where !== 'mapped') continue;
      const { source, frame } = place;
      const segment = live.segmentOf(source);
      if (!cache.has(segment, frame))
        wanted.set(segment * 0x1_0000 + frame, { ref: live.refOf(source), segment, frame });
    }
    if (wanted.size > 0) await live.frames.get([...wanted.values()], closing, true);
  }

  /** Copies a whole page when that can be done at once. */
  tryPage(page: number, target: Buffer): boolean {
    return this.#copy(page, 0, target) > 0;
  }

  /**
   * Copies bytes from `skip` of `page` on into `target`, as many as can be had in one piece; 0 when the page must be fetched.
   */
  #copy(page: number, skip: number, target: Buffer): number {
    const { log, cache, counters } = this.#parts;
    const wantedPages = Math.ceil((skip + target.length) / PAGE_BYTES);
    const slot = log.lookup(page);
    if (slot >= 0) {
      const mask = log.maskOf(page);
      if (mask !== FULL_MASK) return this.#overlay(page, slot, mask, skip, target);
      const pages = wantedPages === 1 ? 1 : log.runLength(page, wantedPages);
      const length = Math.min(pages * PAGE_BYTES - skip, target.length);
      log.readSlots(slot, length === target.length ? target : target.subarray(0, length), skip);
      counters.logHits += pages;
      return length;
    }
    if (slot === ZERO_IN_LOG) return fillZero(target, PAGE_BYTES - skip);
    const live = this.#parts.live();
    const place = this.#place;
    switch (live.map.locate(page, place)) {
      case 'absent':
        return 0;
      case 'unmapped':
        return fillZero(target, PAGE_BYTES - skip);
      case 'mapped': {
        const pages = wantedPages === 1 ? 1 : this.#runLength(live, page, wantedPages);
        const length = Math.min(pages * PAGE_BYTES - skip, target.length);
        const part = length === target.length ? target : target.subarray(0, length);
        if (!cache.read(live.segmentOf(place.source), place.frame, place.slot * PAGE_BYTES + skip, part)) return 0;
        counters.cacheHits += pages;
        return length;
      }
    }
  }

  /** How many pages from `page` on, which is at `#place`, lie in the same frame in a row, and not in the log. */
  #runLength(live: LiveMap, page: number, countMax: number): number {
    const { log } = this.#parts;
    const { source, frame, slot } = this.#place;
    const next = this.#next;
    let count = 1;
    while (count < countMax && log.lookup(page + count) === NOT_IN_LOG) {
      if (live.map.locate(page + count, next) !== 'mapped') break;
      if (next.source !== source || next.frame !== frame || next.slot !== slot + count) break;
      count += 1;
    }
    return count;
  }

  /** A page of which the log has some sectors, over what is below, when that is at hand. */
  #overlay(page: number, slot: number, mask: number, skip: number, target: Buffer): number {
    const { log, cache } = this.#parts;
    const live = this.#parts.live();
    const scratch = this.#scratch;
    const where = live.map.locate(page, this.#place);
    if (where === 'absent') return 0;
    const { source, frame, slot: below } = this.#place;
    if (where === 'unmapped') scratch.fill(0);
    else if (!cache.read(live.segmentOf(source), frame, below * PAGE_BYTES, scratch)) return 0;
    overlaySectors(log, slot, mask, scratch);
    return scratch.copy(target, 0, skip, PAGE_BYTES);
  }

  async #fetchAll(missing: readonly Missing[], target: Buffer, signal: AbortSignal | undefined): Promise<void> {
    const either = this.#orClosing(signal);
    for (let from = 0; from < missing.length; from += FETCH_PAGES_MAX)
      await this.#fetch(missing.slice(from, from + FETCH_PAGES_MAX), target, either);
  }

  /** Fetches until every part is there. A store that is out of reach is asked again. */
  async #fetch(missing: readonly Missing[], target: Buffer, signal: AbortSignal): Promise<void> {
    let left = missing;
    for (let tries = 0; left.length > 0;) {
      const failure = this.#parts.failure();
      if (failure !== undefined) throw failure;
      try {
        left = await this.#fetchOnce(left, target, signal);
        tries = 0;
      } catch (error) {
        await this.#pauseAfter(error, tries, signal);
        tries += 1;
      }
    }
  }

  /** Returns what is still to be fetched. */
  async #fetchOnce(missing: readonly Missing[], target: Buffer, signal: AbortSignal): Promise<Missing[]> {
    const live = this.#parts.live();
    for (const { page } of missing) {
      if (live.map.locate(page, this.#place) === 'absent') await live.map.load(page, signal);
    }
    const wanted = new Map<number, WantedFrame>();
    const left: Missing[] = [];
    const waiting: { readonly part: Missing; readonly name: number; readonly from: PagePlace }[] = [];
    for (const part of missing) {
      if (this.#copyPart(part, target)) continue;
      if (live.map.locate(part.page, this.#place) !== 'mapped') {
        left.push(part);
        continue;
      }
      const { source, frame, slot } = this.#place;
      const segment = live.renumbered(source);
      const name = segment * 0x1_0000 + frame;
      if (!wanted.has(name)) wanted.set(name, { ref: live.refOf(source), segment, frame });
      waiting.push({ part, name, from: { source, frame, slot } });
    }
    if (waiting.length === 0) return left;
    const names = [...wanted.keys()];
    const frames = await live.frames.get([...wanted.values()], signal);
    this.#parts.counters.storeReads += waiting.length;
    const byName = new Map(names.map((name, i) => [name, frames[i]]));
    for (const { part, name, from } of waiting) {
      const pages = byName.get(name);
      if (pages === undefined || !this.#settle(live, part, target, pages, from)) left.push(part);
    }
    return left;
  }

  #copyPart({ page, skip, at, length }: Missing, target: Buffer): boolean {
    return this.#copy(page, skip, target.subarray(at, at + length)) > 0;
  }

  /** Copies a page from the frame that was fetched for it, unless it is elsewhere by now. */
  #settle(live: LiveMap, part: Missing, target: Buffer, pages: Buffer, from: PagePlace): boolean {
    const { log } = this.#parts;
    const place = this.#place;
    if (this.#parts.live() !== live || live.map.locate(part.page, place) !== 'mapped') return false;
    if (!isAt(place, from)) return false;
    const { slot } = from;
    const inLog = log.lookup(part.page);
    const { page, skip, at, length } = part;
    if (inLog === NOT_IN_LOG) {
      pages.copy(target, at, slot * PAGE_BYTES + skip, slot * PAGE_BYTES + skip + length);
      return true;
    }
    if (inLog === ZERO_IN_LOG) return this.#copyPart(part, target);
    pages.copy(this.#scratch, 0, slot * PAGE_BYTES, (slot + 1) * PAGE_BYTES);
    overlaySectors(log, inLog, log.maskOf(page), this.#scratch);
    this.#scratch.copy(target, at, skip, skip + length);
    return true;
  }
}

const isAt = (place: PagePlace, other: PagePlace): boolean =>
  place.source === other.source && place.frame === other.frame && place.slot === other.slot;

/** Puts the sectors of `mask` that the log has in `slot` over `page`. */
export function overlaySectors(log: LogReading, slot: number, mask: number, page: Buffer): void {
  for (let sector = 0; sector < PAGE_BYTES / LOG_SECTOR_BYTES; sector++) {
    if ((mask & (1 << sector)) === 0) continue;
    const from = sector * LOG_SECTOR_BYTES;
    log.readSlots(slot, page.subarray(from, from + LOG_SECTOR_BYTES), from);
  }
}

function fillZero(target: Buffer, lengthMax: number): number {
  const length = Math.min(target.length, lengthMax);
  target.fill(0, 0, length);
  return length;
}
