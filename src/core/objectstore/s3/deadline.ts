/** A caller's signal and a limit of time as one signal. Dispose it when the work is done. */
export class Deadline implements Disposable {
  readonly #stop = new AbortController();
  readonly #caller: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout;
  #isOver = false;

  /** @param timeoutMs from now */
  constructor(caller: AbortSignal | undefined, timeoutMs: number) {
    this.#caller = caller;
    caller?.addEventListener('abort', this.#onCaller, { once: true });
    if (caller?.aborted === true) this.#onCaller();
    this.#timer = setTimeout(() => {
      this.#isOver = true;
      this.#stop.abort();
    }, timeoutMs);
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
    clearTimeout(this.#timer);
    this.#caller?.removeEventListener('abort', this.#onCaller);
  }
}
