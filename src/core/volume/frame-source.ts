/**
 * Gets frames from the object store: groups those that lie near each other into one request, checks and decodes them, and
 * puts them into the cache. Calls for a frame that is under way share it.
 *
 * Invariants: the bytes under way are bounded; a frame is put into the cache only after all its pages matched their hashes.
 */
import {
  decodeFrame,
  PAGE_HASH_BYTES,
  popcount16,
  type FrameJob,
  type FramePool,
  type SegmentIndex,
  type SegmentReader,
  type SegmentRef,
} from '../blockstore/index.ts';
import type { FrameCache } from '../cache/index.ts';
import { MIB, Semaphore, untilAborted } from '../kit/index.ts';

export interface WantedFrame {
  readonly ref: SegmentRef;
  /** The segment as the cache numbers it. */
  readonly segment: number;
  readonly frame: number;
}

const SPAN_BYTES_MAX = 4 * MIB;
/** Bytes between two wanted frames that are read along rather than asked for separately. */
const SPAN_GAP_BYTES_MAX = 64 * 1024;
const UNDER_WAY_BYTES_MAX = 64 * MIB;
/** Above this, decoding is worth the way to a worker thread. */
const INLINE_BYTES_MAX = 256 * 1024;

interface Span {
  readonly index: SegmentIndex;
  readonly wanted: WantedFrame[];
  offset: number;
  length: number;
}

export class FrameSource {
  readonly #segments: SegmentReader;
  readonly #cache: FrameCache;
  readonly #pool: FramePool;
  readonly #room = new Semaphore(UNDER_WAY_BYTES_MAX);
  readonly #underWay = new Map<number, Promise<Buffer>>();
  readonly #onBytes: (bytes: number) => void;

  constructor(parts: {
    readonly segments: SegmentReader;
    readonly cache: FrameCache;
    readonly pool: FramePool;
    readonly onBytes: (bytes: number) => void;
  }) {
    this.#segments = parts.segments;
    this.#cache = parts.cache;
    this.#pool = parts.pool;
    this.#onBytes = parts.onBytes;
  }

  /** Whether more can be asked for without waiting; for advice such as read-ahead. */
  get isIdle(): boolean {
    return this.#underWay.size < 64;
  }

  /**
   * The decoded pages of each frame, in the order asked for. `isAhead`: nobody has asked for them yet.
   * @throws corrupt `object-missing`, `object-damaged`; what the store throws
   */
  async get(wanted: readonly WantedFrame[], signal?: AbortSignal, isAhead = false): Promise<Buffer[]> {
    const missing = wanted.filter(({ segment, frame }) => !this.#underWay.has(nameOf(segment, frame)));
    if (missing.length > 0) this.#start(missing, isAhead);
    const all = Promise.all(
      wanted.map(async (one) => this.#underWay.get(nameOf(one.segment, one.frame)) ?? this.#one(one)),
    );
    return await untilAborted(all, signal);
  }

  /** A frame that was done between being asked for and being waited for. */
  async #one(wanted: WantedFrame): Promise<Buffer> {
    this.#start([wanted], false);
    const started = this.#underWay.get(nameOf(wanted.segment, wanted.frame));
    return (await started) ?? Buffer.alloc(0);
  }

  #start(wanted: readonly WantedFrame[], isAhead: boolean): void {
    const loading = this.#load(wanted, isAhead);
    wanted.forEach(({ segment, frame }, i) => {
      const name = nameOf(segment, frame);
      const one = loading.then((frames) => {
        const bytes = frames[i];
        if (bytes === undefined) throw new Error('every frame that was asked for is answered');
        return bytes;
      });
      this.#underWay.set(name, one);
      const done = (): void => {
        if (this.#underWay.get(name) === one) this.#underWay.delete(name);
      };
      one.then(done, done);
    });
  }

  async #load(wanted: readonly WantedFrame[], isAhead: boolean): Promise<Buffer[]> {
    const spans = await this.#plan(wanted);
    const found = new Map<number, Buffer>();
    await Promise.all(
      spans.map(async (span) => {
        const release = await this.#room.acquire(span.length);
        try {
          await this.#loadSpan(span, found, isAhead);
        } finally {
          release();
        }
      }),
    );
    return wanted.map(({ segment, frame }) => found.get(nameOf(segment, frame)) ?? Buffer.alloc(0));
  }

  /** Requests, each for neighbouring frames of one segment. */
  async #plan(wanted: readonly WantedFrame[]): Promise<Span[]> {
    const bySegment = Map.groupBy(wanted, ({ segment }) => segment);
    const spans: Span[] = [];
    for (const group of bySegment.values()) {
      const [first] = group;
      if (first === undefined) continue;
      const index = await this.#segments.index(first.ref);
      const sorted = [...group].sort((a, b) => index.frame(a.frame).offset - index.frame(b.frame).offset);
      let span: Span | undefined;
      for (const one of sorted) {
        const { offset, storedLength } = index.frame(one.frame);
        const end = offset + storedLength;
        if (
          span !== undefined &&
          offset - (span.offset + span.length) <= SPAN_GAP_BYTES_MAX &&
          end - span.offset <= SPAN_BYTES_MAX
        ) {
          span.wanted.push(one);
          span.length = Math.max(span.length, end - span.offset);
        } else {
          span = { index, wanted: [one], offset, length: storedLength };
          spans.push(span);
        }
      }
    }
    return spans;
  }

  async #loadSpan(span: Span, found: Map<number, Buffer>, isAhead: boolean): Promise<void> {
    const { index, wanted, offset, length } = span;
    const [first] = wanted;
    if (first === undefined) return;
    const { ref } = first;
    const [hashes, bytes] = await Promise.all([
      this.#segments.pageHashes(ref),
      this.#segments.readSpan(ref, offset, length),
    ]);
    this.#onBytes(bytes.length);
    const jobs = wanted.map(({ frame }) => jobOf(index, ref, frame, hashes));
    const decoded =
      length > INLINE_BYTES_MAX
        ? await this.#pool.decodeFrames([{ bytes, baseOffset: offset }], jobs)
        : decodeInline(jobs, bytes, offset);
    wanted.forEach(({ segment, frame }, i) => {
      const pages = decoded[i];
      if (pages === undefined) return;
      this.#cache.put(segment, frame, pages, !isAhead);
      found.set(nameOf(segment, frame), pages);
    });
  }
}

/** Frames of a segment are numbered below 2^16. */
const nameOf = (segment: number, frame: number): number => segment * 0x1_0000 + frame;

function jobOf(index: SegmentIndex, ref: SegmentRef, frame: number, hashes: Buffer): FrameJob {
  const entry = index.frame(frame);
  const opening = index.opening(frame);
  const from = entry.hashIndex * PAGE_HASH_BYTES;
  return {
    span: 0,
    entry,
    segmentKey: ref.key,
    ...(opening === undefined ? {} : { opening }),
    pageHashes: hashes.subarray(from, from + popcount16(entry.mask) * PAGE_HASH_BYTES),
    slots: [],
  };
}

function decodeInline(jobs: readonly FrameJob[], bytes: Buffer, baseOffset: number): Buffer[] {
  return jobs.map(({ entry, segmentKey, pageHashes, opening }) => {
    const at = entry.offset - baseOffset;
    return decodeFrame(segmentKey, entry, bytes.subarray(at, at + entry.storedLength), pageHashes, opening);
  });
}
