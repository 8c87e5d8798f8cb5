/**
 * Reads the bytes of a segment (docs/formats/segment.md): its end first, from which everything else is found.
 * Pure: no store, no clock.
 */
import type { KeyObject } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { SgwError } from '../kit/index.ts';
import { damaged } from './damage.ts';
import { MAP_BLOCKS, PAGE_HASH_BYTES } from './geometry.ts';
import { blake3, blake3Short } from './hash.ts';
import { SALT_BYTES, TAG_BYTES } from './sealing/aead.ts';
import { keyNeeded } from './sealing/key-needed.ts';
import { openCreators, segmentKeyOf, type SegmentKey } from './sealing/segment-seal.ts';
import {
  SEGMENT_HEADER_BYTES,
  SEGMENT_TRAILER_BYTES,
  TRAILER_MAGIC,
  hashOfTables,
  segmentHeader,
} from './segment-codec.ts';
import {
  EXTENT_ENTRY_BYTES,
  FRAME_ENTRY_BYTES,
  SegmentIndex,
  popcount16,
  readFrameEntry,
  type PageExtent,
  type SegmentFooter,
} from './segment-index.ts';

const FOOTER_MAX_BYTES = 1 << 20;

/** What the last bytes of a segment say, or how many more are needed. */
export type TailResult = { readonly index: SegmentIndex } | { readonly needBytes: number };

/**
 * Parses a segment's end. `tail` is the last `tail.length` bytes of an object of `sizeBytes`; when it does not reach
 * back to the frame table, the answer says how many bytes to read. Page hashes are not needed and not checked. With the
 * `dataKey` of the segment's volume, what it returns is proved to be what the holder of that key wrote.
 * @throws corrupt `object-damaged`; denied `key-needed` when it is sealed and no key is given
 */
export function parseSegmentTail(key: string, tail: Buffer, sizeBytes: number, dataKey?: KeyObject): TailResult {
  const end = readEnd(key, tail, sizeBytes);
  if ('needBytes' in end) return end;
  const { footer, footerBytes, tables, hash } = end;
  return { index: indexFrom(key, footer, hash, tables, openTables(key, footer, tables, footerBytes, dataKey)) };
}

interface SegmentEnd {
  /** Of a sealed one without its creators. */
  readonly footer: SegmentFooter;
  readonly footerBytes: Buffer;
  /** From the frame table to just before the hash. */
  readonly tables: Buffer;
  readonly hash: string;
}

/** What needs no key: the end, checked by its checksums. */
function readEnd(key: string, tail: Buffer, sizeBytes: number): SegmentEnd | { readonly needBytes: number } {
  if (sizeBytes < SEGMENT_HEADER_BYTES + SEGMENT_TRAILER_BYTES || tail.length < SEGMENT_TRAILER_BYTES) {
    throw damaged(key, `${String(sizeBytes)} bytes are too few for a segment`);
  }
  const trailer = tail.subarray(tail.length - SEGMENT_TRAILER_BYTES);
  if (!trailer.subarray(0, 8).equals(TRAILER_MAGIC)) throw damaged(key, 'the trailer is missing');
  const footerLength = trailer.readUInt32LE(8);
  const footerAt = sizeBytes - SEGMENT_TRAILER_BYTES - footerLength;
  if (footerLength > FOOTER_MAX_BYTES || footerAt < SEGMENT_HEADER_BYTES)
    throw damaged(key, 'the footer length is impossible');
  const tailAt = sizeBytes - tail.length;
  if (footerAt < tailAt) return { needBytes: sizeBytes - footerAt };
  const footerBytes = tail.subarray(footerAt - tailAt, footerAt - tailAt + footerLength);
  if (crc32(footerBytes) !== trailer.readUInt32LE(12)) throw damaged(key, 'the footer does not match its checksum');
  const footer = parseFooter(key, footerBytes, footerAt);
  if (footer.segmentId !== trailer.toString('hex', 16, 32))
    throw damaged(key, 'footer and trailer name different segments');
  if (footer.frames.offset < tailAt) return { needBytes: sizeBytes - footer.frames.offset };
  const tables = tail.subarray(footer.frames.offset - tailAt, tail.length - 32);
  const hash = blake3(tables).toString('hex');
  if (hash !== trailer.toString('hex', 32, 64)) throw damaged(key, 'its tables do not match their hash');
  return { footer, footerBytes, tables, hash };
}

interface OpenedTables {
  readonly creators: SegmentFooter['creators'];
  readonly segmentKey: SegmentKey | undefined;
}

/** The creators of a segment; in a sealed one they prove the tables and the footer as well. */
function openTables(
  key: string,
  footer: SegmentFooter,
  tables: Buffer,
  footerBytes: Buffer,
  dataKey: KeyObject | undefined,
): OpenedTables {
  const { salt, sealed } = footer;
  if (salt === undefined || sealed === undefined) {
    // A tombstone says only that something is gone, as its absence would.
    if (dataKey === undefined || footer.kind === 'tombstone')
      return { creators: footer.creators, segmentKey: undefined };
    throw damaged(key, 'it is not sealed, in a store whose segments are');
  }
  if (dataKey === undefined) throw keyNeeded(key);
  const segmentKey = segmentKeyOf(dataKey, Buffer.from(salt, 'hex'), footer.volumeId, footer.segmentId);
  const sealedAt = sealed.offset - footer.frames.offset;
  const proof = hashOfTables([tables.subarray(0, sealedAt)], footerBytes);
  const creators = openCreators(segmentKey, proof, tables.subarray(sealedAt, sealedAt + sealed.length));
  if (creators === undefined) throw damaged(key, 'it was not written with the key of its volume, or was altered');
  return { creators, segmentKey };
}

function parseFooter(key: string, bytes: Buffer, footerAt: number): SegmentFooter {
  let footer: SegmentFooter;
  try {
    footer = JSON.parse(bytes.toString('utf8')) as SegmentFooter;
  } catch (error) {
    throw damaged(key, 'the footer is not JSON', error);
  }
  if (typeof footer !== 'object' || (footer as object | null) === null) throw damaged(key, 'the footer is no object');
  const isSealed = footer.cipher === 'aes-256-gcm';
  if ((footer as { format: number }).format !== 1 || (!isSealed && (footer as { cipher: string }).cipher !== 'none')) {
    throw new SgwError(
      'unsupported',
      'segment-format',
      `object ${key} has format ${String(footer.format)}, cipher ${footer.cipher}`,
      {
        hint: 'Use a newer sgw.',
        details: { key },
      },
    );
  }
  if (
    ![footer.pageHashes, footer.frames, footer.extents].every(isTable) ||
    !(isSealed ? isSealedPart(footer) : isPlainPart(footer))
  ) {
    throw damaged(key, 'the footer names no tables');
  }
  if (!inOrder(footer, footerAt)) throw damaged(key, 'the tables do not fit together');
  // It is taken unsealed also where everything else is sealed, so nothing may come in by it.
  if (footer.kind === 'tombstone' && !isEmpty(footer)) throw damaged(key, 'it is a tombstone that holds something');
  return footer;
}

const isSealedPart = ({ salt, sealed }: SegmentFooter): boolean =>
  isTable({ ...sealed, count: sealed?.length }) &&
  typeof salt === 'string' &&
  salt.length === 2 * SALT_BYTES &&
  /^[0-9a-f]*$/.test(salt);

const isPlainPart = ({ creators, salt, sealed }: SegmentFooter): boolean =>
  Array.isArray(creators) && salt === undefined && sealed === undefined;

const isEmpty = ({ pageHashes, frames, extents, creators, sealed }: SegmentFooter): boolean =>
  pageHashes.count + frames.count + extents.count === 0 && sealed === undefined && creators.length === 0;

/** Whether one table follows the other, up to the footer. */
function inOrder({ pageHashes, frames, extents, sealed }: SegmentFooter, footerAt: number): boolean {
  const framesAt = pageHashes.offset + pageHashesBytes(pageHashes.count, sealed !== undefined);
  const extentsAt = framesAt + frames.count * FRAME_ENTRY_BYTES;
  const extentsEnd = extentsAt + extents.count * EXTENT_ENTRY_BYTES;
  return (
    pageHashes.offset >= SEGMENT_HEADER_BYTES &&
    frames.offset === framesAt &&
    extents.offset === extentsAt &&
    (sealed === undefined || sealed.offset === extentsEnd) &&
    extentsEnd + (sealed?.length ?? 0) === footerAt
  );
}

/** Stored bytes of a page hash table. */
export const pageHashesBytes = (count: number, isSealed: boolean): number =>
  count * PAGE_HASH_BYTES + (isSealed ? TAG_BYTES : 0);

const isTable = (table: unknown): boolean => {
  const { offset, count } = (table ?? {}) as { offset?: unknown; count?: unknown };
  return [offset, count].every((value) => Number.isSafeInteger(value) && (value as number) >= 0);
};

function indexFrom(
  key: string,
  stored: SegmentFooter,
  hash: string,
  tables: Buffer,
  { creators, segmentKey }: OpenedTables,
): SegmentIndex {
  const footer = { ...stored, creators };
  const extentsAt = footer.frames.count * FRAME_ENTRY_BYTES;
  // A copy, so that a large tail buffer is not kept alive by its tables.
  const frames = Buffer.from(tables.subarray(0, extentsAt));
  checkFrames(key, footer, frames);
  const extents: PageExtent[] = [];
  for (let i = 0; i < footer.extents.count; i++) {
    const at = extentsAt + i * EXTENT_ENTRY_BYTES;
    extents.push({ firstPage: Number(tables.readBigUInt64LE(at)), pageCount: Number(tables.readBigUInt64LE(at + 8)) });
  }
  return new SegmentIndex({ key, footer, hash, frames, extents, segmentKey });
}

function checkFrames(key: string, footer: SegmentFooter, table: Buffer): void {
  for (let i = 0; i < footer.frames.count; i++) {
    const entry = readFrameEntry(table, i * FRAME_ENTRY_BYTES);
    const fits =
      entry.block < MAP_BLOCKS &&
      entry.mask !== 0 &&
      entry.storedLength > (footer.sealed === undefined ? 0 : TAG_BYTES) &&
      entry.offset >= SEGMENT_HEADER_BYTES &&
      entry.offset + entry.storedLength <= footer.pageHashes.offset &&
      entry.hashIndex + popcount16(entry.mask) <= footer.pageHashes.count &&
      entry.creators < footer.creators.length;
    if (!fits) throw damaged(key, `frame ${String(i)} is out of bounds`);
  }
}

/**
 * Checks a whole segment, every stored byte of it, against its hash and checksums, and parses it.
 * @throws corrupt `object-damaged`
 */
export function parseWholeSegment(key: string, body: Buffer, dataKey?: KeyObject): SegmentIndex {
  const parsed = parseSegmentTail(key, body, body.length, dataKey);
  if (!('index' in parsed)) throw damaged(key, 'it is cut short');
  const { index } = parsed;
  checkBody(key, body, index.footer, (i) => index.frame(i));
  return index;
}

/**
 * The same as far as it goes without a key: the checksums of every stored byte, also of a sealed segment.
 * @throws corrupt `object-damaged`
 */
export function checkStoredSegment(key: string, body: Buffer): void {
  const end = readEnd(key, body, body.length);
  if ('needBytes' in end) throw damaged(key, 'it is cut short');
  checkBody(key, body, end.footer, (i) => readFrameEntry(end.tables, i * FRAME_ENTRY_BYTES));
}

/** The page hashes of a whole segment as they are stored, checked. @throws corrupt `object-damaged` */
export function pageHashesOf(key: string, body: Buffer, { footer }: Pick<SegmentIndex, 'footer'>): Buffer {
  const { pageHashes, frames, pageHashesHash } = footer;
  const hashes = body.subarray(pageHashes.offset, frames.offset);
  if (blake3Short(hashes).toString('hex') !== pageHashesHash)
    throw damaged(key, 'its page hashes do not match their hash');
  return hashes;
}

/** The epoch that a whole segment was written under; needs no key. @throws corrupt `object-damaged` */
export function epochOfSegment(key: string, body: Buffer): number {
  const end = readEnd(key, body, body.length);
  if ('needBytes' in end) throw damaged(key, 'it is cut short');
  return end.footer.epoch;
}

type StoredFrame = Pick<ReturnType<typeof readFrameEntry>, 'offset' | 'storedLength' | 'crc32'>;

/** Header, page hashes and frames, by what the tables say. */
function checkBody(key: string, body: Buffer, footer: SegmentFooter, frameAt: (i: number) => StoredFrame): void {
  if (!body.subarray(0, SEGMENT_HEADER_BYTES).equals(segmentHeader())) throw damaged(key, 'the header is wrong');
  const { pageHashes, frames } = footer;
  pageHashesOf(key, body, { footer });
  let framesEnd = SEGMENT_HEADER_BYTES;
  for (let i = 0; i < frames.count; i++) {
    const { offset, storedLength, crc32: expected } = frameAt(i);
    if (offset !== framesEnd || crc32(body.subarray(offset, offset + storedLength)) !== expected)
      throw damaged(key, `frame ${String(i)} does not match its checksum`);
    framesEnd += storedLength;
  }
  if (framesEnd !== pageHashes.offset) throw damaged(key, 'there are bytes that belong to no frame');
}
