/**
 * Where a volume's data is: extents that are stored, shared with a snapshot, or zero. Shared means that a snapshot
 * of the volume, or the one it was cloned from, holds the page in the same place of the same segment.
 */
import {
  Catalog,
  openSnapshotView,
  openVolumeView,
  PAGE_BYTES,
  type LeafView,
  type PageRun,
  type SnapshotEntry,
  type VolumeEntry,
} from '../blockstore/index.ts';
import type { CallContext, Extent, Input, MapDocument } from '../localapi/index.ts';
import { resolveVolume } from './references.ts';
import type { Session } from './session.ts';

type PageState = 'zero' | 'stored' | 'shared';

/** The extents of the newest committed state. Takes no lock. */
export async function mapVolume(session: Session, input: Input<'volume.map'>, call: CallContext): Promise<MapDocument> {
  const { catalog, blocks } = session;
  const { signal } = call;
  const entry = await resolveVolume(catalog, input.volume, signal);
  const view = await openVolumeView(blocks, entry.volumeId, { signal });
  // Of all accounts: what a clone shares with a snapshot that was unshared since is shared all the same.
  const snapshots = (await new Catalog(blocks).listSnapshots({ signal, includeDeleted: true })).filter((snapshot) =>
    holdsPagesOf(snapshot, entry),
  );
  const followers = snapshots.map(
    (snapshot) => new LeafFollower(openSnapshotView(blocks, snapshot, view).map.leaves({ signal })),
  );
  const extents = new ExtentList(view.sizeBytes);
  try {
    for await (const leaf of view.map.leaves({ signal })) {
      const others: LeafView[] = [];
      for (const follower of followers) {
        const other = await follower.leafAt(leaf.firstPage);
        if (other !== undefined) others.push(other);
      }
      addLeaf(extents, leaf, others);
    }
  } finally {
    for (const follower of followers) await follower.close();
  }
  return { volumeId: entry.volumeId, name: entry.name, sizeBytes: view.sizeBytes, ...extents.finish() };
}

const holdsPagesOf = (snapshot: SnapshotEntry, volume: VolumeEntry): boolean =>
  snapshot.state === 'completed' &&
  (snapshot.volumeId === volume.volumeId || snapshot.snapshotId === volume.parentSnapshotId);

/** Walks the leaves of a snapshot beside those of the volume. */
class LeafFollower {
  readonly #leaves: AsyncGenerator<LeafView>;
  #next: Promise<IteratorResult<LeafView>> | undefined;

  constructor(leaves: AsyncGenerator<LeafView>) {
    this.#leaves = leaves;
  }

  /** The leaf that starts at `firstPage`, if there is one. Pages asked for must ascend. */
  async leafAt(firstPage: number): Promise<LeafView | undefined> {
    for (;;) {
      this.#next ??= this.#leaves.next();
      const step = await this.#next;
      if (step.done === true || step.value.firstPage > firstPage) return undefined;
      this.#next = undefined;
      if (step.value.firstPage === firstPage) return step.value;
    }
  }

  async close(): Promise<void> {
    await this.#leaves.return(undefined);
  }
}

/** Most runs of a leaf are in a snapshot just as they are, or not at all; only the rest is compared page by page. */
function addLeaf(extents: ExtentList, leaf: LeafView, others: readonly LeafView[]): void {
  const whole = new Set(others.flatMap((other) => other.runs.map(runName)));
  const parted = leaf.runs.filter((run) => !whole.has(runName(run)));
  const sharedPages = parted.length === 0 ? new Set<number>() : sharedPagesOf(parted, others);
  for (const run of leaf.runs) {
    if (whole.has(runName(run))) {
      extents.add(run.page, run.count, 'shared');
      continue;
    }
    for (let page = run.page; page < run.page + run.count; page++) {
      extents.add(page, 1, sharedPages.has(page) ? 'shared' : 'stored');
    }
  }
}

const runName = ({ page, count, source, frame, slot }: PageRun): string =>
  `${String(page)}+${String(count)}=${source.segmentId}/${String(frame)}/${String(slot)}`;

/** The pages of `runs` that one of the other leaves holds in the same place. */
function sharedPagesOf(runs: readonly PageRun[], others: readonly LeafView[]): Set<number> {
  const places = new Map<number, string>();
  for (const run of runs) for (let i = 0; i < run.count; i++) places.set(run.page + i, placeName(run, i));
  const shared = new Set<number>();
  for (const other of others) {
    for (const run of other.runs) {
      for (let i = 0; i < run.count; i++) {
        if (places.get(run.page + i) === placeName(run, i)) shared.add(run.page + i);
      }
    }
  }
  return shared;
}

const placeName = (run: PageRun, i: number): string =>
  `${run.source.segmentId}/${String(run.frame)}/${String(run.slot + i)}`;

/** Merges pages, ascending, into extents that cover the volume without a gap. */
class ExtentList {
  readonly #sizeBytes: number;
  readonly #extents: { offset: number; length: number; state: PageState }[] = [];
  #endBytes = 0;

  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
  }

  add(firstPage: number, pageCount: number, state: PageState): void {
    this.#append(firstPage * PAGE_BYTES, 'zero');
    this.#append(Math.min((firstPage + pageCount) * PAGE_BYTES, this.#sizeBytes), state);
  }

  finish(): Pick<MapDocument, 'extents' | 'storedBytes' | 'sharedBytes' | 'zeroBytes'> {
    this.#append(this.#sizeBytes, 'zero');
    const sum = (state: PageState): number =>
      this.#extents.reduce((total, extent) => total + (extent.state === state ? extent.length : 0), 0);
    const sharedBytes = sum('shared');
    const extents: Extent[] = this.#extents;
    return { extents, storedBytes: sum('stored') + sharedBytes, sharedBytes, zeroBytes: sum('zero') };
  }

  #append(endBytes: number, state: PageState): void {
    const length = endBytes - this.#endBytes;
    if (length <= 0) return;
    const last = this.#extents.at(-1);
    if (last?.state === state) last.length += length;
    else this.#extents.push({ offset: this.#endBytes, length, state });
    this.#endBytes = endBytes;
  }
}
