/**
 * Jobs side by side, within a bound in bytes.
 *
 * Invariants: the weights of the jobs under way add up to at most the bound (one heavier job goes alone); after a failure no
 * job is started; `end` resolves, or throws the first failure, once none is under way.
 */
import { Semaphore } from '../../kit/index.ts';

/** Bytes of objects that copying and comparing hold at once. */
export const HELD_BYTES_MAX = 64 * 1024 * 1024;
/** Small objects count as this much, so that not too many requests are under way. */
export const WEIGHT_MIN_BYTES = 2 * 1024 * 1024;

/** Runs `begin`, which starts jobs. Resolves when all have ended. @throws the first failure, once none is under way */
export async function boundedWork(
  weightMax: number,
  signal: AbortSignal | undefined,
  begin: (work: BoundedWork) => Promise<void>,
): Promise<void> {
  const work = new BoundedWork(weightMax, signal);
  try {
    await begin(work);
  } catch (error) {
    await work.abandon();
    throw error;
  }
  await work.end();
}

export class BoundedWork {
  readonly #weights: Semaphore;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #running = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  constructor(weightMax: number, signal: AbortSignal | undefined) {
    this.#weights = new Semaphore(weightMax);
    this.#signal = signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal]);
  }

  /** Resolves when the job has begun. @throws the first failure, once all that was under way has ended */
  async start(weight: number, job: (signal: AbortSignal) => Promise<void>): Promise<void> {
    let release: () => void;
    try {
      release = await this.#weights.acquire(weight, this.#signal);
    } catch (error) {
      this.#failure ??= { error };
      await this.end();
      throw error;
    }
    const running = job(this.#signal)
      .catch((error: unknown) => {
        this.#failure ??= { error };
        this.#stop.abort();
      })
      .finally(() => {
        release();
        this.#running.delete(running);
      });
    this.#running.add(running);
  }

  /** @throws the first failure */
  async end(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Stops what is under way, and waits for its end. For who fails himself. */
  async abandon(): Promise<void> {
    this.#stop.abort();
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}
