/**
 * What the store holds of a volume, as reads look it up: the writer's map, its segments, and the cache's numbers for them. It is
 * replaced as a whole when the writer is opened anew.
 */
import type { FramePool, PageMap, SegmentRef, VolumeWriter } from '../blockstore/index.ts';
import type { FrameCache } from '../cache/index.ts';
import { FrameSource } from './frame-source.ts';

export class LiveMap {
  readonly map: PageMap;
  readonly frames: FrameSource;
  readonly #cache: FrameCache;
  /** By the map's number of the source: the cache's number of the segment, from 1; 0 where it is not known yet. */
  #numbers = new Uint32Array(1024);

  constructor(parts: {
    readonly view: Pick<VolumeWriter, 'map' | 'segments'>;
    readonly cache: FrameCache;
    readonly pool: FramePool;
    readonly onBytes: (bytes: number) => void;
  }) {
    this.map = parts.view.map;
    this.#cache = parts.cache;
    this.frames = new FrameSource({ ...parts, segments: parts.view.segments });
  }

  /** The cache's number for a segment that the map numbers `source`. */
  segmentOf(source: number): number {
    const number = this.#numbers[source] ?? 0;
    return number === 0 ? this.#number(source) : number;
  }

  /** As `segmentOf`, asked for anew: the cache forgets numbers of segments that it has nothing of. */
  renumbered(source: number): number {
    return this.#number(source);
  }

  #number(source: number): number {
    if (source >= this.#numbers.length) {
      const larger = new Uint32Array(2 ** Math.ceil(Math.log2(source + 1)));
      larger.set(this.#numbers);
      this.#numbers = larger;
    }
    const number = this.#cache.numberOf(this.refOf(source).segmentId);
    this.#numbers[source] = number;
    return number;
  }

  refOf(source: number): SegmentRef {
    return this.map.sourceOf(source);
  }
}
