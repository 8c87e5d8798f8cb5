/**
 * Reads back everything that a store holds and checks it, and says of each damaged or missing object who is hurt.
 *
 * First every object is read once and checked whole, side by side, within a bound in bytes. Then the maps of all volumes
 * and snapshots are walked, each stored node once, to see whether what they name is there and sound. Nothing is locked:
 * writers, gc and deletions may go on meanwhile.
 */
import {
  listSnapshotIds,
  listVolumeIds,
  missing,
  readStoreInfo,
  type BlockStoreOptions,
  type FramePool,
} from '../blockstore/index.ts';
import {
  checkObject,
  DamageLedger,
  objectName,
  scrubSnapshot,
  scrubVolume,
  SegmentBook,
  type DamagedObject,
  type ObjectVerdict,
  type Subject,
  type WalkState,
} from '../blockstore/scrub/index.ts';
import { MIB, SgwError, throwIfAborted } from '../kit/index.ts';
import type { ObjectInfo } from '../objectstore/index.ts';
import { runInOrder } from './ordered-pipeline.ts';

/** Small objects count as this much, so that not too many are under way. */
const WEIGHT_MIN_BYTES = 2 * MIB;
const WEIGHT_PER_THREAD_BYTES = 36 * MIB;

export interface ScrubOptions {
  readonly pool: FramePool;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal;
}

export interface ScrubReport {
  /** Objects that were read. */
  readonly objects: number;
  readonly checkedBytes: number;
  /** By key; none in a store that is whole. */
  readonly damage: readonly DamagedObject[];
  /** Sentences that a person should read; none of them is damage. */
  readonly remarks: readonly string[];
}

/** @throws what the store throws; denied `key-needed`; unsupported for what a newer sgw wrote */
export async function scrubStore(options: BlockStoreOptions, how: ScrubOptions): Promise<ScrubReport> {
  const scrub = new StoreScrub(options, how);
  await scrub.checkObjects();
  await scrub.checkStore();
  await scrub.checkVolumes();
  await scrub.checkSnapshots();
  return scrub.report();
}

class StoreScrub {
  readonly #options: BlockStoreOptions;
  readonly #how: ScrubOptions;
  readonly #ledger = new DamageLedger();
  readonly #remarks: string[] = [];
  readonly #walk: WalkState;
  #objects = 0;
  #bytes = 0;

  constructor(options: BlockStoreOptions, how: ScrubOptions) {
    this.#options = options;
    this.#how = how;
    this.#walk = { book: new SegmentBook(options), whole: new Set() };
  }

  get #listing(): { readonly signal?: AbortSignal } {
    return this.#how.signal === undefined ? {} : { signal: this.#how.signal };
  }

  async checkObjects(): Promise<void> {
    const { objects } = this.#options;
    const { pool, signal } = this.#how;
    let total = 0;
    for await (const { sizeBytes } of objects.list('', this.#listing)) total += sizeBytes;
    let unknown = 0;
    await runInOrder<ObjectInfo, ObjectVerdict>({
      source: objects.list('', this.#listing),
      weigh: ({ sizeBytes }) => Math.max(sizeBytes, WEIGHT_MIN_BYTES),
      weightMax: Math.max(1, pool.threads) * WEIGHT_PER_THREAD_BYTES,
      work: async ({ key }, workSignal) => await checkObject(this.#options, pool, key, workSignal),
      consume: async ({ key, sizeBytes }, verdict) => {
        if (objectName(key).kind === 'unknown') unknown += 1;
        this.#note(key, verdict);
        this.#how.onProgress?.((this.#bytes += sizeBytes), Math.max(total, this.#bytes));
        return Promise.resolve();
      },
      signal,
    });
    if (unknown > 0)
      this.#remarks.push(`${String(unknown)} objects have keys that sgw does not know; they were not looked into.`);
  }

  #note(key: string, { bytes, error, segment }: ObjectVerdict): void {
    if (bytes > 0) this.#objects += 1;
    if (segment !== undefined) this.#walk.book.note(key, segment);
    if (error === undefined) return;
    this.#ledger.note(error);
    const name = objectName(key);
    if (name.kind === 'document' && name.owner === undefined) this.#ledger.hurtWhole(error, this.#store);
  }

  get #store(): Subject {
    const { description } = this.#options.objects;
    return { kind: 'store', id: 'sgw.json', name: description, sizeBytes: 0 };
  }

  async checkStore(): Promise<void> {
    try {
      const info = await readStoreInfo(this.#options.objects, this.#listing);
      if (info === undefined) this.#ledger.hurtWhole(missing('sgw.json'), this.#store);
      const keyId = info?.keyDerivation?.keyId;
      const key = `keys/${String(keyId)}.json`;
      if (keyId !== undefined && (await this.#options.objects.head(key, this.#listing)) === undefined)
        this.#ledger.hurtWhole(missing(key), this.#store);
    } catch (error) {
      // It was found among the objects.
      if (!(error instanceof SgwError) || error.kind !== 'corrupt') throw error;
    }
  }

  async checkVolumes(): Promise<void> {
    for (const volumeId of await listVolumeIds(this.#options, this.#how.signal)) {
      throwIfAborted(this.#how.signal);
      const { ledger, interrupted } = await scrubVolume(this.#options, this.#walk, volumeId, this.#how.signal);
      this.#ledger.add(ledger);
      if (interrupted)
        this.#remarks.push(
          `Volume ${volumeId} was begun and not finished: \`sgw store gc\` removes what is there of it.`,
        );
    }
  }

  async checkSnapshots(): Promise<void> {
    for (const snapshotId of await listSnapshotIds(this.#options, this.#how.signal)) {
      throwIfAborted(this.#how.signal);
      this.#ledger.add(await scrubSnapshot(this.#options, this.#walk, snapshotId, this.#how.signal));
    }
  }

  report(): ScrubReport {
    const { leftOut } = this.#ledger;
    if (leftOut > 0) this.#remarks.push(`${String(leftOut)} more damages were found than are listed.`);
    return {
      objects: this.#objects,
      checkedBytes: this.#bytes,
      damage: this.#ledger.damage,
      remarks: this.#remarks,
    };
  }
}
