/**
 * What all requests of the data endpoint together may hold, and each gateway's: requests, and bytes of bodies in memory.
 * Bytes wait for their turn; requests beyond the bound are refused, since who sends them has been told of it.
 */
import { Semaphore, SgwError } from '../../kit/index.ts';

export interface BudgetLimits {
  /** Of all gateways. */
  readonly bytesMax: number;
  readonly bytesOfGatewayMax: number;
  readonly requestsOfGatewayMax: number;
}

export const DEFAULT_LIMITS: BudgetLimits = {
  bytesMax: 256 * 1024 * 1024,
  bytesOfGatewayMax: 96 * 1024 * 1024,
  requestsOfGatewayMax: 256,
};

interface Share {
  readonly bytes: Semaphore;
  requests: number;
}

export class Budget {
  readonly #limits: BudgetLimits;
  readonly #bytes: Semaphore;
  readonly #shares = new Map<string, Share>();

  constructor(limits: BudgetLimits = DEFAULT_LIMITS) {
    this.#limits = limits;
    this.#bytes = new Semaphore(limits.bytesMax);
  }

  /** Takes a place for a request; the function gives it back. @throws unavailable `too-many-requests` */
  enter(gatewayId: string): () => void {
    const share = this.#share(gatewayId);
    if (share.requests >= this.#limits.requestsOfGatewayMax) {
      throw new SgwError('unavailable', 'too-many-requests', `gateway ${gatewayId} has too many requests under way`, {
        hint: 'Try again in a moment.',
      });
    }
    share.requests += 1;
    return () => {
      share.requests -= 1;
      if (share.requests === 0) this.#shares.delete(gatewayId);
    };
  }

  /** Waits for `bytes`, of a request that has entered: first of the gateway's, then of all. */
  async take(gatewayId: string, bytes: number, signal: AbortSignal): Promise<() => void> {
    const own = await this.#share(gatewayId).bytes.acquire(bytes, signal);
    try {
      const all = await this.#bytes.acquire(bytes, signal);
      return () => {
        own();
        all();
      };
    } catch (error) {
      own();
      throw error;
    }
  }

  #share(gatewayId: string): Share {
    let share = this.#shares.get(gatewayId);
    if (share === undefined) {
      share = { bytes: new Semaphore(this.#limits.bytesOfGatewayMax), requests: 0 };
      this.#shares.set(gatewayId, share);
    }
    return share;
  }
}
