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
}

/**
 * What a store says of itself; undefined when it is not an sgw store.
 * @throws unsupported `document-format` for a newer format; corrupt
 */
export async function readStoreInfo(objects: ObjectStore, options: Cancellable = {}): Promise<StoreInfo | undefined> {
  return (await readDocument<StoreInfo>({ objects }, keys.store, options.signal))?.value;
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
    storeId: `store-${options.random.bytes(8).toString('hex')}`,
    createdAt: new Date(options.clock.nowMs()).toISOString(),
    keyDerivation: keyId === undefined ? null : { mode: 'customer', keyId },
  };
  if (await createDocument(options, keys.store, info, signal)) return info;
  const winner = await readStoreInfo(options.objects, signal === undefined ? {} : { signal });
  if (winner === undefined) throw damaged(keys.store, 'it vanished just after it was created');
  return winner;
}
