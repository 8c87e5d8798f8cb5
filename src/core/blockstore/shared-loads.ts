/**
 * Loads of one key are shared by all who wait for it. A waiter whose signal fires leaves without disturbing the others;
 * the load itself is told to stop when the last one has left, and whoever comes then begins a new one.
 */
import { SgwError, throwIfAborted, untilAborted } from '../kit/index.ts';

interface Load<V> {
  readonly result: Promise<V>;
  readonly stop: AbortController;
  waiters: number;
  hasEnded: boolean;
}

/** Why a load is stopped that nobody waits for. Made once: an error with its stack costs more than a load from a cache. */
const LEFT = new SgwError('aborted', 'aborted', 'nobody waits for it any more');

export class SharedLoads<V> {
  readonly #loads = new Map<string, Load<V>>();

  /** What `load` gives, started only when no load of `key` is under way. @throws what it throws; the signal's reason */
  async get(key: string, load: (signal: AbortSignal) => Promise<V>, signal?: AbortSignal): Promise<V> {
    throwIfAborted(signal);
    const shared = this.#loads.get(key) ?? this.#start(key, load);
    shared.waiters += 1;
    try {
      return await untilAborted(shared.result, signal);
    } finally {
      shared.waiters -= 1;
      if (shared.waiters === 0) {
        this.#forget(key, shared);
        if (!shared.hasEnded) shared.stop.abort(LEFT);
      }
    }
  }

  /** Whoever asks for the key from now on begins a new load; those who wait for the one under way still get it. */
  forget(key: string): void {
    this.#loads.delete(key);
  }

  #start(key: string, load: (signal: AbortSignal) => Promise<V>): Load<V> {
    const stop = new AbortController();
    const shared: Load<V> = { result: load(stop.signal), stop, waiters: 0, hasEnded: false };
    this.#loads.set(key, shared);
    const end = (): void => {
      shared.hasEnded = true;
      this.#forget(key, shared);
    };
    // Also marks a failure as seen: everyone may have left.
    shared.result.then(end, end);
    return shared;
  }

  #forget(key: string, shared: Load<V>): void {
    if (this.#loads.get(key) === shared) this.#loads.delete(key);
  }
}
