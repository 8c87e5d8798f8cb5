/** `sgw.json`: that a store is ours, its format and its id. Created once, never changed by format 1. */
import { SgwError } from '../kit/index.ts';
import type { ObjectStore } from '../objectstore/index.ts';
import { damaged } from './damage.ts';
import { createDocument, readDocument } from './documents.ts';
import { keys } from './keys.ts';
import { withSignal, type BlockStoreOptions, type Cancellable } from './options.ts';

export interface StoreInfo {
  readonly storeId: string;
  readonly createdAt: string;
  /** How keys are kept; null in a store that is not encrypted. The customer's are in `keys/<keyId>.json`. */
  readonly keyDerivation: null | { readonly mode: 'customer'; readonly keyId: string };
  /** Only in what a service shows of a store that it opens itself: see `ProviderStoreInfo`. */
  readonly keysHeldBy?: 'provider';
}

/** What `sgw.json` says where the store's provider holds the keys, and its service seals every other object. */
export interface ProviderStoreInfo extends Pick<StoreInfo, 'storeId' | 'createdAt'> {
  /** `wrapped`: the provider's key, as only the service key opens it. */
  readonly keyDerivation: { readonly mode: 'provider'; readonly keyId: string; readonly wrapped: string };
}

/**
 * What a store says of itself; undefined when it is not an sgw store.
 * @throws unsupported `document-format` for a newer format; corrupt; denied `provider-holds-keys` when only its service opens it
 */
export async function readStoreInfo(objects: ObjectStore, options: Cancellable = {}): Promise<StoreInfo | undefined> {
  const info = (await readDocument<StoreInfo | ProviderStoreInfo>({ objects }, keys.store, options.signal))?.value;
  if (info === undefined || !isProviderStore(info)) return info;
  const message = `store ${info.storeId} can be opened by its service alone: its provider holds the keys`;
  throw new SgwError('denied', 'provider-holds-keys', message, {
    hint: 'Work on it through its service: sgw activate --service URL. Its provider runs it: sgw service run',
    details: { storeId: info.storeId },
  });
}

/** Who holds the key that the contents are sealed with. */
export const encryptionOf = ({ keysHeldBy, keyDerivation }: StoreInfo): 'none' | 'customer' | 'provider' =>
  keysHeldBy ?? keyDerivation?.mode ?? 'none';

const isProviderStore = (info: StoreInfo | ProviderStoreInfo): info is ProviderStoreInfo =>
  info.keyDerivation?.mode === 'provider';

/** The same of a store whose provider holds the keys, for its service; undefined for others, and where there is none. */
export async function readProviderInfo(
  objects: ObjectStore,
  options: Cancellable = {},
): Promise<ProviderStoreInfo | undefined> {
  const info = (await readDocument<StoreInfo | ProviderStoreInfo>({ objects }, keys.store, options.signal))?.value;
  return info !== undefined && isProviderStore(info) ? info : undefined;
}

/**
 * For a place without `sgw.json`: half of a copy looks like a store that lost it.
 * @throws conflict `copy-unfinished`
 */
export async function refuseUnfinishedCopy(objects: ObjectStore, { signal }: Cancellable = {}): Promise<void> {
  if ((await objects.head(keys.copy, withSignal(signal))) === undefined) return;
  const message = `${objects.description} is an unfinished copy of a store`;
  throw new SgwError('conflict', 'copy-unfinished', message, {
    hint: 'Finish it by the command that began it, which goes on: sgw store copy FROM TO',
    details: { store: objects.description },
  });
}

/**
 * Makes an object store an sgw store, or returns what it is already; with `keyId`, one whose contents are sealed by that
 * account's key: see `beginStoreKey`.
 * @throws conflict `copy-unfinished`
 */
export async function createStore(
  options: BlockStoreOptions,
  { signal, keyId }: Cancellable & { readonly keyId?: string } = {},
): Promise<StoreInfo> {
  const present = await readStoreInfo(options.objects, signal === undefined ? {} : { signal });
  if (present !== undefined) return present;
  await refuseUnfinishedCopy(options.objects, withSignal(signal));
  const info: StoreInfo = {
    ...newStore(options),
    keyDerivation: keyId === undefined ? null : { mode: 'customer', keyId },
  };
  if (await createDocument(options, keys.store, info, signal)) return info;
  const winner = await readStoreInfo(options.objects, signal === undefined ? {} : { signal });
  if (winner === undefined) throw damaged(keys.store, 'it vanished just after it was created');
  return winner;
}

const newStore = ({ random, clock }: BlockStoreOptions): Pick<StoreInfo, 'storeId' | 'createdAt'> => ({
  storeId: `store-${random.bytes(8).toString('hex')}`,
  createdAt: new Date(clock.nowMs()).toISOString(),
});

/**
 * Makes an object store one whose provider holds the keys, or finds that somebody just made it one. `wrap` seals the
 * provider's key for the store of that id. Durable when it resolves.
 * @throws conflict `copy-unfinished`, `keys-differ` when it is another store by now
 */
export async function createProviderStore(
  options: BlockStoreOptions,
  wrap: (storeId: string) => Omit<ProviderStoreInfo['keyDerivation'], 'mode'>,
  { signal }: Cancellable = {},
): Promise<ProviderStoreInfo> {
  await refuseUnfinishedCopy(options.objects, withSignal(signal));
  const store = newStore(options);
  const info: ProviderStoreInfo = { ...store, keyDerivation: { mode: 'provider', ...wrap(store.storeId) } };
  if (await createDocument(options, keys.store, info, signal)) return info;
  const winner = await readProviderInfo(options.objects, withSignal(signal));
  if (winner !== undefined) return winner;
  throw new SgwError('conflict', 'keys-differ', `${options.objects.description} was just begun as another store`, {
    hint: 'Its keys are chosen when it is begun. Name another place: --store PLACE',
    details: { store: options.objects.description },
  });
}
