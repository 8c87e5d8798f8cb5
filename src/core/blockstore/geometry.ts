/**
 * The units of format 1 (docs/formats/README.md). A page is the unit of mapping; a frame holds some or
 * all pages of one block of 16; a leaf of the map covers 1024 pages.
 */
import { MIB, SgwError, TIB } from '../kit/index.ts';

export const PAGE_BYTES = 4096;
export const BLOCK_PAGES = 16;
export const BLOCK_BYTES = PAGE_BYTES * BLOCK_PAGES;
export const LEAF_PAGES = 1024;
/** Children of an interior node of the map. */
export const FANOUT = 1024;
/** Interior levels above the leaves: level 3 is the root and covers 4 PiB. */
export const ROOT_LEVEL = 3;

/** What the block APIs read and write at once: 128 pages, of one leaf of the map. */
export const API_BLOCK_BYTES = 512 * 1024;
export const API_BLOCK_PAGES = API_BLOCK_BYTES / PAGE_BYTES;

/** A segment is closed once it holds this much. */
export const SEGMENT_TARGET_BYTES = 12 * MIB;
export const SEGMENT_MAX_FRAMES = 8192;
/** Commits of one writer that may be under way at once, and so how many seqs a fence covers (docs/adr/0002). */
export const COMMIT_WINDOW = 4;

const VOLUME_MAX_BYTES = 64 * TIB;
/** Blocks that the map reaches; a higher one would fold onto a lower. */
export const MAP_BLOCKS = (LEAF_PAGES * FANOUT ** ROOT_LEVEL) / BLOCK_PAGES;
export const PAGE_HASH_BYTES = 16;

/** The number of pages that `sizeBytes` needs; a last partial page counts as one. */
export const pagesOf = (sizeBytes: number): number => Math.ceil(sizeBytes / PAGE_BYTES);

/** @throws invalid `bad-volume-size` */
export function checkVolumeSize(sizeBytes: number): void {
  if (Number.isSafeInteger(sizeBytes) && sizeBytes >= 0 && sizeBytes <= VOLUME_MAX_BYTES) return;
  throw new SgwError('invalid', 'bad-volume-size', `a volume of ${String(sizeBytes)} bytes is not possible`, {
    hint: 'Give a size from 0 to 64 TiB.',
    details: { sizeBytes },
  });
}
