/** A cache of loaded values, bounded in bytes, least recently used out first. Loads of one key are shared. */
import { SharedLoads } from './shared-loads.ts';

export class BoundedCache<V> {
  readonly #limitBytes: number;
  readonly #sizeOf: (value: V) => number;
  readonly #values = new Map<string, V>();
  readonly #loads = new SharedLoads<V>();
  #bytes = 0;

  constructor(limitBytes: number, sizeOf: (value: V) => number) {
    this.#limitBytes = limitBytes;
    this.#sizeOf = sizeOf;
  }

  async get(key: string, load: (signal: AbortSignal) => Promise<V>, signal?: AbortSignal): Promise<V> {
    const present = this.#values.get(key);
    if (present !== undefined) {
      this.#values.delete(key);
      this.#values.set(key, present);
      return present;
    }
    const value = await this.#loads.get(key, load, signal);
    this.put(key, value);
    return value;
  }

  /** What is kept under `key`; it does not count as a use. */
  peek(key: string): V | undefined {
    return this.#values.get(key);
  }

  /** As `put`, in the place of what is kept under `key`. */
  replace(key: string, value: V): void {
    const old = this.#values.get(key);
    if (old !== undefined) {
      this.#values.delete(key);
      this.#bytes -= this.#sizeOf(old);
    }
    this.put(key, value);
  }

  put(key: string, value: V): void {
    if (this.#values.has(key)) return;
    this.#values.set(key, value);
    this.#bytes += this.#sizeOf(value);
    for (const [oldest, old] of this.#values) {
      if (this.#bytes <= this.#limitBytes || oldest === key) break;
      this.#values.delete(oldest);
      this.#bytes -= this.#sizeOf(old);
    }
  }
}
