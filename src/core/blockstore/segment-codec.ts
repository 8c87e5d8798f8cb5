/**
 * Bytes of a segment, format 1 (docs/formats/segment.md):
 * header, frames, page hash table, frame table, extent table, footer (JSON), trailer.
 * Pure: no store, no clock. A sealed body is never changed (C3).
 */
import { crc32 } from 'node:zlib';
import { SgwError, assert } from '../kit/index.ts';
import { damaged } from './damage.ts';
import { MAP_BLOCKS, PAGE_HASH_BYTES, SEGMENT_MAX_FRAMES } from './geometry.ts';
import { blake3, blake3Short } from './hash.ts';
import {
  EXTENT_ENTRY_BYTES,
  FRAME_ENTRY_BYTES,
  SegmentIndex,
  popcount16,
  readFrameEntry,
  writeFrameEntry,
  type FrameEntry,
  type PageExtent,
  type SegmentFooter,
} from './segment-index.ts';

const SEGMENT_HEADER_BYTES = 64;
const SEGMENT_TRAILER_BYTES = 64;
const HEADER_MAGIC = Buffer.from('SGWSEG1\n', 'latin1');
const TRAILER_MAGIC = Buffer.from('SGWSEGE1', 'latin1');
const FOOTER_MAX_BYTES = 1 << 20;
export const ZERO_HASH = '0'.repeat(64);

/** Frames as workers made them; entries' offsets and hash indexes count from the start of this piece. */
export interface EncodedFrames {
  readonly stored: Uint8Array;
  readonly frames: readonly FrameEntry[];
  readonly pageHashes: Uint8Array;
  /** Pages in the frames. */
  readonly dataPages: number;
  /** Pages that were mapped before and read as zeroes now. */
  readonly zeroed: readonly PageExtent[];
  /** Bytes of the source that were read. */
  readonly readBytes: number;
}

/** The facts of a footer that the writer decides; tables and hashes follow from the contents. */
export type SegmentFacts = Pick<
  SegmentFooter,
  | 'kind'
  | 'volumeId'
  | 'seq'
  | 'epoch'
  | 'segmentId'
  | 'commitTimeMs'
  | 'prevHash'
  | 'sizeBytes'
  | 'consistent'
  | 'records'
  | 'creators'
>;

export interface SealedSegment {
  /** The object's bytes, in pieces: the frames are not copied. */
  readonly body: readonly Uint8Array[];
  readonly index: SegmentIndex;
}

/** Seals a segment: the returned body is what the object will be, byte for byte. */
export function sealSegment(
  key: string,
  facts: SegmentFacts,
  pieces: readonly EncodedFrames[],
  extents: readonly PageExtent[],
): SealedSegment {
  const frames = frameTable(pieces);
  const extentBytes = extentTable(extents);
  const hashes = Buffer.concat(pieces.map((piece) => piece.pageHashes));
  const storedBytes = pieces.reduce((sum, piece) => sum + piece.stored.length, 0);
  const hashesAt = SEGMENT_HEADER_BYTES + storedBytes;
  const footer: SegmentFooter = {
    format: 1,
    ...facts,
    hash: 'blake3',
    cipher: 'none',
    pageHashes: { offset: hashesAt, count: hashes.length / PAGE_HASH_BYTES },
    frames: { offset: hashesAt + hashes.length, count: frames.length / FRAME_ENTRY_BYTES },
    extents: { offset: hashesAt + hashes.length + frames.length, count: extents.length },
    pageHashesHash: blake3Short(hashes).toString('hex'),
  };
  const footerBytes = Buffer.from(JSON.stringify(footer), 'utf8');
  const tail = Buffer.concat([frames, extentBytes, footerBytes, Buffer.alloc(SEGMENT_TRAILER_BYTES)]);
  const hash = writeTrailer(tail, footerBytes, facts.segmentId);
  const body = [header(), ...pieces.map((piece) => piece.stored), hashes, tail];
  return { body, index: new SegmentIndex({ key, footer, hash, frames, extents }) };
}

function header(): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  HEADER_MAGIC.copy(bytes);
  return bytes;
}

function frameTable(pieces: readonly EncodedFrames[]): Buffer {
  const count = pieces.reduce((sum, piece) => sum + piece.frames.length, 0);
  if (count > SEGMENT_MAX_FRAMES)
    throw new SgwError('internal', 'segment-too-many-frames', `a segment of ${String(count)} frames`);
  const table = Buffer.alloc(count * FRAME_ENTRY_BYTES);
  let at = 0;
  let offset = SEGMENT_HEADER_BYTES;
  let hashIndex = 0;
  for (const piece of pieces) {
    for (const entry of piece.frames) {
      assert(entry.block < MAP_BLOCKS, `the map reaches block ${String(entry.block)}`);
      writeFrameEntry(table, at, { ...entry, offset: entry.offset + offset, hashIndex: entry.hashIndex + hashIndex });
      at += FRAME_ENTRY_BYTES;
    }
    offset += piece.stored.length;
    hashIndex += piece.pageHashes.length / PAGE_HASH_BYTES;
  }
  return table;
}

function extentTable(extents: readonly PageExtent[]): Buffer {
  const table = Buffer.alloc(extents.length * EXTENT_ENTRY_BYTES);
  extents.forEach((extent, i) => {
    table.writeBigUInt64LE(BigInt(extent.firstPage), i * EXTENT_ENTRY_BYTES);
    table.writeBigUInt64LE(BigInt(extent.pageCount), i * EXTENT_ENTRY_BYTES + 8);
  });
  return table;
}

/**
 * Fills the last 64 bytes of `tail`, which begins with the frame table. Its hash covers the rest of the segment as well:
 * the footer has the hash of the page hashes, which stand for the frames' contents, the frame table their checksums.
 */
function writeTrailer(tail: Buffer, footer: Buffer, segmentId: string): string {
  const at = tail.length - SEGMENT_TRAILER_BYTES;
  TRAILER_MAGIC.copy(tail, at);
  tail.writeUInt32LE(footer.length, at + 8);
  tail.writeUInt32LE(crc32(footer), at + 12);
  tail.write(segmentId, at + 16, 16, 'hex');
  const hash = blake3(tail.subarray(0, at + 32));
  hash.copy(tail, at + 32);
  return hash.toString('hex');
}

/** What the last bytes of a segment say, or how many more are needed. */
export type TailResult = { readonly index: SegmentIndex } | { readonly needBytes: number };

/**
 * Parses a segment's end. `tail` is the last `tail.length` bytes of an object of `sizeBytes`; when it does not reach
 * back to the frame table, the answer says how many bytes to read. Page hashes are not needed and not checked.
 * @throws corrupt `object-damaged`
 */
export function parseSegmentTail(key: string, tail: Buffer, sizeBytes: number): TailResult {
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
  const hashed = tail.subarray(footer.frames.offset - tailAt, tail.length - 32);
  const hash = blake3(hashed).toString('hex');
  if (hash !== trailer.toString('hex', 32, 64)) throw damaged(key, 'its tables do not match their hash');
  return { index: indexFrom(key, footer, hash, hashed) };
}

function parseFooter(key: string, bytes: Buffer, footerAt: number): SegmentFooter {
  let footer: SegmentFooter;
  try {
    footer = JSON.parse(bytes.toString('utf8')) as SegmentFooter;
  } catch (error) {
    throw damaged(key, 'the footer is not JSON', error);
  }
  if (typeof footer !== 'object' || (footer as object | null) === null) throw damaged(key, 'the footer is no object');
  if ((footer as { format: number }).format !== 1 || (footer as { cipher: string }).cipher !== 'none') {
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
  if (![footer.pageHashes, footer.frames, footer.extents].every(isTable) || !Array.isArray(footer.creators)) {
    throw damaged(key, 'the footer names no tables');
  }
  const { pageHashes, frames, extents } = footer;
  const framesAt = pageHashes.offset + pageHashes.count * PAGE_HASH_BYTES;
  const extentsAt = framesAt + frames.count * FRAME_ENTRY_BYTES;
  const inOrder =
    pageHashes.offset >= SEGMENT_HEADER_BYTES &&
    frames.offset === framesAt &&
    extents.offset === extentsAt &&
    extentsAt + extents.count * EXTENT_ENTRY_BYTES === footerAt;
  if (!inOrder) throw damaged(key, 'the tables do not fit together');
  return footer;
}

const isTable = (table: unknown): boolean => {
  const { offset, count } = (table ?? {}) as { offset?: unknown; count?: unknown };
  return [offset, count].every((value) => Number.isSafeInteger(value) && (value as number) >= 0);
};

function indexFrom(key: string, footer: SegmentFooter, hash: string, tables: Buffer): SegmentIndex {
  const extentsAt = footer.frames.count * FRAME_ENTRY_BYTES;
  // A copy, so that a large tail buffer is not kept alive by its tables.
  const frames = Buffer.from(tables.subarray(0, extentsAt));
  checkFrames(key, footer, frames);
  const extents: PageExtent[] = [];
  for (let i = 0; i < footer.extents.count; i++) {
    const at = extentsAt + i * EXTENT_ENTRY_BYTES;
    extents.push({ firstPage: Number(tables.readBigUInt64LE(at)), pageCount: Number(tables.readBigUInt64LE(at + 8)) });
  }
  return new SegmentIndex({ key, footer, hash, frames, extents });
}

function checkFrames(key: string, footer: SegmentFooter, table: Buffer): void {
  for (let i = 0; i < footer.frames.count; i++) {
    const entry = readFrameEntry(table, i * FRAME_ENTRY_BYTES);
    const fits =
      entry.block < MAP_BLOCKS &&
      entry.mask !== 0 &&
      entry.storedLength > 0 &&
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
export function parseWholeSegment(key: string, body: Buffer): SegmentIndex {
  const parsed = parseSegmentTail(key, body, body.length);
  if (!('index' in parsed)) throw damaged(key, 'it is cut short');
  const { index } = parsed;
  if (!body.subarray(0, SEGMENT_HEADER_BYTES).equals(header())) throw damaged(key, 'the header is wrong');
  const { pageHashes, frames, pageHashesHash } = index.footer;
  if (blake3Short(body.subarray(pageHashes.offset, frames.offset)).toString('hex') !== pageHashesHash)
    throw damaged(key, 'its page hashes do not match their hash');
  let framesEnd = SEGMENT_HEADER_BYTES;
  for (let i = 0; i < index.frameCount; i++) {
    const { offset, storedLength, crc32: expected } = index.frame(i);
    if (offset !== framesEnd || crc32(body.subarray(offset, offset + storedLength)) !== expected)
      throw damaged(key, `frame ${String(i)} does not match its checksum`);
    framesEnd += storedLength;
  }
  if (framesEnd !== index.footer.pageHashes.offset) throw damaged(key, 'there are bytes that belong to no frame');
  return index;
}
