/** A cache of loaded values, bounded in bytes, least recently used out first. Loads of one key are shared. */
export class BoundedCache<V> {
  readonly #limitBytes: number;
  readonly #sizeOf: (value: V) => number;
  readonly #values = new Map<string, V>();
  readonly #loading = new Map<string, Promise<V>>();
  #bytes = 0;

  constructor(limitBytes: number, sizeOf: (value: V) => number) {
    this.#limitBytes = limitBytes;
    this.#sizeOf = sizeOf;
  }

  async get(key: string, load: () => Promise<V>): Promise<V> {
    const present = this.#values.get(key);
    if (present !== undefined) {
      this.#values.delete(key);
      this.#values.set(key, present);
      return present;
    }
    let loading = this.#loading.get(key);
    if (loading === undefined) {
      loading = load().finally(() => this.#loading.delete(key));
      this.#loading.set(key, loading);
    }
    const value = await loading;
    this.put(key, value);
    return value;
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
