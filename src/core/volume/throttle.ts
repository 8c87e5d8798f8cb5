/**
 * Back-pressure of a cached volume: as the upload buffer fills, writers are slowed to the speed of the upload, so that they
 * never run into the end of it at full speed (DESIGN section 6). Below `START` nothing is slowed.
 */
import type { Clock } from '../kit/index.ts';

/** Part of the buffer that may be used at full speed. */
const START = 0.7;
/** From here on writers get the speed of the upload; between the two, more. */
const END = 0.95;
/** What a writer gets at least before the buffer is full, when nothing is being uploaded. */
const FLOOR_BYTES_PER_SECOND = 4 << 20;
/** One write is never held up for longer than this; a full buffer is waited for elsewhere. */
const DELAY_MS_MAX = 1000;
/** The upload's speed is averaged over about this long. */
const WINDOW_MS = 10_000;

export class Throttle {
  readonly #clock: Clock;
  #uploadedPerMs = 0;
  #lastUploadMs: number;
  /** Until when the bytes that were let through so far keep others waiting. */
  #busyUntilMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#lastUploadMs = clock.monotonicMs();
  }

  /** Takes note of what was uploaded. */
  uploaded(bytes: number): void {
    const nowMs = this.#clock.monotonicMs();
    const sinceMs = Math.max(1, nowMs - this.#lastUploadMs);
    const share = 1 - Math.exp(-sinceMs / WINDOW_MS);
    this.#uploadedPerMs += (bytes / sinceMs - this.#uploadedPerMs) * share;
    this.#lastUploadMs = nowMs;
  }

  /** Bytes a second that are being uploaded, about. */
  get uploadedPerSecond(): number {
    const idleMs = this.#clock.monotonicMs() - this.#lastUploadMs;
    return this.#uploadedPerMs * Math.exp(-Math.max(0, idleMs - WINDOW_MS) / WINDOW_MS) * 1000;
  }

  /** How long a write of `bytes` is to wait, when `used` (0 to 1) of the buffer is in use. 0 mostly. */
  delayMs(bytes: number, used: number): number {
    if (used < START) return 0;
    const pressure = Math.min(1, (used - START) / (END - START));
    const perMs = Math.max(FLOOR_BYTES_PER_SECOND / 1000, this.uploadedPerSecond / 1000) / pressure;
    const nowMs = this.#clock.monotonicMs();
    const startMs = Math.max(nowMs, this.#busyUntilMs);
    this.#busyUntilMs = Math.min(startMs + bytes / perMs, nowMs + DELAY_MS_MAX);
    return Math.min(DELAY_MS_MAX, startMs - nowMs);
  }
}
