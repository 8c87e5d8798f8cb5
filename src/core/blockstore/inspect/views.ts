/**
 * Objects as one may see them who may see a part: the granted bytes where they are, zeroes instead of the others, and of a
 * segment a tail that tells of the granted frames only. A reader finds in it what its map names, and needs no other code.
 */
import { PAGE_HASH_BYTES } from '../geometry.ts';
import { SEGMENT_HEADER_BYTES, ZERO_HASH, sealSegment } from '../segment-codec.ts';
import { popcount16, type FrameEntry, type SegmentIndex } from '../segment-index.ts';

/** Granted bytes of the real object. */
interface Granted {
  readonly offset: number;
  readonly length: number;
  /** The number of the root by which it is granted; 0 where that does not matter. */
  readonly root: number;
}

export interface ObjectView {
  readonly sizeBytes: number;
  /** From here on the view has bytes of its own, not those of the object. */
  readonly ownFrom: number;
  /**
   * What of the object is seen in bytes `start` to `end`, and the roots that grant it; undefined when that is nothing.
   */
  visible(start: number, end: number): VisiblePart | undefined;
}

export interface VisiblePart {
  /** Bytes of the object to be read; none when all that is seen is the view's own. */
  readonly read: { readonly offset: number; readonly length: number } | undefined;
  readonly roots: ReadonlySet<number>;
  /** Makes the part, of the bytes that were read. */
  readonly fill: (bytes: Buffer | undefined) => Buffer;
}

/** The parts of `granted`, which ascend and do not overlap, in `start` to `end`. */
function partsIn(granted: readonly Granted[], start: number, end: number): Granted[] {
  let low = 0;
  for (let high = granted.length; low < high;) {
    const middle = (low + high) >> 1;
    const part = granted[middle];
    if (part !== undefined && part.offset + part.length <= start) low = middle + 1;
    else high = middle;
  }
  const parts: Granted[] = [];
  for (let i = low; i < granted.length; i++) {
    const part = granted[i];
    if (part === undefined || part.offset >= end) break;
    const from = Math.max(start, part.offset);
    parts.push({ ...part, offset: from, length: Math.min(end, part.offset + part.length) - from });
  }
  return parts;
}

function visiblePart(parts: readonly Granted[], start: number, end: number, own: OwnPart | undefined): VisiblePart {
  const first = parts[0];
  const last = parts[parts.length - 1];
  const read =
    first === undefined || last === undefined
      ? undefined
      : { offset: first.offset, length: last.offset + last.length - first.offset };
  return {
    read,
    roots: new Set(parts.map(({ root }) => root)),
    fill: (bytes) => {
      const shown = Buffer.alloc(end - start);
      for (const { offset, length } of parts) {
        if (bytes === undefined || read === undefined) break;
        const at = offset - read.offset;
        bytes.copy(shown, offset - start, at, at + length);
      }
      if (own !== undefined && own.offset < end) {
        const from = Math.max(start, own.offset);
        own.bytes.copy(shown, from - start, from - own.offset, end - own.offset);
      }
      return shown;
    },
  };
}

interface OwnPart {
  readonly offset: number;
  readonly bytes: Buffer;
}

/** A map object of which some nodes are seen. What else is in it, also its footer, is zeroes. */
export class MapView implements ObjectView {
  readonly sizeBytes: number;
  readonly ownFrom: number;
  readonly #granted: readonly Granted[];

  /** @param nodes where each begins, and its length */
  constructor(sizeBytes: number, nodes: ReadonlyMap<number, number>) {
    this.sizeBytes = sizeBytes;
    this.ownFrom = sizeBytes;
    this.#granted = [...nodes].sort(([a], [b]) => a - b).map(([offset, length]) => ({ offset, length, root: 0 }));
  }

  visible(start: number, end: number): VisiblePart | undefined {
    const parts = partsIn(this.#granted, start, end);
    return parts.length === 0 ? undefined : visiblePart(parts, start, end, undefined);
  }
}

/** What stands in the place of an entry that is not seen. */
const HIDDEN: FrameEntry = {
  block: 0,
  offset: 0,
  storedLength: 1,
  mask: 1,
  codec: 0,
  crc32: 0,
  creators: 0,
  hashIndex: 0,
};

/**
 * A segment of which some frames are seen, at least one. Its tail has no extents, no times and no records; entries of frames
 * that are not seen say nothing, and behind the last seen one there are none.
 */
export class SegmentView implements ObjectView {
  readonly sizeBytes: number;
  readonly ownFrom: number;
  readonly #granted: readonly Granted[];
  readonly #tail: Buffer;

  /**
   * @param roots for each frame the number of a root that grants it, or 0
   * @param hashes the page hash table
   */
  constructor(index: SegmentIndex, roots: Uint16Array, hashes: Buffer) {
    const { footer, key } = index;
    const count = Math.min(index.frameCount, roots.length);
    const entries: FrameEntry[] = [];
    const seenHashes: Buffer[] = [];
    const granted: Granted[] = [];
    const sets: (readonly string[])[] = [];
    let hashIndex = 0;
    for (let i = 0; i < count; i++) {
      const root = roots[i] ?? 0;
      if (root === 0) {
        entries.push(HIDDEN);
        continue;
      }
      const entry = index.frame(i);
      const set = footer.creators[entry.creators] ?? [];
      if (!sets.includes(set)) sets.push(set);
      const pages = popcount16(entry.mask);
      seenHashes.push(hashes.subarray(entry.hashIndex * PAGE_HASH_BYTES, (entry.hashIndex + pages) * PAGE_HASH_BYTES));
      entries.push({
        ...entry,
        offset: entry.offset - SEGMENT_HEADER_BYTES,
        creators: sets.indexOf(set),
        hashIndex,
      });
      granted.push({ offset: entry.offset, length: entry.storedLength, root });
      hashIndex += pages;
    }
    let last = entries.length;
    while (last > 0 && entries[last - 1] === HIDDEN) last -= 1;
    this.#granted = granted;
    this.ownFrom = footer.pageHashes.offset;
    const piece = {
      stored: new Uint8Array(this.ownFrom - SEGMENT_HEADER_BYTES),
      frames: entries.slice(0, last),
      pageHashes: Buffer.concat(seenHashes),
      dataPages: hashIndex,
      zeroed: [],
      readBytes: 0,
    };
    const { volumeId, seq, segmentId } = footer;
    const facts = {
      ...({ kind: 'data', volumeId, seq, segmentId, epoch: 0, commitTimeMs: 0, prevHash: ZERO_HASH } as const),
      ...{ sizeBytes: 0, consistent: false, records: null, creators: sets },
    };
    const [pageHashes, tail] = sealSegment(key, facts, [piece], []).body.slice(-2);
    this.#tail = Buffer.concat([pageHashes ?? Buffer.alloc(0), tail ?? Buffer.alloc(0)]);
    this.sizeBytes = this.ownFrom + this.#tail.length;
  }

  /** Bytes that it keeps in memory. */
  get keptBytes(): number {
    return this.#tail.length + this.#granted.length * 80;
  }

  visible(start: number, end: number): VisiblePart | undefined {
    const parts = partsIn(this.#granted, start, Math.min(end, this.ownFrom));
    const hasOwn = end > this.ownFrom;
    if (parts.length === 0 && !hasOwn) return undefined;
    return visiblePart(parts, start, end, hasOwn ? { offset: this.ownFrom, bytes: this.#tail } : undefined);
  }
}
