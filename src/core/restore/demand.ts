/**
 * What guests ask for while it is not restored yet, and in which order. Blocks that were read are restored before the background
 * goes on; what does not fit into the queue is restored by the background anyway.
 */
import type { Clock } from '../kit/index.ts';

const QUEUE_MAX = 1024;
/** How long the order of first touches is recorded, and of how many blocks. */
const PROFILE_MS = 10 * 60_000;
const PROFILE_MAX = 4096;
/** After a demand the background keeps its rounds small for so long. */
const BUSY_MS = 500;

export class Demand {
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #queue = new Set<number>();
  readonly #touched = new Set<number>();
  #lastMs = Number.NEGATIVE_INFINITY;
  #wake: (() => void) | undefined;
  #reads = 0;
  #readMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
  }

  /** Blocks in the order of their first touch, for the next restore of the same snapshot. */
  get profile(): number[] {
    return [...this.#touched];
  }

  /** Reads that had to be answered from the snapshot, and how long they took in all. */
  get stats(): { readonly reads: number; readonly readMs: number } {
    return { reads: this.#reads, readMs: this.#readMs };
  }

  get isRecent(): boolean {
    return this.#clock.monotonicMs() - this.#lastMs < BUSY_MS;
  }

  touch(first: number, last: number): void {
    if (this.#touched.size >= PROFILE_MAX || this.#clock.monotonicMs() - this.#startedMs > PROFILE_MS) return;
    for (let block = first; block <= last && this.#touched.size < PROFILE_MAX; block++) this.#touched.add(block);
  }

  /** A guest waits for a round. */
  wait(): void {
    this.#lastMs = this.#clock.monotonicMs();
  }

  /** A block that is not restored is wanted. */
  want(block: number): void {
    this.#lastMs = this.#clock.monotonicMs();
    if (this.#queue.size < QUEUE_MAX) this.#queue.add(block);
    this.#wake?.();
  }

  countRead(startedMs: number): void {
    this.#reads += 1;
    this.#readMs += this.#clock.monotonicMs() - startedMs;
  }

  /** Up to `count` wanted blocks, oldest first; they are taken. */
  take(count: number): number[] {
    const taken: number[] = [];
    for (const block of this.#queue) {
      if (taken.length === count) break;
      taken.push(block);
      this.#queue.delete(block);
    }
    return taken;
  }

  get isEmpty(): boolean {
    return this.#queue.size === 0;
  }

  /** Resolves when something is wanted. @throws the signal's reason */
  async wanted(signal: AbortSignal): Promise<void> {
    if (!this.isEmpty) return;
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const end = (): void => {
        signal.removeEventListener('abort', onAbort);
        this.#wake = undefined;
      };
      const onAbort = (): void => {
        end();
        reject(signal.reason as Error);
      };
      this.#wake = () => {
        end();
        resolve();
      };
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }
}
