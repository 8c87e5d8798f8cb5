/** What a gateway is made of; put together in room `daemon`, by tests with parts of their own. */
import type { BlockStoreOptions, FramePool } from '../blockstore/index.ts';
import type { Clock, Random } from '../kit/index.ts';
import type { ObjectStore, Rates } from '../objectstore/index.ts';
import type { ServiceConnections, ServiceTransport } from '../protocol/index.ts';
import type { ServicePlace, TlsIdentity } from '../serviceclient/index.ts';
import type { RequestTally } from './cost/tally.ts';
import type { ServingParts } from './serving/parts.ts';

export interface GatewayParts {
  /** Absolute path of the home directory. */
  readonly home: string;
  /** Of sgw, for `status`. */
  readonly version: string;
  /** The account that is acted for, and that `activate` gives the home to, 12 digits; the home's own when absent. */
  readonly accountId?: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Opens the store by its description, with all the layers that belong over it. The gateway closes it. */
  readonly openStore: (description: string, options: { readonly create: boolean }) => Promise<ObjectStore>;
  /** Opens the service of a store; the store stays the caller's to close. */
  readonly openService: (blocks: BlockStoreOptions, storeId: string) => Promise<ServiceConnections>;
  /**
   * A way to a service over the network, as nobody or with a certificate; who asked for it closes it. Absent: by HTTPS.
   */
  readonly reachService?: (
    place: ServicePlace,
    identity: TlsIdentity | undefined,
  ) => Promise<ServiceTransport & AsyncDisposable>;
  /** Starts worker threads for one piece of work. */
  readonly openPool: () => FramePool;
  /** Sets how fast all stores that are open, and those that will be, may be read and written together. */
  readonly limitStores?: (rates: Rates) => void;
  /** What was asked of stores since the start. */
  readonly requests?: RequestTally;
  /** Opens volumes as they are served: over their write logs and the cache. */
  readonly serving?: () => Promise<ServingParts>;
}
