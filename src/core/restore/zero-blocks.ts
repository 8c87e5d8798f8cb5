/** Blocks that the snapshot has nothing of: they cost no fetch, and no mark when they are restored together with their parent. */
import type { BlockDevice } from '../blockdevice/index.ts';
import type { BlockTree } from './block-tree.ts';

const PIECES_MAX = 1024;

/** Blocks from `first` up to `end`, exclusive, that are zero as a whole. @throws what the snapshot throws */
async function zeroBlocks(
  source: BlockDevice,
  { blocks }: BlockTree,
  first: number,
  end: number,
  signal: AbortSignal,
): Promise<number[]> {
  const found: number[] = [];
  const stop = blocks.endOf(end - 1);
  let zeroFrom: number | undefined;
  const closeZero = (to: number): void => {
    if (zeroFrom === undefined) return;
    for (let block = Math.ceil(zeroFrom / blocks.blockBytes); block < end && blocks.endOf(block) <= to; block++)
      found.push(block);
    zeroFrom = undefined;
  };
  for (let at = blocks.offsetOf(first); at < stop;) {
    for (const { length, isZero } of await source.extents(at, stop - at, PIECES_MAX, { signal })) {
      if (isZero) zeroFrom ??= at;
      else closeZero(at);
      at += length;
    }
  }
  closeZero(stop);
  return found;
}

/**
 * `batch`, ascending, and the unrestored blocks below it that are zero, and below these, up to about `max` of them: with their
 * parents in one round, they never get a mark. @throws what the snapshot throws
 */
export async function withZeroChildren(
  source: BlockDevice,
  tree: BlockTree,
  batch: readonly number[],
  max: number,
  signal: AbortSignal,
): Promise<number[]> {
  const all = new Set(batch);
  for (let level = batch; level.length > 0 && all.size - batch.length < max;) {
    const next: number[] = [];
    for (const { first, end } of childRuns(level, tree.blocks.count))
      for (const block of await zeroBlocks(source, tree, first, end, signal))
        if (!all.has(block) && !tree.isRestored(block)) next.push(block);
    for (const block of next) all.add(block);
    level = next;
  }
  return [...all];
}

/** The children of blocks, ascending, as runs of neighbours. */
function childRuns(parents: readonly number[], count: number): { readonly first: number; readonly end: number }[] {
  const runs: { first: number; end: number }[] = [];
  for (const parent of parents) {
    const first = 2 * parent + 1;
    const end = Math.min(first + 2, count);
    const last = runs.at(-1);
    if (first >= count) continue;
    if (last?.end === first) last.end = end;
    else runs.push({ first, end });
  }
  return runs;
}
