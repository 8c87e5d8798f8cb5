/** Work that goes on when the client was answered. It ends with the server; what it had not done is asked for again. */
import { SgwError, toSgwError, type Logger } from '../../../kit/index.ts';

const WORKS_MAX = 256;

export class Background {
  readonly #log: Logger;
  readonly #ended = new AbortController();
  readonly #works = new Set<Promise<unknown>>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /**
   * Waits for the work, or for as long: then undefined, and it goes on. What it fails with is thrown only in time.
   * @throws unavailable `gateway-busy` when too much goes on already
   */
  async run<T>(what: string, waitMs: number, work: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    if (this.#works.size >= WORKS_MAX)
      throw new SgwError('unavailable', 'gateway-busy', `${String(WORKS_MAX)} requests of this kind are under way`);
    let isAwaited = true;
    const done = work(this.#ended.signal);
    const settled = done
      .then(() => undefined)
      .catch((error: unknown) => {
        if (!isAwaited) this.#log.warn({ what, err: toSgwError(error) }, 'what a client had asked for failed later');
      })
      .finally(() => this.#works.delete(settled));
    this.#works.add(settled);
    let timer: NodeJS.Timeout | undefined;
    const waited = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => {
        resolve(undefined);
      }, waitMs);
    });
    try {
      return await Promise.race([done, waited]);
    } finally {
      isAwaited = false;
      clearTimeout(timer);
    }
  }

  /** Stops what goes on. */
  async close(): Promise<void> {
    this.#ended.abort(new SgwError('aborted', 'aborted', 'the service is stopping'));
    await Promise.allSettled(this.#works);
  }
}
