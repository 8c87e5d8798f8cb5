/** Part `objectstore/service`: the store of a gateway whose data goes through a service. Loaded when one is opened. */
import { SgwError, systemClock, systemRandom, toSgwError, type Clock, type Random } from '../../kit/index.ts';
import { formatServicePlace } from './place.ts';
import { ServiceStore, type ServiceStoreOptions } from './store.ts';
import type { ServiceIdentity } from './identity.ts';

export { ServiceStore };
export {
  crcText,
  FOLDERS_PATH,
  HEADERS,
  OBJECTS_PATH,
  OUTCOMES,
  refusalText,
  REPLY_BYTES_MAX,
  FRAME_BYTES_MAX,
  SERVER_WINDOWS,
} from './wire.ts';

const TRIES = 4;
const BASE_DELAY_MS = 200;

/**
 * Opens the store, and makes sure that the service takes this gateway.
 * @throws denied `store-identity` when nothing is given to prove it with, `store-certificate`, and what the service refuses
 * with; unavailable, timeout
 */
export async function openServiceStore(
  options: Omit<ServiceStoreOptions, 'identity' | 'clock' | 'random'> & {
    readonly identity?: () => Promise<ServiceIdentity>;
    readonly clock?: Clock;
    readonly random?: Random;
  },
): Promise<ServiceStore> {
  const { identity, clock = systemClock, random = systemRandom, ...rest } = options;
  if (identity === undefined) {
    const store = formatServicePlace(options.place);
    throw new SgwError('denied', 'store-identity', `${store} takes only gateways, and this is none of them`, {
      hint: 'Activate a home by the service: sgw activate --service URL.',
      details: { store },
    });
  }
  const store = new ServiceStore({ ...rest, identity, clock, random });
  for (let tries = 1; ; tries++) {
    try {
      await store.head('sgw.json');
      return store;
    } catch (error) {
      const failure = toSgwError(error);
      if (failure.kind !== 'unavailable' || tries === TRIES) {
        await store.close();
        throw failure;
      }
      await clock.sleep(random.float() * BASE_DELAY_MS * 2 ** tries);
    }
  }
}
