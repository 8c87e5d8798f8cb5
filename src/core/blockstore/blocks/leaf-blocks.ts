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

/** The blocks that differ, ascending. `isMoved`: of a page that both map, in different places, whether it is the same all the same. */
export async function* changedBlocksOfLeaf(
  { leaf, a, b }: LeafRuns,
  isMoved: (before: LeafRun, now: LeafRun, page: number) => Promise<boolean>,
): AsyncGenerator<ChangedBlock> {
  const [onlyA, onlyB] = withoutShared(a, b);
  const touched = new Set([...writtenBlocksOfLeaf(0, onlyA), ...writtenBlocksOfLeaf(0, onlyB)]);
  for (const i of [...touched].sort((one, other) => one - other)) {
    const runsOfA = runsOfBlock(a, i);
    const runsOfB = runsOfBlock(b, i);
    if (areSame(runsOfA, runsOfB) || !(await differs(runsOfA, runsOfB, i * API_BLOCK_PAGES, isMoved))) continue;
    yield { block: leaf * LEAF_BLOCKS + i, inA: runsOfA.length > 0, inB: runsOfB.length > 0 };
  }
}

/** The blocks in which a page is mapped, ascending. */
export function writtenBlocksOfLeaf(leaf: number, runs: readonly LeafRun[]): number[] {
  const written = new Set<number>();
  for (const { page, count } of runs) {
    const last = Math.floor((page + count - 1) / API_BLOCK_PAGES);
    for (let i = Math.floor(page / API_BLOCK_PAGES); i <= last; i++) written.add(leaf * LEAF_BLOCKS + i);
  }
  return [...written].sort((a, b) => a - b);
}

/** The runs of either that the other does not have as they are: in most leaves few. */
function withoutShared(a: readonly LeafRun[], b: readonly LeafRun[]): readonly [LeafRun[], LeafRun[]] {
  const onlyA: LeafRun[] = [];
  const onlyB: LeafRun[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    const [runOfA, runOfB] = [a[i], b[j]];
    const [pageOfA, pageOfB] = [runOfA?.page ?? LEAF_PAGES, runOfB?.page ?? LEAF_PAGES];
    if (runOfA !== undefined && pageOfA <= pageOfB) i += 1;
    if (runOfB !== undefined && pageOfB <= pageOfA) j += 1;
    if (runOfA !== undefined && runOfB !== undefined && isSameRun(runOfA, runOfB)) continue;
    if (runOfA !== undefined && pageOfA <= pageOfB) onlyA.push(runOfA);
    if (runOfB !== undefined && pageOfB <= pageOfA) onlyB.push(runOfB);
  }
  return [onlyA, onlyB];
}

/** What of the runs of a leaf lies in a block of it. */
const runsOfBlock = (runs: readonly LeafRun[], i: number): LeafRun[] =>
  runs.flatMap((run) => cutRun(run, i * API_BLOCK_PAGES, (i + 1) * API_BLOCK_PAGES));

/** What of a run lies in these pages: one run, or none. */
export function cutRun(run: LeafRun, from: number, to: number): readonly LeafRun[] {
  if (from <= run.page && run.page + run.count <= to) return [run];
  const start = Math.max(from, run.page);
  const end = Math.min(to, run.page + run.count);
  return start < end ? [{ ...run, page: start, count: end - start, slot: run.slot + start - run.page }] : [];
}

const areSame = (a: readonly LeafRun[], b: readonly LeafRun[]): boolean =>
  a.length === b.length &&
  a.every((run, i) => {
    const other = b[i];
    return other !== undefined && isSameRun(run, other);
  });

const isSameRun = (a: LeafRun, b: LeafRun): boolean =>
  a.page === b.page && a.count === b.count && isSamePlace(a, b, a.page);

async function differs(
  a: readonly LeafRun[],
  b: readonly LeafRun[],
  first: number,
  isMoved: (before: LeafRun, now: LeafRun, page: number) => Promise<boolean>,
): Promise<boolean> {
  for (let page = first; page < first + API_BLOCK_PAGES; page++) {
    const before = runOf(a, page);
    const now = runOf(b, page);
    if (before === undefined || now === undefined) {
      if (before !== now) return true;
    } else if (!isSamePlace(before, now, page) && !(await isMoved(before, now, page))) return true;
  }
  return false;
}

const runOf = (runs: readonly LeafRun[], page: number): LeafRun | undefined =>
  runs.find((run) => run.page <= page && page < run.page + run.count);

const isSamePlace = (a: LeafRun, b: LeafRun, page: number): boolean =>
  a.frame === b.frame &&
  a.slot + page - a.page === b.slot + page - b.page &&
  a.source.segmentId === b.source.segmentId &&
  a.source.key === b.source.key;
