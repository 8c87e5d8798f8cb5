/**
 * Reads of small things that many requests ask for again and again: what was read a moment ago is given again, and read anew
 * before that moment is over while there is demand, so that nobody waits for it. Whoever changes such a thing, and needs that
 * nobody goes by what it was before, waits for `RECENT_SETTLED_MS` after the change.
 *
 * Invariant: what `get` gives was read by a read that began at most `RECENT_MS` ago.
 */
import type { Clock } from '../kit/index.ts';
import { SharedLoads } from './shared-loads.ts';

/** How old what is given may be. */
const RECENT_MS = 400;
/** With room for clocks that do not run at one pace. */
export const RECENT_SETTLED_MS = 500;
const KEYS_MAX = 4096;

interface Known<V> {
  readonly value: V;
  /** When its read began, on the monotonic clock. */
  readonly beganMs: number;
}

export interface RecentReadsOptions {
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** Ends reads that nobody waits for. */
  readonly closed: AbortSignal;
}

export class RecentReads<V> {
  readonly #read: (key: string, signal: AbortSignal) => Promise<V>;
  readonly #options: RecentReadsOptions;
  readonly #known = new Map<string, Known<V>>();
  readonly #underway = new Map<string, Promise<unknown>>();
  readonly #next = new SharedLoads<V>();

  constructor(read: (key: string, signal: AbortSignal) => Promise<V>, options: RecentReadsOptions) {
    this.#read = read;
    this.#options = options;
  }

  /** What the key read as at most `RECENT_MS` ago. @throws what the read throws, which is not remembered; the signal's reason */
  async get(key: string, signal?: AbortSignal): Promise<V> {
    const known = this.#known.get(key);
    const ageMs = known === undefined ? Number.POSITIVE_INFINITY : this.#options.clock.monotonicMs() - known.beganMs;
    if (known === undefined || ageMs >= RECENT_MS) return await this.fresh(key, signal);
    // Whoever asks next finds what this reads.
    if (ageMs >= RECENT_MS / 2 && !this.#underway.has(key))
      this.fresh(key, this.#options.closed).catch(() => undefined);
    return known.value;
  }

  /**
   * What the key reads as at a moment after this call. Shared by all who ask at about the same time: however many they are, two
   * reads of a key are under way at most.
   */
  async fresh(key: string, signal?: AbortSignal): Promise<V> {
    return await this.#next.get(key, async (stop) => await this.#after(key, stop), signal);
  }

  /** Reads once the read that is under way has ended. Whoever asks from then on shares the one after this. */
  async #after(key: string, stop: AbortSignal): Promise<V> {
    await this.#underway.get(key);
    this.#next.forget(key);
    const beganMs = this.#options.clock.monotonicMs();
    const reading = this.#read(key, stop);
    const ended = reading.then(
      (value) => {
        this.#remember(key, { value, beganMs });
      },
      () => {
        this.#known.delete(key);
      },
    );
    this.#underway.set(key, ended);
    try {
      return await reading;
    } finally {
      await ended;
      if (this.#underway.get(key) === ended) this.#underway.delete(key);
    }
  }

  #remember(key: string, known: Known<V>): void {
    this.#known.delete(key);
    this.#known.set(key, known);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= KEYS_MAX) break;
      this.#known.delete(oldest);
    }
  }
}
