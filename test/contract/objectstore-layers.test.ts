import { seededRandom } from '../../src/core/kit/index.ts';
import { memoryStore, withFaults, withMeter, withRetry, withThrottle } from '../../src/core/objectstore/index.ts';
import { objectStoreContract } from './objectstore.ts';

objectStoreContract('retry over memory', async () => Promise.resolve({ store: withRetry(memoryStore()) }));

objectStoreContract('throttle over memory', async () =>
  Promise.resolve({ store: withThrottle(memoryStore(), { upBytesPerSecond: 1e12, downBytesPerSecond: 1e12 }).store }),
);

objectStoreContract('meter over memory', async () =>
  Promise.resolve({ store: withMeter(memoryStore(), () => undefined) }),
);

objectStoreContract('faults over memory, none due', async () =>
  Promise.resolve({ store: withFaults(memoryStore(), { rules: [] }).store }),
);

const seed = Number(process.env['SGW_SEED'] ?? 20261122);
objectStoreContract(`retry over a store that answers 409, 500 and cut reads (seed ${String(seed)})`, async () => {
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
  return Promise.resolve({
    store: withRetry(faulty.store, { triesMax: 50, baseDelayMs: 0.01, random: seededRandom(seed) }),
  });
});
