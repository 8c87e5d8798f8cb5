/**
 * Keeps a store's traffic under a rate in each direction, by token buckets. Requests themselves are free. Small reads, which
 * somebody waits for, go before large ones: they take in advance what those then wait for.
 *
 * Invariant of a bucket: `level` <= `burst`; a caller that takes it below zero waits until it would be zero again, so
 * callers are served in order and a body larger than the burst passes. Small reads have a bucket of their own beside it, so
 * they wait for each other only, and large ones for both.
 */
import { assert, systemClock, type Clock } from '../kit/index.ts';
import { bodyLength } from './contract.ts';
import type { GetOptions, ObjectBody, ObjectStore, PutBody, PutOptions, PutResult, PutStream } from './contract.ts';
import { StoreLayer } from './layer.ts';
import { sleep } from './retry.ts';

/** Undefined is no limit. */
export interface Rates {
  readonly upBytesPerSecond?: number | undefined;
  readonly downBytesPerSecond?: number | undefined;
}

/** A read up to this is small: one or two frames. */
const SMALL_READ_BYTES = 256 * 1024;
/** A changed rate counts for who waits already, after so long. */
const SLICE_MS = 500;
/** What may be taken at once, in seconds of the rate; by small reads in advance. */
const BURST_SECONDS = 1;
const ADVANCE_SECONDS = 2;

export interface ThrottleOptions extends Rates {
  readonly clock?: Clock;
  /** Called when the store is closed. */
  readonly onClose?: () => void;
}

export interface ThrottledStore {
  readonly store: ObjectStore;
  /** Changes the rates from now on, within half a second also for callers that wait already; they keep their turn. */
  setRates(rates: Rates): void;
}

class Bucket {
  readonly #clock: Clock;
  readonly #burstSeconds: number;
  #bytesPerSecond: number;
  #level: number;
  #filledMs: number;

  /** `burstSeconds`: what may be taken at once, in seconds of the rate. */
  constructor(clock: Clock, bytesPerSecond: number | undefined, burstSeconds: number) {
    this.#clock = clock;
    this.#burstSeconds = burstSeconds;
    this.#bytesPerSecond = checkRate(bytesPerSecond);
    this.#level = this.#burst();
    this.#filledMs = clock.monotonicMs();
  }

  setRate(bytesPerSecond: number | undefined): void {
    this.#fill();
    this.#bytesPerSecond = checkRate(bytesPerSecond);
    this.#level = this.#isUnlimited ? 0 : Math.min(this.#level, this.#burst());
  }

  async take(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#isUnlimited) return;
    this.spend(bytes);
    try {
      await this.#waitFor(-this.#level, signal);
    } catch (error) {
      this.giveBack(bytes);
      throw error;
    }
  }

  /** Takes without waiting; whoever takes next waits for it. */
  spend(bytes: number): void {
    this.#fill();
    if (!this.#isUnlimited) this.#level -= bytes;
  }

  giveBack(bytes: number): void {
    this.#level = Math.min(this.#level + bytes, this.#burst());
  }

  /** In slices, each at the rate of its time. */
  async #waitFor(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    for (let owed = bytes; owed > 0 && !this.#isUnlimited;) {
      const rate = this.#bytesPerSecond;
      const startedMs = this.#clock.monotonicMs();
      await sleep(this.#clock, Math.min(SLICE_MS, (owed / rate) * 1000), signal);
      // At least a thousandth, so that rounding brings it to an end.
      owed -= Math.max(1, this.#clock.monotonicMs() - startedMs) * (rate / 1000);
    }
  }

  get #isUnlimited(): boolean {
    return this.#bytesPerSecond === Number.POSITIVE_INFINITY;
  }

  #burst(): number {
    return this.#isUnlimited ? 0 : this.#burstSeconds * this.#bytesPerSecond;
  }

  #fill(): void {
    const nowMs = this.#clock.monotonicMs();
    if (!this.#isUnlimited) {
      const filled = ((nowMs - this.#filledMs) / 1000) * this.#bytesPerSecond;
      this.#level = Math.min(this.#burst(), this.#level + filled);
    }
    this.#filledMs = nowMs;
  }
}

function checkRate(bytesPerSecond: number | undefined): number {
  if (bytesPerSecond === undefined) return Number.POSITIVE_INFINITY;
  assert(bytesPerSecond > 0, 'a rate is above zero');
  return bytesPerSecond;
}

class ThrottlingStore extends StoreLayer {
  readonly up: Bucket;
  readonly down: Bucket;
  readonly smallDown: Bucket;
  readonly #onClose: (() => void) | undefined;
  readonly putStream?: PutStream;

  constructor(below: ObjectStore, options: ThrottleOptions) {
    super(below);
    const clock = options.clock ?? systemClock;
    this.up = new Bucket(clock, options.upBytesPerSecond, BURST_SECONDS);
    this.down = new Bucket(clock, options.downBytesPerSecond, BURST_SECONDS);
    this.smallDown = new Bucket(clock, options.downBytesPerSecond, ADVANCE_SECONDS);
    this.#onClose = options.onClose;
    const stream = below.putStream?.bind(below);
    if (stream === undefined) return;
    this.putStream = async (key, body, streaming) => {
      await this.up.take(body.sizeBytes, streaming?.signal);
      return await stream(key, body, streaming);
    };
  }

  override async close(): Promise<void> {
    this.#onClose?.();
    await super.close();
  }

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    await this.up.take(bodyLength(body), options?.signal);
    return this.below.put(key, body, options);
  }

  /** The size is known only afterwards, so a read delays its own answer, and by that the next request. */
  override async get(key: string, options?: GetOptions): Promise<ObjectBody | undefined> {
    const body = await this.below.get(key, options);
    if (body === undefined) return undefined;
    const { length } = body.bytes;
    if (length <= SMALL_READ_BYTES) await this.#takeSmall(length, options?.signal);
    else await this.down.take(length, options?.signal);
    return body;
  }

  async #takeSmall(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    this.down.spend(bytes);
    try {
      await this.smallDown.take(bytes, signal);
    } catch (error) {
      this.down.giveBack(bytes);
      throw error;
    }
  }
}

/** `below` at the given rates. Closing the store closes `below`. */
export function withThrottle(below: ObjectStore, options: ThrottleOptions): ThrottledStore {
  const store = new ThrottlingStore(below, options);
  return {
    store,
    setRates: (rates) => {
      store.up.setRate(rates.upBytesPerSecond);
      store.down.setRate(rates.downBytesPerSecond);
      store.smallDown.setRate(rates.downBytesPerSecond);
    },
  };
}
