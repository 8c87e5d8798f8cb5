/** The contract over a store whose provider holds the keys: whatever it is sealed in. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seededRandom, systemClock } from '../../src/core/kit/index.ts';
import {
  directoryStore,
  memoryStore,
  openObjectStore,
  StoreLayer,
  withFaults,
  withRetry,
  type ObjectStore,
} from '../../src/core/objectstore/index.ts';
import { openProviderStore } from '../../src/core/service/providerkeys/index.ts';
import { ServiceKey } from '../../src/core/service/server/index.ts';
import { requireRadosgw } from '../support/radosgw.ts';
import { sharedRadosgw } from '../support/shared-radosgw.ts';
import { objectStoreContract } from './objectstore.ts';

/** Without the one object that is there before a test, which would be in its lists. */
class WithoutStore extends StoreLayer {
  readonly putStream?: NonNullable<ObjectStore['putStream']>;

  constructor(below: ObjectStore) {
    super(below);
    if (below.putStream !== undefined) this.putStream = below.putStream.bind(below);
  }

  override async *list(...[prefix, options = {}]: Parameters<ObjectStore['list']>): ReturnType<StoreLayer['list']> {
    const { limit, ...rest } = options;
    let left = limit ?? Number.POSITIVE_INFINITY;
    for await (const info of this.below.list(prefix, rest)) {
      if (info.key === 'sgw.json') continue;
      if (left-- <= 0) return;
      yield info;
    }
  }
}

async function sealed(raw: ObjectStore): Promise<ObjectStore> {
  const random = seededRandom(1);
  const serviceKey = new ServiceKey(Buffer.alloc(32, 7), random);
  const how = { mayBegin: true, signal: new AbortController().signal };
  const opened = await openProviderStore({ objects: raw, clock: systemClock, random }, serviceKey, how);
  if (opened === undefined) throw new Error('it was not begun');
  return new WithoutStore(opened.objects);
}

objectStoreContract('sealed by the provider, in memory', async () => ({ store: await sealed(memoryStore()) }));

objectStoreContract('sealed by the provider, in a directory', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sgw-store-'));
  return {
    store: await sealed(directoryStore({ path: join(folder, 'store') })),
    remove: async () => rm(folder, { recursive: true, force: true }),
  };
});

const seed = Number(process.env['SGW_SEED'] ?? 20261122);
objectStoreContract(`sealed by the provider, over a store that fails (seed ${String(seed)})`, async () => {
  const faulty = withFaults(memoryStore(), {
    random: seededRandom(seed),
    rules: [
      { fault: 'conflict409', probability: 0.1 },
      { fault: 'error500', probability: 0.1 },
      { fault: 'truncatedRead', probability: 0.1 },
      { fault: 'lostReply', operation: 'get', probability: 0.1 },
      { fault: 'lostReply', operation: 'list', probability: 0.1 },
    ],
  });
  const raw = withRetry(faulty.store, { triesMax: 50, baseDelayMs: 0.01, random: seededRandom(seed) });
  return { store: await sealed(raw) };
});

requireRadosgw().describe('sealed by the provider, over a RADOS gateway', () => {
  let stores = 0;
  objectStoreContract('s3 below it', async () => {
    const server = await sharedRadosgw();
    return { store: await sealed(withRetry(await openObjectStore(server.storeUrl(`provider-${String(stores++)}`)))) };
  });
});
