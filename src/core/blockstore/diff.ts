/**
 * What differs between two states of one lineage: stored subtrees that both share are skipped unread, then places
 * are compared, then page hashes, so that a moved page is not a changed one (C12).
 */
import { LEAF_PAGES, PAGE_HASH_BYTES } from './geometry.ts';
import { differingLeaves } from './map-compare.ts';
import type { Cancellable } from './options.ts';
import type { PageRun } from './page-map.ts';
import type { VolumeView } from './volume-view.ts';

/** `changed`: its data differs or is new. `zeroed`: it held data and reads as zeroes now. */
export interface DiffExtent {
  readonly firstPage: number;
  readonly pageCount: number;
  readonly state: 'changed' | 'zeroed';
}

/** Yields the extents of `b` that differ from `a`, ascending and merged. */
export async function* diffViews(
  a: VolumeView,
  b: VolumeView,
  { signal }: Cancellable = {},
): AsyncGenerator<DiffExtent> {
  let open: DiffExtent | undefined;
  for await (const pair of differingLeaves(a.map, b.map, signal)) {
    const states = await compareLeaf(a, pair.a, b, pair.b, pair.firstPage, signal);
    for (let i = 0; i < LEAF_PAGES; i++) {
      const state = states[i];
      if (state === undefined) continue;
      const page = pair.firstPage + i;
      if (open?.state === state && open.firstPage + open.pageCount === page) {
        open = { ...open, pageCount: open.pageCount + 1 };
        continue;
      }
      if (open !== undefined) yield open;
      open = { firstPage: page, pageCount: 1, state };
    }
  }
  if (open !== undefined) yield open;
}

interface Place {
  readonly run: PageRun;
  readonly slot: number;
}

function placesOf(runs: readonly PageRun[], firstPage: number): (Place | undefined)[] {
  const places: (Place | undefined)[] = new Array<Place | undefined>(LEAF_PAGES).fill(undefined);
  for (const run of runs) {
    for (let i = 0; i < run.count; i++) places[run.page - firstPage + i] = { run, slot: run.slot + i };
  }
  return places;
}

async function compareLeaf(
  a: VolumeView,
  aRuns: readonly PageRun[],
  b: VolumeView,
  bRuns: readonly PageRun[],
  firstPage: number,
  signal?: AbortSignal,
): Promise<(DiffExtent['state'] | undefined)[]> {
  const before = placesOf(aRuns, firstPage);
  const after = placesOf(bRuns, firstPage);
  const states: (DiffExtent['state'] | undefined)[] = [];
  for (let i = 0; i < LEAF_PAGES; i++) {
    const old = before[i];
    const now = after[i];
    if (now === undefined) states.push(old === undefined ? undefined : 'zeroed');
    else if (old === undefined) states.push('changed');
    else if (samePlace(old, now)) states.push(undefined);
    else states.push((await hashAt(a, old, signal)).equals(await hashAt(b, now, signal)) ? undefined : 'changed');
  }
  return states;
}

const samePlace = (a: Place, b: Place): boolean =>
  a.slot === b.slot &&
  a.run.frame === b.run.frame &&
  a.run.source.segmentId === b.run.source.segmentId &&
  a.run.source.key === b.run.source.key;

async function hashAt(view: VolumeView, place: Place, signal?: AbortSignal): Promise<Buffer> {
  const { source, frame } = place.run;
  const index = await view.segments.index(source, signal);
  const hashes = await view.segments.pageHashes(source, signal);
  const at = (index.frame(frame).hashIndex + place.slot) * PAGE_HASH_BYTES;
  return hashes.subarray(at, at + PAGE_HASH_BYTES);
}
