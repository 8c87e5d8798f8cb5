/** What a gateway of this program is made of: the machine's clock and randomness, stores with retries, the embedded service. */
import { readFile } from 'node:fs/promises';
import { FramePool } from '../blockstore/index.ts';
import type { GatewayParts } from '../gateway/index.ts';
import { systemClock, systemRandom } from '../kit/index.ts';
import { openObjectStore, withRetry } from '../objectstore/index.ts';

/** For a home; `accountId` is acted for, the home's own when absent. */
export async function partsOf(home: string, accountId?: string): Promise<GatewayParts> {
  return {
    home,
    version: await readVersion(),
    clock: systemClock,
    random: systemRandom,
    openStore: async (description, how) =>
      withRetry(await openObjectStore(description, how), { clock: systemClock, random: systemRandom }),
    openService: async (blocks, serviceId) => {
      const { openService } = await import('../service/index.ts');
      return openService({ blocks, serviceId, isEmbedded: true });
    },
    openPool: () => new FramePool(),
    ...(accountId === undefined ? {} : { accountId }),
  };
}

/** From package.json, which lies at the same distance from the sources as from what is built of them. */
async function readVersion(): Promise<string> {
  const text = await readFile(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
