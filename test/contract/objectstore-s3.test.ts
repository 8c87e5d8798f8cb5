/** The contract over a real S3 server: directly, and over a slow way that fails now and then. */
import { afterAll, beforeAll } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { openObjectStore, withRetry } from '../../src/core/objectstore/index.ts';
import { requireRadosgw, type Radosgw } from '../support/radosgw.ts';
import { byChance, S3Proxy } from '../support/s3-proxy.ts';
import { sharedRadosgw } from '../support/shared-radosgw.ts';
import { objectStoreContract } from './objectstore.ts';

const SEED = Number(process.env['SGW_SEED'] ?? 20261129);
const SHARE = Number(process.env['SGW_S3_FAULT_SHARE'] ?? 0.01);
let server: Radosgw;
let way: S3Proxy;
let stores = 0;

requireRadosgw().describe('over a RADOS gateway', () => {
  beforeAll(async () => {
    server = await sharedRadosgw();
    const fault = byChance(seededRandom(SEED), SHARE, ['busy', 'conflict', 'cut', 'lost', 'half']);
    way = await S3Proxy.start({ port: server.port, latencyMs: 50, fault });
  });
  afterAll(async () => {
    await way[Symbol.asyncDispose]();
  });

  // With retries, as the product has it: the server answers 500 to some of the writers of one key.
  const store = async (port?: number) =>
    withRetry(await openObjectStore(server.storeUrl(`contract-${String(stores++)}`, port)));

  objectStoreContract('s3 with retries', async () => ({ store: await store() }));

  objectStoreContract(
    `s3 with retries, 50 ms and errors to ${String(SHARE * 100)} % (seed ${String(SEED)})`,
    async () => ({
      store: await store(way.port),
    }),
  );
});
