/** The slots of a store's key, which are not sealed: what is made of them by one who can write to the store is told as damage. */
import { beforeEach, describe, expect, it } from 'vitest';
import { passphraseSecret } from '../../../src/core/blockstore/sealing/secret-text.ts';
import { unlockStore } from '../../../src/core/blockstore/sealing/store-keys.ts';
import { forgeDocument } from './forging.ts';
import { PASSPHRASE, sealedStore, type SealedStore } from './sealed-store.ts';
import { ACCOUNT } from './volume-model.ts';

const KEY = `keys/${ACCOUNT}.json`;
type Slot = Record<string, unknown>;

let store: SealedStore;
beforeEach(async () => {
  store = await sealedStore();
});

async function forgeSlots(change: (slots: Slot[]) => unknown): Promise<void> {
  const stored = await store.options.objects.get(KEY);
  const forged = forgeDocument(Buffer.from(stored?.bytes ?? ''), (fields) => {
    fields['slots'] = change(fields['slots'] as Slot[]);
  });
  await store.options.objects.put(KEY, forged);
}

const unlock = (passphrase = PASSPHRASE): Promise<unknown> =>
  unlockStore(store.options, store.info, passphraseSecret(passphrase));

describe('C16 a key document', () => {
  it('of more slots than anybody makes is damage, and not as many passphrases stretched', async () => {
    await forgeSlots(([slot, ...others]) => [...Array.from({ length: 16 }, () => slot), ...others]);
    await expect(unlock('another one')).rejects.toMatchObject({ kind: 'corrupt', code: 'object-damaged' });
  });

  it.each([
    ['nothing', () => [null]],
    ['a text', () => ['slot']],
    ['one without its key', ([slot]: Slot[]) => [{ ...slot, wrapped: undefined }]],
    ['one whose derivation is none', ([slot]: Slot[]) => [{ ...slot, kdf: null }]],
  ] as const)('with a slot that is %s is damage, and no failure of the program', async (_what, change) => {
    await forgeSlots(change);
    await expect(unlock()).rejects.toMatchObject({ kind: 'corrupt', code: 'object-damaged', details: { key: KEY } });
  });

  it('with a slot of a kind that nobody knows yet opens by those that are known', async () => {
    await forgeSlots((slots) => [{ slotId: 'slot-00000000', kind: 'token', kdf: {}, wrapped: '' }, ...slots]);
    await expect(unlock()).resolves.toMatchObject({ keyId: ACCOUNT });
  });
});
