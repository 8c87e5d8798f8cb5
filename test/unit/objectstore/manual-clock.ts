import type { Clock } from '../../../src/core/kit/index.ts';

/** A clock that jumps over every sleep and remembers it. */
export class ManualClock implements Clock {
  ms = 0;
  readonly sleeps: number[] = [];

  nowMs(): number {
    return this.ms;
  }

  monotonicMs(): number {
    return this.ms;
  }

  async sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    await Promise.resolve();
    signal?.throwIfAborted();
    this.sleeps.push(durationMs);
    this.ms += durationMs;
  }
}
