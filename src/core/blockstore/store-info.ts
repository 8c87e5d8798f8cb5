/** `sgw.json`: that a store is ours, its format and its id. Created once, never changed by format 1. */
import type { ObjectStore } from '../objectstore/index.ts';
import { damaged } from './damage.ts';
import { createDocument, readDocument } from './documents.ts';
import { keys } from './keys.ts';
import type { BlockStoreOptions, Cancellable } from './options.ts';

export interface StoreInfo {
  readonly storeId: string;
  readonly createdAt: string;
  /** How keys are kept; null in a store that is not encrypted. The customer's are in `keys/<keyId>.json`. */
  readonly keyDerivation: null | { readonly mode: 'customer'; readonly keyId: string };
}

/**
 * What a store says of itself; undefined when it is not an sgw store.
 * @throws unsupported `document-format` for a newer format; corrupt
 */
export async function readStoreInfo(objects: ObjectStore, options: Cancellable = {}): Promise<StoreInfo | undefined> {
  return (await readDocument<StoreInfo>({ objects }, keys.store, options.signal))?.value;
}

/**
 * Makes an object store an sgw store, or returns what it is already; with `keyId`, one whose contents are sealed by that
 * account's key: see `beginStoreKey`.
 */
export async function createStore(
  options: BlockStoreOptions,
  { signal, keyId }: Cancellable & { readonly keyId?: string } = {},
): Promise<StoreInfo> {
  const present = await readStoreInfo(options.objects, signal === undefined ? {} : { signal });
  if (present !== undefined) return present;
  const info: StoreInfo = {
    storeId: `store-${options.random.bytes(8).toString('hex')}`,
    createdAt: new Date(options.clock.nowMs()).toISOString(),
    keyDerivation: keyId === undefined ? null : { mode: 'customer', keyId },
  };
  if (await createDocument(options, keys.store, info, signal)) return info;
  const winner = await readStoreInfo(options.objects, signal === undefined ? {} : { signal });
  if (winner === undefined) throw damaged(keys.store, 'it vanished just after it was created');
  return winner;
}
