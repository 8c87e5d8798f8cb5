/**
 * Where the key of an encrypted store comes from: the secrets that accompany a call. A key that was unlocked is kept in the
 * memory of the process and nowhere else; `state.json` says only that there is one.
 */
import {
  createStore,
  readStoreInfo,
  type BlockStoreOptions,
  type KeyRing,
  type StoreInfo,
} from '../blockstore/index.ts';
import {
  beginStoreKey,
  parseKeyFile,
  parseRecoveryCode,
  passphraseSecret,
  rekeyStore as wrapAnew,
  unlockStore,
  type SlotSecret,
} from '../blockstore/sealing/index.ts';
import { SgwError } from '../kit/index.ts';
import type { CallContext, Input, KeySecret, RekeyDocument } from '../localapi/index.ts';
import type { GatewayState } from '../state/index.ts';

/** A store that is begun or opened at activation, and what to work on it with. */
export interface BegunStore {
  readonly info: StoreInfo;
  /** The blocks that were given, with the unlocked key where there is one: use these from here on. */
  readonly blocks: BlockStoreOptions;
  /** For `GatewayState.encryption` and the activation's document. */
  readonly encryption: GatewayState['encryption'];
  /** Set only when this call made the store's key: to be shown once. Lost, `store rekey` makes another. */
  readonly recoveryCode: string | null;
}

/**
 * Makes an object store an sgw store, or takes the one that is there, and opens its key. To be called by activation once the
 * store is found fit, before anything else is read from it or written to it; again after a death at any later step.
 * With `encrypt` a new store gets a key of account `accountId`, opened by what `call.secrets.renew` gives; a store whose key
 * exists, made by an earlier try or by another home, is unlocked by `call.secrets.unlock`, whether `encrypt` is asked or not.
 * Durable when it resolves.
 * @throws conflict `store-not-encrypted` when `encrypt` is asked of a store that was begun without; invalid `key-missing`,
 * `bad-key-file`, `bad-recovery-code`, `bad-passphrase`; denied `wrong-key`; corrupt `encryption-differs`. Then nothing was made but perhaps `sgw.json`.
 */
export async function beginKeys(
  blocks: BlockStoreOptions,
  asked: { readonly encrypt: boolean; readonly accountId: string },
  call: CallContext,
): Promise<BegunStore> {
  const { signal } = call;
  const present = await readStoreInfo(blocks.objects, { signal });
  const makesKey = asked.encrypt && present === undefined;
  // Asked before the store is begun: without an answer there is nothing that would have to be undone.
  let renewed = makesKey ? await renewedSecret(call) : undefined;
  const info = present ?? (await createStore(blocks, { signal, ...(makesKey ? { keyId: asked.accountId } : {}) }));
  if (info.keyDerivation === null) {
    if (asked.encrypt) throw notEncrypted(info);
    await refuseKeys(blocks, info, signal);
    return { info, blocks, encryption: 'none', recoveryCode: null };
  }
  if (asked.encrypt && !(await hasKey(blocks, info, signal))) {
    renewed ??= await renewedSecret(call);
    const begun = await beginStoreKey(blocks, info, renewed, { signal });
    if (begun !== undefined)
      return {
        info,
        blocks: { ...blocks, keys: begun.keys },
        encryption: 'customer',
        recoveryCode: begun.recoveryCode,
      };
  }
  const keys = await unlockStore(blocks, info, await unlockingSecret(call), { signal });
  return { info, blocks: { ...blocks, keys }, encryption: 'customer', recoveryCode: null };
}

/** Where a key is, things were sealed: somebody changed what the store says of itself. @throws corrupt `encryption-differs` */
export async function refuseKeys(
  { objects }: BlockStoreOptions,
  { storeId }: StoreInfo,
  signal: AbortSignal,
): Promise<void> {
  for await (const { key } of objects.list('keys/', { limit: 1, signal })) {
    const message = `store ${storeId} says that it is not encrypted, and holds the key ${key}`;
    throw new SgwError('corrupt', 'encryption-differs', message, {
      hint: 'Somebody changed sgw.json in the store: put its true version back, from a copy of the store.',
      details: { storeId, key },
    });
  }
}

async function hasKey({ objects }: BlockStoreOptions, info: StoreInfo, signal: AbortSignal): Promise<boolean> {
  return (await objects.head(`keys/${info.keyDerivation?.keyId ?? ''}.json`, { signal })) !== undefined;
}

/**
 * Unlocks the key of the gateway's store.
 * @throws invalid `key-missing`, `bad-key-file`, `bad-recovery-code`, `bad-passphrase`; denied `wrong-key`
 */
export async function openKeys(blocks: BlockStoreOptions, call: CallContext): Promise<KeyRing> {
  return (await openKeysBy(blocks, call)).keys;
}

/** As `openKeys`; also says what kind of secret it was that opened it. */
async function openKeysBy(
  blocks: BlockStoreOptions,
  call: CallContext,
): Promise<{ readonly keys: KeyRing; readonly kind: SlotSecret['kind'] }> {
  const { signal } = call;
  const info = await readStoreInfo(blocks.objects, { signal });
  if (info === undefined) throw new SgwError('corrupt', 'object-missing', 'object sgw.json is missing from the store');
  const secret = await unlockingSecret(call);
  return { keys: await unlockStore(blocks, info, secret, { signal }), kind: secret.kind };
}

/**
 * Wraps the store's key anew; no data is written again. The old secret is asked for, though the key may be unlocked already:
 * who only finds a daemon running must not be able to change what opens the store. Durable when it resolves.
 * @throws as `openKeys`; invalid `key-missing` when nothing new is given and no recovery code is asked for, or only that by
 * one who has nothing but the code before: were the new one lost on its way to him, nothing would open the store any more
 */
export async function rekeyStore(
  blocks: BlockStoreOptions,
  input: Input<'store.rekey'>,
  call: CallContext,
): Promise<RekeyDocument> {
  const { signal } = call;
  const { keys, kind } = await openKeysBy(blocks, call);
  const secret = call.secrets?.renew === undefined ? undefined : await renewedSecret(call);
  const recoveryKit = input.recoveryKit === true;
  if (secret === undefined && !recoveryKit) throw keyMissing('no new key file or passphrase was given');
  if (secret === undefined && kind === 'recovery') throw onlyCode();
  const renewed = await wrapAnew(blocks, keys, { signal, recoveryKit, ...(secret === undefined ? {} : { secret }) });
  return {
    storeId: keys.storeId,
    keyId: keys.keyId,
    slots: renewed.slots.map(({ slotId, kind, createdAt }) => ({ slotId, kind, createdAt })),
    recoveryCode: renewed.recoveryCode,
  };
}

async function unlockingSecret(call: CallContext): Promise<SlotSecret> {
  if (call.secrets === undefined) throw keyMissing('the store is encrypted, and no key file or passphrase was given');
  return secretOf(await call.secrets.unlock());
}

/** @throws invalid `key-missing` when there is none, or it is a recovery code, which only sgw makes */
async function renewedSecret(call: CallContext): Promise<SlotSecret> {
  const renew = call.secrets?.renew;
  if (renew === undefined) throw keyMissing('encryption needs a key file or a passphrase');
  const secret = secretOf(await renew());
  if (secret.kind === 'recovery') throw keyMissing('a recovery code is made by sgw, and is no new secret');
  return secret;
}

function secretOf(given: KeySecret): SlotSecret {
  if ('keyFile' in given) return parseKeyFile(given.keyFile);
  return 'passphrase' in given ? passphraseSecret(given.passphrase) : parseRecoveryCode(given.recoveryCode);
}

const onlyCode = (): SgwError =>
  new SgwError('invalid', 'key-missing', 'a recovery code is not replaced by another one alone', {
    hint: 'Give a new key file or passphrase as well: should the new code be lost on its way, that still opens the store.',
  });

function keyMissing(message: string): SgwError {
  return new SgwError('invalid', 'key-missing', message, {
    hint: 'Give --key-file FILE, or run the command at a terminal to be asked for the passphrase.',
  });
}

function notEncrypted(info: StoreInfo): SgwError {
  return new SgwError('conflict', 'store-not-encrypted', `store ${info.storeId} exists and is not encrypted`, {
    hint: 'A store is encrypted from its beginning, or not at all. Name another place: --store DIR',
    details: { storeId: info.storeId },
  });
}
