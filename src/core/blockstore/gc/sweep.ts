/**
 * Removes what two marks, a grace period apart, found unreachable (C11). Each object goes only as it was seen. Data goes
 * before the documents that tell of it, so that a sweep which is stopped anywhere leaves nothing that looks like a loss.
 */
import { Semaphore, toSgwError, type SnapshotId, type VolumeId } from '../../kit/index.ts';
import { keys, seqOfKey } from '../keys.ts';
import { withSignal, type BlockStoreOptions } from '../options.ts';
import { notePurged } from './purged.ts';
import type { Survey, Unreachable } from './survey.ts';
import { noteTombstones, placeTombstone } from './tombstones.ts';

const PARALLEL_REMOVALS = 8;

export interface Swept {
  /** Objects that are gone, and what they held. */
  readonly removed: readonly Unreachable[];
  /** Of them, log objects that left a tombstone. */
  readonly tombstones: number;
}

/** Removes the objects, and in the end what documents then stand for nothing. Durable when it resolves. */
export async function sweep(
  options: BlockStoreOptions,
  survey: Survey,
  removable: readonly Unreachable[],
  signal?: AbortSignal,
): Promise<Swept> {
  return await new Sweeper(options, survey, signal).run(removable);
}

class Sweeper {
  readonly #options: BlockStoreOptions;
  readonly #survey: Survey;
  readonly #signal: AbortSignal | undefined;
  readonly #removed = new Map<string, Unreachable>();
  readonly #graves = new Map<VolumeId, number[]>();
  #tombstones = 0;

  constructor(options: BlockStoreOptions, survey: Survey, signal: AbortSignal | undefined) {
    this.#options = options;
    this.#survey = survey;
    this.#signal = signal;
  }

  async run(removable: readonly Unreachable[]): Promise<Swept> {
    const data = removable.filter(({ kind }) => kind !== 'document');
    await this.#each(data, (object) => this.#removeData(object));
    for (const [volumeId, seqs] of this.#graves) await noteTombstones(this.#options, volumeId, seqs, this.#signal);
    const documents = removable.filter(({ kind }) => kind === 'document');
    await this.#removeSnapshots(documents);
    await this.#removeVolumes(documents);
    return { removed: [...this.#removed.values()], tombstones: this.#tombstones };
  }

  async #removeData(object: Unreachable): Promise<void> {
    const head = object.volume?.head?.value;
    if (object.kind === 'log' && head !== undefined) await this.#bury(object, head.epoch);
    else await this.#remove(object);
  }

  async #bury(object: Unreachable, epoch: number): Promise<void> {
    const { volume, key } = object;
    const seq = seqOfKey(key)?.seq;
    if (volume === undefined || seq === undefined) return;
    const { volumeId } = volume;
    const outcome = await placeTombstone(this.#options, { ...object, volumeId, seq, epoch }, this.#signal);
    if (outcome === 'changed') return;
    const seqs = this.#graves.get(volumeId) ?? [];
    seqs.push(seq);
    this.#graves.set(volumeId, seqs);
    if (outcome === 'present') return;
    this.#tombstones += 1;
    this.#removed.set(key, object);
  }

  /** Removes an object unless it is another one by now. */
  async #remove(object: Unreachable): Promise<void> {
    try {
      await this.#options.objects.delete(object.key, { ifMatch: object.etag, ...withSignal(this.#signal) });
      this.#removed.set(object.key, object);
    } catch (error) {
      if (toSgwError(error).code !== 'etag-mismatch') throw error;
    }
  }

  /** A snapshot's entry stays while its map or blocks do, so that these without an entry are always a loss. */
  async #removeSnapshots(documents: readonly Unreachable[]): Promise<void> {
    const waitingMaps = new Set(
      this.#survey.unreachable
        .filter(({ kind, key }) => (kind === 'snapshotMap' || kind === 'upload') && !this.#removed.has(key))
        .map(({ snapshot }) => snapshot?.snapshotId),
    );
    const ended = documents.filter(({ snapshot }) => snapshot !== undefined && !waitingMaps.has(snapshot.snapshotId));
    const ids = ended.map(({ snapshot }) => snapshot?.snapshotId).filter((id) => id !== undefined);
    await notePurged(this.#options, { volumes: [], snapshots: ids }, this.#signal);
    await this.#each(ended, (object) => this.#remove(object));
  }

  /** A volume's documents stay while anybody needs one of its objects, or its key. The entry goes last. */
  async #removeVolumes(documents: readonly Unreachable[]): Promise<void> {
    const byVolume = new Map<VolumeId, Unreachable[]>();
    for (const object of documents) {
      const id = object.volume?.volumeId;
      if (id !== undefined) byVolume.set(id, [...(byVolume.get(id) ?? []), object]);
    }
    const needed = this.#volumesStillNeeded();
    const gone = [...byVolume].filter(([id]) => !needed.has(id));
    await notePurged(this.#options, { volumes: gone.map(([id]) => id), snapshots: [] }, this.#signal);
    for (const [volumeId, objects] of gone) {
      const entryKey = keys.volume(volumeId);
      for (const object of objects.filter(({ key }) => key !== entryKey)) await this.#remove(object);
      await this.#options.objects.delete(keys.tombstones(volumeId), withSignal(this.#signal));
      for (const object of objects.filter(({ key }) => key === entryKey)) await this.#remove(object);
    }
  }

  #volumesStillNeeded(): Set<VolumeId> {
    const needed = new Set<VolumeId>(this.#survey.neededOf.keys());
    for (const { kind, key, volume } of this.#survey.unreachable) {
      if (volume !== undefined && kind !== 'document' && !this.#removed.has(key)) needed.add(volume.volumeId);
    }
    // A document of it that is younger than the rest.
    const entries = new Set(this.#survey.unreachable.filter(({ kind }) => kind === 'document').map(({ key }) => key));
    for (const { snapshotId, entry } of this.#survey.roots.snapshots.values())
      if (entry !== undefined && !this.#isGone(snapshotId, entries)) needed.add(entry.value.volumeId);
    return needed;
  }

  #isGone(snapshotId: SnapshotId, entries: ReadonlySet<string>): boolean {
    const key = keys.snapshot(snapshotId);
    return entries.has(key) && this.#removed.has(key);
  }

  async #each(objects: readonly Unreachable[], work: (object: Unreachable) => Promise<void>): Promise<void> {
    const slots = new Semaphore(PARALLEL_REMOVALS);
    await Promise.all(
      objects.map(async (object) => {
        const release = await slots.acquire(1, this.#signal);
        try {
          await work(object);
        } finally {
          release();
        }
      }),
    );
  }
}
