/** Time, injected everywhere so that tests and the simulator can own it. */
export interface Clock {
  /** Wall-clock time, milliseconds since 1970. May jump. */
  nowMs(): number;
  /** Monotonic milliseconds since an arbitrary start. Never goes back. */
  monotonicMs(): number;
  /** Resolves after `durationMs`; rejects with the signal's reason when it fires first. */
  sleep(durationMs: number, signal?: AbortSignal): Promise<void>;
}
