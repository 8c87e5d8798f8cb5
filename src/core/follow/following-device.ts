/**
 * A block device that is wherever its volume's holder is: requests go to the holder, and when that is gone, to the next one, all that
 * were not answered, in their order. The device above sees only a pause.
 *
 * States: `following` (a holder answers) -> `doubtful` (it is silent; another is looked for, and it may answer again) -> `lost` (none)
 * -> `following` -> ... -> closed. Invariants: a request is answered once; of requests that overlap only one change is under
 * way, so what is sent again turns back nothing (`range-order.ts`); a holder that has an older epoch than one that was followed
 * before is never followed; no answer of a holder is taken after it was left.
 *
 * Not done: writes that were acknowledged and not flushed are not kept, so what an acknowledgement is worth when a holder is
 * lost is what the volume's ack class promises.
 */
import type {
  BlockDevice,
  Completion,
  DeviceCall,
  DeviceExtent,
  DeviceLimits,
  WriteCall,
  ZeroCall,
} from '../blockdevice/index.ts';
import { abortReason, assert, SgwError, type Clock, type Random } from '../kit/index.ts';
import { CMD, CMD_FLAG, TRANSMISSION, type NbdClient, type WireFailure } from '../nbd/client/index.ts';
import type { ListenAddress } from '../sockets/index.ts';
import type { FollowEvent, HolderFinder } from './contract.ts';
import { deviceError, isLeaving } from './failures.ts';
import { HolderRules, nameOf } from './holder-rules.ts';
import { searchHolder, type SearchParts } from './holder-search.ts';
import { Operation, type OperationOwner } from './operation.ts';
import { RangeOrder } from './range-order.ts';

export interface FollowOptions {
  readonly finder: HolderFinder;
  readonly isReadOnly: boolean;
  /** Without any answer for so long, while requests are under way, another holder is looked for. */
  readonly silenceMs: number;
  /** How long a request waits for a holder before it fails; undefined: for ever. */
  readonly giveUpMs?: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly onEvent: (event: FollowEvent) => void;
}

/** How long a flush at the end may take. */
const LAST_FLUSH_MS = 10_000;
const LENGTH_MAX = 0xffff_ffff;
const PATIENCE = 3;
const PATIENCE_MAX = 60;

export class FollowingDevice implements BlockDevice, OperationOwner {
  readonly isReadOnly: boolean;
  readonly limits: DeviceLimits;
  readonly #options: FollowOptions;
  readonly #rules: HolderRules;
  readonly #search: SearchParts;
  readonly #order = new RangeOrder<Operation>();
  /** Not answered yet, in the order in which they came. */
  readonly #live = new Set<Operation>();
  /** Signals that are listened to. */
  readonly #signals = new WeakSet<AbortSignal>();
  readonly #closing = new AbortController();
  #sizeBytes: number;
  #link: NbdClient | undefined;
  #abilities: number;
  #hasStatus = false;
  /** The search that is under way. */
  #searching: { readonly stop: AbortController; readonly done: Promise<void> } | undefined;
  /** When the holder answered last, or was found; of one that is lost, when that was. */
  #heardMs: number;
  #heardCount = 0;
  #isDoubtful = false;
  /** After how many times the silence the same place is connected to anew; grows while that does not help. */
  #patience = PATIENCE;
  #looking: { code: string; sinceMs: number } | undefined;
  #changes = 0;
  #flushedChanges = 0;

  private constructor(options: FollowOptions, rules: HolderRules, search: SearchParts, first: NbdClient) {
    const { clock, isReadOnly } = options;
    const { blockBytesMin, blockBytesPreferred, payloadBytesMax, sizeBytes, flags } = first.info;
    this.#options = options;
    this.#rules = rules;
    this.#search = {
      ...search,
      onFailure: (failure) => {
        this.#tellLooking(failure);
      },
    };
    this.isReadOnly = isReadOnly || (flags & TRANSMISSION.readOnly) !== 0;
    this.limits = { blockBytesMin, blockBytesPreferred, payloadBytesMax };
    this.#sizeBytes = sizeBytes;
    this.#abilities = flags;
    this.#heardMs = clock.monotonicMs();
    this.#follow(first, null);
    void this.#watch();
  }

  /**
   * Waits for the first holder, and follows from there.
   * @throws the signal's reason; timeout `no-holder` after `giveUpMs`
   */
  static async open(options: FollowOptions, signal: AbortSignal): Promise<FollowingDevice> {
    const { finder, clock, random, giveUpMs, onEvent } = options;
    const rules = new HolderRules(options.isReadOnly, clock);
    const startMs = clock.monotonicMs();
    let last: SgwError | undefined;
    const search: SearchParts = {
      ...{ finder, clock, random },
      clientId: random.bytes(16).toString('hex'),
      consider: (address, writer) => {
        rules.consider(address, writer);
      },
      suits: ({ info }) => {
        rules.suits(info);
      },
      onFailure: (failure) => {
        if (failure.message !== last?.message)
          onEvent({ kind: 'looking', reason: failure, forMs: clock.monotonicMs() - startMs });
        last = failure;
      },
    };
    const limit = giveUpMs === undefined ? [] : [AbortSignal.timeout(giveUpMs)];
    try {
      const first = await searchHolder(search, AbortSignal.any([signal, ...limit]));
      return new FollowingDevice(options, rules, search, first);
    } catch (error) {
      if (limit[0]?.aborted === true && !signal.aborted) throw noHolder(giveUpMs ?? 0, last);
      throw error;
    }
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Where the holder is; undefined while there is none. */
  get holder(): ListenAddress | undefined {
    return this.#link?.address;
  }

  read(offset: number, target: Buffer, call?: DeviceCall): Completion {
    return this.#begin(CMD.read, 0, offset, target.length, target, call).promise;
  }

  write(offset: number, data: Buffer, call?: WriteCall): Completion {
    this.#checkWritable();
    const flags = call?.fua === true ? CMD_FLAG.fua : 0;
    return this.#begin(CMD.write, flags, offset, data.length, data, call).promise;
  }

  trim(offset: number, length: number, call?: WriteCall): Completion {
    this.#checkWritable();
    const flags = call?.fua === true ? CMD_FLAG.fua : 0;
    // Only sgw's own servers promise that what was trimmed reads as zeroes.
    const type = this.#rules.isOwn ? CMD.trim : CMD.writeZeroes;
    return this.#begin(type, flags, offset, length, undefined, call).promise;
  }

  writeZeroes(offset: number, length: number, call?: ZeroCall): Completion {
    this.#checkWritable();
    if (call?.fastOnly === true && (this.#abilities & TRANSMISSION.sendFastZero) === 0)
      throw new SgwError('unsupported', 'zeroes-slow', 'the holder can not tell whether it makes zeroes fast');
    const flags =
      (call?.fua === true ? CMD_FLAG.fua : 0) |
      (call?.mayTrim === true ? 0 : CMD_FLAG.noHole) |
      (call?.fastOnly === true ? CMD_FLAG.fastZero : 0);
    return this.#begin(CMD.writeZeroes, flags, offset, length, undefined, call).promise;
  }

  flush(call?: DeviceCall): Completion {
    if (this.isReadOnly) return undefined;
    const operation = this.#begin(CMD.flush, 0, 0, 0, undefined, call);
    operation.coversChanges = this.#changes;
    return operation.promise;
  }

  prefetch(offset: number, length: number, call?: DeviceCall): Completion {
    if (this.#link === undefined || (this.#abilities & TRANSMISSION.sendCache) === 0) return undefined;
    return this.#begin(CMD.cache, 0, offset, length, undefined, call).promise;
  }

  async extents(offset: number, length: number, piecesMax: number, call?: DeviceCall): Promise<DeviceExtent[]> {
    if (!this.#hasStatus) return [{ length, isHole: false, isZero: false }];
    const flags = piecesMax === 1 ? CMD_FLAG.reqOne : 0;
    const operation = this.#begin(CMD.blockStatus, flags, offset, length, undefined, call);
    await operation.promise;
    return operation.extents.slice(0, piecesMax);
  }

  #checkWritable(): void {
    if (this.isReadOnly) throw new SgwError('readOnly', 'device-read-only', 'the device is read-only');
  }

  #begin(
    type: number,
    flags: number,
    offset: number,
    length: number,
    data: Buffer | undefined,
    call: DeviceCall | undefined,
  ): Operation {
    assert(length <= LENGTH_MAX && offset + length <= this.#sizeBytes, 'a request lies within the device');
    if (this.#closing.signal.aborted) throw abortReason(this.#closing.signal);
    const signal = call?.signal;
    if (signal !== undefined) this.#listen(signal);
    const operation = new Operation(this, { type, flags, offset, length, data }, signal, this.#nowMs());
    if (this.#live.size === 0) this.#heardMs = operation.beganMs;
    this.#live.add(operation);
    if (this.#order.add(operation)) this.#send(operation);
    return operation;
  }

  /** Sends what waits for nothing, where there is a holder. */
  #send(operation: Operation): void {
    const link = this.#link;
    if (link === undefined || operation.isOver) return;
    operation.isSent = true;
    link.submit(operation);
  }

  readonly #sendNext = (operation: Operation): void => {
    this.#send(operation);
  };

  answered(operation: Operation, failure: WireFailure | undefined): void {
    if (operation.isOver) return;
    if (failure !== undefined && isLeaving(failure)) {
      this.#leave(new SgwError('unavailable', 'holder-leaves', `the holder serves it no more: ${failure.message}`));
      return;
    }
    if (failure === undefined && operation.isChange) this.#changes += 1;
    if (failure === undefined && operation.type === CMD.flush)
      this.#flushedChanges = Math.max(this.#flushedChanges, operation.coversChanges);
    // Advice never fails.
    const isFailed = failure !== undefined && operation.type !== CMD.cache;
    this.#settle(operation, isFailed ? deviceError(failure) : undefined);
  }

  #settle(operation: Operation, failure: SgwError | undefined): void {
    this.#live.delete(operation);
    operation.settle(operation.isGivenUp && operation.signal !== undefined ? abortReason(operation.signal) : failure);
    this.#order.remove(operation, this.#sendNext);
  }

  /** What is to happen when who asks wants to wait no more: once for each signal, of which there are few. */
  #listen(signal: AbortSignal): void {
    if (signal.aborted) throw abortReason(signal);
    if (this.#signals.has(signal)) return;
    this.#signals.add(signal);
    signal.addEventListener(
      'abort',
      () => {
        for (const operation of [...this.#live]) if (operation.signal === signal) this.#giveUp(operation);
      },
      { once: true },
    );
  }

  /** A change that a holder has needs its memory, and its place, until that has answered or is gone. */
  #giveUp(operation: Operation): void {
    operation.isGivenUp = true;
    if (operation.isChange && operation.isSent) return;
    this.#settle(operation, undefined);
  }

  /** A holder was found: it gets all that was not answered. */
  #follow(link: NbdClient, afterMs: number | null): void {
    const { info, address } = link;
    const before = this.#sizeBytes;
    if (this.#link !== undefined) {
      if (nameOf(this.#link.address) === nameOf(address)) this.#patience = Math.min(this.#patience * 2, PATIENCE_MAX);
      this.#link.destroy();
    }
    this.#link = link;
    this.#rules.follow(link);
    this.#abilities = info.flags;
    this.#hasStatus = info.statusContext !== undefined;
    this.#sizeBytes = info.sizeBytes;
    this.#heardMs = this.#nowMs();
    this.#heardCount = 0;
    this.#isDoubtful = false;
    this.#looking = undefined;
    link.onEnd = (reason) => {
      if (this.#link === link) this.#lose(reason);
    };
    const repeated = this.#sendAll();
    const { onEvent } = this.#options;
    onEvent({ kind: 'found', address, afterMs, repeated, epoch: info.writer?.epoch, sizeBytes: info.sizeBytes });
    if (info.sizeBytes !== before) onEvent({ kind: 'resized', fromBytes: before, toBytes: info.sizeBytes });
  }

  /** How many were sent again. */
  #sendAll(): number {
    let repeated = 0;
    const over: Operation[] = [];
    for (const operation of this.#live) {
      const wasSent = operation.isSent;
      operation.isSent = false;
      if (operation.isGivenUp || (wasSent && operation.type === CMD.cache)) over.push(operation);
      else if (wasSent) repeated += 1;
    }
    // What is begun by these ends is sent by them.
    for (const operation of over) this.#settle(operation, undefined);
    for (const operation of this.#live) if (operation.blockers === 0 && !operation.isSent) this.#send(operation);
    return repeated;
  }

  #leave(reason: SgwError): void {
    const link = this.#link;
    if (link === undefined) return;
    this.#rules.shun(link);
    this.#lose(reason);
  }

  /** The holder is gone: everything waits for the next one. */
  #lose(reason: SgwError): void {
    const link = this.#link;
    if (link === undefined) return;
    this.#link = undefined;
    link.destroy();
    this.#rules.lost();
    if (!this.#isDoubtful) this.#heardMs = this.#nowMs();
    this.#isDoubtful = false;
    for (const operation of [...this.#live]) if (operation.isGivenUp) this.#settle(operation, undefined);
    this.#options.onEvent({ kind: 'lost', address: link.address, reason, waiting: this.#live.size });
    this.#look();
  }

  /** Looks for a holder, until one is found or the one that is there answers again. */
  #look(): void {
    if (this.#searching !== undefined || this.#closing.signal.aborted) return;
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, this.#closing.signal]);
    const done = searchHolder(this.#search, signal).then(
      (link) => {
        this.#searching = undefined;
        // It may have answered again in the meantime, or the device was closed.
        if (signal.aborted) link.destroy();
        else this.#follow(link, this.#nowMs() - this.#heardMs);
      },
      () => {
        this.#searching = undefined;
        if (this.#link === undefined) this.#look();
      },
    );
    this.#searching = { stop, done };
  }

  #tellLooking(reason: SgwError): void {
    const nowMs = this.#nowMs();
    if (this.#looking?.code === reason.message) return;
    const sinceMs = this.#looking?.sinceMs ?? this.#heardMs;
    this.#looking = { code: reason.message, sinceMs };
    this.#options.onEvent({ kind: 'looking', reason, forMs: nowMs - sinceMs });
  }

  /** Looks now and then whether the holder answers, and whether requests have waited long enough. */
  async #watch(): Promise<void> {
    const { clock, silenceMs, giveUpMs } = this.#options;
    const { signal } = this.#closing;
    const everyMs = Math.max(5, Math.min(silenceMs, giveUpMs ?? silenceMs) / 5);
    for (;;) {
      await clock.sleep(everyMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      this.#checkSilence();
      if (giveUpMs !== undefined) this.#failOld(giveUpMs);
    }
  }

  #checkSilence(): void {
    const link = this.#link;
    if (link === undefined) return;
    const nowMs = this.#nowMs();
    if (link.receivedCount !== this.#heardCount || link.underWay === 0) {
      this.#heardCount = link.receivedCount;
      this.#patience = PATIENCE;
      if (this.#isDoubtful) this.#resume(link, nowMs - this.#heardMs);
      this.#heardMs = nowMs;
      return;
    }
    const silentMs = nowMs - this.#heardMs;
    if (silentMs < this.#options.silenceMs) return;
    this.#rules.doubt(silentMs >= this.#patience * this.#options.silenceMs);
    if (this.#isDoubtful) return;
    this.#isDoubtful = true;
    this.#options.onEvent({ kind: 'silent', address: link.address, silentMs, waiting: this.#live.size });
    this.#look();
  }

  #resume(link: NbdClient, afterMs: number): void {
    this.#isDoubtful = false;
    this.#looking = undefined;
    this.#rules.doubt(false);
    this.#searching?.stop.abort();
    this.#options.onEvent({ kind: 'resumed', address: link.address, afterMs });
  }

  /** Fails what has waited too long while no holder answered. */
  #failOld(giveUpMs: number): void {
    const nowMs = this.#nowMs();
    if ((this.#link !== undefined && !this.#isDoubtful) || nowMs - this.#heardMs < giveUpMs) return;
    // What a silent holder has must not be answered any more, nor is its memory to be touched.
    if (this.#link !== undefined) this.#lose(noHolder(giveUpMs, undefined));
    for (const operation of [...this.#live])
      if (!operation.isOver && nowMs - operation.beganMs >= giveUpMs)
        this.#settle(operation, noHolder(giveUpMs, undefined));
  }

  #nowMs(): number {
    return this.#options.clock.monotonicMs();
  }

  /**
   * Flushes what was acknowledged and not flushed, where a holder is there, and takes leave. What is under way fails. Idempotent.
   * @throws what the flush fails with
   */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    try {
      if (this.#link !== undefined && this.#changes > this.#flushedChanges)
        await this.flush({ signal: AbortSignal.timeout(LAST_FLUSH_MS) });
    } finally {
      const reason = new SgwError('aborted', 'device-closed', 'the device was closed');
      this.#closing.abort(reason);
      const link = this.#link;
      this.#link = undefined;
      const isQuiet = this.#live.size === 0;
      if (!isQuiet) link?.destroy();
      for (const operation of [...this.#live]) if (!operation.isOver) this.#settle(operation, reason);
      if (isQuiet) await link?.close();
      await this.#searching?.done;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function noHolder(giveUpMs: number, last: SgwError | undefined): SgwError {
  const why = last === undefined ? '' : `: ${last.message}`;
  return new SgwError('timeout', 'no-holder', `no holder was found within ${String(giveUpMs / 1000)} s${why}`, {
    hint: 'Look at the gateways; without --give-up it is waited for as long as it takes.',
    ...(last === undefined ? {} : { cause: last }),
  });
}
