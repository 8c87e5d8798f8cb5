/**
 * Reads that are shared by all who ask at about the same time, and never older than the question: who asks while a read is
 * under way gets the next one. So however many ask, two reads are under way at most for each key.
 */
import { SharedLoads } from '../shared-loads.ts';

export class FreshReads<V> {
  readonly #underway = new Map<string, Promise<unknown>>();
  readonly #next = new SharedLoads<V>();
  readonly #read: (key: string, signal: AbortSignal) => Promise<V>;

  constructor(read: (key: string, signal: AbortSignal) => Promise<V>) {
    this.#read = read;
  }

  /** What the key reads as at a moment after this call. @throws what the read throws; the signal's reason */
  async get(key: string, signal?: AbortSignal): Promise<V> {
    return await this.#next.get(key, async (stop) => await this.#after(key, stop), signal);
  }

  /** Reads once the read that is under way has ended. Whoever asks from then on shares the one after this. */
  async #after(key: string, stop: AbortSignal): Promise<V> {
    await this.#underway.get(key);
    this.#next.forget(key);
    const reading = this.#read(key, stop);
    const ended = reading.then(
      () => undefined,
      () => undefined,
    );
    this.#underway.set(key, ended);
    try {
      return await reading;
    } finally {
      if (this.#underway.get(key) === ended) this.#underway.delete(key);
    }
  }
}
