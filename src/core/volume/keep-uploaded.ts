/**
 * Puts what was just committed into the cache (C14: not before): the write log lets go of it when its files are used again,
 * and what was written a moment ago is often read soon. Works in small pieces between other things, and leaves out what it
 * can not keep up with.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import { BLOCK_PAGES, PAGE_BYTES, popcount16, type Batch, type PagePlace } from '../blockstore/index.ts';
import type { FrameCache } from '../cache/index.ts';
import type { LiveMap } from './live-map.ts';

/** Frames between two breaths. */
const FRAMES_AT_A_TIME = 32;
/** Commits that wait; their pages are in memory meanwhile. */
const WAITING_MAX = 2;

export class UploadKeeper {
  readonly #cache: FrameCache;
  readonly #live: () => LiveMap;
  #waiting = 0;
  #tail: Promise<void> = Promise.resolve();

  constructor(cache: FrameCache, live: () => LiveMap) {
    this.#cache = cache;
    this.#live = live;
  }

  /** Takes the pages of a commit that has just been applied to the map, as segment `segmentId`. */
  keep(batch: Batch, segmentId: string): void {
    if (this.#waiting >= WAITING_MAX) return;
    this.#waiting += 1;
    this.#tail = this.#tail
      .then(() => this.#put(batch, segmentId))
      // A cache that fails costs only time.
      .catch(() => undefined)
      .finally(() => {
        this.#waiting -= 1;
      });
  }

  async #put({ encoded }: Batch, segmentId: string): Promise<void> {
    const place: PagePlace = { source: 0, frame: 0, slot: 0 };
    let number = 0;
    for (const { frames, rawPages } of encoded) {
      let at = 0;
      for (const { block, mask } of frames) {
        const length = popcount16(mask) * PAGE_BYTES;
        const live = this.#live();
        const firstPage = block * BLOCK_PAGES + Math.clz32(1) - Math.clz32(mask & -mask);
        // Where the map has moved on, nobody will ask for it; a later commit has frames of the same numbers.
        const isThere = live.map.locate(firstPage, place) === 'mapped' && place.frame === number;
        if (rawPages !== undefined && isThere && live.refOf(place.source).segmentId === segmentId) {
          const pages = Buffer.from(rawPages.buffer, rawPages.byteOffset + at, length);
          this.#cache.putUnread(live.renumbered(place.source), number, pages);
        }
        at += length;
        number += 1;
        if (number % FRAMES_AT_A_TIME === 0) await breathe();
      }
    }
  }
}
