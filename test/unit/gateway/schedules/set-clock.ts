/** A clock that a test moves: time passes for both of its hands, and the time of day can be set to anything. */
import type { Clock } from '../../../../src/core/kit/index.ts';

interface Sleeper {
  readonly atMs: number;
  readonly wake: () => void;
}

export class SetClock implements Clock {
  #wallMs: number;
  #monotonicMs = 0;
  #sleepers: Sleeper[] = [];

  constructor(wallMs: number) {
    this.#wallMs = wallMs;
  }

  nowMs(): number {
    return this.#wallMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  get sleepers(): number {
    return this.#sleepers.length;
  }

  /** How long until the next sleeper wakes. */
  get nextInMs(): number {
    return Math.min(...this.#sleepers.map(({ atMs }) => atMs)) - this.#monotonicMs;
  }

  async sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        reject(signal?.reason as Error);
      };
      const wake = (): void => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      };
      const sleeper = { atMs: this.#monotonicMs + durationMs, wake };
      this.#sleepers.push(sleeper);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Lets time pass, and wakes who has slept long enough. */
  pass(durationMs: number): void {
    this.#wallMs += durationMs;
    this.#monotonicMs += durationMs;
    const due = this.#sleepers.filter(({ atMs }) => atMs <= this.#monotonicMs);
    this.#sleepers = this.#sleepers.filter((sleeper) => !due.includes(sleeper));
    for (const { wake } of due) wake();
  }

  /** Sets the time of day, as a person or a time server does. */
  set(wallMs: number): void {
    this.#wallMs = wallMs;
  }
}
