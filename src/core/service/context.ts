/** What every part of the service works with. */
import type { BlockStoreOptions } from '../blockstore/index.ts';

export interface ServiceContext {
  /** The store that the service keeps everything in, and that its gateways' volumes are in. */
  readonly blocks: BlockStoreOptions;
  /** Of the service: that of its store. */
  readonly serviceId: string;
  /** True where whoever runs a gateway runs the service too: then a gateway acts for any account of the store. */
  readonly isEmbedded: boolean;
}

/** The time now, RFC 3339 UTC. */
export const timeOf = ({ blocks }: ServiceContext): string => new Date(blocks.clock.nowMs()).toISOString();
