/** Writers that wait for room, in order. @see WriteLog.room */
import { certain } from './certain.ts';
import { abortReason, type SgwError } from '../kit/index.ts';

interface Waiter {
  readonly pages: number;
  readonly resolve: () => void;
  readonly reject: (error: SgwError) => void;
}

export class RoomQueue {
  readonly #waiters: Waiter[] = [];

  /** Data pages that the first one waits for; 0 when nobody waits. */
  get wantedPages(): number {
    return this.#waiters[0]?.pages ?? 0;
  }

  async wait(pages: number, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted === true) throw abortReason(signal);
    let onAbort = (): void => undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        const waiter: Waiter = { pages, resolve, reject };
        this.#waiters.push(waiter);
        onAbort = (): void => {
          this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
          reject(abortReason(certain(signal)));
        };
        signal?.addEventListener('abort', onAbort, { once: true });
      });
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Lets those go on that find room in `roomPages` together, first come, first served. */
  serve(roomPages: number): void {
    let left = roomPages;
    for (let first = this.#waiters[0]; first !== undefined && first.pages <= left; first = this.#waiters[0]) {
      left -= first.pages + 1;
      this.#waiters.shift();
      first.resolve();
    }
  }

  fail(error: SgwError): void {
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
  }
}
