/** A store in memory whose contents are sealed, and what opens it. */
import { createSecretKey } from 'node:crypto';
import {
  createStore,
  type BlockStoreOptions,
  type KeyRing,
  type StoreInfo,
} from '../../../src/core/blockstore/index.ts';
import { beginStoreKey, passphraseSecret, type SlotSecret } from '../../../src/core/blockstore/sealing/index.ts';
import { ACCOUNT, optionsOver } from './volume-model.ts';

export const PASSPHRASE = 'correct horse battery staple';
/** Enough to be stretched, not enough to be waited for. */
export const QUICK_COST = { N: 16, r: 8, p: 1 } as const;
export const FILE_KEY = Buffer.alloc(32, 7);
export const fileSecret: SlotSecret = { kind: 'keyFile', key: createSecretKey(FILE_KEY) };

export interface SealedStore {
  readonly options: BlockStoreOptions & { readonly keys: KeyRing };
  readonly info: StoreInfo;
  readonly recoveryCode: string;
}

/** Begins a store with a key in `base`; opened by PASSPHRASE unless another secret is given. */
export async function sealedStore(
  base: BlockStoreOptions = optionsOver(),
  secret: SlotSecret = passphraseSecret(PASSPHRASE),
): Promise<SealedStore> {
  const info = await createStore(base, { keyId: ACCOUNT });
  const begun = await beginStoreKey(base, info, secret, { cost: QUICK_COST });
  if (begun === undefined) throw new Error('the store is new');
  return { options: { ...base, keys: begun.keys }, info, recoveryCode: begun.recoveryCode };
}
