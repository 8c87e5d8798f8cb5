/**
 * The store that a service is to run over, begun where there is none, and what opens its secrets. Who holds its keys is
 * chosen when it is begun, and fixed from then on: nobody at all, the provider, or the customer whose store it is.
 */
import { join } from 'node:path';
import {
  readProviderInfo,
  readStoreInfo,
  type BlockStoreOptions,
  type ProviderStoreInfo,
} from '../../blockstore/index.ts';
import { beginKeys, requireFit } from '../../gateway/beginning/index.ts';
import { SgwError, systemClock, systemRandom } from '../../kit/index.ts';
import type { Secrets } from '../../localapi/index.ts';
import type { ObjectStore } from '../../objectstore/index.ts';
import { openProviderStore, type ProviderStore } from '../../service/providerkeys/index.ts';
import type { ServiceKey } from '../../service/server/index.ts';
import { openServiceKey } from './service-key-file.ts';

export interface StoreWishes {
  /** Absolute path of the directory that the service key is made in. */
  readonly home: string;
  /** For an encrypted store, whose key stays in memory from then on. */
  readonly secrets: Secrets;
  /** Who holds the keys of a store that is begun; of one that is there it must be what that was begun with. Null: not said. */
  readonly keys: 'none' | 'provider' | null;
  readonly signal: AbortSignal;
}

export interface Place {
  readonly objects: ObjectStore;
  /** As the operator named it. */
  readonly place: string;
  /** The key in a file that was named. */
  readonly named?: ServiceKey | undefined;
}

/** What the service works on from then on. */
export interface OpenedStore extends Partial<Pick<ProviderStore, 'accountKeys'>> {
  readonly blocks: BlockStoreOptions;
  readonly serviceKey: ServiceKey;
}

/**
 * Durable when it resolves.
 * @throws conflict `keys-differ`; denied `service-key-wrong`; notFound `service-key-missing`; corrupt `encryption-differs`;
 * what finding the store fit, opening its key and the service key's file throw
 */
export async function openSecrets(options: StoreWishes, { objects, place, named }: Place): Promise<OpenedStore> {
  const { home, secrets, keys, signal } = options;
  const plain = { objects, clock: systemClock, random: systemRandom };
  const held = await readProviderInfo(objects, { signal });
  const isThere = held !== undefined || (await readStoreInfo(objects, { signal })) !== undefined;
  if (isThere) await requireSame(objects, held, options);
  else await requireFit({ ...plain, signal }, place);
  const serviceKey = async (mayMake: boolean): Promise<ServiceKey> =>
    named ?? (await openServiceKey(join(home, 'service.key'), systemRandom, { mayMake }));
  if (held !== undefined || (!isThere && keys === 'provider')) {
    const key = await serviceKey(held === undefined);
    const opened = await openProviderStore(plain, key, { mayBegin: held === undefined, signal });
    if (opened !== undefined) {
      const { accountKeys } = opened;
      return { blocks: { ...plain, objects: opened.objects }, serviceKey: key, accountKeys };
    }
  }
  const call = { signal, secrets, onProgress: () => undefined, lockTimeoutMs: 0 };
  const { blocks } = await beginKeys(plain, { encrypt: false, accountId: '' }, call);
  const isBegun = (await objects.head('service/ca.json', { signal })) !== undefined;
  return { blocks, serviceKey: await serviceKey(!isBegun) };
}

/** @throws conflict `keys-differ`; corrupt `encryption-differs` */
async function requireSame(
  objects: ObjectStore,
  held: ProviderStoreInfo | undefined,
  { keys, signal }: Pick<StoreWishes, 'keys' | 'signal'>,
): Promise<void> {
  if (keys !== null && (keys === 'provider') !== (held !== undefined)) {
    const isHeld = held === undefined ? 'is not sealed by keys of its provider' : 'is sealed by keys of its provider';
    throw new SgwError('conflict', 'keys-differ', `the store at ${objects.description} ${isHeld}`, {
      hint: 'That is chosen when a store is begun, and stays so: leave --keys out, or name another place.',
      details: { store: objects.description, keys },
    });
  }
  if (held !== undefined) return;
  for await (const { key } of objects.list('service/data-keys/', { limit: 1, signal })) {
    const message = `${objects.description} says that its provider holds no keys, and has the key ${key}`;
    throw new SgwError('corrupt', 'encryption-differs', message, {
      hint: 'Somebody changed sgw.json in the store: put its true version back, from a copy of the store.',
      details: { store: objects.description, key },
    });
  }
}
