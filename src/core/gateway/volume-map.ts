/**
 * Where a volume's data is: extents that are stored, shared with a snapshot, or zero. Shared means that a snapshot
 * of the volume, or the one it was cloned from, holds the page in the same place of the same segment.
 */
import {
  LEAF_PAGES,
  openSnapshotView,
  openVolumeView,
  PAGE_BYTES,
  type LeafView,
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
  const snapshots = (await catalog.listSnapshots({ signal, includeDeleted: true })).filter((snapshot) =>
    holdsPagesOf(snapshot, entry),
  );
  const followers = snapshots.map(
    (snapshot) => new LeafFollower(openSnapshotView(blocks, snapshot).map.leaves({ signal })),
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

function addLeaf(extents: ExtentList, leaf: LeafView, others: readonly LeafView[]): void {
  const shared = new Uint8Array(LEAF_PAGES);
  const places = placesOf(leaf);
  for (const other of others) {
    for (const run of other.runs) {
      for (let i = 0; i < run.count; i++) {
        const page = run.page + i;
        if (places.get(page) === placeName(run.source.segmentId, run.frame, run.slot + i))
          shared[page - leaf.firstPage] = 1;
      }
    }
  }
  for (const run of leaf.runs) {
    for (let page = run.page; page < run.page + run.count; page++) {
      extents.add(page, shared[page - leaf.firstPage] === 1 ? 'shared' : 'stored');
    }
  }
}

const placeName = (segmentId: string, frame: number, slot: number): string =>
  `${segmentId}/${String(frame)}/${String(slot)}`;

function placesOf(leaf: LeafView): Map<number, string> {
  const places = new Map<number, string>();
  for (const run of leaf.runs)
    for (let i = 0; i < run.count; i++)
      places.set(run.page + i, placeName(run.source.segmentId, run.frame, run.slot + i));
  return places;
}

/** Merges pages, ascending, into extents that cover the volume without a gap. */
class ExtentList {
  readonly #sizeBytes: number;
  readonly #extents: { offset: number; length: number; state: PageState }[] = [];
  #endBytes = 0;

  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
  }

  add(page: number, state: PageState): void {
    const offset = page * PAGE_BYTES;
    this.#append(offset, 'zero');
    this.#append(Math.min(offset + PAGE_BYTES, this.#sizeBytes), state);
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
