/** What every part of the service works with. */
import type { BlockStoreOptions } from '../blockstore/index.ts';

/** Keys of accounts that the provider holds. */
export interface AccountKeys {
  /** Makes the key of an account, unless it has one. Durable when it resolves. */
  makeAccountKey(accountId: string, signal: AbortSignal): Promise<void>;
}

export interface ServiceContext {
  /** The store that the service keeps everything in, and that its gateways' volumes are in. */
  readonly blocks: BlockStoreOptions;
  /** Of the service: that of its store. */
  readonly serviceId: string;
  /** True where whoever runs a gateway runs the service too: then a gateway acts for any account of the store. */
  readonly isEmbedded: boolean;
  /** Absent where the store is not sealed by keys that the provider holds. */
  readonly accountKeys?: AccountKeys;
}

/** The time now, RFC 3339 UTC. */
export const timeOf = ({ blocks }: ServiceContext): string => new Date(blocks.clock.nowMs()).toISOString();
