import { abortReason, assert, throwIfAborted } from './errors.ts';

interface Waiter {
  readonly amount: number;
  readonly grant: () => void;
}

/**
 * A counted budget, in bytes or in slots, granted in the order of asking. The bound behind every
 * pipeline: nothing large is allocated before its bytes are acquired. A request above the capacity
 * is granted alone, when everything else has been released.
 */
export class Semaphore {
  readonly capacity: number;
  #free: number;
  #waiters: Waiter[] = [];

  constructor(capacity: number) {
    assert(capacity > 0, 'a semaphore needs a capacity above zero');
    this.capacity = capacity;
    this.#free = capacity;
  }

  /** Waits for `amount`, then returns the function that gives it back; calling that twice is harmless. */
  async acquire(amount = 1, signal?: AbortSignal): Promise<() => void> {
    throwIfAborted(signal);
    const wanted = Math.min(amount, this.capacity);
    if (this.#waiters.length > 0 || this.#free < wanted) await this.#wait(wanted, signal);
    else this.#free -= wanted;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#free += wanted;
      this.#grantWaiters();
    };
  }

  /** Does `work` with 1 of it, and gives that back. @throws what `work` throws */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const release = await this.acquire(1, signal);
    try {
      return await work();
    } finally {
      release();
    }
  }

  async #wait(amount: number, signal: AbortSignal | undefined): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        this.#grantWaiters();
        if (signal !== undefined) reject(abortReason(signal));
      };
      const waiter: Waiter = {
        amount,
        grant: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiters.push(waiter);
    });
  }

  #grantWaiters(): void {
    for (let first = this.#waiters[0]; first !== undefined && first.amount <= this.#free; first = this.#waiters[0]) {
      this.#waiters.shift();
      this.#free -= first.amount;
      first.grant();
    }
  }
}
