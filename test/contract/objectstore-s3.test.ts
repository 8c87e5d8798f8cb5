/** The contract over a real S3 server. */
import { afterAll, beforeAll } from 'vitest';
import { openObjectStore, withRetry } from '../../src/core/objectstore/index.ts';
import { Radosgw, requireRadosgw, S3_ENVIRONMENT } from '../support/radosgw.ts';
import { objectStoreContract } from './objectstore.ts';

const rgw = requireRadosgw();
let server: Radosgw;
let stores = 0;

rgw.describe('over a RADOS gateway', () => {
  beforeAll(async () => {
    Object.assign(process.env, S3_ENVIRONMENT);
    server = await Radosgw.start();
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  // With retries, as the product has it: the server answers 500 to some of the writers of one key.
  objectStoreContract('s3 with retries', async () => ({
    store: withRetry(await openObjectStore(server.storeUrl(`s${String(stores++)}`))),
  }));
});
