/** From what a user writes for a store to the store. */
import { SgwError } from '../kit/index.ts';
import type { ObjectStore } from './contract.ts';
import { withMeter, type OnRequest } from './meter.ts';
import { isS3Url, parseS3Place } from './s3/place.ts';
import type { ServiceIdentity } from './service/identity.ts';
import { isServiceUrl, parseServicePlace } from './service/place.ts';

export interface OpenObjectStoreOptions {
  /** Begin a store where there is none. Default false: then it must exist. */
  readonly create?: boolean;
  /** What a gateway proves itself with to the data endpoint of a service, PEM, good for now; asked for at each new connection. */
  readonly serviceIdentity?: () => Promise<ServiceIdentity>;
  /** Told of each request that is really made, so that calls that take several count as such. */
  readonly onRequest?: OnRequest;
}

const URL_SCHEME = /^([a-z][a-z0-9+.-]+):\/\//i;
const HINT = 'Name a directory, s3://BUCKET/PREFIX, or sgw-service://HOST:PORT.';

/**
 * Opens the store that `description` names: the path of a directory, a bucket by its URL (s3/place.ts), or the data endpoint
 * of a service (service/place.ts). With `create` an empty or missing directory becomes a store at its first write. A bucket
 * is never made.
 * @throws unsupported `store-kind` for any other URL. - notFound `store-missing` without `create`, and for a bucket that is
 * not there. - invalid `bad-store`. - denied `store-identity` for a data endpoint without `serviceIdentity`. - what the server of a
 * bucket or the service says
 */
export async function openObjectStore(description: string, options: OpenObjectStoreOptions = {}): Promise<ObjectStore> {
  const { create = false, onRequest } = options;
  const scheme = URL_SCHEME.exec(description)?.[1];
  if (isS3Url(description)) {
    const place = parseS3Place(description);
    const { openS3Store } = await import('./s3/index.ts');
    return await openS3Store({ place, ...(onRequest === undefined ? {} : { onRequest }) });
  }
  if (isServiceUrl(description)) {
    const place = parseServicePlace(description);
    const { openServiceStore } = await import('./service/index.ts');
    return await openServiceStore({
      place,
      ...(options.serviceIdentity === undefined ? {} : { identity: options.serviceIdentity }),
      ...(onRequest === undefined ? {} : { onRequest }),
    });
  }
  if (scheme !== undefined) {
    throw new SgwError('unsupported', 'store-kind', `stores of the kind ${scheme}:// can not be used by this version`, {
      hint: HINT,
      details: { store: description.replace(/\/\/[^/@]*@/, '//') },
    });
  }
  if (description === '' || description.includes('\0')) {
    throw new SgwError('invalid', 'bad-store', `"${description}" does not name an object store`, { hint: HINT });
  }
  const { directoryStore } = await import('./directory.ts');
  const directory = directoryStore({ path: description, create });
  const store = onRequest === undefined ? directory : withMeter(directory, onRequest);
  // Any read tells whether the store is there and of a layout that this version knows.
  await store.head('sgw.json');
  return store;
}
