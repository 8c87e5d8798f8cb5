/**
 * Reads every root of a store (C10, docs/adr/0009-gc.md): what keeps objects alive.
 *
 * Roots move while they are read: a snapshot is made of a volume, a clone of a snapshot, and what they were made of goes.
 * So volumes and snapshots are read in turns until a turn finds nothing new; each is read once, unless it was pending or
 * still being created. Restores and pins are read last: whoever made one looked, after it was there, whether its snapshot was.
 */
import { Semaphore, SgwError, throwIfAborted, type SnapshotId, type VolumeId } from '../../kit/index.ts';
import { readDocument, type Stored } from '../documents.ts';
import type { SnapshotEntry, VolumeEntry } from '../entries.ts';
import type { Head } from '../head.ts';
import { keys } from '../keys.ts';
import { listSnapshotIds, listUploadIds, listVolumeIds } from '../listed-ids.ts';
import { withSignal, type BlockStoreOptions } from '../options.ts';
import { eachRestore, type RestoreEntry } from '../restores.ts';
import { isUpload } from '../upload-entry.ts';
import { readPins, type Pin } from './pins.ts';
import { readPurged, type Purged } from './purged.ts';

/** Documents read at once. */
const PARALLEL_READS = 16;
/** Turns after which the store is too restless to be marked. */
const TURNS_MAX = 64;
/** Turns that wait for snapshots which are being made: most take less. */
const WAITS_MAX = 20;
const WAIT_MS = 250;

/**
 * - `live`: its head is a root, also while it can be undeleted. - `creating`: a head without an entry, or only a key.
 * - `purging`: no root. - `purged`: its documents are gone; what lies there came late.
 */
export type VolumeState = 'live' | 'creating' | 'purging' | 'purged';

export interface VolumeRoot {
  readonly volumeId: VolumeId;
  readonly state: VolumeState;
  readonly entry: Stored<VolumeEntry> | undefined;
  readonly head: Stored<Head> | undefined;
}

/**
 * A snapshot as it was when it was read; without an entry only what came after it was purged. One that is being written through
 * the API (C29) is a root while it is pending: it keeps its parent's map, and all that lies under its own keys.
 */
export interface SnapshotRoot {
  readonly snapshotId: SnapshotId;
  readonly entry: Stored<SnapshotEntry> | undefined;
}

export interface Roots {
  readonly volumes: ReadonlyMap<VolumeId, VolumeRoot>;
  readonly snapshots: ReadonlyMap<SnapshotId, SnapshotRoot>;
  /** Those whose time is not over. */
  readonly pins: readonly Pin[];
  /** Restores that are under way. */
  readonly restores: readonly RestoreRoot[];
}

/** What a restore reaches. */
type RestoreRoot = Pick<RestoreEntry, 'restoreId'> & Pick<RestoreEntry['snapshot'], 'root'>;

async function readRestores(options: BlockStoreOptions, signal: AbortSignal | undefined): Promise<RestoreRoot[]> {
  const roots: RestoreRoot[] = [];
  for await (const { restoreId, state, snapshot } of eachRestore(options, undefined, signal))
    if (state === 'restoring') roots.push({ restoreId, root: snapshot.root });
  return roots;
}

/**
 * With `waitForPendingBut`, waits a little for snapshots that are pending, but for those, so that few marks miss what such a
 * snapshot reaches.
 * @throws corrupt when a root can't be read or is missing; unavailable `store-restless`
 */
export async function readRoots(
  options: BlockStoreOptions,
  waitForPendingBut: ReadonlySet<SnapshotId> | undefined,
  signal?: AbortSignal,
): Promise<Roots> {
  const reader = new RootReader(options, signal);
  let waited = 0;
  for (let turn = 1; turn <= TURNS_MAX; turn++) {
    throwIfAborted(signal);
    const volumesChanged = await reader.readVolumes();
    const snapshotsChanged = await reader.readSnapshots();
    if (turn === 1 || volumesChanged || snapshotsChanged) continue;
    const waits = waitForPendingBut !== undefined && waited < WAITS_MAX && reader.hasPendingBut(waitForPendingBut);
    if (!waits) {
      const { volumes, snapshots } = reader;
      return {
        volumes,
        snapshots,
        restores: await readRestores(options, signal),
        pins: await readPins(options, signal),
      };
    }
    waited += 1;
    await options.clock.sleep(WAIT_MS, signal);
  }
  throw new SgwError('unavailable', 'store-restless', 'volumes and snapshots come faster than they can be read', {
    hint: 'Run gc again when less is going on.',
  });
}

class RootReader {
  readonly volumes = new Map<VolumeId, VolumeRoot>();
  readonly snapshots = new Map<SnapshotId, SnapshotRoot>();
  readonly #options: BlockStoreOptions;
  readonly #signal: AbortSignal | undefined;
  #purged: Purged | undefined;

  constructor(options: BlockStoreOptions, signal: AbortSignal | undefined) {
    this.#options = options;
    this.#signal = signal;
  }

  /** True when something was found that was not known. */
  async readVolumes(): Promise<boolean> {
    const unknown = (await listVolumeIds(this.#options, this.#signal)).filter((id) => {
      const known = this.volumes.get(id);
      return known === undefined || isBareKey(known);
    });
    let changed = false;
    await this.#each(unknown, async (id) => {
      const root = await this.#readVolume(id);
      if (root === undefined) return;
      const before = this.volumes.get(id);
      changed ||= before?.state !== root.state || root.head !== undefined;
      this.volumes.set(id, root);
    });
    return changed;
  }

  /** Undefined for a folder that was emptied. */
  async #readVolume(volumeId: VolumeId): Promise<VolumeRoot | undefined> {
    const entry = await this.#read<VolumeEntry>(keys.volume(volumeId));
    if (entry?.value.state === 'purging') return { volumeId, state: 'purging', entry, head: undefined };
    const head = await this.#read<Head>(keys.head(volumeId));
    if (entry !== undefined && head !== undefined) return { volumeId, state: 'live', entry, head };
    const prefix = `${keys.volumes}${volumeId}/`;
    const first = await this.#firstUnder(prefix);
    if (first === undefined) return undefined;
    const data = (await this.#firstUnder(`${prefix}log/`)) ?? (await this.#firstUnder(`${prefix}map/`));
    if (entry === undefined && data === undefined) return { volumeId, state: 'creating', entry, head };
    // They may have come, or gone, between the reads.
    const again = await this.#read<VolumeEntry>(keys.volume(volumeId));
    if (again?.value.state === 'purging') return { volumeId, state: 'purging', entry: again, head: undefined };
    const headAgain = head ?? (await this.#read<Head>(keys.head(volumeId)));
    if (again !== undefined && headAgain !== undefined)
      return { volumeId, state: 'live', entry: again, head: headAgain };
    // What comes late from a creator, or a writer, that was stopped for very long.
    if (await this.#wasPurged('volumes', volumeId))
      return { volumeId, state: 'purged', entry: undefined, head: undefined };
    throw again === undefined
      ? entryMissing(keys.volume(volumeId), data ?? first)
      : entryMissing(keys.head(volumeId), first);
  }

  /** True when something was found that was not known, or that is not pending any more. */
  async readSnapshots(): Promise<boolean> {
    const listed = [
      ...(await listSnapshotIds(this.#options, this.#signal)),
      ...(await listUploadIds(this.#options, this.#signal)),
    ];
    const ids = [...new Set(listed)].filter((id) => {
      const known = this.snapshots.get(id);
      return known === undefined || known.entry?.value.state === 'pending';
    });
    let changed = false;
    await this.#each(ids, async (id) => {
      const root = await this.#readSnapshot(id);
      const before = this.snapshots.get(id);
      if (root === undefined) {
        changed ||= this.snapshots.delete(id);
        return;
      }
      changed ||= before === undefined || before.entry?.value.state !== root.entry?.value.state;
      this.snapshots.set(id, root);
    });
    return changed;
  }

  hasPendingBut(known: ReadonlySet<SnapshotId>): boolean {
    return [...this.snapshots.values()].some(
      ({ snapshotId, entry }) => entry?.value.state === 'pending' && !isUpload(entry.value) && !known.has(snapshotId),
    );
  }

  async #readSnapshot(snapshotId: SnapshotId): Promise<SnapshotRoot | undefined> {
    const entry = await this.#read<SnapshotEntry>(keys.snapshot(snapshotId));
    if (entry !== undefined) return { snapshotId, entry };
    const map =
      (await this.#firstUnder(keys.snapshotMap(snapshotId))) ?? (await this.#firstUnder(keys.uploadsOf(snapshotId)));
    if (map === undefined) return undefined;
    // It may have been begun between the reads.
    const again = await this.#read<SnapshotEntry>(keys.snapshot(snapshotId));
    if (again !== undefined) return { snapshotId, entry: again };
    // A map, or a block, whose maker was stopped for so long that the snapshot failed, and was purged.
    if (await this.#wasPurged('snapshots', snapshotId)) return { snapshotId, entry };
    throw entryMissing(keys.snapshot(snapshotId), map);
  }

  async #wasPurged(kind: keyof Purged, id: string): Promise<boolean> {
    if (this.#purged?.[kind].has(id) === true) return true;
    this.#purged = await readPurged(this.#options, this.#signal);
    return this.#purged[kind].has(id);
  }

  async #read<T extends object>(key: string): Promise<Stored<T> | undefined> {
    return await readDocument<T>(this.#options, key, this.#signal);
  }

  async #firstUnder(prefix: string): Promise<string | undefined> {
    for await (const { key } of this.#options.objects.list(prefix, { limit: 1, ...withSignal(this.#signal) }))
      return key;
    return undefined;
  }

  async #each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
    const slots = new Semaphore(PARALLEL_READS);
    await Promise.all(
      items.map(async (item) => {
        const release = await slots.acquire(1, this.#signal);
        try {
          await work(item);
        } finally {
          release();
        }
      }),
    );
  }
}

/** Of a creation that has not come to the head yet. */
const isBareKey = ({ state, head }: VolumeRoot): boolean => state === 'creating' && head === undefined;

function entryMissing(key: string, witness: string): SgwError {
  return new SgwError('corrupt', 'entry-missing', `object ${key} is missing from the store, and ${witness} is there`, {
    hint: 'Put the object back from a copy of the store. gc removes nothing until then.',
    details: { key, found: witness },
  });
}
