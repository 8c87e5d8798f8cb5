/**
 * How often an address may be wrong: requests that nobody signed, and those that were refused, are few from honest clients.
 *
 * Invariant: an address that is not remembered has its full measure; at most `ADDRESSES_MAX` are remembered, and those that
 * have been quiet for long are forgotten first.
 */
import { isIPv6 } from 'node:net';
import type { Clock } from '../../kit/index.ts';

export interface RateLimit {
  readonly perSecond: number;
  readonly burst: number;
}

interface Bucket {
  left: number;
  atMs: number;
}

const ADDRESSES_MAX = 16_384;

export class AddressRates {
  readonly #limit: RateLimit;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  /** In the order of their last use. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(limit: RateLimit, clock: Pick<Clock, 'monotonicMs'>) {
    this.#limit = limit;
    this.#clock = clock;
  }

  /** Whether the address may send anything now. */
  isOpen(address: string): boolean {
    const bucket = this.#buckets.get(networkOf(address));
    return bucket === undefined || this.#leftOf(bucket) >= 1;
  }

  /** Takes note of a request that counts. */
  spend(address: string): void {
    const network = networkOf(address);
    const present = this.#buckets.get(network);
    const left = Math.max(0, (present === undefined ? this.#limit.burst : this.#leftOf(present)) - 1);
    this.#buckets.delete(network);
    this.#buckets.set(network, { left, atMs: this.#clock.monotonicMs() });
    for (const oldest of this.#buckets.keys()) {
      if (this.#buckets.size <= ADDRESSES_MAX) break;
      this.#buckets.delete(oldest);
    }
  }

  #leftOf({ left, atMs }: Bucket): number {
    const seconds = (this.#clock.monotonicMs() - atMs) / 1000;
    return Math.min(this.#limit.burst, left + seconds * this.#limit.perSecond);
  }
}

/** One customer has a whole /64 of IPv6. */
export function networkOf(address: string): string {
  if (!isIPv6(address) || address.startsWith('::ffff:')) return address;
  const [head = '', tail = ''] = address.split('::', 2);
  const groups = head.split(':').filter((group) => group !== '');
  const rest = tail.split(':').filter((group) => group !== '');
  const zeroes = Math.max(0, 8 - groups.length - rest.length);
  return [...groups, ...Array<string>(zeroes).fill('0'), ...rest].slice(0, 4).join(':');
}
