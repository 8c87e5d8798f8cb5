/**
 * The key of a store that only its customer can open: begun with the store, unlocked by a secret, wrapped anew by `rekey`
 * (docs/formats/keys.md, docs/adr/0008-sealing.md).
 */
import { SgwError, isVolumeId } from '../../kit/index.ts';
import type { ObjectStore } from '../../objectstore/index.ts';
import { damaged, missing } from '../damage.ts';
import { changeDocument, createDocument, readDocument } from '../documents.ts';
import { keys as names } from '../keys.ts';
import { withSignal, type BlockStoreOptions, type Cancellable, type DocumentReading } from '../options.ts';
import type { StoreInfo } from '../store-info.ts';
import { KEY_BYTES } from './aead.ts';
import { KeyRing } from './key-ring.ts';
import { newSlot, openSlots, type KeyDocument, type KeySlot, type ScryptCost } from './key-slots.ts';
import { parseRecoveryCode, recoveryCodeOf, type SlotSecret } from './secret-text.ts';

export interface Wrapping extends Cancellable {
  /** What deriving a key from a passphrase costs from now on. */
  readonly cost?: ScryptCost;
}

/** A new code for the recovery slot: shown once, kept nowhere. */
interface Recovery {
  readonly code: string;
  readonly secret: SlotSecret;
}

function newRecovery(options: BlockStoreOptions): Recovery {
  const code = recoveryCodeOf(options.random.bytes(KEY_BYTES));
  return { code, secret: parseRecoveryCode(code) };
}

const keyIdOf = (info: StoreInfo): string => {
  if (info.keyDerivation !== null) return info.keyDerivation.keyId;
  throw new SgwError('conflict', 'store-not-encrypted', `store ${info.storeId} is not encrypted`, {
    hint: 'A store is encrypted from its beginning, or not at all: sgw activate --encrypt over a new one.',
    details: { storeId: info.storeId },
  });
};

/**
 * Makes the key of a store that has none yet, opened by `secret` and by a new recovery code. Durable when it resolves;
 * undefined when the store's key was made before.
 * @throws conflict `store-not-encrypted`; corrupt `object-missing` when the key is gone while there are volumes
 */
export async function beginStoreKey(
  options: BlockStoreOptions,
  info: StoreInfo,
  secret: SlotSecret,
  { signal, cost }: Wrapping = {},
): Promise<{ readonly keys: KeyRing; readonly recoveryCode: string } | undefined> {
  const keyId = keyIdOf(info);
  const key = names.accountKey(keyId);
  if ((await options.objects.head(key, withSignal(signal))) !== undefined) return undefined;
  // Another key would make what is there unreadable for ever, should the true one be found again.
  if (await hasVolumes(options.objects, signal)) throw missing(key);
  const accountKey = options.random.bytes(KEY_BYTES);
  const keys = new KeyRing(info.storeId, keyId, accountKey);
  accountKey.fill(0);
  const recovery = newRecovery(options);
  const createdAt = new Date(options.clock.nowMs()).toISOString();
  const how = { random: options.random, createdAt, ...(cost === undefined ? {} : { cost }) };
  const slots: KeySlot[] = [];
  for (const each of [secret, recovery.secret])
    slots.push(await newSlot(keys, each, how, (seal) => keys.wrapAccountKey(seal)));
  const document: KeyDocument = { keyId, createdAt, slots };
  return (await createDocument(options, key, document, signal)) ? { keys, recoveryCode: recovery.code } : undefined;
}

async function hasVolumes(objects: ObjectStore, signal?: AbortSignal): Promise<boolean> {
  for await (const folder of objects.listFolders(names.volumes, withSignal(signal)))
    if (isVolumeId(folder)) return true;
  return false;
}

/**
 * Unlocks the key of a store. Reads only.
 * @throws denied `wrong-key`; conflict `store-not-encrypted`; corrupt `object-missing`, `object-damaged`
 */
export async function unlockStore(
  reading: DocumentReading,
  info: StoreInfo,
  secret: SlotSecret,
  { signal }: Cancellable = {},
): Promise<KeyRing> {
  const keyId = keyIdOf(info);
  const key = names.accountKey(keyId);
  const document = await readDocument<KeyDocument>(reading, key, signal);
  if (document === undefined) throw missing(key);
  const { slots } = document.value;
  if (!(slots instanceof Array)) throw damaged(key, 'it names no slots');
  const accountKey = await openSlots(key, { storeId: info.storeId, keyId }, slots, secret);
  if (accountKey === undefined) throw wrongKey(info, secret, slots);
  const keys = new KeyRing(info.storeId, keyId, accountKey);
  accountKey.fill(0);
  return keys;
}

const SECRET_NAMES = { passphrase: 'passphrase', keyFile: 'key file', recovery: 'recovery code' } as const;

function wrongKey(info: StoreInfo, secret: SlotSecret, slots: readonly KeySlot[]): SgwError {
  const opening = [...new Set(slots.map(({ kind }) => SECRET_NAMES[kind]))].join(' or ');
  const message = `this ${SECRET_NAMES[secret.kind]} does not open store ${info.storeId}`;
  return new SgwError('denied', 'wrong-key', message, {
    hint: `The store is opened by its ${opening}.`,
    details: { storeId: info.storeId, kind: secret.kind },
  });
}

/**
 * Wraps the store's key anew: with `secret`, which takes the place of passphrase and key file, and with a new recovery
 * code when `recoveryKit` asks for it. No other object changes. Durable when it resolves.
 * @throws unavailable `document-contended`; corrupt
 */
export async function rekeyStore(
  options: BlockStoreOptions,
  keys: KeyRing,
  renewed: Wrapping & { readonly secret?: SlotSecret; readonly recoveryKit?: boolean },
): Promise<{ readonly slots: readonly KeySlot[]; readonly recoveryCode: string | null }> {
  const { secret, signal, cost } = renewed;
  const recovery = renewed.recoveryKit === true ? newRecovery(options) : undefined;
  const how = {
    random: options.random,
    createdAt: new Date(options.clock.nowMs()).toISOString(),
    ...(cost === undefined ? {} : { cost }),
  };
  const added: KeySlot[] = [];
  for (const each of [secret, recovery?.secret]) {
    if (each !== undefined) added.push(await newSlot(keys, each, how, (seal) => keys.wrapAccountKey(seal)));
  }
  const replaced = (slot: KeySlot): boolean => (slot.kind === 'recovery' ? recovery : secret) !== undefined;
  const { slots } = await changeDocument<KeyDocument>(
    options,
    names.accountKey(keys.keyId),
    (document) => ({ ...document, slots: [...document.slots.filter((slot) => !replaced(slot)), ...added] }),
    signal,
  );
  return { slots, recoveryCode: recovery?.code ?? null };
}
