/**
 * How many blocks are under way at once, over all accounts and for each, so that memory is bounded and one account leaves room
 * for others. Who comes when all is taken waits a little; who comes when too many wait is told to come again.
 */
import { Semaphore, SgwError, throwIfAborted } from '../../kit/index.ts';

export interface SlotLimits {
  /** Blocks under way; each takes about 1.5 MiB. */
  readonly underWayMax: number;
  readonly ofAccountMax: number;
  /** Of those whose account is not known yet, together. */
  readonly ofUnknownMax: number;
  /** Waiting, of one account. */
  readonly waitingMax: number;
}

/** An account and those that are not known yet together leave room for others. */
const LIMITS: SlotLimits = { underWayMax: 64, ofAccountMax: 40, ofUnknownMax: 8, waitingMax: 256 };

interface Account {
  readonly slots: Semaphore;
  users: number;
  waiting: number;
}

export class Slots {
  readonly #limits: SlotLimits;
  readonly #all: Semaphore;
  readonly #accounts = new Map<string, Account>();

  constructor(limits: Partial<SlotLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits };
    this.#all = new Semaphore(this.#limits.underWayMax);
  }

  /** Runs `work` in a slot; null: nobody knows yet for which account. @throws unavailable `server-busy`; what `work` throws */
  async run<T>(accountId: string | null, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const name = accountId ?? '';
    const { ofAccountMax, ofUnknownMax, waitingMax } = this.#limits;
    const slots = accountId === null ? ofUnknownMax : ofAccountMax;
    const account = this.#accounts.get(name) ?? { slots: new Semaphore(slots), users: 0, waiting: 0 };
    if (account.waiting >= waitingMax) throw busy();
    this.#accounts.set(name, account);
    account.users += 1;
    try {
      const release = await this.#acquire(account, signal);
      try {
        throwIfAborted(signal);
        return await work();
      } finally {
        release();
      }
    } finally {
      account.users -= 1;
      if (account.users === 0) this.#accounts.delete(name);
    }
  }

  async #acquire(account: Account, signal: AbortSignal): Promise<() => void> {
    account.waiting += 1;
    try {
      const releaseAccount = await account.slots.acquire(1, signal);
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
      account.waiting -= 1;
    }
  }
}

const busy = (): SgwError =>
  new SgwError('unavailable', 'server-busy', 'too many blocks are under way on this server', {
    hint: 'Try again in a moment.',
  });
