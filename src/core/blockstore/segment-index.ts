/**
 * What a segment says of itself: the footer (JSON) and the frame table (binary), docs/formats/segment.md.
 * The index keeps the frame table as bytes and decodes an entry when asked.
 */
import { damaged } from './damage.ts';
import { BLOCK_PAGES } from './geometry.ts';
import type { FrameOpening, SegmentKey } from './sealing/segment-seal.ts';

export const FRAME_ENTRY_BYTES = 32;
export const EXTENT_ENTRY_BYTES = 16;

/** How a frame's bytes are stored. */
export const CODECS = { none: 0, zstd: 1 } as const;

export interface FrameEntry {
  /** Page index of the block's first page, divided by 16. */
  readonly block: number;
  /** Where the stored bytes start: in the segment, or in `EncodedFrames.stored` before a segment exists. */
  readonly offset: number;
  readonly storedLength: number;
  /** Bit i: page i of the block is in the frame. Slots count the set bits. */
  readonly mask: number;
  readonly codec: number;
  /** CRC-32 of the stored bytes. */
  readonly crc32: number;
  /** Index into the footer's list of creator sets. */
  readonly creators: number;
  /** Where the frame's first page stands in the page hash table. */
  readonly hashIndex: number;
}

export interface PageExtent {
  readonly firstPage: number;
  readonly pageCount: number;
}

interface TableRef {
  readonly offset: number;
  readonly count: number;
}

/** The records of the local log that a segment holds (C4). */
export interface RecordSpan {
  readonly incarnation: string;
  readonly first: number;
  readonly last: number;
}

/** Which block of which upload a segment holds, and the SHA-256 of its 512 KiB, hex. */
export interface UploadedBlock {
  readonly snapshotId: string;
  readonly block: number;
  readonly sha256: string;
}

export interface SegmentFooter {
  readonly format: 1;
  readonly kind: 'data' | 'fence' | 'tombstone';
  readonly volumeId: string;
  readonly seq: number;
  readonly epoch: number;
  /** 16 random bytes, hex. */
  readonly segmentId: string;
  readonly commitTimeMs: number;
  /** Hash of the previous valid segment of the log, hex; zeroes for the first. */
  readonly prevHash: string;
  /** Size of the volume once this segment is applied. */
  readonly sizeBytes: number;
  /** True when the state after it is one that the volume really had (C7). */
  readonly consistent: boolean;
  readonly records: RecordSpan | null;
  /** Set when the volume reads after it as before (rewriting, C12): then the store's position in a local log stays. */
  readonly keepsContents?: true;
  /** Of one that holds a block written through the API (C29), and is of no log. */
  readonly upload?: UploadedBlock;
  readonly hash: 'blake3';
  readonly cipher: 'none' | 'aes-256-gcm';
  /** Of a sealed segment: 32 random bytes, hex. */
  readonly salt?: string;
  /** In a sealed segment not stored here, but at `sealed`. */
  readonly creators: readonly (readonly string[])[];
  /** Where the sealed creators are. */
  readonly sealed?: { readonly offset: number; readonly length: number };
  readonly frames: TableRef;
  readonly extents: TableRef;
  readonly pageHashes: TableRef;
  /** BLAKE3-128 of the page hash table, hex. */
  readonly pageHashesHash: string;
}

export const popcount16 = (mask: number): number => {
  let bits = mask - ((mask >>> 1) & 0x5555);
  bits = (bits & 0x3333) + ((bits >>> 2) & 0x3333);
  bits = (bits + (bits >>> 4)) & 0x0f0f;
  return (bits + (bits >>> 8)) & 0x1f;
};

/** Writes an entry at `at` of `table` (docs/formats/segment.md, frame table). */
export function writeFrameEntry(table: Buffer, at: number, entry: FrameEntry): void {
  table.writeUInt32LE(entry.block % 0x1_0000_0000, at);
  table.writeUInt32LE(Math.floor(entry.block / 0x1_0000_0000), at + 4);
  table.writeUInt32LE(entry.offset, at + 8);
  table.writeUInt32LE(entry.storedLength, at + 12);
  table.writeUInt16LE(entry.mask, at + 16);
  table.writeUInt8(entry.codec, at + 18);
  table.writeUInt8(0, at + 19);
  table.writeUInt16LE(entry.creators, at + 20);
  table.writeUInt16LE(0, at + 22);
  table.writeUInt32LE(entry.crc32, at + 24);
  table.writeUInt32LE(entry.hashIndex, at + 28);
}

export function readFrameEntry(table: Buffer, at: number): FrameEntry {
  return {
    block: table.readUInt32LE(at) + table.readUInt32LE(at + 4) * 0x1_0000_0000,
    offset: table.readUInt32LE(at + 8),
    storedLength: table.readUInt32LE(at + 12),
    mask: table.readUInt16LE(at + 16),
    codec: table.readUInt8(at + 18),
    creators: table.readUInt16LE(at + 20),
    crc32: table.readUInt32LE(at + 24),
    hashIndex: table.readUInt32LE(at + 28),
  };
}

/** A segment's footer and tables, checked when it was made (`parseSegmentTail`). */
export class SegmentIndex {
  readonly key: string;
  readonly footer: SegmentFooter;
  /** The hash of the segment, hex: what the next segment's `prevHash` names. */
  readonly hash: string;
  readonly extents: readonly PageExtent[];
  /** What its contents are sealed with; undefined when they are not. */
  readonly segmentKey: SegmentKey | undefined;
  readonly #frames: Buffer;

  constructor(parts: {
    key: string;
    footer: SegmentFooter;
    hash: string;
    frames: Buffer;
    extents: readonly PageExtent[];
    segmentKey: SegmentKey | undefined;
  }) {
    this.key = parts.key;
    this.footer = parts.footer;
    this.hash = parts.hash;
    this.extents = parts.extents;
    this.segmentKey = parts.segmentKey;
    this.#frames = parts.frames;
  }

  get frameCount(): number {
    return this.#frames.length / FRAME_ENTRY_BYTES;
  }

  get sizeInMemoryBytes(): number {
    return this.#frames.length + this.extents.length * 48 + 1024;
  }

  /** Entry `i`. @throws corrupt `object-damaged` when there is none, since whoever asks was told of it by the map */
  frame(i: number): FrameEntry {
    if (i >= this.frameCount) throw damaged(this.key, `it has no frame ${String(i)}`);
    return readFrameEntry(this.#frames, i * FRAME_ENTRY_BYTES);
  }

  /** What opens frame `i`; undefined when it is not sealed. */
  opening(i: number): FrameOpening | undefined {
    return this.segmentKey === undefined ? undefined : { segment: this.segmentKey, frame: i };
  }
}

/** Calls `visit` with each page of the frame: its page index and its slot. */
export function forEachPage(entry: FrameEntry, visit: (page: number, slot: number) => void): void {
  let slot = 0;
  for (let bit = 0; bit < BLOCK_PAGES; bit++) {
    if ((entry.mask & (1 << bit)) === 0) continue;
    visit(entry.block * BLOCK_PAGES + bit, slot);
    slot += 1;
  }
}
