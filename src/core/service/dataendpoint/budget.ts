/**
 * What all requests of the data endpoint together may hold: requests of each gateway, and bytes of bodies in memory of each
 * account, which may have any number of gateways.
 * Bytes wait for their turn; requests beyond the bound are refused, since who sends them has been told of it.
 */
import { SgwError, Shares } from '../../kit/index.ts';

export interface BudgetLimits {
  /** Of all gateways. */
  readonly bytesMax: number;
  readonly bytesOfAccountMax: number;
  readonly requestsOfGatewayMax: number;
}

export const DEFAULT_LIMITS: BudgetLimits = {
  bytesMax: 256 * 1024 * 1024,
  bytesOfAccountMax: 96 * 1024 * 1024,
  requestsOfGatewayMax: 256,
};

/** Who asks. */
interface Asker {
  readonly gatewayId: string;
  readonly accountId: string;
}

export class Budget {
  readonly #limits: BudgetLimits;
  /** By account. */
  readonly #bytes: Shares;
  /** By gateway. */
  readonly #requests = new Map<string, number>();

  constructor(limits: BudgetLimits = DEFAULT_LIMITS) {
    this.#limits = limits;
    this.#bytes = new Shares(limits.bytesMax, () => limits.bytesOfAccountMax);
  }

  /** Takes a place for a request; the function gives it back. @throws unavailable `too-many-requests` */
  enter({ gatewayId }: Asker): () => void {
    const requests = this.#requests.get(gatewayId) ?? 0;
    if (requests >= this.#limits.requestsOfGatewayMax) {
      throw new SgwError('unavailable', 'too-many-requests', `gateway ${gatewayId} has too many requests under way`, {
        hint: 'Try again in a moment.',
      });
    }
    this.#requests.set(gatewayId, requests + 1);
    return () => {
      const left = (this.#requests.get(gatewayId) ?? 1) - 1;
      if (left === 0) this.#requests.delete(gatewayId);
      else this.#requests.set(gatewayId, left);
    };
  }

  /** Waits for `bytes`, of a request that has entered: first of the account's, then of all. */
  async take({ accountId }: Asker, bytes: number, signal: AbortSignal): Promise<() => void> {
    return await this.#bytes.acquire(accountId, bytes, signal);
  }
}
