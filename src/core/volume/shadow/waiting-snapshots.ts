/**
 * Snapshots that were asked for while the store is behind the image: their objects are pending, with the reason. Once the store
 * has caught up each gets its barrier in the log, and goes on as any other (C8).
 */
import { setMaxListeners } from 'node:events';
import { Catalog, PAGE_BYTES, type BlockStoreOptions, type SnapshotEntry } from '../../blockstore/index.ts';
import { toSgwError, type VolumeId } from '../../kit/index.ts';
import type { WriteLog } from '../../writelog/index.ts';
import type { BarrierPosition, ServedSnapshot } from '../contract.ts';
import type { Uploads } from '../uploads.ts';

interface Waiting {
  readonly entry: SnapshotEntry;
  readonly resolve: (entry: SnapshotEntry) => void;
  readonly reject: (reason: unknown) => void;
}

export class WaitingSnapshots {
  readonly #blocks: BlockStoreOptions;
  readonly #volumeId: VolumeId;
  readonly #gatewayId: string;
  #waiting: Waiting[] = [];

  constructor(blocks: BlockStoreOptions, volumeId: VolumeId, gatewayId: string) {
    this.#blocks = blocks;
    this.#volumeId = volumeId;
    this.#gatewayId = gatewayId;
  }

  /** Takes up what a process of before had waiting. */
  async find(signal?: AbortSignal): Promise<void> {
    const all = await new Catalog(this.#blocks).listSnapshots(signal === undefined ? {} : { signal });
    for (const entry of all) {
      const { state, volumeId, maker, barrier, reason } = entry;
      const isOurs = state === 'pending' && volumeId === this.#volumeId && maker === this.#gatewayId;
      if (isOurs && barrier === undefined && reason !== null) this.add(entry);
    }
  }

  add(entry: SnapshotEntry): ServedSnapshot {
    const { promise, resolve, reject } = Promise.withResolvers<SnapshotEntry>();
    promise.catch(() => undefined);
    this.#waiting = [
      ...this.#waiting.filter((one) => one.entry.snapshotId !== entry.snapshotId),
      { entry, resolve, reject },
    ];
    return { entry, completed: promise };
  }

  get isAny(): boolean {
    return this.#waiting.length > 0;
  }

  /** Puts their barriers into the log, for as long as that holds what the image holds. @throws what the log or the store throws */
  async place(uploads: Uploads, log: WriteLog, isLevel: () => boolean, signal: AbortSignal): Promise<void> {
    setMaxListeners(0, signal);
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (!isLevel()) return;
      const { entry, resolve, reject } = next;
      while (!log.hasRoom(PAGE_BYTES)) await log.room(PAGE_BYTES, signal);
      if (!isLevel()) return;
      const { entry: placed, completed } = await uploads.snapshot(async (barrier) => this.#placed(entry, barrier));
      this.#waiting = this.#waiting.filter((one) => one !== next);
      if (placed.state === 'pending') completed.then(resolve, reject);
      else {
        completed.catch(() => undefined);
        resolve(placed);
      }
    }
  }

  /** One that was deleted meanwhile stays so. */
  async #placed(entry: SnapshotEntry, barrier: BarrierPosition): Promise<SnapshotEntry> {
    try {
      return await new Catalog(this.#blocks).updateSnapshot(entry.snapshotId, (now) =>
        now.state === 'pending' ? { ...now, barrier, reason: null } : now,
      );
    } catch (error) {
      if (toSgwError(error).kind !== 'notFound') throw error;
      return { ...entry, state: 'deleted' };
    }
  }

  /** They stay pending: the next opening takes them up. */
  close(reason: unknown): void {
    for (const { reject } of this.#waiting) reject(reason);
    this.#waiting = [];
  }
}
