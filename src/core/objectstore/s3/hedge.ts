/**
 * A second try of reads that are slower than nearly all others were: whichever answers first counts, and the other one is
 * stopped. The delay is one and a half times the 95th percentile of what recent reads took to their first byte, so that it follows
 * the store; a budget keeps second tries to a few in a hundred, also when everything becomes slow at once.
 *
 * Invariants: no hedge before `SAMPLES_MIN` samples; `0 <= budget <= BUDGET_MAX`; at most one hedge of a read.
 */
import { throwIfAborted, type Clock } from '../../kit/index.ts';

const SAMPLES_MIN = 32;
const SAMPLES_KEPT = 256;
const QUANTILE = 0.95;
/** So many times the quantile: those just above it are on their way. */
const PATIENCE = 1.5;
/** Hedges that a read adds to the budget: so many in a hundred. */
const SHARE = 0.05;
const BUDGET_MAX = 8;
/** Nothing is won by being faster than that. */
const DELAY_MIN_MS = 5;

export interface HedgeCounters {
  /** Reads that were tried a second time. */
  readonly hedged: number;
  /** Those whose second try answered first. */
  readonly won: number;
}

export class Hedging {
  readonly #clock: Clock;
  readonly #samplesMs: number[] = [];
  #next = 0;
  #budget = 0;
  #delayMs = Number.POSITIVE_INFINITY;
  #hedged = 0;
  #won = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get counters(): HedgeCounters {
    return { hedged: this.#hedged, won: this.#won };
  }

  /** How long a read may take before it is tried again, now; infinite while too little is known. */
  get delayMs(): number {
    return this.#delayMs;
  }

  /**
   * Runs `attempt`, twice when the first is slow. The signal of the attempt that lost fires; `discard` gets what it may
   * still answer.
   * @throws what the last attempt threw; the first one's failure while no other is under way
   */
  async run<T>(
    attempt: (signal: AbortSignal) => Promise<T>,
    discard: (late: T) => void,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    throwIfAborted(signal);
    this.#budget = Math.min(BUDGET_MAX, this.#budget + SHARE);
    const startedMs = this.#clock.monotonicMs();
    const race = new Race(attempt, discard, signal);
    const timer = Number.isFinite(this.#delayMs)
      ? setTimeout(() => {
          this.#second(race);
        }, this.#delayMs)
      : undefined;
    try {
      const { value, index } = await race.run();
      if (index > 0) this.#won += 1;
      this.#note(this.#clock.monotonicMs() - startedMs);
      return value;
    } finally {
      clearTimeout(timer);
      race.end();
    }
  }

  #second<T>(race: Race<T>): void {
    if (this.#budget < 1) return;
    this.#budget -= 1;
    this.#hedged += 1;
    race.begin();
  }

  #note(durationMs: number): void {
    this.#samplesMs[this.#next % SAMPLES_KEPT] = durationMs;
    this.#next += 1;
    // Sorting costs: now and then is enough.
    if (this.#samplesMs.length < SAMPLES_MIN || this.#next % 16 !== 0) return;
    const sorted = [...this.#samplesMs].sort((a, b) => a - b);
    this.#delayMs = Math.max(DELAY_MIN_MS, PATIENCE * (sorted[Math.floor(sorted.length * QUANTILE)] ?? 0));
  }
}

/** Attempts at one thing: the first that succeeds wins. */
class Race<T> {
  readonly #attempt: (signal: AbortSignal) => Promise<T>;
  readonly #discard: (late: T) => void;
  readonly #signal: AbortSignal | undefined;
  readonly #stops: AbortController[] = [];
  readonly #outcome = Promise.withResolvers<{ value: T; index: number }>();
  #running = 0;
  #isOver = false;
  #winner: number | undefined;

  constructor(
    attempt: (signal: AbortSignal) => Promise<T>,
    discard: (late: T) => void,
    signal: AbortSignal | undefined,
  ) {
    this.#attempt = attempt;
    this.#discard = discard;
    this.#signal = signal;
    signal?.addEventListener('abort', this.#stopAll, { once: true });
  }

  async run(): Promise<{ value: T; index: number }> {
    this.begin();
    return await this.#outcome.promise;
  }

  /** Another attempt, beside what is under way. */
  begin(): void {
    if (this.#isOver) return;
    const index = this.#stops.length;
    const stop = new AbortController();
    this.#stops.push(stop);
    this.#running += 1;
    this.#attempt(stop.signal).then(
      (value) => {
        this.#running -= 1;
        if (this.#isOver) {
          this.#discard(value);
          return;
        }
        this.#isOver = true;
        this.#winner = index;
        this.#outcome.resolve({ value, index });
      },
      (error: unknown) => {
        this.#running -= 1;
        if (this.#isOver || this.#running > 0) return;
        this.#isOver = true;
        this.#outcome.reject(error);
      },
    );
  }

  /** Stops the attempts that did not win. */
  end(): void {
    this.#signal?.removeEventListener('abort', this.#stopAll);
    for (const [index, stop] of this.#stops.entries()) if (index !== this.#winner) stop.abort();
  }

  readonly #stopAll = (): void => {
    for (const stop of this.#stops) stop.abort(this.#signal?.reason);
  };
}
