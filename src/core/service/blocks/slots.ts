/**
 * How many blocks are under way at once, over all accounts and for each, so that memory is bounded and one account leaves room
 * for others. Who comes when all is taken waits a little; who comes when too many wait is told to come again.
 */
import { SgwError, Shares, throwIfAborted } from '../../kit/index.ts';

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

const UNKNOWN = '';

export class Slots {
  readonly #waitingMax: number;
  readonly #shares: Shares;

  constructor(limits: Partial<SlotLimits> = {}) {
    const { underWayMax, ofAccountMax, ofUnknownMax, waitingMax } = { ...LIMITS, ...limits };
    this.#waitingMax = waitingMax;
    this.#shares = new Shares(underWayMax, (name) => (name === UNKNOWN ? ofUnknownMax : ofAccountMax));
  }

  /** Runs `work` in a slot; null: nobody knows yet for which account. @throws unavailable `server-busy`; what `work` throws */
  async run<T>(accountId: string | null, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const name = accountId ?? UNKNOWN;
    if (this.#shares.waiting(name) >= this.#waitingMax) throw busy();
    const release = await this.#shares.acquire(name, 1, signal);
    try {
      throwIfAborted(signal);
      return await work();
    } finally {
      release();
    }
  }
}

const busy = (): SgwError =>
  new SgwError('unavailable', 'server-busy', 'too many blocks are under way on this server', {
    hint: 'Try again in a moment.',
  });
