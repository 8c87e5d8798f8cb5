/** A store whose provider holds the keys, with accounts in it. */
import { createDocument, type BlockStoreOptions } from '../../../../src/core/blockstore/index.ts';
import { seededRandom, systemClock, type Clock } from '../../../../src/core/kit/index.ts';
import { memoryStore, type ObjectStore } from '../../../../src/core/objectstore/index.ts';
import { openProviderStore, type ProviderStore } from '../../../../src/core/service/providerkeys/index.ts';
import { ServiceKey } from '../../../../src/core/service/server/index.ts';

export const SIGNAL = new AbortController().signal;
export const SECRET = Buffer.alloc(32, 7);
export const ANNA = '100000000001';
export const BERT = '100000000002';

let seeds = 0;

export interface ProviderOptions {
  readonly raw?: ObjectStore;
  readonly secret?: Uint8Array;
  readonly clock?: Clock;
  readonly mayBegin?: boolean;
}

export interface OpenedProvider extends ProviderStore {
  /** What the provider stores it in. */
  readonly raw: ObjectStore;
  /** What is above. */
  readonly blocks: BlockStoreOptions;
}

/** Begins one, or opens the one that is there. */
export async function openProvider(options: ProviderOptions = {}): Promise<OpenedProvider> {
  const { raw = memoryStore(), secret = SECRET, clock = systemClock, mayBegin = true } = options;
  const random = seededRandom(20_261_122 + seeds++);
  const blocks = { objects: raw, clock, random };
  const opened = await openProviderStore(blocks, new ServiceKey(secret, random), { mayBegin, signal: SIGNAL });
  if (opened === undefined) throw new Error('it is no store whose provider holds the keys');
  return { ...opened, raw, blocks: { ...blocks, objects: opened.objects } };
}

/** Notes whose a volume or snapshot is, as the data endpoint does before anything of it is written. */
export async function own({ blocks }: OpenedProvider, id: string, accountId: string): Promise<void> {
  const record = { id, accountId, gatewayId: '', createdAt: new Date(0).toISOString() };
  await createDocument(blocks, `service/owners/${id}.json`, record);
}
