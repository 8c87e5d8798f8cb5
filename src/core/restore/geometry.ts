/**
 * How an image is cut into the nodes of the implicit tree: block i lies at i * blockBytes, and its children are 2i+1 and 2i+2,
 * so breadth-first is the order of the image itself. The rest behind the last whole block belongs to that block.
 */
import { assert, GIB, KIB, MIB } from '../kit/index.ts';

/** A mark fills the first sector of its block. */
export const MARK_BYTES = 512;
/** The page that the mark is in, written and let go of as a whole. */
export const MARK_PAGE_BYTES = 4096;
const BLOCK_BYTES = 256 * KIB;
/** Of images from here on, where a mark for each block would be too many. */
const LARGE_IMAGE_BYTES = 1024 * GIB;
const LARGE_BLOCK_BYTES = MIB;

export interface TreeGeometry {
  readonly sizeBytes: number;
  readonly blockBytes: number;
}

/** What new restores use. */
export const geometryFor = (sizeBytes: number): TreeGeometry => ({
  sizeBytes,
  blockBytes: sizeBytes < LARGE_IMAGE_BYTES ? BLOCK_BYTES : LARGE_BLOCK_BYTES,
});

/** The blocks of an image. */
export class Blocks {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  /** 0 for an image that is too small for marks. */
  readonly count: number;

  constructor({ sizeBytes, blockBytes }: TreeGeometry) {
    assert(blockBytes >= MARK_PAGE_BYTES && blockBytes % MARK_PAGE_BYTES === 0, 'a block is made of pages');
    this.sizeBytes = sizeBytes;
    this.blockBytes = blockBytes;
    this.count = Math.floor(sizeBytes / blockBytes);
  }

  /** The block that has this byte. */
  at(offset: number): number {
    return Math.min(Math.floor(offset / this.blockBytes), this.count - 1);
  }

  offsetOf(block: number): number {
    return block * this.blockBytes;
  }

  endOf(block: number): number {
    return block === this.count - 1 ? this.sizeBytes : (block + 1) * this.blockBytes;
  }

  lengthOf(block: number): number {
    return this.endOf(block) - this.offsetOf(block);
  }

  childrenOf(block: number): number[] {
    return [2 * block + 1, 2 * block + 2].filter((child) => child < this.count);
  }
}

/** Of any block but the root, 0. */
export const parentOf = (block: number): number => (block - 1) >> 1;
