/** Tries again what failed, at growing distances, until it succeeds, can't be mended, or is stopped. */
import { SgwError, toSgwError, type Clock, type ErrorKind, type Random } from '../../kit/index.ts';

const FIRST_MS = 1000;
const MAX_MS = 60_000;

/** What trying again does not mend. A store that lets nobody in is mended by its operator, outside. */
const LASTING_KINDS: ReadonlySet<ErrorKind> = new Set(['notFound', 'corrupt', 'unsupported', 'internal']);

const isLasting = (failure: SgwError): boolean => LASTING_KINDS.has(failure.kind);

export interface Retrying<K> {
  readonly attempt: (of: K, signal: AbortSignal) => Promise<void>;
  /** A try failed; `retryAtMs` is null when there is no other one. */
  readonly onFailure: (of: K, failure: SgwError, retryAtMs: number | null) => void;
}

export class Retries<K> {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #work: Retrying<K>;
  readonly #running = new Map<K, { readonly stop: AbortController; readonly done: Promise<void> }>();
  #isEnded = false;

  constructor({ clock, random }: { readonly clock: Clock; readonly random: Random }, work: Retrying<K>) {
    this.#clock = clock;
    this.#random = random;
    this.#work = work;
  }

  /** Takes note of a failure, and tries again later unless that mends nothing. */
  begin(of: K, failure: SgwError): void {
    if (isLasting(failure) || this.#isEnded || this.#running.has(of)) {
      this.#work.onFailure(of, failure, null);
      return;
    }
    const stop = new AbortController();
    const done = this.#loop(of, failure, stop.signal).finally(() => this.#running.delete(of));
    this.#running.set(of, { stop, done });
  }

  /** Resolves when it is tried no more. */
  async stop(of: K): Promise<void> {
    const running = this.#running.get(of);
    running?.stop.abort(new SgwError('aborted', 'aborted', 'stopped on request'));
    await running?.done;
  }

  /** Begins no more, and stops all. */
  async end(): Promise<void> {
    this.#isEnded = true;
    await Promise.all([...this.#running.keys()].map(async (of) => this.stop(of)));
  }

  async #loop(of: K, first: SgwError, signal: AbortSignal): Promise<void> {
    let failure = first;
    for (let delayMs = FIRST_MS; !isLasting(failure); delayMs = Math.min(MAX_MS, delayMs * 2)) {
      const waitMs = delayMs * (0.5 + this.#random.float() / 2);
      this.#work.onFailure(of, failure, this.#clock.nowMs() + waitMs);
      try {
        await this.#clock.sleep(waitMs, signal);
      } catch {
        return;
      }
      try {
        await this.#work.attempt(of, signal);
        return;
      } catch (error) {
        failure = toSgwError(error);
        if (signal.aborted) break;
      }
    }
    this.#work.onFailure(of, failure, null);
  }
}
