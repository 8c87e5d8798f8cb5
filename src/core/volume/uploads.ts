/**
 * The way of a served volume's writes from its log into the store: the uploader, what it does when the store fails, and the
 * snapshots that wait in the log for their commit (C8). What is acknowledged, and when, is the volume's own matter.
 *
 * States: open -> failed (fenced, or damaged: nothing is uploaded any more, the log is kept); open or failed -> closed.
 */
import {
  PAGE_BYTES,
  type Batch,
  type RecoveryPolicy,
  type SnapshotEntry,
  type VolumeWriter,
} from '../blockstore/index.ts';
import { SgwError, toSgwError } from '../kit/index.ts';
import { Barriers } from './barriers.ts';
import type { BarrierPosition, ServedSnapshot } from './contract.ts';
import type { Counters } from './counters.ts';
import { DrainProgress, type OnDrained } from './drain-progress.ts';
import { LiveMap } from './live-map.ts';
import { bugMet, damagedLog, reopenWriter, type CachedVolumeParts, type Opened } from './opening.ts';
import type { SealPlan } from './seal-plan.ts';
import type { Trouble } from './stats.ts';
import { Uploader } from './uploader.ts';

export interface UploadsParts {
  readonly parts: CachedVolumeParts;
  readonly opened: Opened;
  readonly counters: Counters;
  /** Makes a segment's contents. `applied` resolves when everything before the plan is in the map. */
  readonly encode: (
    plan: SealPlan,
    applied: () => Promise<void>,
    signal: AbortSignal,
  ) => Promise<Omit<Batch, 'onApplied'>>;
  readonly onCommitted?: (commit: {
    readonly batch: Batch;
    readonly segmentId: string;
    readonly logBytes: number;
  }) => void;
}

export class Uploads {
  readonly #given: UploadsParts;
  readonly #drains = new DrainProgress();
  readonly #barriers: Barriers;
  readonly #uploader: Uploader;
  /** Ends what waits: for room, for the store. Fires with the failure, too. */
  readonly #closing = new AbortController();
  #live: LiveMap;
  #failure: SgwError | undefined;
  #trouble: Trouble | undefined;
  /** Set since the opening. */
  #recovery: RecoveryPolicy | undefined;

  constructor(given: UploadsParts) {
    const { parts, opened } = given;
    this.#given = given;
    this.#live = this.#liveMap(opened.writer);
    this.#barriers = new Barriers(parts.blocks, parts.holder.gatewayId, opened.left);
    this.#uploader = this.#makeUploader();
    if (opened.damage !== null) this.#failure = damagedLog(parts.volumeId, opened.damage);
  }

  /** What the store holds, as it is now. */
  get live(): LiveMap {
    return this.#live;
  }

  get writer(): VolumeWriter {
    return this.#uploader.writer;
  }

  /** Why nothing more is uploaded; undefined while all is well. */
  get failure(): SgwError | undefined {
    return this.#failure;
  }

  /** Why the last try failed; undefined since one has succeeded. */
  get trouble(): Trouble | undefined {
    return this.#trouble;
  }

  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Records up to here are committed in the store. */
  get committedSequence(): number {
    return this.#uploader.committedSequence;
  }

  set sealIntervalMs(intervalMs: number) {
    this.#uploader.sealIntervalMs = intervalMs;
  }

  /** Which recovery points are kept from the next checkpoint on. */
  set recovery(policy: RecoveryPolicy) {
    this.#recovery = policy;
    this.#uploader.writer.recovery = policy;
  }

  /** Completes what a crash left behind, and starts to upload. */
  async begin(): Promise<void> {
    await this.#barriers.recover(this.#given.opened.uploadedSequence);
    this.#uploader.start();
  }

  /** Takes note that about `bytes` were appended to the log. Cheap. */
  appended(bytes: number): void {
    this.#uploader.appended(bytes);
  }

  /** Resolves when everything up to `sequence` is committed. @throws fenced, corrupt: it never will be; aborted */
  async upload(sequence: number, signal?: AbortSignal): Promise<void> {
    await this.#uploader.upload(sequence, signal);
  }

  /**
   * Puts a barrier into the log and has `create` make the snapshot's pending object for it; both are durable when it resolves.
   * The log has room for it.
   */
  async snapshot(create: (barrier: BarrierPosition) => Promise<SnapshotEntry>): Promise<ServedSnapshot> {
    const { log } = this.#given.opened;
    const incarnation = log.incarnation?.incarnation ?? '';
    const barrier = this.#barriers.register(async (sequence) => await create({ incarnation, sequence }));
    try {
      const sequence = await log.appendBarrier(barrier.name);
      this.#uploader.appended(PAGE_BYTES);
      const { members } = this.#given.opened;
      await (members === undefined ? log.flush() : members.flush());
      const entry = await barrier.place(sequence);
      return { entry, completed: this.#completed(sequence, entry) };
    } catch (error) {
      barrier.abandon(error);
      throw error;
    }
  }

  async #completed(sequence: number, entry: SnapshotEntry): Promise<SnapshotEntry> {
    await this.#uploader.upload(sequence);
    return this.#barriers.completedEntry(sequence) ?? entry;
  }

  /** Asks the store whether the volume is held by this writer still; one that was taken over fails, as at its next commit. */
  async checkHeld(signal?: AbortSignal): Promise<void> {
    if (this.#failure !== undefined || this.#closing.signal.aborted) return;
    try {
      await this.#uploader.writer.requireHeld(signal);
    } catch (error) {
      const failure = toSgwError(error);
      if (failure.kind !== 'fenced') throw failure;
      // It may have opened the volume anew itself, after a commit that failed.
      if (failure.details['gatewayId'] !== this.#given.parts.holder.gatewayId) this.fail(failure);
    }
  }

  /** Uploads everything that is in the log now. */
  async drain(options: { readonly signal?: AbortSignal; readonly onProgress?: OnDrained }): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const { onProgress, signal } = options;
    const { dirtyBytes, lastSequence } = this.#given.opened.log.usage;
    await this.#drains.during(dirtyBytes, onProgress, () => this.#uploader.upload(lastSequence, signal));
  }

  /**
   * Ends uploading and closes the log; with `drain` everything is in the store and the head is given back when it resolves.
   * @throws with `drain`: why not everything is in the store; it is closed all the same
   */
  async close({ drain, signal }: { readonly drain: boolean; readonly signal?: AbortSignal }): Promise<void> {
    const { log } = this.#given.opened;
    const failed = this.#failure;
    // What failed can't be drained, and whoever asks for that has to hear of it.
    let drainFailure: unknown = drain ? failed : undefined;
    if (drain && failed === undefined) {
      try {
        await this.#uploader.upload(log.usage.lastSequence, signal);
      } catch (error) {
        drainFailure = error;
      }
    }
    this.#closing.abort(new SgwError('aborted', 'volume-closed', `volume ${this.#given.parts.volumeId} was closed`));
    await this.#uploader.stop();
    const { writer } = this.#uploader;
    try {
      if (drain && failed === undefined && drainFailure === undefined)
        await writer.close(signal === undefined ? {} : { signal });
      else await writer.abandon();
    } finally {
      await log.close();
    }
    if (drainFailure !== undefined) throw drainFailure as Error;
  }

  /** Nothing more is uploaded, for a reason that the volume has found. */
  fail(error: SgwError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#closing.abort(error);
    this.#given.parts.onEvent?.({ kind: 'failed', error });
  }

  #makeUploader(): Uploader {
    const { parts, opened, counters, encode, onCommitted } = this.#given;
    const { blocks, settings } = parts;
    return new Uploader({
      log: opened.log,
      clock: blocks.clock,
      writer: opened.writer,
      uploadedSequence: opened.uploadedSequence,
      sealIntervalMs: settings.sealIntervalMs,
      work: {
        encode: async (plan, applied, signal) => {
          const batch = await encode(plan, applied, signal);
          const { barrier, records, isResized } = plan;
          if (records === undefined || (barrier === undefined && !isResized)) return batch;
          const onApplied = async (): Promise<void> => {
            const { writer } = this.#uploader;
            // The head tells everybody how large the volume is.
            if (isResized) await writer.checkpointHere();
            if (barrier !== undefined) await this.#barriers.reached(barrier, records.last, writer);
          };
          return { ...batch, onApplied };
        },
        reopen: async (signal) => {
          const reopened = await reopenWriter(parts, opened, signal);
          reopened.writer.recovery = this.#recovery ?? reopened.writer.recovery;
          this.#live = this.#liveMap(reopened.writer);
          await this.#barriers.recover(reopened.uploadedSequence);
          parts.onWriter?.(reopened.writer);
          opened.members?.uploaded(reopened.uploadedSequence);
          return reopened;
        },
        onCommitted: ({ batch, segmentId, storedBytes, logBytes }) => {
          counters.uploadedBytes += storedBytes;
          counters.commits += 1;
          counters.lastCommitMs = blocks.clock.nowMs();
          counters.modelledCommits = this.#uploader.modelledCommits;
          this.#drains.uploaded(logBytes);
          opened.members?.uploaded(this.#uploader.committedSequence);
          onCommitted?.({ batch, segmentId, logBytes });
        },
        onTrouble: (error) => {
          this.#tried(error);
        },
        onFailed: (failure) => {
          this.fail(failure.kind === 'internal' ? bugMet(parts.volumeId, failure) : failure);
        },
      },
    });
  }

  /** The store answered, or failed. */
  #tried(error: SgwError | undefined): void {
    const { parts, counters } = this.#given;
    if (error === undefined && this.#trouble !== undefined) parts.onEvent?.({ kind: 'recovered' });
    if (error !== undefined) {
      counters.uploadErrors += 1;
      parts.onEvent?.({ kind: 'trouble', error });
    }
    this.#trouble = error && { error, sinceMs: this.#trouble?.sinceMs ?? parts.blocks.clock.nowMs() };
  }

  #liveMap(writer: VolumeWriter): LiveMap {
    const { counters, parts } = this.#given;
    const { cache, pool, decoders = pool } = parts;
    return new LiveMap({
      view: writer,
      cache,
      pool: decoders,
      onBytes: (bytes) => {
        counters.downloadedBytes += bytes;
      },
    });
  }
}
