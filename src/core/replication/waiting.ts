/** Callers that wait for a sequence to be secured. One promise serves all that wait for the same one. */
import type { SgwError } from '../kit/index.ts';

interface Waiter {
  readonly sequence: number;
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: SgwError) => void;
}

export class Waiting {
  /** Ascending. */
  #waiters: Waiter[] = [];

  get isEmpty(): boolean {
    return this.#waiters.length === 0;
  }

  /** The highest sequence that is waited for; 0 when none is. */
  get last(): number {
    return this.#waiters.at(-1)?.sequence ?? 0;
  }

  /** Resolves when `settle` was called with `sequence` or more. */
  wait(sequence: number): Promise<void> {
    let at = this.#waiters.length;
    while (at > 0 && (this.#waiters[at - 1]?.sequence ?? 0) > sequence) at -= 1;
    const same = this.#waiters[at - 1];
    if (same?.sequence === sequence) return same.promise;
    let resolve: () => void = () => undefined;
    let reject: (error: SgwError) => void = () => undefined;
    const promise = new Promise<void>((onDone, onFailed) => {
      resolve = onDone;
      reject = onFailed;
    });
    promise.catch(() => undefined);
    this.#waiters.splice(at, 0, { sequence, promise, resolve, reject });
    return promise;
  }

  /** Everything up to `sequence` is secured. */
  settle(sequence: number): void {
    let count = 0;
    while (count < this.#waiters.length && (this.#waiters[count]?.sequence ?? Infinity) <= sequence) count += 1;
    if (count === 0) return;
    for (const { resolve } of this.#waiters.splice(0, count)) resolve();
  }

  fail(error: SgwError): void {
    for (const { reject } of this.#waiters.splice(0)) reject(error);
  }
}
