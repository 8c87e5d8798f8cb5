/**
 * Uploads a volume's write log: cuts it into runs of records, encodes each as a segment, and commits them in order (C4, C5).
 *
 * States: running -> stopped; running -> failed (fenced, or something is damaged). While the store is out of reach it tries
 * again for as long as it takes: the writer, which a failed commit ends, is opened anew, and what the store says it holds
 * tells where to go on, so that a commit whose reply was lost is neither lost nor made twice.
 * Invariants: segments are committed in the order of their records; the log is told of a record only when the segment that
 * holds it is committed; at most UNDER_WAY_MAX segments are encoded or being committed.
 */
import type { Batch, VolumeWriter } from '../blockstore/index.ts';
import { MIB, SgwError, toSgwError, type Clock } from '../kit/index.ts';
import type { LogRecord, WriteLog } from '../writelog/index.ts';
import { CommitModel } from './commit-model.ts';
import { isPassing } from './passing.ts';
import { SealPlan } from './seal-plan.ts';
import { Signals } from './signals.ts';

/** A segment is cut when it would hold this much, before compression. */
const SEAL_BYTES = 12 * MIB;
const SEAL_PAGES = SEAL_BYTES / 4096;
/** Log that one segment folds at most, when pages are overwritten again and again. */
const SEAL_LOG_BYTES_MAX = 96 * MIB;
const SLICE_BYTES = 4 * MIB;
const ZEROES_MAX = 8192;
const UNDER_WAY_MAX = 3;
const RETRY_MS = [500, 1000, 2000, 5000, 10_000, 15_000] as const;

/** What the uploader has its volume do. */
export interface UploadWork {
  /** Encodes a plan. `applied` resolves when everything before it is in the map: wait for it before merging pages. */
  readonly encode: (plan: SealPlan, applied: () => Promise<void>, signal: AbortSignal) => Promise<Batch>;
  /** Opens the writer anew after a failure, and says how far the store has got. @throws fenced when it was overtaken */
  readonly reopen: (
    signal: AbortSignal,
  ) => Promise<{ readonly writer: VolumeWriter; readonly uploadedSequence: number }>;
  readonly onCommitted: (commit: {
    readonly batch: Batch;
    /** Of the segment that it became. */
    readonly segmentId: string;
    readonly storedBytes: number;
    readonly logBytes: number;
  }) => void;
  /** The store fails, which will be tried again; undefined: it answers again. */
  readonly onTrouble: (error: SgwError | undefined) => void;
  /** Nothing will be uploaded any more. */
  readonly onFailed: (error: SgwError) => void;
}

export interface UploaderParts {
  readonly log: WriteLog;
  readonly clock: Clock;
  readonly writer: VolumeWriter;
  readonly work: UploadWork;
  readonly uploadedSequence: number;
  readonly sealIntervalMs: number;
}

interface Flight {
  readonly logBytes: number;
  /** Never rejects. */
  readonly settled: Promise<void>;
}

export class Uploader {
  sealIntervalMs: number;
  readonly #parts: UploaderParts;
  readonly #signals = new Signals();
  readonly #stop = new AbortController();
  #writer: VolumeWriter;
  /** Records up to here are in a segment, committed or under way. */
  #sealed: number;
  #committed: number;
  /** The volume's size after the last sealed record. */
  #sizeBytes: number;
  /** Log that is in no segment yet, and since when there is some. */
  #unsealedBytes: number;
  #unsealedSinceMs: number | undefined;
  /** Everything up to here is uploaded without waiting for more. */
  #urgent = 0;
  /** Records up to here have told the model of themselves. */
  #modelled: number;
  readonly #model = new CommitModel(SEAL_BYTES);
  #flights: Flight[] = [];
  #commitFailure: SgwError | undefined;
  #failure: SgwError | undefined;
  #running: Promise<void> | undefined;

  constructor(parts: UploaderParts) {
    this.#parts = parts;
    this.#writer = parts.writer;
    this.#sealed = parts.uploadedSequence;
    this.#committed = parts.uploadedSequence;
    this.#modelled = parts.uploadedSequence;
    this.#sizeBytes = parts.writer.sizeBytes;
    this.sealIntervalMs = parts.sealIntervalMs;
    this.#unsealedBytes = parts.log.usage.dirtyBytes;
    if (this.#unsealedBytes > 0) this.#unsealedSinceMs = parts.clock.nowMs();
  }

  get writer(): VolumeWriter {
    return this.#writer;
  }

  /** Records up to here are committed in the store. */
  get committedSequence(): number {
    return this.#committed;
  }

  /** Commits that each of MODELLED_INTERVALS_MS would have made of what was cut so far. */
  get modelledCommits(): readonly number[] {
    return this.#model.commits;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Takes note that about `bytes` were appended to the log. Cheap. */
  appended(bytes: number): void {
    const before = this.#unsealedBytes;
    this.#unsealedBytes += bytes;
    if (this.#unsealedSinceMs === undefined) {
      this.#unsealedSinceMs = this.#parts.clock.nowMs();
      this.#signals.wake();
    } else if (before < SEAL_BYTES && this.#unsealedBytes >= SEAL_BYTES) this.#signals.wake();
  }

  /**
   * Resolves when everything up to `sequence` is committed, without waiting for a segment to fill.
   * @throws fenced, corrupt: it never will be; aborted
   */
  async upload(sequence: number, signal?: AbortSignal): Promise<void> {
    if (this.#committed >= sequence) return;
    this.#urgent = Math.max(this.#urgent, sequence);
    this.#signals.wake();
    while (this.#committed < sequence) {
      if (this.#failure !== undefined) throw this.#failure;
      await this.#signals.changed(signal);
    }
  }

  /** Ends after what is under way has ended; what is not committed stays in the log. Idempotent. */
  async stop(): Promise<void> {
    this.#stop.abort(new SgwError('aborted', 'volume-closed', 'the volume was closed'));
    await this.#running;
    await this.#landed();
    this.#fail(new SgwError('aborted', 'volume-closed', 'the volume was closed'));
  }

  async #run(): Promise<void> {
    const { work, clock } = this.#parts;
    for (let tries = 0; !this.#isStopped; tries++) {
      const committed = this.#committed;
      try {
        if (tries > 0) await this.#recover();
        await this.#uploadAll();
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        const failure = toSgwError(error);
        if (this.#committed > committed) tries = 0;
        if (!isPassing(failure)) {
          this.#fail(failure);
          work.onFailed(failure);
          return;
        }
        work.onTrouble(failure);
        await clock
          .sleep(RETRY_MS[Math.min(tries, RETRY_MS.length - 1)] ?? 0, this.#stop.signal)
          .catch(() => undefined);
      }
    }
  }

  get #isStopped(): boolean {
    return this.#stop.signal.aborted;
  }

  /** Seals and commits whatever is due, until it is stopped. @throws what a commit or an encoding threw */
  async #uploadAll(): Promise<void> {
    while (!this.#isStopped) {
      await this.#due();
      const [oldest] = this.#flights;
      if (this.#flights.length >= UNDER_WAY_MAX) await oldest?.settled;
      else {
        const plan = this.#cut();
        if (plan !== undefined) await this.#seal(plan);
      }
      this.#throwCommitFailure();
    }
  }

  /** Waits until a segment is due: enough for one, old enough, or asked for. */
  async #due(): Promise<void> {
    const { log, clock } = this.#parts;
    for (;;) {
      this.#throwCommitFailure();
      const { lastSequence, dirtyBytes } = log.usage;
      const isAny = lastSequence > this.#sealed;
      if (isAny) {
        // What was told of is too much: many appends share one header. Counted so, segments would be half full.
        this.#unsealedBytes = Math.max(0, dirtyBytes - this.#flightBytes);
        if (this.#urgent > this.#sealed || this.#unsealedBytes >= SEAL_BYTES) return;
        this.#unsealedSinceMs ??= clock.nowMs();
      }
      // What was told of may not be in the log yet, or never get there: then the next one counts from its own time on.
      if (this.#unsealedSinceMs === undefined) await this.#signals.changed(this.#stop.signal);
      else {
        const leftMs = this.#unsealedSinceMs + this.sealIntervalMs - clock.nowMs();
        if (leftMs > 0) await this.#signals.changedWithin(leftMs, clock, this.#stop.signal);
        else if (isAny) return;
        else {
          this.#unsealedSinceMs = undefined;
          this.#unsealedBytes = 0;
        }
      }
    }
  }

  /** The next plan; undefined when nothing is left. */
  #cut(): SealPlan | undefined {
    const { log, clock } = this.#parts;
    const plan = new SealPlan(this.#sizeBytes);
    for (let next = this.#sealed + 1; hasRoom(plan);) {
      const records = log.records(next, SLICE_BYTES);
      const taken = records.findIndex((record) => !hasRoom(plan) || !plan.accepts(record) || !this.#take(record, plan));
      next += taken < 0 ? records.length : taken;
      if (taken >= 0 || records.length === 0) break;
    }
    if (plan.records === undefined) return undefined;
    // A snapshot's barrier ends its segment at whatever interval.
    if (this.#urgent > this.#sealed || plan.barrier !== undefined) this.#model.asked();
    this.#sealed = plan.records.last;
    this.#sizeBytes = plan.sizeBytes;
    this.#unsealedBytes = Math.max(0, log.usage.dirtyBytes - this.#flightBytes - plan.logBytes);
    this.#unsealedSinceMs = log.usage.lastSequence > this.#sealed ? clock.nowMs() : undefined;
    return plan;
  }

  /** Adds the record to the plan, and tells the model of it once; true. */
  #take(record: LogRecord, plan: SealPlan): true {
    if (record.sequence > this.#modelled) {
      this.#modelled = record.sequence;
      this.#model.appended(record.logBytes, record.appendedMs);
    }
    return plan.add(record);
  }

  get #flightBytes(): number {
    return this.#flights.reduce((sum, flight) => sum + flight.logBytes, 0);
  }

  async #seal(plan: SealPlan): Promise<void> {
    const batch = await this.#parts.work.encode(plan, () => this.#landed(), this.#stop.signal);
    this.#throwCommitFailure();
    const { logBytes } = plan;
    const flight = { logBytes, settled: this.#commit(plan, batch) };
    this.#flights.push(flight);
    void flight.settled.then(() => {
      this.#flights = this.#flights.filter((other) => other !== flight);
      this.#signals.wake();
    });
  }

  async #commit({ records, logBytes }: SealPlan, batch: Batch): Promise<void> {
    const { log, work } = this.#parts;
    let segmentId = '';
    const onApplied = async (id: string): Promise<void> => {
      segmentId = id;
      await batch.onApplied?.(id);
    };
    try {
      await this.#writer.commit({ ...batch, onApplied }, { signal: this.#stop.signal });
    } catch (error) {
      this.#commitFailure ??= toSgwError(error);
      return;
    }
    if (records === undefined) return;
    this.#committed = records.last;
    log.uploaded(records.last);
    work.onTrouble(undefined);
    work.onCommitted({
      batch,
      segmentId,
      storedBytes: batch.encoded.reduce((sum, piece) => sum + piece.stored.length, 0),
      logBytes,
    });
  }

  /** Waits for everything under way. @throws what one of them threw */
  async #landed(): Promise<void> {
    await Promise.all(this.#flights.map(({ settled }) => settled));
    this.#throwCommitFailure();
  }

  #throwCommitFailure(): void {
    if (this.#commitFailure !== undefined && !this.#isStopped) throw this.#commitFailure;
  }

  /** After a failure: opens the volume anew, and goes on where the store is. */
  async #recover(): Promise<void> {
    await Promise.all(this.#flights.map(({ settled }) => settled));
    const { log, work, clock } = this.#parts;
    const { writer, uploadedSequence } = await work.reopen(this.#stop.signal);
    this.#commitFailure = undefined;
    this.#writer = writer;
    this.#sealed = uploadedSequence;
    this.#committed = Math.max(this.#committed, uploadedSequence);
    this.#sizeBytes = writer.sizeBytes;
    log.uploaded(this.#committed);
    this.#unsealedBytes = log.usage.dirtyBytes;
    this.#unsealedSinceMs = this.#unsealedBytes > 0 ? clock.nowMs() - this.sealIntervalMs : undefined;
    // Whether the store takes what there is to upload, only a commit tells.
    if (log.usage.dirtyBytes === 0) work.onTrouble(undefined);
    this.#signals.wake();
  }

  #fail(error: SgwError): void {
    this.#failure ??= error;
    this.#signals.wake();
  }
}

const hasRoom = (plan: SealPlan): boolean =>
  plan.pageCount < SEAL_PAGES && plan.logBytes < SEAL_LOG_BYTES_MAX && plan.zeroCount < ZEROES_MAX;
