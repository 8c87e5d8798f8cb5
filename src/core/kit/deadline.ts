import type { Clock } from './clock.ts';
import { SgwError } from './errors.ts';

/** Why the wait for the time limit ends. Made once: an error with its stack costs as much as a small request does. */
const DONE = new SgwError('aborted', 'aborted', 'the work is done');

/** A caller's signal and a limit of time as one signal. Dispose it when the work is done. */
export class Deadline implements Disposable {
  readonly #stop = new AbortController();
  readonly #waiting = new AbortController();
  readonly #caller: AbortSignal | undefined;
  #isOver = false;

  /**
   * @param timeoutMs from now
   * @param reason what the signal fires with when time runs out
   */
  constructor(
    caller: AbortSignal | undefined,
    timeoutMs: number,
    clock: Pick<Clock, 'sleep'>,
    reason?: () => SgwError,
  ) {
    this.#caller = caller;
    caller?.addEventListener('abort', this.#onCaller, { once: true });
    if (caller?.aborted === true) this.#onCaller();
    clock.sleep(timeoutMs, this.#waiting.signal).then(
      () => {
        this.#isOver = true;
        this.#stop.abort(reason?.());
      },
      () => undefined,
    );
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Whether time ran out. */
  get isOver(): boolean {
    return this.#isOver;
  }

  readonly #onCaller = (): void => {
    this.#stop.abort(this.#caller?.reason);
  };

  [Symbol.dispose](): void {
    this.#waiting.abort(DONE);
    this.#caller?.removeEventListener('abort', this.#onCaller);
  }
}
