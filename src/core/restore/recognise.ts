/** Tells whose marks an image carries (C24). */
import { setImmediate as breathe } from 'node:timers/promises';
import type { ImageFile } from '../image/index.ts';
import { throwIfAborted } from '../kit/index.ts';
import { Blocks, MARK_BYTES, type TreeGeometry } from './geometry.ts';
import { Marks, type MarkSecret } from './marks.ts';

/** What is looked at before others may work: about a millisecond. */
const BLOCKS_AT_A_TIME = 32;

/** What may carry marks. */
export type MarkedImage = Pick<ImageFile, 'sizeBytes' | 'readNow' | 'read'>;

export interface MarkedBy extends MarkSecret {
  readonly geometry: TreeGeometry;
}

/**
 * The first of `candidates` that has left a mark in the image, wherever; undefined when none has, as when every block was
 * restored. Marks of restores before it may be there as well, below the frontier: the newest candidates come first.
 * @throws what reading the image throws; the signal's reason
 */
export async function recogniseImage<T extends MarkedBy>(
  image: MarkedImage,
  candidates: readonly T[],
  signal?: AbortSignal,
): Promise<T | undefined> {
  for (const candidate of candidates) {
    const blocks = new Blocks(candidate.geometry);
    if (blocks.sizeBytes > image.sizeBytes) continue;
    const marks = new Marks(candidate);
    const sector = Buffer.alloc(MARK_BYTES);
    let looked = 0;
    for (const block of likelyFirst(blocks.count)) {
      if (++looked % BLOCKS_AT_A_TIME === 0) await breathe();
      throwIfAborted(signal);
      const offset = blocks.offsetOf(block);
      if (!image.readNow(offset, sector)) await image.read(offset, sector, signal);
      if (marks.isIn(block, sector)) return candidate;
    }
  }
  return undefined;
}

/** The ends of the tree's levels, where a restore in order has a mark until it comes there; then all. */
function* likelyFirst(count: number): Generator<number> {
  if (count === 0) return;
  yield 0;
  yield count - 1;
  for (let first = 1; first < count; first = 2 * first + 1) yield Math.min(2 * first, count - 1);
  for (let block = 0; block < count; block++) yield block;
}
