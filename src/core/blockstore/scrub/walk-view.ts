/**
 * Walks the whole map of a view and says which pages can't be read, and why. Stored subtrees that an earlier walk of the
 * same scrub found whole are passed by, so that many snapshots of one volume cost little more than one.
 */
import type { SgwError } from '../../kit/index.ts';
import { withSignal, type Cancellable } from '../options.ts';
import type { NodePointer } from '../node-codec.ts';
import type { VolumeView } from '../volume-view.ts';
import type { SegmentBook } from './segment-book.ts';

/** What the walks of one scrub share. About 150 bytes a node of the maps: 40 bytes for each MiB of mapped data. */
export interface WalkState {
  readonly book: SegmentBook;
  /** Stored nodes below which all is well. */
  readonly whole: Set<string>;
}

export type HurtPages = (error: SgwError, firstPage: number, pageCount: number) => void;

const nameOf = ({ key, offset, hash }: NodePointer): string => `${key}@${String(offset)} ${hash}`;

export async function walkView(
  state: WalkState,
  view: VolumeView,
  onHurt: HurtPages,
  { signal }: Cancellable = {},
): Promise<void> {
  let found = 0;
  const hurt: HurtPages = (error, firstPage, pageCount) => {
    found += 1;
    onHurt(error, firstPage, pageCount);
  };
  const foundBefore: number[] = [];
  const leaves = view.map.leaves({
    enter: (pointer) => {
      if (state.whole.has(nameOf(pointer))) return false;
      foundBefore.push(found);
      return true;
    },
    leave: (pointer) => {
      if (foundBefore.pop() === found) state.whole.add(nameOf(pointer));
    },
    damage: hurt,
    ...withSignal(signal),
  });
  for await (const leaf of leaves) {
    for (const run of leaf.runs) {
      const fault = await state.book.faultOf(run, signal);
      if (fault !== undefined) hurt(fault, run.page, run.count);
    }
  }
}
