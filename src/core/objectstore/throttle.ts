/**
 * Keeps a store's traffic under a rate in each direction, by token buckets. Requests themselves are free.
 *
 * Invariant of a bucket: `level` <= `burst`; a caller that takes it below zero waits until it would be zero again, so
 * callers are served in order and a body larger than the burst passes.
 */
import { assert, systemClock, type Clock } from '../kit/index.ts';
import { bodyLength } from './contract.ts';
import type { GetOptions, ObjectBody, ObjectStore, PutBody, PutOptions, PutResult } from './contract.ts';
import { StoreLayer } from './layer.ts';
import { sleep } from './retry.ts';

/** Undefined is no limit. */
export interface Rates {
  readonly upBytesPerSecond?: number;
  readonly downBytesPerSecond?: number;
}

export interface ThrottleOptions extends Rates {
  readonly clock?: Clock;
}

export interface ThrottledStore {
  readonly store: ObjectStore;
  /** Changes the rates from now on; callers that wait already keep their turn. */
  setRates(rates: Rates): void;
}

class Bucket {
  readonly #clock: Clock;
  #bytesPerSecond: number;
  #level: number;
  #filledMs: number;

  constructor(clock: Clock, bytesPerSecond: number | undefined) {
    this.#clock = clock;
    this.#bytesPerSecond = checkRate(bytesPerSecond);
    this.#level = this.#burst();
    this.#filledMs = clock.monotonicMs();
  }

  setRate(bytesPerSecond: number | undefined): void {
    this.#fill();
    this.#bytesPerSecond = checkRate(bytesPerSecond);
    this.#level = Math.min(this.#level, this.#burst());
    if (this.#bytesPerSecond === Number.POSITIVE_INFINITY) this.#level = 0;
  }

  async take(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#bytesPerSecond === Number.POSITIVE_INFINITY) return;
    this.#fill();
    this.#level -= bytes;
    if (this.#level >= 0) return;
    try {
      await sleep(this.#clock, (-this.#level / this.#bytesPerSecond) * 1000, signal);
    } catch (error) {
      this.#level = Math.min(this.#level + bytes, this.#burst());
      throw error;
    }
  }

  /** A second's worth. */
  #burst(): number {
    return this.#bytesPerSecond === Number.POSITIVE_INFINITY ? 0 : this.#bytesPerSecond;
  }

  #fill(): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#bytesPerSecond !== Number.POSITIVE_INFINITY) {
      this.#level = Math.min(this.#burst(), this.#level + ((nowMs - this.#filledMs) / 1000) * this.#bytesPerSecond);
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

  constructor(below: ObjectStore, options: ThrottleOptions) {
    super(below);
    const clock = options.clock ?? systemClock;
    this.up = new Bucket(clock, options.upBytesPerSecond);
    this.down = new Bucket(clock, options.downBytesPerSecond);
  }

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    await this.up.take(bodyLength(body), options?.signal);
    return this.below.put(key, body, options);
  }

  /** The size is known only afterwards, so a read delays its own answer, and by that the next request. */
  override async get(key: string, options?: GetOptions): Promise<ObjectBody | undefined> {
    const body = await this.below.get(key, options);
    if (body !== undefined) await this.down.take(body.bytes.length, options?.signal);
    return body;
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
    },
  };
}
