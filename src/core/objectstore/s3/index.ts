/** Part `objectstore/s3`: loaded when a store in a bucket is opened, since the SDK takes its time to load. */
import { SgwError, systemClock, systemRandom, toSgwError } from '../../kit/index.ts';
import { formatS3Place } from './place.ts';
import { S3Store, type S3StoreOptions } from './store.ts';

export { S3Store, type S3StoreOptions };
export type { S3Sender, SeenOfServer } from './client.ts';

const TRIES = 4;
const BASE_DELAY_MS = 200;

/**
 * Opens the store and makes sure that its bucket can be listed.
 * @throws notFound `store-missing` when there is no such bucket; denied, unavailable, timeout, invalid `store-region` as
 * the server or the way to it says
 */
export async function openS3Store(options: S3StoreOptions): Promise<S3Store> {
  const store = new S3Store(options);
  const { clock = systemClock, place } = options;
  for (let tries = 1; ; tries++) {
    try {
      for await (const _ of store.list('', { limit: 1 })) break;
      return store;
    } catch (error) {
      const failure = toSgwError(error);
      const mayPass = failure.kind === 'unavailable' && failure.code !== 'store-gone';
      if (!mayPass || tries === TRIES) {
        await store.close();
        if (failure.code !== 'store-gone') throw failure;
        throw new SgwError('notFound', 'store-missing', `there is no bucket ${place.bucket}`, {
          hint: 'Make the bucket, or correct its name and the endpoint.',
          details: { store: formatS3Place(place) },
        });
      }
      await clock.sleep(systemRandom.float() * BASE_DELAY_MS * 2 ** tries);
    }
  }
}
