/**
 * The saved index as bytes (docs/formats/cache.md): which frames are where in the file of frames, in the order of eviction, with
 * their checksums. It is believed only as a whole, and only together with the very file of frames that it was saved for.
 */
import { createHash } from 'node:crypto';
import type { FileTier } from './file-tier.ts';
import { IN_MAIN, USES_MAX } from './frame-index.ts';
import { isInPieces } from './frame-table.ts';
import type { SegmentNumbers } from './segment-numbers.ts';

export const FRAMES_ID_BYTES = 16;
const MAGIC = Buffer.from('sgwcidx1');
const HEADER_BYTES = 40;
const SEGMENT_BYTES = 16;
const DIGEST_BYTES = 32;
const PIECE_BYTES = 1024 * 1024;
/** The most that one frame takes: its fields, 16 units, 16 checksums. */
const FRAME_FIELDS_BYTES_MAX = 8 + 16 * 4 + 16 * 4;
const MAIN_FLAG = 4;
const SCATTERED_FLAG = 8;

/** Collects bytes into pieces, and the digest of all of them. */
class PieceWriter {
  readonly #hash = createHash('sha256');
  #piece = Buffer.allocUnsafe(PIECE_BYTES);
  #length = 0;

  /** A place for `bytes` more, of which all must be written before the next call. */
  reserve(bytes: number): { readonly piece: Buffer; readonly at: number } {
    const at = this.#length;
    this.#length += bytes;
    return { piece: this.#piece, at };
  }

  /** What was written so far, when less than `bytes` are left in the piece. */
  *full(bytes: number): Generator<Buffer> {
    if (this.#length + bytes > PIECE_BYTES) yield this.#take();
  }

  #take(): Buffer {
    const piece = this.#piece.subarray(0, this.#length);
    this.#hash.update(piece);
    this.#piece = Buffer.allocUnsafe(PIECE_BYTES);
    this.#length = 0;
    return piece;
  }

  *end(): Generator<Buffer> {
    yield this.#take();
    yield this.#hash.digest();
  }
}

/** The index of what a tier has. No frame may come or go before the last piece is taken. */
export function* encodeIndex(tier: FileTier, framesId: Buffer, segments: SegmentNumbers): Generator<Buffer> {
  const { index, pool } = tier.table;
  const numbers = new Map<number, number>();
  for (const entry of tier.table.entries()) {
    const place = index.placeOf(entry);
    if (!numbers.has(place)) numbers.set(place, numbers.size);
  }
  const writer = new PieceWriter();
  const { piece, at } = writer.reserve(HEADER_BYTES);
  MAGIC.copy(piece, at);
  framesId.copy(piece, at + 8);
  piece.writeUInt32LE(pool.unitCount, at + 24);
  piece.writeUInt32LE(numbers.size, at + 28);
  piece.writeUInt32LE(index.count, at + 32);
  piece.writeUInt32LE(0, at + 36);
  for (const place of numbers.keys()) {
    yield* writer.full(SEGMENT_BYTES);
    const id = writer.reserve(SEGMENT_BYTES);
    for (let word = 0; word < 4; word++) id.piece.writeUInt32BE(segments.word(place, word), id.at + word * 4);
  }
  for (const entry of tier.table.entries()) {
    yield* writer.full(FRAME_FIELDS_BYTES_MAX);
    encodeFrame(writer, tier, entry, numbers.get(index.placeOf(entry)) ?? 0);
  }
  yield* writer.end();
}

function encodeFrame(writer: PieceWriter, { table, crcs }: FileTier, entry: number, segment: number): void {
  const { index } = table;
  const units = table.unitsOf(entry);
  const isScattered = isInPieces(units);
  const stored = isScattered ? units : units.slice(0, 1);
  const { piece, at } = writer.reserve(8 + stored.length * 4 + units.length * 4);
  const flags = index.usesOf(entry) | (index.is(entry, IN_MAIN) ? MAIN_FLAG : 0) | (isScattered ? SCATTERED_FLAG : 0);
  piece.writeUInt32LE(segment, at);
  piece.writeUInt16LE(index.frameOf(entry), at + 4);
  piece.writeUInt8(units.length, at + 6);
  piece.writeUInt8(flags, at + 7);
  let end = at + 8;
  for (const unit of stored) end = piece.writeUInt32LE(unit, end);
  for (const unit of units) end = piece.writeUInt32LE(crcs[unit] ?? 0, end);
}

export interface SavedFrame {
  /** The number of its segment in the index. */
  readonly segment: number;
  readonly frame: number;
  readonly units: readonly number[];
  readonly crcs: readonly number[];
  readonly uses: number;
  readonly isMain: boolean;
}

export interface SavedIndex {
  readonly framesId: Buffer;
  readonly unitCount: number;
  /** Four words of each segment's id. */
  segmentId(segment: number): readonly [number, number, number, number];
  /** In the order of eviction. @throws RangeError when they are not what an index can say */
  frames(): Generator<SavedFrame>;
}

/** What the bytes say; undefined when they are no whole index of this format. */
export function decodeIndex(bytes: Buffer): SavedIndex | undefined {
  const end = bytes.length - DIGEST_BYTES;
  if (end < HEADER_BYTES || !bytes.subarray(0, 8).equals(MAGIC)) return undefined;
  const digest = createHash('sha256').update(bytes.subarray(0, end)).digest();
  if (!digest.equals(bytes.subarray(end))) return undefined;
  const unitCount = bytes.readUInt32LE(24);
  const segmentCount = bytes.readUInt32LE(28);
  const frameCount = bytes.readUInt32LE(32);
  const framesStart = HEADER_BYTES + segmentCount * SEGMENT_BYTES;
  if (framesStart > end) return undefined;
  return {
    framesId: bytes.subarray(8, 8 + FRAMES_ID_BYTES),
    unitCount,
    segmentId: (segment) => {
      const at = HEADER_BYTES + segment * SEGMENT_BYTES;
      const word = (i: number): number => bytes.readUInt32BE(at + i * 4);
      return [word(0), word(1), word(2), word(3)];
    },
    frames: () => decodeFrames(bytes.subarray(framesStart, end), { unitCount, segmentCount, frameCount }),
  };
}

interface Counts {
  readonly unitCount: number;
  readonly segmentCount: number;
  readonly frameCount: number;
}

function* decodeFrames(bytes: Buffer, { unitCount, segmentCount, frameCount }: Counts): Generator<SavedFrame> {
  let at = 0;
  for (let i = 0; i < frameCount; i++) {
    const segment = bytes.readUInt32LE(at);
    const frame = bytes.readUInt16LE(at + 4);
    const pages = bytes.readUInt8(at + 6);
    const flags = bytes.readUInt8(at + 7);
    at += 8;
    if (segment >= segmentCount || pages < 1 || pages > 16) throw new RangeError('no such frame');
    const isScattered = (flags & SCATTERED_FLAG) !== 0;
    const first = bytes.readUInt32LE(at);
    const units: number[] = [];
    for (let page = 0; page < pages; page++) {
      const unit = isScattered ? bytes.readUInt32LE(at + page * 4) : first + page;
      if (unit === 0 || unit >= unitCount) throw new RangeError('no such unit');
      units.push(unit);
    }
    at += isScattered ? pages * 4 : 4;
    const crcs: number[] = [];
    for (let page = 0; page < pages; page++) crcs.push(bytes.readUInt32LE(at + page * 4));
    at += pages * 4;
    yield { segment, frame, units, crcs, uses: flags & USES_MAX, isMain: (flags & MAIN_FLAG) !== 0 };
  }
  if (at !== bytes.length) throw new RangeError('more than its frames');
}
