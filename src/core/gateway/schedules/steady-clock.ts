/**
 * Whether the time of day can be gone by. A clock that was set to a wrong year has nothing thinned by it: what is deleted by
 * the time waits until that has run evenly, beside the monotonic clock, for a while. A machine that slept is waited for likewise.
 */
import type { Clock } from '../../kit/index.ts';

/** A step of the time of day: more than clocks are corrected by while they run. */
const STEP_MS = 60_000;
const STEADY_MS = 10 * 60_000;

export class SteadyClock {
  readonly #clock: Clock;
  #sinceMs: number;
  #offsetMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#sinceMs = clock.monotonicMs();
    this.#offsetMs = clock.nowMs() - this.#sinceMs;
  }

  /** How long to wait still, as far as is known now; 0 when it can be gone by. To be asked at least every few minutes. */
  waitMs(): number {
    const nowMs = this.#clock.monotonicMs();
    const offsetMs = this.#clock.nowMs() - nowMs;
    if (Math.abs(offsetMs - this.#offsetMs) > STEP_MS) {
      this.#offsetMs = offsetMs;
      this.#sinceMs = nowMs;
    }
    return Math.max(0, this.#sinceMs + STEADY_MS - nowMs);
  }
}
