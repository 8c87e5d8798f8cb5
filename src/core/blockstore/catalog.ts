/**
 * Volumes and snapshots as the store lists them. Each is one JSON document changed by compare-and-set; nothing here
 * makes names unique: who creates holds the home's lock while looking.
 */
import {
  Semaphore,
  SgwError,
  assert,
  isSnapshotId,
  isVolumeId,
  newVolumeId,
  type SnapshotId,
  type VolumeId,
} from '../kit/index.ts';
import { changeDocument, createDocument, readDocument } from './documents.ts';
import type { SnapshotEntry, VolumeEntry } from './entries.ts';
import { checkVolumeSize } from './geometry.ts';
import { readHead, type Head } from './head.ts';
import { keys } from './keys.ts';
import { withSignal, type BlockStoreOptions, type Cancellable } from './options.ts';
import { ZERO_HASH } from './segment-codec.ts';

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

export class Catalog {
  readonly #options: BlockStoreOptions;

  constructor(options: BlockStoreOptions) {
    this.#options = options;
  }

  /** Volumes that are not deleted (or all), oldest first. */
  async listVolumes(options: Cancellable & { readonly includeDeleted?: boolean } = {}): Promise<VolumeEntry[]> {
    const ids = await this.#idsUnder(keys.volumes, isVolumeId, options.signal);
    const entries = await this.#readAll<VolumeEntry>(ids.map(keys.volume), options.signal);
    return entries
      .filter((entry) => options.includeDeleted === true || entry.state !== 'deleted')
      .sort(byAge((e) => e.volumeId));
  }

  /** Snapshots that are not deleted (or all), oldest first. */
  async listSnapshots(options: Cancellable & { readonly includeDeleted?: boolean } = {}): Promise<SnapshotEntry[]> {
    const ids = await this.#idsUnder(keys.snapshots, isSnapshotId, options.signal);
    const entries = await this.#readAll<SnapshotEntry>(ids.map(keys.snapshot), options.signal);
    return entries
      .filter((entry) => options.includeDeleted === true || entry.state !== 'deleted')
      .sort(byAge((e) => e.snapshotId));
  }

  /** @throws notFound `volume-not-found` */
  async getVolume(id: VolumeId, signal?: AbortSignal): Promise<VolumeEntry> {
    const stored = await readDocument<VolumeEntry>(this.#options.objects, keys.volume(id), signal);
    if (stored === undefined)
      throw new SgwError('notFound', 'volume-not-found', `there is no volume ${id}`, { details: { volumeId: id } });
    return stored.value;
  }

  /** @throws notFound `snapshot-not-found` */
  async getSnapshot(id: SnapshotId, signal?: AbortSignal): Promise<SnapshotEntry> {
    const stored = await readDocument<SnapshotEntry>(this.#options.objects, keys.snapshot(id), signal);
    if (stored === undefined)
      throw new SgwError('notFound', 'snapshot-not-found', `there is no snapshot ${id}`, {
        details: { snapshotId: id },
      });
    return stored.value;
  }

  /**
   * Creates a volume: first its head, then its entry, so that a crash between leaves nothing that is listed.
   * A clone costs these two small objects, whatever its size. Durable when it resolves.
   * @throws invalid when the size is impossible or below the snapshot's
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
    await this.#createNew(keys.head(volumeId), firstHead(volume), signal);
    await this.#createNew(keys.volume(volumeId), entry, signal);
    return entry;
  }

  async #createNew(key: string, value: object, signal?: AbortSignal): Promise<void> {
    const created = await createDocument(this.#options, key, value, signal);
    assert(created, `${key} carries a new random id`);
  }

  /** Changes a volume's entry by compare-and-set; returns the new one. @throws notFound, and what `change` throws */
  async updateVolume(
    id: VolumeId,
    change: (entry: VolumeEntry) => VolumeEntry,
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

  async #idsUnder<I extends string>(
    prefix: string,
    isId: (text: string) => text is I,
    signal?: AbortSignal,
  ): Promise<I[]> {
    const folders = await Array.fromAsync(this.#options.objects.listFolders(prefix, withSignal(signal)));
    return folders.filter(isId);
  }

  async #readAll<T extends object>(documentKeys: readonly string[], signal?: AbortSignal): Promise<T[]> {
    const slots = new Semaphore(PARALLEL_READS);
    const read = async (key: string): Promise<T | undefined> => {
      const release = await slots.acquire(1, signal);
      try {
        return (await readDocument<T>(this.#options.objects, key, signal))?.value;
      } finally {
        release();
      }
    };
    const values = await Promise.all(documentKeys.map(read));
    return values.filter((value) => value !== undefined);
  }
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

const byAge =
  <T extends { readonly createdAt: string }>(idOf: (entry: T) => string) =>
  (a: T, b: T): number =>
    a.createdAt < b.createdAt ? -1 : a.createdAt > b.createdAt ? 1 : idOf(a) < idOf(b) ? -1 : 1;
