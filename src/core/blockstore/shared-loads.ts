/**
 * Loads of one key are shared by all who wait for it. A waiter whose signal fires leaves without disturbing the others;
 * the load itself is told to stop when the last one has left, and whoever comes then begins a new one.
 */
import { throwIfAborted, untilAborted } from '../kit/index.ts';

interface Load<V> {
  readonly result: Promise<V>;
  readonly stop: AbortController;
  waiters: number;
}

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
        shared.stop.abort();
      }
    }
  }

  #start(key: string, load: (signal: AbortSignal) => Promise<V>): Load<V> {
    const stop = new AbortController();
    const shared: Load<V> = { result: load(stop.signal), stop, waiters: 0 };
    this.#loads.set(key, shared);
    const end = (): void => {
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
