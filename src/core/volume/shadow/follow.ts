/**
 * How the store follows an image: what clients write goes into the write log while there is room, and is only noted while there
 * is none (pass-through, C21); what is noted, and what may differ after an unclean stop (C19), is compared and sent behind.
 *
 * States: connected or not (the store is out of reach at the start, C22: not); each in pass-through or not, the former always
 * when not connected; steady once nothing is left to be sent. Invariants: "pass-through since" is durable before the first
 * write that is not logged; the marks stay while the volume is not steady; a commit is flagged consistent only when it shows
 * a state of the image (`Consistency`).
 */
import { setImmediate as breathe } from 'node:timers/promises';
import { PAGE_BYTES, type VolumeWriter } from '../../blockstore/index.ts';
import { SgwError, throwIfAborted, toSgwError } from '../../kit/index.ts';
import type { AckClass, LogUsage } from '../../writelog/index.ts';
import type { PendingCreation, ServedSnapshot, VolumeSettings } from '../contract.ts';
import { Counters } from '../counters.ts';
import type { OnDrained } from '../drain-progress.ts';
import { isPassing } from '../passing.ts';
import { checkAck, type Members } from '../members.ts';
import { Signals } from '../signals.ts';
import type { Trouble } from '../stats.ts';
import type { ShadowImage, ShadowStats } from './contract.ts';
import { Consistency } from './consistency.ts';
import { Connection, NO_LOG } from './connection.ts';
import { ImageWatch } from './image-watch.ts';
import { openShadow, type ShadowOpening } from './opening.ts';
import type { ShadowParts } from './parts.ts';
import { RecordKeeper } from './record-keeper.ts';
import { regionAt, type RegionMarks } from './region-marks.ts';
import type { RegionWork } from './region-work.ts';
import { pagesOf } from './touched-pages.ts';
import { shadowStats } from './shadow-stats.ts';
import { WaitingSnapshots } from './waiting-snapshots.ts';

const TICK_MS = 500;
const SWEEP_EVERY_TICKS = 20;
const RETRY_MS = 1000;

export class Follow {
  readonly counters = new Counters();
  readonly #parts: ShadowParts;
  readonly #image: ShadowImage;
  readonly #marks: RegionMarks;
  readonly #work: RegionWork;
  readonly #isFirst: boolean;
  readonly #consistency = new Consistency();
  readonly #signals = new Signals();
  readonly #stop = new AbortController();
  readonly #waiting: WaitingSnapshots;
  readonly #records: RecordKeeper;
  readonly #watch: ImageWatch;
  #connection: Connection | undefined;
  #settings: VolumeSettings;
  #isPassThrough = false;
  /** Pass-through begins as soon as that is on the disk. */
  #entering: Promise<void> | undefined;
  #isSteady = false;
  #failure: SgwError | undefined;
  /** Why the store could not be reached, or the image not be looked at. */
  #trouble: Trouble | undefined;
  #hasWritten = false;
  /** Since it was opened. */
  #isImageSynced = false;
  #running: Promise<unknown> | undefined;

  /** @throws what opening the volume throws, but for a store that is out of reach; conflict `image-smaller` */
  static async open(parts: ShadowParts): Promise<Follow> {
    const opening = await openShadow(parts.shadowDisk, parts.image);
    const follow = new Follow(parts, opening);
    try {
      await follow.#begin();
    } catch (error) {
      await follow.#connection?.uploads.close({ drain: false }).catch(() => undefined);
      opening.marks.close();
      throw error;
    }
    return follow;
  }

  private constructor(parts: ShadowParts, { marks, work, record, isFirst }: ShadowOpening) {
    this.#parts = parts;
    this.#image = parts.image;
    this.#settings = parts.settings;
    this.#marks = marks;
    this.#work = work;
    this.#records = new RecordKeeper(parts.shadowDisk, record);
    this.#watch = new ImageWatch(parts.image, (text) => {
      parts.onEvent?.({ kind: 'remark', text });
    });
    this.#isFirst = isFirst;
    this.#waiting = new WaitingSnapshots(parts.blocks, parts.volumeId, parts.holder.gatewayId);
  }

  get failure(): SgwError | undefined {
    return this.#failure ?? this.#connection?.uploads.failure;
  }

  get trouble(): Trouble | undefined {
    return this.#connection?.uploads.trouble ?? this.#trouble;
  }

  /** What is the matter with the image, for people; null when nothing is. */
  get remark(): string | null {
    return this.#watch.remark;
  }

  get usage(): LogUsage {
    return this.#connection?.log.usage ?? { ...NO_LOG, capacityBytes: this.#settings.bufferBytes };
  }

  get writer(): VolumeWriter | undefined {
    return this.#connection?.uploads.writer;
  }

  /** The other members of the volume's group; undefined outside one. */
  get members(): Members | undefined {
    return this.#connection?.members;
  }

  get closing(): AbortSignal {
    return this.#stop.signal;
  }

  get shadow(): ShadowStats {
    return shadowStats({
      ...{ isPassThrough: this.#isPassThrough, isSteady: this.#isSteady, isFirst: this.#isFirst },
      ...{ work: this.#work, marks: this.#marks, nowMs: this.#parts.blocks.clock.monotonicMs() },
    });
  }

  async #begin(): Promise<void> {
    const { onEvent } = this.#parts;
    await this.#records.write({}, true);
    try {
      await this.#connect();
    } catch (error) {
      const failure = toSgwError(error);
      // What was never followed has nothing that it could be reconciled with later.
      // Nor may an image be written to that another member of the group may serve.
      if (this.#isFirst || this.#parts.sink !== undefined || !isPassing(failure)) throw failure;
      this.#trouble = { error: failure, sinceMs: this.#parts.blocks.clock.nowMs() };
      onEvent?.({ kind: 'trouble', error: failure });
      await this.#startPassThrough(Number.MAX_SAFE_INTEGER);
    }
    const run = async (work: () => Promise<void>): Promise<void> => {
      try {
        await work();
      } catch (error) {
        if (!this.#stop.signal.aborted) this.fail(toSgwError(error));
      }
    };
    this.#running = Promise.all([run(() => this.#catchUp()), run(() => this.#tick())]);
  }

  // --- What clients do

  /** Whether an extent may be written now, in this task, at the cost of `cost` bytes of log. Cheap. */
  isReady(offset: number, length: number, cost: number): boolean {
    if (length > 0 && !this.#marks.use(regionAt(offset), regionAt(offset + length - 1))) return false;
    return this.#isPassThrough || this.#connection?.canLog(cost) === true;
  }

  /** Has an extent marked, and pass-through entered where the log has no room; ask `isReady` again then. */
  async ready(offset: number, length: number, cost: number, signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    await this.#marks.mark(regionAt(offset), regionAt(offset + Math.max(1, length) - 1));
    if (!this.#isPassThrough && this.#connection?.canLog(cost) !== true)
      await (this.#entering ??= this.#enter().finally(() => {
        this.#entering = undefined;
        // Also when it could not be noted: what is being caught up goes on.
        this.#signals.wake();
      }));
  }

  /** The marks of an extent stay until the returned function is called: it may be changed all the while. Undefined: one is missing. */
  keepMarked(offset: number, length: number): (() => void) | undefined {
    return this.#marks.keep(regionAt(offset), regionAt(offset + Math.max(1, length) - 1));
  }

  /**
   * The image was written: logs it, or notes it in pass-through. `data` undefined: zeroes. To be called in the task of the
   * write. Resolves when it may be acknowledged; undefined: now.
   */
  wrote(offset: number, length: number, data: Buffer | undefined): Promise<void> | undefined {
    this.#hasWritten = true;
    const connection = this.#connection;
    const [firstPage, pageCount] = pagesOf(offset, length);
    connection?.compare.written(firstPage, pageCount);
    if (this.#isPassThrough || connection === undefined) {
      this.#work.touched.add(firstPage, pageCount);
      return undefined;
    }
    const appended = connection.append(offset, length, data);
    // The image has it, and the log has not.
    appended.catch(() => {
      this.touched(offset, length);
    });
    return appended;
  }

  /** A write failed: what the image holds there is not known. */
  touched(offset: number, length: number): void {
    this.#hasWritten = true;
    const [firstPage, pageCount] = pagesOf(offset, length);
    this.#connection?.compare.written(firstPage, pageCount);
    this.#work.touched.add(firstPage, pageCount);
    this.#fallBehind(this.usage.lastSequence);
  }

  /** Resolves when everything written so far is on the disk, and with `ack=store` in the store. */
  async durable(ack: AckClass, signal?: AbortSignal): Promise<void> {
    await Promise.all([this.#connection?.flush(this.#isPassThrough, signal), this.#image.sync()]);
    if (ack !== 'store') return;
    await this.#until(() => this.#isSteady, signal);
    await this.#connection?.uploads.upload(this.usage.lastSequence, signal);
  }

  async snapshot(create: PendingCreation): Promise<ServedSnapshot> {
    const connection = this.#connection;
    if (this.#isSteady && connection?.log.hasRoom(PAGE_BYTES) === true)
      return await connection.uploads.snapshot(async (barrier) => await create({ barrier }));
    const reason = `waits until the store has caught up with the image (${this.shadow.phase})`;
    const waiting = this.#waiting.add(await create({ reason }));
    this.#signals.wake();
    return waiting;
  }

  async configure(settings: Partial<VolumeSettings>): Promise<void> {
    checkAck(settings.ack ?? 'log', this.members !== undefined);
    this.#settings = { ...this.#settings, ...settings };
    if (this.members !== undefined) this.members.ack = this.#settings.ack;
    await this.#connection?.configure(settings);
  }

  /** While it is not connected to the store, connecting asks. */
  async checkHeld(signal?: AbortSignal): Promise<void> {
    await this.#connection?.uploads.checkHeld(signal);
  }

  /** Uploads everything that is written now; what was in the image before it was followed is not waited for. */
  async drain(options: { readonly signal?: AbortSignal; readonly onProgress?: OnDrained }): Promise<void> {
    await this.#until(() => this.#isDrained, options.signal);
    await this.#connection?.uploads.drain(options);
  }

  /** Whether everything that clients have written is in the log, or in the store. */
  get #isDrained(): boolean {
    if (this.#connection === undefined || this.#isPassThrough) return false;
    return this.#isFirst ? !this.#work.isSending : this.#work.isDone;
  }

  /** @throws why it will never be so */
  async #until(isSo: () => boolean, signal: AbortSignal | undefined): Promise<void> {
    const { clock } = this.#parts.blocks;
    const look = (): boolean => {
      if (this.failure !== undefined) throw this.failure;
      return isSo();
    };
    await this.#signals.until(look, TICK_MS, clock, [this.#stop.signal, ...(signal === undefined ? [] : [signal])]);
  }

  // --- Pass-through

  /** Stops logging, durably before it is so. */
  async #enter(): Promise<void> {
    const failure = await this.members?.letGo(this.#stop.signal);
    if (failure !== undefined) {
      // Writes wait: for that, or for room.
      await this.#restAfter(failure);
      return;
    }
    await this.#startPassThrough(this.usage.lastSequence);
    this.#leaveLater();
  }

  async #startPassThrough(sequence: number): Promise<void> {
    await this.#records.write({ behindSince: this.#records.record.behindSince ?? sequence }, true);
    this.#fallBehind(sequence);
    this.#isPassThrough = true;
  }

  #fallBehind(sequence: number): void {
    this.#consistency.lost(sequence);
    this.#isSteady = false;
    this.#signals.wake();
  }

  /** Once what was logged is in the store, writes are logged again, and what was not is sent. */
  #leaveLater(): void {
    const leave = async (): Promise<void> => {
      await this.#connected().emptied(this.#stop.signal);
      this.#isPassThrough = false;
      this.#signals.wake();
    };
    leave().catch((error: unknown) => {
      const failure = toSgwError(error);
      if (this.#stop.signal.aborted) return;
      // Without a log the image is served on, and the store stays behind until it is opened anew.
      if (this.#connection?.log.failure === undefined) this.fail(failure);
      else this.#trouble = { error: failure, sinceMs: this.#parts.blocks.clock.nowMs() };
    });
  }

  #connected(): Connection {
    if (this.#connection === undefined) throw new SgwError('internal', 'not-connected', 'the store was reached before');
    return this.#connection;
  }

  // --- Catching up

  async #connect(): Promise<void> {
    const parts: ShadowParts = {
      ...this.#parts,
      beforeLog: async (isOurs) => {
        if (isOurs || this.#isFirst) return;
        // Somebody else has written to the volume, or the log is lost: the store may hold anything.
        this.#work.all();
        await this.#records.write({ state: 'comparing', cursorPage: 0 }, true);
      },
    };
    const connection = await Connection.open(parts, {
      counters: this.counters,
      isConsistent: (sequence) => this.#consistency.holds(sequence),
      mayAppend: () => !this.#isPassThrough,
    });
    try {
      // Some of what was written may be in the image alone.
      const isBehind = this.#isFirst || this.#records.record.behindSince !== null;
      if (isBehind) await connection.members?.suspend(this.#parts.signal);
      const { lastSequence } = connection.log.usage;
      const upTo = Math.min(this.#records.record.behindSince ?? lastSequence, lastSequence);
      const isLevel = this.#isLevelNow() && upTo === lastSequence && connection.uploads.writer.consistent;
      if (!isLevel) {
        this.#consistency.lost(upTo);
        // What is sent from here on is in the log in no order that the image had.
        await this.#records.write({ behindSince: upTo }, true);
      } else if (this.#records.record.behindSince !== null) await this.#records.write({ behindSince: null }, true);
      await this.#waiting.find(this.#parts.signal);
      await connection.begin();
      this.#connection = connection;
      this.#trouble = undefined;
      // Written in pass-through it may have been meanwhile, while it was not connected.
      if (isLevel && this.#isLevelNow()) this.#isSteady = true;
    } catch (error) {
      await connection.uploads.close({ drain: false }).catch(() => undefined);
      throw error;
    }
  }

  /** Nothing is left to be sent, for now: clients go on meanwhile. */
  #isLevelNow(): boolean {
    return this.#work.isDone && !this.#isPassThrough && this.#entering === undefined;
  }

  async #catchUp(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      // Whatever comes of a turn, others get theirs.
      await breathe();
      try {
        if (this.#connection === undefined) {
          await this.#connect();
          this.#leaveLater();
        }
        if (this.#isSteady && this.#entering === undefined) this.members?.resume();
        if (this.#isSteady && this.#waiting.isAny) await this.#place(signal);
        else if (this.#isPassThrough || this.#entering !== undefined || this.#isSteady)
          await this.#signals.changed(signal);
        else if (!this.#work.isDone) await this.#workOn(signal);
        else await this.#finish(signal);
      } catch (error) {
        const failure = toSgwError(error);
        if (!isPassing(failure)) throw failure;
        await this.#restAfter(failure);
      }
    }
  }

  async #restAfter(failure: SgwError): Promise<void> {
    const { clock } = this.#parts.blocks;
    this.#trouble ??= { error: failure, sinceMs: clock.nowMs() };
    await clock.sleep(RETRY_MS, this.#stop.signal);
  }

  /** Gives the snapshots that waited their barriers. */
  async #place(signal: AbortSignal): Promise<void> {
    const { uploads, log } = this.#connected();
    await this.#waiting.place(uploads, log, () => this.#isSteady, signal);
    this.#trouble = undefined;
  }

  async #workOn(signal: AbortSignal): Promise<void> {
    // What others wrote before is on the disk before it counts as compared: it has no marks.
    if (!this.#isImageSynced) await this.#image.sync();
    this.#isImageSynced = true;
    const { clock } = this.#parts.blocks;
    const task = this.#work.take(clock.monotonicMs());
    if (task === undefined) return;
    try {
      await this.#connected().compare.compareTask(task, signal);
    } catch (error) {
      this.#work.putBack(task);
      throw error;
    }
    this.#work.done(task);
    this.#trouble = undefined;
    if (!this.#work.isComparing) this.#signals.wake();
  }

  /** Everything was sent: commits up to here, and says so. */
  async #finish(signal: AbortSignal): Promise<void> {
    const { uploads, log } = this.#connected();
    while (!log.hasRoom(PAGE_BYTES)) await log.room(PAGE_BYTES, signal);
    if (!this.#isLevelNow()) return;
    // Without a write behind it, no commit would be one that is consistent.
    const sequence = await log.appendBarrier(`caught-up-${String(this.#records.record.cursorPage)}`);
    if (!this.#isLevelNow()) return;
    this.#consistency.caughtUp(sequence);
    uploads.appended(PAGE_BYTES);
    await uploads.upload(sequence, signal);
    // The commit may have been on its way before it was known to be one.
    if (!uploads.writer.consistent || !this.#isLevelNow()) return;
    await this.#records.write({ state: 'compared', cursorPage: this.#work.cursorPage, behindSince: null }, true);
    if (!this.#isLevelNow()) return;
    this.#consistency.settled();
    this.#work.rest();
    this.#isSteady = true;
    this.#signals.wake();
  }

  // --- Now and then

  async #tick(): Promise<void> {
    const { signal } = this.#stop;
    const { clock } = this.#parts.blocks;
    for (let ticks = 1; !signal.aborted; ticks++) {
      await clock.sleep(TICK_MS, signal);
      const hasWritten = this.#hasWritten || this.#image.restoring?.hasWritten() === true;
      this.#hasWritten = false;
      if (hasWritten) this.#parts.shadowDisk.touch();
      if (this.#watch.look(hasWritten)) await this.#compareAll();
      if (ticks % SWEEP_EVERY_TICKS !== 0) continue;
      try {
        if (this.#isSteady) await this.#connected().sweep(this.#marks);
        else if (this.#work.cursorPage !== this.#records.record.cursorPage) await this.#noteCursor();
      } catch (error) {
        // The home is full, say: marks and cursor stay as they are, and cost time after a crash.
        if (!isPassing(toSgwError(error))) throw error;
      }
    }
  }

  /** Somebody else writes to the image, against all advice. */
  async #compareAll(): Promise<void> {
    this.#work.all();
    this.#isImageSynced = false;
    this.#fallBehind(this.usage.lastSequence);
    const behindSince = this.#records.record.behindSince ?? this.usage.lastSequence;
    await this.#records.write({ state: 'comparing', cursorPage: 0, behindSince }, true);
  }

  /** What was sent so far is on the disk, so that nobody has to look at it again after a crash. */
  async #noteCursor(): Promise<void> {
    const { cursorPage } = this.#work;
    await this.#connection?.log.flush();
    await this.#records.write({ cursorPage }, false);
  }

  /** Nothing is acknowledged any more. */
  fail(error: SgwError): void {
    this.#failure ??= error;
    this.#connection?.uploads.fail(error);
    this.#signals.wake();
  }

  async close({ drain, signal }: { readonly drain: boolean; readonly signal?: AbortSignal }): Promise<void> {
    const isSteady = this.#isSteady && this.failure === undefined;
    const isBehind = drain && this.failure === undefined && !this.#isDrained;
    this.#stop.abort(new SgwError('aborted', 'volume-closed', `volume ${this.#parts.volumeId} was closed`));
    this.#signals.wake();
    await this.#running;
    this.#waiting.close(this.#stop.signal.reason);
    try {
      await this.#image.restoring?.end();
      await this.#connection?.uploads.close({ drain, ...(signal === undefined ? {} : { signal }) });
      await this.#image.sync();
      // A write may have failed meanwhile.
      if (drain && isSteady && this.#isSteady && this.#work.isDone)
        await this.#records.noteClean(this.#parts.blocks.clock, this.#image);
      if (isBehind)
        throw new SgwError('unavailable', 'shadow-behind', 'what was written in pass-through is only in the image', {
          hint: 'It goes to the store when the image is attached again.',
        });
    } finally {
      this.#marks.close();
      await this.#image.close();
    }
  }
}
