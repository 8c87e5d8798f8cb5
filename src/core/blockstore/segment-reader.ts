/**
 * Reads segments: their indexes and page hashes (kept, within limits) and spans of frames. Everything returned has
 * been checked against the segment's own hashes, and the segment against the random id by which the map names it.
 */
import type { KeyObject } from 'node:crypto';
import { BoundedCache } from './bounded-cache.ts';
import { damaged, missing } from './damage.ts';
import { blake3Short } from './hash.ts';
import { volumeOfKey } from './keys.ts';
import type { SegmentRef } from './node-codec.ts';
import { getPart } from './object-part.ts';
import type { DataReading } from './options.ts';
import { openPageHashes } from './sealing/segment-seal.ts';
import { dataKeyOf } from './sealing/volume-keys.ts';
import { pageHashesBytes, parseSegmentTail } from './segment-parse.ts';
import type { SegmentIndex } from './segment-index.ts';

/** Enough for the tables of most segments. */
const TAIL_BYTES = 64 * 1024;
/** Enough for their page hashes as well, which stand before the tables. */
const HASHED_TAIL_BYTES = 128 * 1024;
const INDEX_CACHE_BYTES = 32 << 20;
const HASH_CACHE_BYTES = 32 << 20;

/**
 * Reads a segment's index with one request, or two when it is large; undefined when there is no such object. `tailBytes`: as
 * much of its end as the first request asks for.
 * @throws corrupt `object-damaged`; denied `key-needed` when it is sealed and the store's key is not given
 */
export async function readSegmentIndex(
  reading: DataReading,
  key: string,
  signal?: AbortSignal,
  tailBytes = TAIL_BYTES,
): Promise<SegmentIndex | undefined> {
  return (await readTail(reading, key, tailBytes, signal))?.index;
}

interface Tail {
  readonly index: SegmentIndex;
  /** The last bytes of the segment, from `offset` on. */
  readonly bytes: Buffer;
  readonly offset: number;
}

async function readTail(
  reading: DataReading,
  key: string,
  tailBytes: number,
  signal: AbortSignal | undefined,
): Promise<Tail | undefined> {
  let wanted = tailBytes;
  for (;;) {
    const tail = await getPart(reading.objects, key, { suffix: wanted }, signal);
    if (tail === undefined) return undefined;
    const { bytes, sizeBytes } = tail;
    const parsed = parseSegmentTail(key, bytes, sizeBytes, await segmentDataKey(reading, key, signal));
    if ('index' in parsed) return { index: parsed.index, bytes, offset: sizeBytes - bytes.length };
    wanted = parsed.needBytes;
  }
}

/**
 * The data key that opens a segment; undefined in a store without a key, or where that is not unlocked.
 * @throws corrupt `object-damaged`, `object-missing`
 */
export async function segmentDataKey(
  reading: DataReading,
  key: string,
  signal?: AbortSignal,
): Promise<KeyObject | undefined> {
  if (reading.keys === undefined) return undefined;
  const volumeId = volumeOfKey(key);
  if (volumeId === undefined) throw damaged(key, 'it names no volume whose key could open it');
  return await dataKeyOf(reading, volumeId, signal);
}

export class SegmentReader {
  readonly #reading: DataReading;
  readonly #indexes = new BoundedCache<SegmentIndex>(INDEX_CACHE_BYTES, (index) => index.sizeInMemoryBytes);
  readonly #hashes = new BoundedCache<Buffer>(HASH_CACHE_BYTES, (hashes) => hashes.length);

  constructor(reading: DataReading) {
    this.#reading = reading;
  }

  /** Whoever reads an index wants page hashes next: what came along of them is kept. @throws corrupt `object-missing`, `object-damaged` */
  async index(ref: SegmentRef, signal?: AbortSignal): Promise<SegmentIndex> {
    const load = async (stop: AbortSignal): Promise<SegmentIndex> => {
      const tail = await readTail(this.#reading, ref.key, HASHED_TAIL_BYTES, stop);
      if (tail === undefined) throw missing(ref.key);
      const { index } = tail;
      if (index.footer.segmentId !== ref.segmentId)
        throw damaged(ref.key, `it is segment ${index.footer.segmentId}, not ${ref.segmentId}`);
      this.#keepHashes(ref, tail);
      return index;
    };
    return this.#indexes.get(ref.segmentId + ref.key, load, signal);
  }

  #keepHashes(ref: SegmentRef, { index, bytes, offset }: Tail): void {
    const at = index.footer.pageHashes.offset - offset;
    if (index.footer.pageHashes.count === 0 || at < 0) return;
    // A copy, so that the rest of the tail is not kept with it.
    const stored = Buffer.from(bytes.subarray(at, at + storedHashesBytes(index)));
    const hashes = openedHashes(index, stored);
    // What is damaged is told to who asks for them.
    if ('hashes' in hashes) this.#hashes.put(ref.segmentId + ref.key, hashes.hashes);
  }

  /** The hashes of all pages in the segment, 16 bytes each, in the order of frames and slots. */
  async pageHashes(ref: SegmentRef, signal?: AbortSignal): Promise<Buffer> {
    const load = async (stop: AbortSignal): Promise<Buffer> => {
      const index = await this.index(ref, stop);
      const along = this.#hashes.peek(ref.segmentId + ref.key);
      if (along !== undefined) return along;
      const { offset, count } = index.footer.pageHashes;
      if (count === 0) return Buffer.alloc(0);
      const opened = openedHashes(index, await this.readSpan(ref, offset, storedHashesBytes(index), stop));
      if ('damage' in opened) throw damaged(ref.key, opened.damage);
      return opened.hashes;
    };
    return this.#hashes.get(ref.segmentId + ref.key, load, signal);
  }

  /** Bytes of the segment, unchecked: frames carry their own checksums. */
  async readSpan(ref: SegmentRef, offset: number, length: number, signal?: AbortSignal): Promise<Buffer> {
    const part = await getPart(this.#reading.objects, ref.key, { offset, length }, signal);
    if (part === undefined) throw missing(ref.key);
    if (part.bytes.length !== length) throw damaged(ref.key, `it ends before byte ${String(offset + length)}`);
    return part.bytes;
  }

  /** Takes note of an index that is already known, such as that of a segment just committed. */
  remember(index: SegmentIndex): void {
    this.#indexes.put(index.footer.segmentId + index.key, index);
  }
}

const storedHashesBytes = ({ footer, segmentKey }: SegmentIndex): number =>
  pageHashesBytes(footer.pageHashes.count, segmentKey !== undefined);

function openedHashes(
  { footer, segmentKey }: SegmentIndex,
  stored: Buffer,
): { readonly hashes: Buffer } | { readonly damage: string } {
  if (blake3Short(stored).toString('hex') !== footer.pageHashesHash)
    return { damage: 'its page hashes do not match their hash' };
  const hashes = segmentKey === undefined ? stored : openPageHashes(segmentKey, stored);
  return hashes === undefined ? { damage: 'its page hashes were altered' } : { hashes };
}
