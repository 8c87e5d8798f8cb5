/** What is done for a volume again and again: one at a time, and again after a failure, later each time. */
import type { Clock, ErrorKind, SgwError } from '../../kit/index.ts';

const RETRY_FIRST_MS = 15_000;
const RETRY_MAX_MS = 5 * 60_000;
/** For what trying again does not mend: the operator does, outside. */
const RETRY_LASTING_MS = 60 * 60_000;
const LASTING_KINDS: ReadonlySet<ErrorKind> = new Set([
  'notFound',
  'corrupt',
  'unsupported',
  'internal',
  'denied',
  'exhausted',
]);

export class Job {
  readonly #clock: Clock;
  #work: Promise<void> | undefined;
  /** By the monotonic clock. */
  #retryAtMs = 0;
  #failures = 0;
  /** `retryNow` was called since the work began. */
  #isWoken = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isRunning(): boolean {
    return this.#work !== undefined;
  }

  /** Resolves when nothing is under way. */
  get ended(): Promise<void> {
    return this.#work ?? Promise.resolve();
  }

  /** Until it may be tried again; 0 or less: now. */
  get retryInMs(): number {
    return this.#retryAtMs - this.#clock.monotonicMs();
  }

  /** Whatever failed may be tried at once. */
  retryNow(): void {
    this.#retryAtMs = 0;
    this.#isWoken = true;
  }

  /** Of work under way that found nothing to do: it is looked at again after `retryNow`, also if that came meanwhile, or after this time. */
  rest(durationMs: number): void {
    if (this.#isWoken) return;
    this.#retryAtMs = this.#clock.monotonicMs() + durationMs;
  }

  /** Runs `work`; `onEnd` is called when it has ended, and what it threw was taken by `onFailure`. */
  begin(work: () => Promise<void>, onFailure: (error: unknown) => Promise<void>, onEnd: () => void): void {
    this.#isWoken = false;
    this.#work = work()
      .then(() => {
        this.#failures = 0;
      })
      .catch(onFailure)
      .finally(() => {
        this.#work = undefined;
        onEnd();
      });
  }

  /** Takes note of a failure of what is to be done every `everyMs`. Returns until it is tried again. */
  failed(failure: SgwError, everyMs: number): number {
    const retryInMs = LASTING_KINDS.has(failure.kind)
      ? Math.min(RETRY_LASTING_MS, everyMs)
      : Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(this.#failures, 10));
    this.#failures += 1;
    this.#retryAtMs = this.#clock.monotonicMs() + retryInMs;
    return retryInMs;
  }
}
