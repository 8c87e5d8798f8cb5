/** A condition that tasks of one process wait for: `wake` lets all of them look again. */
import { abortReason, throwIfAborted, type Clock } from '../kit/index.ts';

export class Signals {
  #next = Promise.withResolvers<undefined>();

  wake(): void {
    const waiting = this.#next;
    this.#next = Promise.withResolvers<undefined>();
    waiting.resolve(undefined);
  }

  /** Waits for the next `wake`. @throws the signal's reason */
  async changed(signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    const { promise } = this.#next;
    if (signal === undefined) {
      await promise;
      return;
    }
    const aborted = Promise.withResolvers<undefined>();
    const onAbort = (): void => {
      aborted.reject(abortReason(signal));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([promise, aborted.promise]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Waits until `isSo`, which is asked at every `wake`, and each `pollMs`. @throws what it throws; a signal's reason */
  async until(isSo: () => boolean, pollMs: number, clock: Clock, signals: readonly AbortSignal[]): Promise<void> {
    const signal = AbortSignal.any([...signals]);
    while (!isSo()) await this.changedWithin(pollMs, clock, signal);
  }

  /** Waits for the next `wake`, but at most `durationMs`. @throws the signal's reason */
  async changedWithin(durationMs: number, clock: Clock, signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const slept = clock.sleep(durationMs, either).catch(() => undefined);
    try {
      await Promise.race([this.changed(signal), slept]);
      throwIfAborted(signal);
    } finally {
      stop.abort();
    }
  }
}
