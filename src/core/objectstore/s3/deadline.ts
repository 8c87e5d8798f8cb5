/** A caller's signal and a limit of time as one signal. Dispose it when the work is done. */
import type { Clock } from '../../kit/index.ts';

export class Deadline implements Disposable {
  readonly #stop = new AbortController();
  readonly #waiting = new AbortController();
  readonly #caller: AbortSignal | undefined;
  #isOver = false;

  /** @param timeoutMs from now */
  constructor(caller: AbortSignal | undefined, timeoutMs: number, clock: Clock) {
    this.#caller = caller;
    caller?.addEventListener('abort', this.#onCaller, { once: true });
    if (caller?.aborted === true) this.#onCaller();
    clock.sleep(timeoutMs, this.#waiting.signal).then(
      () => {
        this.#isOver = true;
        this.#stop.abort();
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
    this.#waiting.abort();
    this.#caller?.removeEventListener('abort', this.#onCaller);
  }
}
