/**
 * How many blocks are under way at once, over all accounts and for each, so that memory is bounded and one account leaves room
 * for others. Who comes when all is taken waits a little; who comes when too many wait is told to come again.
 */
import { Semaphore, SgwError, throwIfAborted } from '../../kit/index.ts';

export interface SlotLimits {
  /** Blocks under way; each takes about 1.5 MiB. */
  readonly underWayMax: number;
  readonly ofAccountMax: number;
  /** Waiting, over all. */
  readonly waitingMax: number;
}

const LIMITS: SlotLimits = { underWayMax: 64, ofAccountMax: 48, waitingMax: 512 };

export class Slots {
  readonly #limits: SlotLimits;
  readonly #all: Semaphore;
  readonly #accounts = new Map<string, { readonly slots: Semaphore; users: number }>();
  #waiting = 0;

  constructor(limits: Partial<SlotLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits };
    this.#all = new Semaphore(this.#limits.underWayMax);
  }

  /** Runs `work` in a slot. @throws unavailable `server-busy`; what `work` throws */
  async run<T>(accountId: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= this.#limits.waitingMax) throw busy();
    const account = this.#accounts.get(accountId) ?? { slots: new Semaphore(this.#limits.ofAccountMax), users: 0 };
    this.#accounts.set(accountId, account);
    account.users += 1;
    try {
      const release = await this.#acquire(account.slots, signal);
      try {
        throwIfAborted(signal);
        return await work();
      } finally {
        release();
      }
    } finally {
      account.users -= 1;
      if (account.users === 0) this.#accounts.delete(accountId);
    }
  }

  async #acquire(ofAccount: Semaphore, signal: AbortSignal): Promise<() => void> {
    this.#waiting += 1;
    try {
      const releaseAccount = await ofAccount.acquire(1, signal);
      try {
        const releaseAll = await this.#all.acquire(1, signal);
        return () => {
          releaseAll();
          releaseAccount();
        };
      } catch (error) {
        releaseAccount();
        throw error;
      }
    } finally {
      this.#waiting -= 1;
    }
  }
}

const busy = (): SgwError =>
  new SgwError('unavailable', 'server-busy', 'too many blocks are under way on this server', {
    hint: 'Try again in a moment.',
  });
