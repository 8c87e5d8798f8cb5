/** Which blocks of 512 KiB of a leaf differ between two maps. */
import { API_BLOCK_PAGES, LEAF_PAGES } from '../geometry.ts';
import type { LeafRun } from '../node-codec.ts';
import type { LeafRuns } from './map-reader.ts';

export interface ChangedBlock {
  /** Counted in blocks of 512 KiB. */
  readonly block: number;
  /** Whether anything is mapped there in the one and the other. */
  readonly inA: boolean;
  readonly inB: boolean;
}

const LEAF_BLOCKS = LEAF_PAGES / API_BLOCK_PAGES;

/** The run that each page of a leaf is in. */
function placesOf(runs: readonly LeafRun[]): (LeafRun | undefined)[] {
  const places = new Array<LeafRun | undefined>(LEAF_PAGES).fill(undefined);
  for (const run of runs) places.fill(run, run.page, run.page + run.count);
  return places;
}

/** The blocks that differ, ascending. `isMoved`: of a page that both map, in different places, whether it is the same all the same. */
export async function* changedBlocksOfLeaf(
  pair: LeafRuns,
  isMoved: (pair: LeafRuns, page: number) => Promise<boolean>,
): AsyncGenerator<ChangedBlock> {
  const before = placesOf(pair.a);
  const after = placesOf(pair.b);
  for (let i = 0; i < LEAF_BLOCKS; i++) {
    const first = i * API_BLOCK_PAGES;
    const end = first + API_BLOCK_PAGES;
    let isChanged = false;
    for (let page = first; page < end && !isChanged; page++) {
      const a = before[page];
      const b = after[page];
      if (a === undefined || b === undefined) isChanged = a !== b;
      else if (!isSamePlace(a, b, page)) isChanged = !(await isMoved(pair, page));
    }
    if (isChanged)
      yield { block: pair.leaf * LEAF_BLOCKS + i, inA: isMapped(before, first), inB: isMapped(after, first) };
  }
}

function isMapped(places: readonly (LeafRun | undefined)[], first: number): boolean {
  for (let page = first; page < first + API_BLOCK_PAGES; page++) if (places[page] !== undefined) return true;
  return false;
}

const isSamePlace = (a: LeafRun, b: LeafRun, page: number): boolean =>
  a.frame === b.frame &&
  a.slot + page - a.page === b.slot + page - b.page &&
  a.source.segmentId === b.source.segmentId &&
  a.source.key === b.source.key;
