/** How fast a restore goes, by what was done lately. */
import type { Clock } from '../kit/index.ts';

const WINDOW_MS = 30_000;
const SAMPLES_MAX = 64;

export class Pace {
  readonly #clock: Clock;
  readonly #samples: { readonly atMs: number; readonly doneBytes: number }[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  note(doneBytes: number): void {
    const atMs = this.#clock.monotonicMs();
    this.#samples.push({ atMs, doneBytes });
    while (this.#samples.length > SAMPLES_MAX || atMs - (this.#samples[0]?.atMs ?? atMs) > WINDOW_MS)
      this.#samples.shift();
  }

  /** Milliseconds that `leftBytes` take at that rate; null while it is not known. */
  leftMs(leftBytes: number): number | null {
    if (leftBytes === 0) return 0;
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.doneBytes <= first.doneBytes) return null;
    return Math.round((leftBytes * (last.atMs - first.atMs)) / (last.doneBytes - first.doneBytes));
  }
}
