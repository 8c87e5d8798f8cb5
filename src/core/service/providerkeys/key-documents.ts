/**
 * The keys that a provider holds, each in a document of the store that is sealed itself (docs/formats/provider-sealed.md):
 * a key for each account, made with it, and a data key for each volume and snapshot, which its account's key wraps.
 *
 * Invariants: neither ever changes. A data key is there before the first object that it seals. Whose a volume or snapshot is,
 * is known before anything of it is written: by the record that the data endpoint makes, or by the entry itself, which comes
 * first where the service makes it. What is remembered of a key is `REMEMBERED_MS` old at most, so that what lost its
 * account's key is read by no server after that.
 */
import { createSecretKey } from 'node:crypto';
import { createDocument, damaged, missing, readDocument, type BlockStoreOptions } from '../../blockstore/index.ts';
import { keys as names, parseDocument } from '../../blockstore/inspect/index.ts';
import { KEY_BYTES, openUnit, sealUnit } from '../../blockstore/sealing/index.ts';
import { assert, isSnapshotId, isVolumeId, SgwError, untilAborted } from '../../kit/index.ts';
import { bodyPieces, type PutBody } from '../../objectstore/index.ts';
import { serviceKeys } from '../keys.ts';
import { KEY_ID_BYTES, type NamedKey } from './sealed-object.ts';
import type { ObjectKeys } from './sealed-store.ts';

interface AccountKeyDocument {
  readonly accountId: string;
  /** 32 hex digits. */
  readonly keyId: string;
  /** The key itself: 32 bytes, base64. */
  readonly secret: string;
  readonly createdAt: string;
}

interface DataKeyDocument {
  readonly id: string;
  /** 32 hex digits. */
  readonly keyId: string;
  readonly accountId: string;
  readonly accountKeyId: string;
  /** A unit (docs/formats/keys.md), base64. */
  readonly wrapped: string;
  readonly createdAt: string;
}

const DATA_KEY = 'sgw provider data key';
const REMEMBERED_MS = 5 * 60_000;
const REMEMBERED_MAX = 16_384;

interface Remembered {
  readonly key: NamedKey;
  readonly untilMs: number;
}

/** The volume or snapshot that an object belongs to; undefined for what is the service's, or the store's. */
function containerOf(objectKey: string): string | undefined {
  const [folder, id = '', ...rest] = objectKey.split('/');
  if (rest.length === 0) return undefined;
  if (folder === 'volumes') return isVolumeId(id) ? id : undefined;
  return (folder === 'snapshots' || folder === 'uploads') && isSnapshotId(id) ? id : undefined;
}

export class KeyDocuments implements ObjectKeys {
  readonly #provider: NamedKey;
  /** Over the store with everything sealed by the provider's key itself. */
  readonly #documents: BlockStoreOptions;
  readonly #storeId: string;
  /** Data keys by volume or snapshot, those read first first. */
  readonly #known = new Map<string, Remembered>();
  readonly #loads = new Map<string, Promise<NamedKey | undefined>>();

  constructor(storeId: string, provider: NamedKey, documents: BlockStoreOptions) {
    this.#storeId = storeId;
    this.#provider = provider;
    this.#documents = documents;
  }

  /** Makes the key of an account, unless it has one. Durable when it resolves. */
  async makeAccountKey(accountId: string, signal: AbortSignal): Promise<void> {
    const { random } = this.#documents;
    const document: AccountKeyDocument = {
      accountId,
      keyId: random.bytes(KEY_ID_BYTES).toString('hex'),
      secret: random.bytes(KEY_BYTES).toString('base64'),
      createdAt: this.#now(),
    };
    await createDocument(this.#documents, serviceKeys.accountKey(accountId), document, signal);
  }

  async toOpen(objectKey: string, signal?: AbortSignal): Promise<NamedKey> {
    const id = containerOf(objectKey);
    if (id === undefined) return this.#provider;
    const key = await this.#dataKey(id, signal);
    if (key !== undefined) return key;
    throw missing(serviceKeys.dataKey(id));
  }

  /** A first object makes the key of its volume or snapshot. @throws corrupt `account-key-missing` */
  async toSeal(objectKey: string, body: PutBody | undefined, signal?: AbortSignal): Promise<NamedKey> {
    const id = containerOf(objectKey);
    if (id === undefined) return this.#provider;
    const key = await this.#dataKey(id, signal);
    if (key !== undefined) return key;
    const accountId = await this.#owner(id, objectKey, body, signal);
    await this.#makeDataKey(id, accountId, signal);
    return await this.toOpen(objectKey, signal);
  }

  /** Whose it is by its record, which is made here where its entry comes first: it is to be read without that account's key. */
  async #owner(id: string, objectKey: string, body: PutBody | undefined, signal?: AbortSignal): Promise<string> {
    const place = serviceKeys.owner(id);
    const record = await readDocument<{ readonly accountId: string }>(this.#documents, place, signal);
    if (record !== undefined) return record.value.accountId;
    const accountId = ownerIn(objectKey, body);
    assert(accountId !== undefined, `whose ${id} is, is known before ${objectKey} is written`);
    const made = { id, accountId, gatewayId: '', createdAt: this.#now() };
    if (await createDocument(this.#documents, place, made, signal)) return accountId;
    return await this.#owner(id, objectKey, body, signal);
  }

  async #makeDataKey(id: string, accountId: string, signal?: AbortSignal): Promise<void> {
    const { random } = this.#documents;
    const account = await this.#accountKey(accountId, id, signal);
    const bytes = random.bytes(KEY_BYTES);
    const wrapped = sealUnit(account.key, random, DATA_KEY, `${this.#storeId} ${id}`, bytes).toString('base64');
    bytes.fill(0);
    const keyId = random.bytes(KEY_ID_BYTES).toString('hex');
    const made = { id, keyId, accountId, accountKeyId: account.keyId, wrapped, createdAt: this.#now() };
    // Another server may have been faster: then its key is read.
    await createDocument(this.#documents, serviceKeys.dataKey(id), made satisfies DataKeyDocument, signal);
  }

  async #dataKey(id: string, signal?: AbortSignal): Promise<NamedKey | undefined> {
    const nowMs = this.#documents.clock.monotonicMs();
    const known = this.#known.get(id);
    if (known !== undefined && nowMs < known.untilMs) return known.key;
    let load = this.#loads.get(id);
    if (load === undefined) {
      load = this.#readDataKey(id).finally(() => this.#loads.delete(id));
      this.#loads.set(id, load);
    }
    const key = await untilAborted(load, signal);
    if (key !== undefined) this.#remember(id, { key, untilMs: nowMs + REMEMBERED_MS });
    return key;
  }

  #remember(id: string, remembered: Remembered): void {
    this.#known.delete(id);
    this.#known.set(id, remembered);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= REMEMBERED_MAX) break;
      this.#known.delete(oldest);
    }
  }

  async #readDataKey(id: string): Promise<NamedKey | undefined> {
    const place = serviceKeys.dataKey(id);
    const document = (await readDocument<DataKeyDocument>(this.#documents, place))?.value;
    if (document === undefined) return undefined;
    const { accountId, accountKeyId, keyId, wrapped } = document;
    const account = await this.#accountKey(accountId, id);
    // One that was made anew after the true one was removed opens nothing of before.
    if (account.keyId !== accountKeyId) throw accountKeyMissing(accountId, id);
    const bytes = openUnit(account.key, DATA_KEY, `${this.#storeId} ${id}`, Buffer.from(wrapped, 'base64'));
    if (bytes?.length !== KEY_BYTES) throw damaged(place, 'its key was not wrapped by its account');
    const key = createSecretKey(bytes);
    bytes.fill(0);
    return { keyId, key };
  }

  /** @throws corrupt `account-key-missing` */
  async #accountKey(accountId: string, id: string, signal?: AbortSignal): Promise<NamedKey> {
    const place = serviceKeys.accountKey(accountId);
    const document = (await readDocument<AccountKeyDocument>(this.#documents, place, signal))?.value;
    if (document === undefined) throw accountKeyMissing(accountId, id);
    const bytes = Buffer.from(document.secret, 'base64');
    if (bytes.length !== KEY_BYTES) throw damaged(place, 'it holds no key');
    const key = createSecretKey(bytes);
    bytes.fill(0);
    return { keyId: document.keyId, key };
  }

  #now(): string {
    return new Date(this.#documents.clock.nowMs()).toISOString();
  }
}

/** Whose a volume or snapshot is, by its first entry. */
function ownerIn(objectKey: string, body: PutBody | undefined): string | undefined {
  const [folder, id = ''] = objectKey.split('/');
  const isEntry =
    (folder === 'volumes' && isVolumeId(id) && objectKey === names.volume(id)) ||
    (folder === 'snapshots' && isSnapshotId(id) && objectKey === names.snapshot(id));
  if (!isEntry || body === undefined) return undefined;
  const { accountId } = parseDocument(objectKey, Buffer.concat(bodyPieces(body))).stored;
  return typeof accountId === 'string' ? accountId : undefined;
}

function accountKeyMissing(accountId: string, id: string): SgwError {
  return new SgwError('corrupt', 'account-key-missing', `the key of account ${accountId} is gone, which opens ${id}`, {
    hint: `Put ${serviceKeys.accountKey(accountId)} back in the store. If it was destroyed on purpose, nothing of the account can be read any more.`,
    details: { accountId, id },
  });
}
