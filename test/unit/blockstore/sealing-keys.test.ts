/** The key of a store: what opens it, what does not, and wrapping it anew. */
import { createSecretKey } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  Catalog,
  createStore,
  openVolumeView,
  openVolumeWriter,
  type BlockStoreOptions,
} from '../../../src/core/blockstore/index.ts';
import {
  beginStoreKey,
  newKeyFileText,
  parseKeyFile,
  parseRecoveryCode,
  passphraseSecret,
  rekeyStore,
  unlockStore,
  type SlotSecret,
} from '../../../src/core/blockstore/sealing/index.ts';
import { MIB, SgwError, seededRandom } from '../../../src/core/kit/index.ts';
import {
  StoreLayer,
  memoryStore,
  type PutBody,
  type PutOptions,
  type PutResult,
} from '../../../src/core/objectstore/index.ts';
import { keyFileBytes, unlock, volumeKey } from '../../reader/independent-sealing.ts';
import { readVolume, toBuffer } from '../../reader/independent-reader.ts';
import { forgeDocument } from './forging.ts';
import { PASSPHRASE, QUICK_COST, fileSecret, sealedStore, type SealedStore } from './sealed-store.ts';
import { ACCOUNT, encodeBlocks, holder, optionsOver, stamp } from './volume-model.ts';

const KEY = `keys/${ACCOUNT}.json`;

let store: SealedStore;
let image: Buffer;
beforeEach(async () => {
  store = await sealedStore();
  image = Buffer.alloc(MIB);
  stamp(5).copy(image, 4096);
  const { options } = store;
  const { volumeId } = await new Catalog(options).createVolume({ name: 'golden', sizeBytes: MIB, accountId: ACCOUNT });
  const writer = await openVolumeWriter(options, volumeId, { holder, accountId: ACCOUNT });
  await writer.commit({ encoded: [encodeBlocks(image, [0])], consistent: true });
  await writer.close();
});

async function etags({ objects }: BlockStoreOptions): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  for await (const { key } of objects.list('')) all.set(key, (await objects.head(key))?.etag ?? '');
  return all;
}

/** Reads the volume with a ring of its own. */
async function reads(secret: SlotSecret): Promise<boolean> {
  const keys = await unlockStore(store.options, store.info, secret);
  const options = { ...store.options, keys };
  const [volume] = await new Catalog(options).listVolumes();
  if (volume === undefined) return false;
  const view = await openVolumeView(options, volume.volumeId);
  return volume.name === 'golden' && view.map.mappedPages === 1;
}

describe('C16 a store with a key', () => {
  it('is opened by its passphrase, by its recovery code, and by what is written in the same words otherwise', async () => {
    expect(await reads(passphraseSecret(PASSPHRASE))).toBe(true);
    expect(await reads(parseRecoveryCode(store.recoveryCode))).toBe(true);
    expect(
      await reads(parseRecoveryCode(store.recoveryCode.toLowerCase().replaceAll('-', ' ').replaceAll('1', 'l'))),
    ).toBe(true);
  });

  it('is opened by nothing else, and nothing is changed by the attempt', async () => {
    const before = await etags(store.options);
    const other = { kind: 'recovery', key: createSecretKey(Buffer.alloc(32, 1)) } as const;
    for (const secret of [passphraseSecret(`${PASSPHRASE} `), fileSecret, other]) {
      const opening = unlockStore(store.options, store.info, secret);
      await expect(opening).rejects.toMatchObject({
        kind: 'denied',
        code: 'wrong-key',
        details: { kind: secret.kind },
      });
    }
    expect(await etags(store.options)).toEqual(before);
  });

  it('is not opened under the id of another store', async () => {
    const opening = unlockStore(store.options, { ...store.info, storeId: 'store-1' }, passphraseSecret(PASSPHRASE));
    await expect(opening).rejects.toMatchObject({ kind: 'denied', code: 'wrong-key' });
  });

  it('keeps its first key when it is begun again', async () => {
    const again = await beginStoreKey(store.options, store.info, fileSecret, { cost: QUICK_COST });
    expect(again).toBeUndefined();
    expect(await reads(passphraseSecret(PASSPHRASE))).toBe(true);
  });

  it('gets no other key while there are volumes that the lost one sealed', async () => {
    await store.options.objects.delete(KEY);
    const again = beginStoreKey(store.options, store.info, fileSecret, { cost: QUICK_COST });
    await expect(again).rejects.toMatchObject({ kind: 'corrupt', code: 'object-missing' });
    await expect(reads(fileSecret)).rejects.toMatchObject({ kind: 'corrupt', code: 'object-missing' });
  });

  it('refuses parameters that would take all memory', async () => {
    const { objects } = store.options;
    const stored = (await objects.get(KEY))?.bytes ?? Buffer.alloc(0);
    for (const change of [{ N: 2 ** 40 }, { N: 3 }, { N: 1 }, { r: 1e9 }, { p: 0 }, { N: '16' }, { name: 'none' }]) {
      const forged = forgeDocument(stored, (fields) => {
        const [slot, ...others] = fields['slots'] as { kdf: object }[];
        fields['slots'] = [{ ...slot, kdf: { ...slot?.kdf, ...change } }, ...others];
      });
      await objects.put(KEY, forged);
      await expect(reads(passphraseSecret(PASSPHRASE)), JSON.stringify(change)).rejects.toMatchObject({
        kind: 'corrupt',
      });
    }
  });

  it('is not what a store is that was begun without', async () => {
    const options = optionsOver();
    const info = await createStore(options);
    expect(info.keyDerivation).toBeNull();
    await expect(unlockStore(options, info, fileSecret)).rejects.toMatchObject({ code: 'store-not-encrypted' });
    await expect(beginStoreKey(options, info, fileSecret)).rejects.toMatchObject({ code: 'store-not-encrypted' });
  });
});

describe('rekeying', () => {
  it('changes one document and nothing else, and the old secret no longer opens', async () => {
    const before = await etags(store.options);
    const { slots, recoveryCode } = await rekeyStore(store.options, store.options.keys, { secret: fileSecret });
    expect(slots.map(({ kind }) => kind).sort()).toEqual(['keyFile', 'recovery']);
    expect(recoveryCode).toBeNull();
    const after = await etags(store.options);
    expect([...after.keys()]).toEqual([...before.keys()]);
    expect([...after].filter(([key, etag]) => before.get(key) !== etag).map(([key]) => key)).toEqual([KEY]);
    await expect(reads(passphraseSecret(PASSPHRASE))).rejects.toMatchObject({ code: 'wrong-key' });
    expect(await reads(fileSecret)).toBe(true);
    expect(await reads(parseRecoveryCode(store.recoveryCode))).toBe(true);
  });

  it('makes the recovery code before it void when a new one is asked for', async () => {
    const { recoveryCode } = await rekeyStore(store.options, store.options.keys, { recoveryKit: true });
    expect(recoveryCode).not.toBe(store.recoveryCode);
    await expect(reads(parseRecoveryCode(store.recoveryCode))).rejects.toMatchObject({ code: 'wrong-key' });
    expect(await reads(parseRecoveryCode(recoveryCode ?? ''))).toBe(true);
    expect(await reads(passphraseSecret(PASSPHRASE))).toBe(true);
  });
});

describe('what people keep', () => {
  it('a key file has one form, and any other is refused without being shown', () => {
    const text = newKeyFileText(seededRandom(4));
    const secret = parseKeyFile(text);
    expect(secret.kind === 'keyFile' && secret.key.export().equals(keyFileBytes(text))).toBe(true);
    expect(parseKeyFile(text.trimEnd())).toMatchObject({ kind: 'keyFile' });
    for (const bad of ['', 'sgw-key-1:', text.slice(0, -3), `${text}x`, text.replace('key-1', 'key-2'), ` ${text}`]) {
      const error = errorOf(() => parseKeyFile(bad));
      expect(error).toMatchObject({ kind: 'invalid', code: 'bad-key-file' });
      expect(JSON.stringify(error.toDocument())).not.toContain(text.slice(12, 30));
    }
  });

  it('a recovery code with any digit mistyped is refused without being shown', () => {
    const code = store.recoveryCode;
    expect(code).toMatch(/^(?:[0-9A-Z]{4}-){13}[0-9A-Z]{4}$/);
    const digits = Array.from({ length: code.length }, (_, i) => i).filter((i) => code[i] !== '-');
    for (const i of digits) {
      const bad = code.slice(0, i) + (code[i] === '7' ? '8' : '7') + code.slice(i + 1);
      const error = errorOf(() => parseRecoveryCode(bad));
      expect(error).toMatchObject({ kind: 'invalid', code: 'bad-recovery-code' });
      expect(JSON.stringify(error.toDocument())).not.toContain(bad.slice(0, 9));
    }
    expect(errorOf(() => parseRecoveryCode(code.slice(1))).code).toBe('bad-recovery-code');
    expect(errorOf(() => passphraseSecret('')).code).toBe('bad-passphrase');
  });
});

function errorOf(work: () => unknown): SgwError {
  try {
    work();
  } catch (error) {
    if (error instanceof SgwError) return error;
  }
  throw new Error('no error was thrown');
}

describe('the independent reader', () => {
  it('opens the store with each secret and reads the same', async () => {
    const get = async (key: string): Promise<Buffer | undefined> => (await store.options.objects.get(key))?.bytes;
    const [volume] = await new Catalog(store.options).listVolumes();
    const secret = parseRecoveryCode(store.recoveryCode);
    if (volume === undefined || secret.kind !== 'recovery') throw new Error('there is a volume');
    const byCode = await unlock(get, { kind: 'recovery', bytes: secret.key.export() });
    const keys = await unlock(get, { kind: 'passphrase', passphrase: PASSPHRASE });
    expect(byCode.accountKey.equals(keys.accountKey)).toBe(true);
    expect((await volumeKey(get, keys, volume.volumeId)).length).toBe(32);
    expect((await toBuffer(await readVolume(get, volume.volumeId, 'newest', keys))).equals(image)).toBe(true);
  });
});

/** Stores a map object and loses the reply, once. */
class LostReply extends StoreLayer {
  lost: Buffer | undefined;

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    const result = await super.put(key, body, options);
    if (!key.includes('/map/') || this.lost !== undefined) return result;
    this.lost = (await super.get(key))?.bytes ?? Buffer.alloc(0);
    throw new SgwError('unavailable', 'store-error', 'the reply was lost');
  }
}

describe('C3 a checkpoint of a sealed volume whose reply was lost', () => {
  it('is sent again with the same bytes, though sealing it again would give others', async () => {
    const objects = new LostReply(memoryStore());
    const { options } = await sealedStore(optionsOver(objects));
    const { volumeId } = await new Catalog(options).createVolume({
      name: 'golden',
      sizeBytes: MIB,
      accountId: ACCOUNT,
    });
    const writer = await openVolumeWriter(options, volumeId, { holder, accountId: ACCOUNT });
    await writer.commit({ encoded: [encodeBlocks(image, [0])], consistent: true });
    await expect(writer.checkpoint()).rejects.toMatchObject({ code: 'store-error' });
    await writer.checkpoint();
    await writer.close();
    const stored = (await objects.get(`volumes/${volumeId}/map/0000000000000001`))?.bytes;
    expect(objects.lost !== undefined && stored?.equals(objects.lost)).toBe(true);
    expect((await new Catalog(options).headOf(volumeId)).checkpoint.seq).toBe(1);
    expect((await openVolumeView(options, volumeId)).map.mappedPages).toBe(1);
  });
});
