/** A clock that stands until a test turns it; who sleeps is woken in the order of their times. */
import type { Clock } from '../../../src/core/kit/index.ts';

interface Sleeper {
  readonly atMs: number;
  readonly wake: () => void;
}

export class TurnedClock implements Clock {
  ms = Date.UTC(2026, 0, 1);
  #sleepers: Sleeper[] = [];

  nowMs(): number {
    return this.ms;
  }

  monotonicMs(): number {
    return this.ms;
  }

  /** Whether anybody waits for a later time. */
  get isAwaited(): boolean {
    return this.#sleepers.length > 0;
  }

  async sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const sleeper = {
      atMs: this.ms + durationMs,
      wake: () => {
        resolve(undefined);
      },
    };
    this.#sleepers.push(sleeper);
    signal?.addEventListener('abort', () => {
      this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
      reject(signal.reason as Error);
    });
    await promise;
  }

  /** Turns to `atMs`, over each time that somebody waits for; `settled` is waited for at each, and at the end. */
  async turnTo(atMs: number, settled: () => Promise<void>): Promise<void> {
    for (;;) {
      const next = this.#sleepers.toSorted((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined || next.atMs > atMs) break;
      this.#sleepers = this.#sleepers.filter((other) => other !== next);
      this.ms = Math.max(this.ms, next.atMs);
      next.wake();
      await settled();
    }
    this.ms = atMs;
    await settled();
  }
}
