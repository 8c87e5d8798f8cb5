/**
 * The store of a service whose provider holds the keys, as the service works on it: like one without keys. What is below is
 * sealed, but for `sgw.json`, which says so. The documents of keys are not to be seen from above: no gateway, and nothing
 * else that works on the store, gets at one, whatever it asks for.
 */
import {
  createProviderStore,
  readProviderInfo,
  type BlockStoreOptions,
  type ProviderStoreInfo,
} from '../../blockstore/index.ts';
import { documentBytes, keys as names, parseDocument } from '../../blockstore/inspect/index.ts';
import { KEY_BYTES } from '../../blockstore/sealing/index.ts';
import { SgwError } from '../../kit/index.ts';
import {
  resolveSpan,
  StoreLayer,
  type CallOptions,
  type DeleteOptions,
  type GetOptions,
  type ListOptions,
  type ObjectBody,
  type ObjectInfo,
  type ObjectStore,
  type PutBody,
  type PutOptions,
  type PutResult,
  type PutStream,
} from '../../objectstore/index.ts';
import type { AccountKeys } from '../context.ts';
import type { ServiceKey } from '../identity/service-key.ts';
import { serviceKeys } from '../keys.ts';
import { createSecretKey } from 'node:crypto';
import { KeyDocuments } from './key-documents.ts';
import { KEY_ID_BYTES, type NamedKey } from './sealed-object.ts';
import { SealedStore, type ObjectKeys } from './sealed-store.ts';

/** A store whose provider holds the keys, opened. */
export interface ProviderStore {
  /** Closing it closes the store below. */
  readonly objects: ObjectStore;
  readonly accountKeys: AccountKeys;
}

const HIDDEN = [serviceKeys.accountKeys, serviceKeys.dataKeys];
const SERVICE_FOLDER = 'service/';

const isHidden = (key: string): boolean => HIDDEN.some((folder) => key.startsWith(folder));
/** Whether something of what a list yields may have to be left out. */
const reachesHidden = (prefix: string): boolean =>
  HIDDEN.some((folder) => folder.startsWith(prefix) || prefix.startsWith(folder));

class ProviderView extends StoreLayer {
  readonly #raw: ObjectStore;
  readonly putStream?: PutStream;

  constructor(sealed: SealedStore, raw: ObjectStore) {
    super(sealed);
    this.#raw = raw;
    const stream = sealed.putStream?.bind(sealed);
    if (stream === undefined) return;
    this.putStream = async (key, body, options) => {
      refuseWrite(key);
      return await stream(key, body, options);
    };
  }

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    refuseWrite(key);
    return await this.below.put(key, body, options);
  }

  override async get(key: string, options: GetOptions = {}): Promise<ObjectBody | undefined> {
    if (isHidden(key)) return undefined;
    if (key !== names.store) return await this.below.get(key, options);
    const shown = await this.#shown(options);
    if (shown === undefined) return undefined;
    const { start, end } = resolveSpan(key, options.span, shown.sizeBytes);
    return { ...shown, bytes: shown.bytes.subarray(start, end) };
  }

  override async head(key: string, options: CallOptions = {}): Promise<ObjectInfo | undefined> {
    if (isHidden(key)) return undefined;
    if (key !== names.store) return await this.below.head(key, options);
    const shown = await this.#shown(options);
    return shown === undefined ? undefined : { key, sizeBytes: shown.sizeBytes, etag: shown.etag };
  }

  override async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    const { limit, ...rest } = options;
    const all = reachesHidden(prefix) ? rest : options;
    let left = limit ?? Number.POSITIVE_INFINITY;
    for await (const info of this.below.list(prefix, all)) {
      if (left <= 0) return;
      if (isHidden(info.key)) continue;
      const shown = info.key === names.store ? await this.head(info.key, rest) : info;
      if (shown === undefined) continue;
      yield shown;
      left -= 1;
    }
  }

  override async *listFolders(prefix: string, options?: CallOptions): AsyncGenerator<string> {
    for await (const folder of this.below.listFolders(prefix, options))
      if (!(prefix === SERVICE_FOLDER && isHidden(`${prefix}${folder}/`)) && !isHidden(prefix)) yield folder;
  }

  override async delete(key: string, options?: DeleteOptions): Promise<boolean> {
    refuseWrite(key);
    return await this.below.delete(key, options);
  }

  /** `sgw.json` as that of a store without keys: what is above works on one. */
  async #shown({ signal }: CallOptions): Promise<ObjectBody | undefined> {
    const object = await this.#raw.get(names.store, signal === undefined ? {} : { signal });
    if (object === undefined) return undefined;
    const parsed = parseDocument(names.store, object.bytes);
    const stored = { ...parsed.stored, keyDerivation: null, keysHeldBy: 'provider' };
    const bytes = documentBytes(names.store, { ...parsed, stored });
    return { key: names.store, sizeBytes: bytes.length, etag: object.etag, bytes };
  }
}

/** @throws denied `key-document` */
function refuseWrite(key: string): void {
  if (!isHidden(key) && key !== names.store) return;
  throw new SgwError('denied', 'key-document', `${key.slice(0, 200)} is not to be written`, {
    details: { key: key.slice(0, 200) },
  });
}

const wrapPlace = (storeId: string): string => `${names.store} ${storeId}`;

/**
 * Opens a store whose provider holds the keys; where there is none, and `mayBegin` says so, makes it one. Undefined for
 * another store, and for none. Durable when it resolves.
 * @throws denied `service-key-wrong`; conflict `copy-unfinished`, `keys-differ`
 */
export async function openProviderStore(
  blocks: BlockStoreOptions,
  serviceKey: ServiceKey,
  { mayBegin, signal }: { readonly mayBegin: boolean; readonly signal: AbortSignal },
): Promise<ProviderStore | undefined> {
  const { objects, random } = blocks;
  const info =
    (await readProviderInfo(objects, { signal })) ??
    (mayBegin ? await createProviderStore(blocks, newProviderKey(blocks, serviceKey), { signal }) : undefined);
  if (info === undefined) return undefined;
  const provider = providerKeyOf(info, serviceKey);
  const own: ObjectKeys = {
    toSeal: async () => Promise.resolve(provider),
    toOpen: async () => Promise.resolve(provider),
  };
  const documents = { ...blocks, objects: new SealedStore(objects, own, random) };
  const keys = new KeyDocuments(info.storeId, provider, documents);
  return { objects: new ProviderView(new SealedStore(objects, keys, random), objects), accountKeys: keys };
}

function newProviderKey(
  { random }: BlockStoreOptions,
  serviceKey: ServiceKey,
): Parameters<typeof createProviderStore>[1] {
  const keyId = random.bytes(KEY_ID_BYTES).toString('hex');
  return (storeId) => {
    const bytes = random.bytes(KEY_BYTES);
    const wrapped = serviceKey.seal(bytes, wrapPlace(storeId));
    bytes.fill(0);
    return { keyId, wrapped };
  };
}

function providerKeyOf({ storeId, keyDerivation }: ProviderStoreInfo, serviceKey: ServiceKey): NamedKey {
  const bytes = serviceKey.unseal(keyDerivation.wrapped, wrapPlace(storeId));
  const key = createSecretKey(bytes);
  bytes.fill(0);
  return { keyId: keyDerivation.keyId, key };
}
