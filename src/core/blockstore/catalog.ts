/**
 * Volumes and snapshots as the store lists them. Each is one JSON document changed by compare-and-set; nothing here
 * makes names unique: who creates holds the home's lock while looking.
 */
import { Semaphore, SgwError, assert, newVolumeId, type SnapshotId, type VolumeId } from '../kit/index.ts';
import { changeDocument, createDocument, readDocument } from './documents.ts';
import type { SnapshotEntry, VolumeEntry } from './entries.ts';
import { checkVolumeSize } from './geometry.ts';
import { readHead, type Head } from './head.ts';
import { keys } from './keys.ts';
import { listSnapshotIds, listVolumeIds } from './listed-ids.ts';
import type { BlockStoreOptions, Cancellable, DocumentReading } from './options.ts';
import { createDataKey } from './sealing/volume-keys.ts';
import { ZERO_HASH } from './segment-codec.ts';
import { isOpenSession } from './upload-entry.ts';

const PARALLEL_READS = 16;

export interface NewVolume {
  readonly name: string;
  readonly sizeBytes: number;
  readonly accountId: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly clientToken?: string;
  /** Set for a volume that is about to be imported: it has no consistent state yet. */
  readonly unfinishedImport?: { readonly source: string; readonly startedAt: string };
  /** Makes the volume a clone of this snapshot. */
  readonly from?: SnapshotEntry;
}

/** An entry whose document can not be read. */
export interface DamagedEntry<I extends string> {
  readonly id: I;
  readonly error: SgwError;
}

/** What the catalog lists: no entry is hidden because another one is damaged. */
export interface Survey<T, I extends string> {
  /** Oldest first. */
  readonly entries: readonly T[];
  /** Whether these are deleted is not known. */
  readonly damaged: readonly DamagedEntry<I>[];
}

/** Volumes that gc is purging are never listed. */
type ListOptions = Cancellable & {
  readonly includeDeleted?: boolean;
  /** Also what is written to volumes of the block API, and is no snapshot yet. */
  readonly includeSessions?: boolean;
};

export class Catalog {
  readonly #options: BlockStoreOptions;

  constructor(options: BlockStoreOptions) {
    this.#options = options;
  }

  /** Volumes that are not deleted (or all), oldest first, without the damaged: for who looks for one of a name. */
  async listVolumes(options: ListOptions = {}): Promise<VolumeEntry[]> {
    return [...(await this.surveyVolumes(options)).entries];
  }

  /** Snapshots that are not deleted (or all), oldest first, without the damaged: for who looks for one of a name. */
  async listSnapshots(options: ListOptions = {}): Promise<SnapshotEntry[]> {
    return [...(await this.surveySnapshots(options)).entries];
  }

  /** Volumes that are not deleted (or all), and those that can not be read: for who must not miss any. */
  async surveyVolumes(options: ListOptions = {}): Promise<Survey<VolumeEntry, VolumeId>> {
    const ids = await listVolumeIds(this.#options, options.signal);
    return await this.#survey<VolumeEntry, VolumeId>(ids, keys.volume, options);
  }

  /** Snapshots that are not deleted (or all), and those that can not be read: for who must not miss any. */
  async surveySnapshots(options: ListOptions = {}): Promise<Survey<SnapshotEntry, SnapshotId>> {
    const ids = await listSnapshotIds(this.#options, options.signal);
    return await this.#survey<SnapshotEntry, SnapshotId>(ids, keys.snapshot, options);
  }

  /** @throws notFound `volume-not-found` */
  async getVolume(id: VolumeId, signal?: AbortSignal): Promise<VolumeEntry> {
    const stored = await readDocument<VolumeEntry>(this.#options, keys.volume(id), signal);
    if (stored === undefined || stored.value.state === 'purging')
      throw new SgwError('notFound', 'volume-not-found', `there is no volume ${id}`, { details: { volumeId: id } });
    return stored.value;
  }

  /** @throws notFound `snapshot-not-found`, also of what is written to a volume of the block API, and is no snapshot yet */
  async getSnapshot(id: SnapshotId, signal?: AbortSignal): Promise<SnapshotEntry> {
    const entry = await readSnapshotOrSession(this.#options, id, signal);
    if (isOpenSession(entry)) throw noSnapshot(id);
    return entry;
  }

  /**
   * Creates a volume: first its data key and head, then its entry, so that a crash between leaves nothing that is listed.
   * A clone costs these two small objects, whatever its size. Durable when it resolves.
   * @throws invalid when the size is impossible or below the snapshot's; conflict `snapshot-deleted`, `creation-interrupted`
   */
  async createVolume(volume: NewVolume, signal?: AbortSignal): Promise<VolumeEntry> {
    checkVolumeSize(volume.sizeBytes);
    const { from } = volume;
    if (from !== undefined && volume.sizeBytes < from.sizeBytes) throw tooSmall(volume.sizeBytes, from);
    const volumeId = newVolumeId(this.#options.random);
    const entry: VolumeEntry = {
      volumeId,
      name: volume.name,
      state: volume.unfinishedImport === undefined ? 'available' : 'importing',
      sizeBytes: volume.sizeBytes,
      accountId: volume.accountId,
      createdAt: new Date(this.#options.clock.nowMs()).toISOString(),
      deletedAt: null,
      parentSnapshotId: from?.snapshotId ?? null,
      lineage: from?.lineage ?? volumeId,
      tags: volume.tags ?? {},
      clientToken: volume.clientToken ?? null,
      unfinishedImport: volume.unfinishedImport ?? null,
    };
    await createDataKey(this.#options, volumeId, signal);
    await this.#createNew(keys.head(volumeId), firstHead(volume), signal);
    if (from !== undefined) await this.#requireSource(from, entry, signal);
    const created = await createDocument(this.#options, keys.volume(volumeId), entry, signal);
    // gc may have given it up, or even have taken everything away again.
    if (created && (await readDocument(this.#options, keys.head(volumeId), signal)) !== undefined) return entry;
    if (created) await this.updateVolume(volumeId, (now) => ({ ...now, state: 'purging' }), signal);
    throw interrupted(entry);
  }

  /**
   * A snapshot that is deleted keeps nothing alive for what is being made of it: had it been deleted before the clone's
   * head was there, gc may have missed both. While it is there after the head is, no mark misses what both reach (C11).
   */
  async #requireSource(from: SnapshotEntry, entry: VolumeEntry, signal?: AbortSignal): Promise<void> {
    const now = await readDocument<SnapshotEntry>(this.#options, keys.snapshot(from.snapshotId), signal);
    if (now?.value.state === 'completed') return;
    // So gc takes the head away.
    await createDocument(this.#options, keys.volume(entry.volumeId), { ...entry, state: 'purging' }, signal);
    throw new SgwError('conflict', 'snapshot-deleted', `snapshot ${from.name} was deleted while it was cloned`, {
      hint: 'Choose another snapshot: `sgw snapshot list`.',
      details: { snapshotId: from.snapshotId },
    });
  }

  async #createNew(key: string, value: object, signal?: AbortSignal): Promise<void> {
    const created = await createDocument(this.#options, key, value, signal);
    assert(created, `${key} carries a new random id`);
  }

  /** Changes a volume's entry by compare-and-set; returns the new one. @throws notFound, and what `change` throws */
  async updateVolume(
    id: VolumeId,
    change: (entry: VolumeEntry) => VolumeEntry | Promise<VolumeEntry>,
    signal?: AbortSignal,
  ): Promise<VolumeEntry> {
    return changeDocument<VolumeEntry>(this.#options, keys.volume(id), change, signal);
  }

  /** Changes a snapshot's entry by compare-and-set; returns the new one. @throws notFound, and what `change` throws */
  async updateSnapshot(
    id: SnapshotId,
    change: (entry: SnapshotEntry) => SnapshotEntry,
    signal?: AbortSignal,
  ): Promise<SnapshotEntry> {
    return changeDocument<SnapshotEntry>(this.#options, keys.snapshot(id), change, signal);
  }

  /** Who holds the volume, under which epoch, and its newest checkpoint. */
  async headOf(id: VolumeId, signal?: AbortSignal): Promise<Head> {
    return (await readHead(this.#options, id, signal)).value;
  }

  async #survey<T extends VolumeEntry | SnapshotEntry, I extends string>(
    ids: readonly I[],
    keyOf: (id: I) => string,
    { includeDeleted = false, includeSessions = false, signal }: ListOptions,
  ): Promise<Survey<T, I>> {
    const slots = new Semaphore(PARALLEL_READS);
    const found: { readonly id: I; readonly entry: T }[] = [];
    const damaged: DamagedEntry<I>[] = [];
    const read = async (id: I): Promise<void> => {
      const release = await slots.acquire(1, signal);
      try {
        const entry = (await readDocument<T>(this.#options, keyOf(id), signal))?.value;
        if (entry === undefined || entry.state === 'purging') return;
        if (!includeSessions && 'snapshotId' in entry && isOpenSession(entry)) return;
        if (includeDeleted || entry.state !== 'deleted') found.push({ id, entry });
      } catch (error) {
        if (!(error instanceof SgwError) || error.kind !== 'corrupt') throw error;
        damaged.push({ id, error });
      } finally {
        release();
      }
    };
    await Promise.all(ids.map(read));
    return {
      entries: found.sort(byAge).map(({ entry }) => entry),
      damaged: damaged.sort((a, b) => (a.id < b.id ? -1 : 1)),
    };
  }
}

/** gc has seen the head without an entry for a whole grace period. */
function interrupted({ name, volumeId }: VolumeEntry): SgwError {
  return new SgwError('conflict', 'creation-interrupted', `creating volume "${name}" took so long that gc gave it up`, {
    hint: 'Run the command again.',
    details: { volumeId },
  });
}

function firstHead(volume: NewVolume): Head {
  const consistent = volume.unfinishedImport === undefined;
  const { from } = volume;
  const checkpoint = {
    seq: 0,
    root: from?.root ?? null,
    sizeBytes: volume.sizeBytes,
    mappedPages: from?.mappedPages ?? 0,
    epoch: 0,
    commitTimeMs: 0,
    logHash: ZERO_HASH,
    consistent,
  };
  return { epoch: 0, holder: null, inSync: [], checkpoint, consistent: consistent ? checkpoint : null };
}

function tooSmall(sizeBytes: number, from: SnapshotEntry): SgwError {
  return new SgwError(
    'invalid',
    'smaller-than-snapshot',
    `a clone of ${String(sizeBytes)} bytes is smaller than snapshot ${from.name} with ${String(from.sizeBytes)}`,
    {
      hint: 'Leave the size out, or give a larger one.',
      details: { sizeBytes, snapshotBytes: from.sizeBytes },
    },
  );
}

interface Aged {
  readonly id: string;
  readonly entry: { readonly createdAt: string };
}

const byAge = (a: Aged, b: Aged): number =>
  a.entry.createdAt < b.entry.createdAt ? -1 : a.entry.createdAt > b.entry.createdAt ? 1 : a.id < b.id ? -1 : 1;

/** The entry of a snapshot, or of a session in which a volume of the block API is written. @throws notFound `snapshot-not-found` */
export async function readSnapshotOrSession(
  reading: DocumentReading,
  id: SnapshotId,
  signal?: AbortSignal,
): Promise<SnapshotEntry> {
  const stored = await readDocument<SnapshotEntry>(reading, keys.snapshot(id), signal);
  if (stored === undefined) throw noSnapshot(id);
  return stored.value;
}

export const noSnapshot = (id: SnapshotId): SgwError =>
  new SgwError('notFound', 'snapshot-not-found', `there is no snapshot ${id}`, { details: { snapshotId: id } });
