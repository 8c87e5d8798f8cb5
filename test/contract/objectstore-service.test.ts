/** The contract over the data endpoint of a service: whatever store is behind it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { systemClock } from '../../src/core/kit/index.ts';
import {
  directoryStore,
  memoryStore,
  openObjectStore,
  withRetry,
  type ObjectStore,
} from '../../src/core/objectstore/index.ts';
import { addRoutes } from '../../src/core/service/dataendpoint/routes.ts';
import { Budget } from '../../src/core/service/dataendpoint/budget.ts';
import { GatewayListener } from '../support/gateway-listener.ts';
import { requireRadosgw } from '../support/radosgw.ts';
import { sharedRadosgw } from '../support/shared-radosgw.ts';
import { objectStoreContract, type StoreUnderTest } from './objectstore.ts';

const ignore = (): void => undefined;
const SILENT = { debug: ignore, info: ignore, warn: ignore, error: ignore };

let listener: GatewayListener;
let behind: ObjectStore;

beforeAll(async () => {
  listener = await GatewayListener.start((app) => {
    addRoutes(app, {
      budget: new Budget(),
      clock: systemClock,
      log: SILENT,
      serve: async () =>
        Promise.resolve({ store: behind, asker: { gatewayId: 'sgw-00000001', accountId: '000000000001' } }),
    });
  });
});
afterAll(async () => {
  await listener[Symbol.asyncDispose]();
});

async function over(store: ObjectStore, remove?: () => Promise<void>): Promise<StoreUnderTest> {
  behind = store;
  const identity = await listener.authority.identity('sgw-00000001');
  const url = `sgw-service://127.0.0.1:${String(listener.port)}`;
  return {
    store: await openObjectStore(url, { serviceIdentity: async () => Promise.resolve(identity) }),
    remove: async () => {
      await store.close();
      await remove?.();
    },
  };
}

objectStoreContract('service, over memory', async () => over(memoryStore()));

objectStoreContract('service, over a directory', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sgw-store-'));
  return over(directoryStore({ path: join(folder, 'store') }), async () =>
    rm(folder, { recursive: true, force: true }),
  );
});

requireRadosgw().describe('service, over a RADOS gateway', () => {
  let stores = 0;
  objectStoreContract('s3 behind it', async () => {
    const server = await sharedRadosgw();
    const under = await over(withRetry(await openObjectStore(server.storeUrl(`service-contract-${String(stores++)}`))));
    // With retries, as the product has it: what streams is tried once on the way, and that server fails now and then.
    return { ...under, store: withRetry(under.store) };
  });
});
