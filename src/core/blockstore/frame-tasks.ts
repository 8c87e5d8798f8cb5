/** What passes between `FramePool` and its worker threads. */
import type { ErrorDocument } from '../kit/index.ts';
import type { FrameOpening } from './sealing/segment-seal.ts';
import type { FrameEntry } from './segment-index.ts';

export interface FileExtent {
  /** A multiple of 64 KiB. */
  readonly offset: number;
  /** A multiple of 64 KiB; what lies past the file's size counts as zeroes. */
  readonly length: number;
}

export interface EncodeTask {
  readonly path: string;
  readonly sizeBytes: number;
  readonly extents: readonly FileExtent[];
  /** 16 bytes for each page of the extents, in order: its hash where it is mapped now, zeroes where it is not. */
  readonly knownHashes?: Uint8Array;
}

/** One page to encode: in a file of the write log, where its bytes must match a CRC-32, or given. */
export type PageInput =
  | { readonly page: number; readonly file: number; readonly position: number; readonly crc32: number }
  | { readonly page: number; readonly bytes: Uint8Array };

export interface PagesTask {
  /** Paths; the pages name them by index. */
  readonly files: readonly string[];
  /** Ascending. All pages of a block that a segment is to hold must be in one task. */
  readonly pages: readonly PageInput[];
  /** Index of the creator set that all of them have, in the batch that they will be committed with. */
  readonly creators: number;
  /** Whether the pages are wanted back, for a cache. */
  readonly keepsPages?: boolean;
}

/** As it passes to the thread: `places` has file (-1: the next of `given`), position and CRC-32 for each page. */
export interface PackedPagesTask {
  readonly files: readonly string[];
  readonly pages: Float64Array;
  readonly places: Float64Array;
  readonly given: Uint8Array;
  readonly creators: number;
  readonly keepsPages: boolean;
}

/** Frames to decode whole, and the decoded pages wanted back. */
export interface FramesTask {
  readonly spans: readonly StoredSpan[];
  readonly frames: readonly FrameJob[];
}

/** One frame to decode: where its bytes are, and which of its pages go where. */
export interface FrameJob {
  /** Index into the task's spans. */
  readonly span: number;
  readonly entry: FrameEntry;
  /** The key of its segment's object. */
  readonly segmentKey: string;
  /** Opens the frame when its segment is sealed. */
  readonly opening?: FrameOpening;
  /** Hashes of this frame's pages, 16 bytes each. */
  readonly pageHashes: Uint8Array;
  /** Pages wanted: `count` slots from `slot` are the volume's pages from `page`. */
  readonly slots: readonly { readonly slot: number; readonly page: number; readonly count: number }[];
}

/** Bytes of a segment, from `baseOffset` on. */
export interface StoredSpan {
  readonly bytes: Uint8Array;
  readonly baseOffset: number;
}

export interface DecodeTask {
  readonly spans: readonly StoredSpan[];
  readonly frames: readonly FrameJob[];
  /** Where pages are written, at their offset in the volume, cut at `sizeBytes`; without it they are only checked. */
  readonly target?: { readonly path: string; readonly sizeBytes: number };
}

/** Errors cross threads as documents, so that kind, code and hint arrive whole. */
export type TaskResult<T> = { readonly value: T } | { readonly error: ErrorDocument };
