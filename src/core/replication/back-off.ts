/** Ever longer distances between tries that fail, by the injected randomness. */
import type { Random } from '../kit/index.ts';

const FIRST_MS = 2000;
const LONGEST_MS = 60_000;

export class BackOff {
  readonly #random: Pick<Random, 'float'>;
  #ms = FIRST_MS;

  constructor(random: Pick<Random, 'float'>) {
    this.#random = random;
  }

  /** How long to wait after a try that has failed. */
  nextMs(): number {
    const ms = this.#ms * (0.5 + this.#random.float() / 2);
    this.#ms = Math.min(LONGEST_MS, this.#ms * 2);
    return ms;
  }

  /** A try has succeeded. */
  reset(): void {
    this.#ms = FIRST_MS;
  }
}
