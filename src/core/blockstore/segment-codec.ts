/**
 * Writes the bytes of a segment, format 1 (docs/formats/segment.md):
 * header, frames, page hash table, frame table, extent table, sealed creators, footer (JSON), trailer.
 * Pure: no store, no clock. A sealed body is never changed (C3).
 */
import type { KeyObject } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { SgwError, assert } from '../kit/index.ts';
import { MAP_BLOCKS, PAGE_HASH_BYTES, SEGMENT_MAX_FRAMES } from './geometry.ts';
import { blake3, blake3Short } from './hash.ts';
import { TAG_BYTES } from './sealing/aead.ts';
import { sealCreators, sealFrame, sealPageHashes, segmentKeyOf, type SegmentKey } from './sealing/segment-seal.ts';
import {
  EXTENT_ENTRY_BYTES,
  FRAME_ENTRY_BYTES,
  SegmentIndex,
  writeFrameEntry,
  type FrameEntry,
  type PageExtent,
  type SegmentFooter,
} from './segment-index.ts';

export const SEGMENT_HEADER_BYTES = 64;
export const SEGMENT_TRAILER_BYTES = 64;
const HEADER_MAGIC = Buffer.from('SGWSEG1\n', 'latin1');
export const TRAILER_MAGIC = Buffer.from('SGWSEGE1', 'latin1');
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
  /** The pages of all frames, in the order of frames and slots, not compressed; only where that was asked for. */
  readonly rawPages?: Uint8Array;
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
  | 'upload'
>;

export interface SealedSegment {
  /** The object's bytes, in pieces: the frames are not copied. */
  readonly body: readonly Uint8Array[];
  readonly index: SegmentIndex;
}

/** What seals a segment in a store with a key. */
export interface SegmentSeal {
  /** Of the volume that the segment belongs to. */
  readonly dataKey: KeyObject;
  /** 32 random bytes, new for each segment. */
  readonly salt: Uint8Array;
}

/**
 * Seals a segment: the returned body is what the object will be, byte for byte. With `seal` its contents are encrypted.
 * The pieces are not changed, and must not change while the body is in use.
 */
export function sealSegment(
  key: string,
  facts: SegmentFacts,
  pieces: readonly EncodedFrames[],
  extents: readonly PageExtent[],
  seal?: SegmentSeal,
): SealedSegment {
  const segmentKey = seal && segmentKeyOf(seal.dataKey, seal.salt, facts.volumeId, facts.segmentId);
  const { stored, table: frames } = storedFrames(pieces, segmentKey);
  const extentBytes = extentTable(extents);
  const plainHashes = Buffer.concat(pieces.map((piece) => piece.pageHashes));
  const hashes = segmentKey === undefined ? plainHashes : sealPageHashes(segmentKey, plainHashes);
  const hashesAt = SEGMENT_HEADER_BYTES + stored.reduce((sum, piece) => sum + piece.length, 0);
  const framesAt = hashesAt + hashes.length;
  const { creators, ...otherFacts } = facts;
  const tables = {
    hash: 'blake3',
    pageHashes: { offset: hashesAt, count: plainHashes.length / PAGE_HASH_BYTES },
    frames: { offset: framesAt, count: frames.length / FRAME_ENTRY_BYTES },
    extents: { offset: framesAt + frames.length, count: extents.length },
    pageHashesHash: blake3Short(hashes).toString('hex'),
  } as const;
  let footer: SegmentFooter = { format: 1, ...facts, cipher: 'none', ...tables };
  let footerBytes = Buffer.from(JSON.stringify(footer), 'utf8');
  let sealed: Buffer = Buffer.alloc(0);
  if (seal !== undefined && segmentKey !== undefined) {
    const length = Buffer.byteLength(JSON.stringify(creators), 'utf8') + TAG_BYTES;
    const stands = {
      format: 1,
      ...otherFacts,
      cipher: 'aes-256-gcm',
      salt: Buffer.from(seal.salt).toString('hex'),
      sealed: { offset: framesAt + frames.length + extentBytes.length, length },
      ...tables,
    } as const;
    footer = { ...stands, creators };
    footerBytes = Buffer.from(JSON.stringify(stands), 'utf8');
    sealed = sealCreators(segmentKey, hashOfTables([frames, extentBytes], footerBytes), creators);
  }
  const tail = Buffer.concat([frames, extentBytes, sealed, footerBytes, Buffer.alloc(SEGMENT_TRAILER_BYTES)]);
  const hash = writeTrailer(tail, footerBytes, facts.segmentId);
  const body = [segmentHeader(), ...stored, hashes, tail];
  return { body, index: new SegmentIndex({ key, footer, hash, frames, extents, segmentKey }) };
}

/** BLAKE3-256 of frame table, extent table and footer, hex: what the sealed creators prove. */
export const hashOfTables = (tables: readonly Buffer[], footer: Buffer): string =>
  blake3(Buffer.concat([...tables, footer])).toString('hex');

/** The same in every segment. */
export function segmentHeader(): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  HEADER_MAGIC.copy(bytes);
  return bytes;
}

interface StoredFrames {
  readonly stored: readonly Uint8Array[];
  readonly table: Buffer;
}

/** The frames as they are stored, and their table. */
function storedFrames(pieces: readonly EncodedFrames[], segmentKey: SegmentKey | undefined): StoredFrames {
  const count = pieces.reduce((sum, piece) => sum + piece.frames.length, 0);
  if (count > SEGMENT_MAX_FRAMES)
    throw new SgwError('internal', 'segment-too-many-frames', `a segment of ${String(count)} frames`);
  const table = Buffer.alloc(count * FRAME_ENTRY_BYTES);
  const stored: Uint8Array[] = [];
  let at = 0;
  let offset = SEGMENT_HEADER_BYTES;
  let hashIndex = 0;
  for (const piece of pieces) {
    const sealed = segmentKey && sealPiece(segmentKey, at / FRAME_ENTRY_BYTES, hashIndex, piece);
    const { frames, stored: bytes } = sealed ?? piece;
    for (const entry of frames) {
      assert(entry.block < MAP_BLOCKS, `the map reaches block ${String(entry.block)}`);
      writeFrameEntry(table, at, { ...entry, offset: entry.offset + offset, hashIndex: entry.hashIndex + hashIndex });
      at += FRAME_ENTRY_BYTES;
    }
    stored.push(bytes);
    offset += bytes.length;
    hashIndex += piece.pageHashes.length / PAGE_HASH_BYTES;
  }
  return { stored, table };
}

/** Seals the frames of a piece whose first is frame `firstFrame` of the segment, and whose hashes begin at `firstHash`. */
function sealPiece(
  segmentKey: SegmentKey,
  firstFrame: number,
  firstHash: number,
  piece: EncodedFrames,
): Pick<EncodedFrames, 'stored' | 'frames'> {
  const stored = Buffer.allocUnsafeSlow(piece.stored.length + piece.frames.length * TAG_BYTES);
  let offset = 0;
  const frames = piece.frames.map((entry, i) => {
    const plain = piece.stored.subarray(entry.offset, entry.offset + entry.storedLength);
    const facts = { ...entry, hashIndex: entry.hashIndex + firstHash };
    const [ciphertext, tag] = sealFrame(segmentKey, firstFrame + i, facts, plain);
    const sealed = {
      ...entry,
      offset,
      storedLength: ciphertext.length + tag.length,
      crc32: crc32(tag, crc32(ciphertext)),
    };
    offset += ciphertext.copy(stored, offset);
    offset += tag.copy(stored, offset);
    return sealed;
  });
  assert(offset === stored.length, 'the frames of a piece lie one after the other');
  return { stored, frames };
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
