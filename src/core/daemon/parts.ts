/** What a gateway of this program is made of: the machine's clock and randomness, stores with retries, the embedded service. */
import { readFile } from 'node:fs/promises';
import { FramePool } from '../blockstore/index.ts';
import { RequestTally, type GatewayParts } from '../gateway/index.ts';
import { systemClock, systemRandom, type Logger } from '../kit/index.ts';
import {
  openObjectStore,
  withRetry,
  withThrottle,
  type ObjectStore,
  type Rates,
  type ServiceIdentity,
} from '../objectstore/index.ts';

/** A command that serves nothing has no log. */
const ignore = (): void => undefined;
const SILENT: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };

/** To renew a certificate that has ended. */
const IDENTITY_TIMEOUT_MS = 60_000;

/** Put over a store before anything else is: for tests of stores that fail. */
export type StoreLayering = (below: ObjectStore) => ObjectStore;

/** For a home; `accountId` is acted for, the home's own when absent. */
export async function partsOf(
  home: string,
  accountId?: string,
  layered: StoreLayering = (below) => below,
): Promise<GatewayParts> {
  const requests = new RequestTally();
  let rates: Rates = {};
  const setters = new Set<(rates: Rates) => void>();
  /** Over the retries, which do not count waiting for the rate as time without an answer. */
  const throttled = (below: ObjectStore): ObjectStore => {
    const throttle = withThrottle(below, {
      ...{ clock: systemClock, ...rates },
      onClose: () => setters.delete(throttle.setRates),
    });
    setters.add(throttle.setRates);
    return throttle.store;
  };
  /** For a store of the service that the home was activated at. */
  const serviceIdentity = async (): Promise<ServiceIdentity> => {
    const { gatewayTls } = await import('../gateway/network/index.ts');
    const own = { home, clock: systemClock, random: systemRandom };
    return await gatewayTls(own, AbortSignal.timeout(IDENTITY_TIMEOUT_MS));
  };
  return {
    home,
    version: await readVersion(),
    clock: systemClock,
    random: systemRandom,
    openStore: async (description, how) =>
      throttled(
        withRetry(layered(await openObjectStore(description, { ...how, onRequest: requests.count, serviceIdentity })), {
          clock: systemClock,
          random: systemRandom,
        }),
      ),
    limitStores: (wanted) => {
      rates = wanted;
      for (const set of setters) set(wanted);
    },
    requests,
    openService: async (blocks, serviceId) => {
      const { openService } = await import('../service/index.ts');
      return openService({ blocks, serviceId, isEmbedded: true });
    },
    openPool: () => new FramePool(),
    serving: async () => {
      const { servingParts } = await import('./run/serving-parts.ts');
      return servingParts(SILENT);
    },
    ...(accountId === undefined ? {} : { accountId }),
  };
}

/** From package.json, which lies at the same distance from the sources as from what is built of them. */
async function readVersion(): Promise<string> {
  const text = await readFile(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
