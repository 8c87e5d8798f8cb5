/**
 * The store as one gateway sees it: what rights.ts gives it of the service's store, and nothing else. An object store like any
 * other, so that what is above it (routes.ts) knows of no rights, and what is below of no accounts.
 *
 * Own objects are passed on as they are, with their etags and conditions. What is another account's is seen in parts
 * (parts.ts). What comes in is checked before it is stored (writes.ts).
 */
import { Semaphore, SgwError, throwIfAborted } from '../../kit/index.ts';
import { documentBytes, parseDocument, placeOfKey, type KeyPlace } from '../../blockstore/inspect/index.ts';
import type {
  CallOptions,
  Etag,
  GetOptions,
  ListOptions,
  ObjectBody,
  ObjectInfo,
  ObjectStore,
  PutBody,
  PutOptions,
  PutResult,
  StoreFacts,
  StreamedBody,
} from '../../objectstore/index.ts';
import { bodyLength, bodyPieces } from '../../objectstore/index.ts';
import type { GatewayPrincipal } from '../identity/principal.ts';
import { isShared } from './access.ts';
import { grantsSeenBy } from '../exportcontrol/rights.ts';
import { isPartsPlace } from './parts.ts';
import { asSnapshot, isId, type Stored } from './records.ts';
import { RIGHTS, refuseWrite } from './rights.ts';
import { sealedFor, type Tenancy } from './tenancy.ts';
import { Writes } from './writes.ts';

/** Trials of a store lie there (`store check`), each account's for itself. */
const PROBE = /^probe\/([\w.-]{1,100})$/;
const PROBE_PREFIX = 'probe/';
const PROBE_BYTES_MAX = 256 * 1024;
/** Folders that an account may see something of, in byte order; `sgw.json` stands between. */
const FOLDERS = ['gc/purged/', 'keys/', 'pins/', PROBE_PREFIX, 'restores/', 'snapshots/', 'uploads/', 'volumes/'];
const STORE_KEY = 'sgw.json';
const LOOKS_AT_ONCE = 16;

const NEVER = new AbortController().signal;

/** Bytes of bodies in memory: waits for them, and returns how to give them back. */
export type TakeBytes = (bytes: number, signal: AbortSignal) => Promise<() => void>;

export class AccountStore implements ObjectStore {
  readonly description: string;
  readonly #tenancy: Tenancy;
  readonly #gateway: GatewayPrincipal;
  readonly #objects: ObjectStore;
  readonly #takeBytes: TakeBytes;
  readonly #writes: Writes;

  constructor(tenancy: Tenancy, gateway: GatewayPrincipal, takeBytes: TakeBytes) {
    this.#tenancy = tenancy;
    this.#gateway = gateway;
    this.#objects = tenancy.context.blocks.objects;
    this.#takeBytes = takeBytes;
    this.#writes = new Writes(tenancy, gateway);
    this.description = `store of account ${gateway.accountId}`;
  }

  facts(): StoreFacts | undefined {
    return this.#objects.facts?.();
  }

  async get(key: string, options: GetOptions = {}): Promise<ObjectBody | undefined> {
    const signal = options.signal ?? NEVER;
    throwIfAborted(signal);
    const probe = this.#probeKey(key);
    if (probe !== undefined) {
      const found = await this.#objects.get(probe, options);
      return found === undefined ? undefined : { ...found, key };
    }
    const place = placeOfKey(key);
    const right = place === undefined ? 'none' : await this.#rightTo(key, place, signal);
    if (place === undefined || right === 'none') return undefined;
    if (right === 'whole') return await this.#objects.get(key, options);
    if (right === 'parts') {
      if (!isPartsPlace(place)) return undefined;
      return await this.#tenancy.parts.get(this.#gateway, key, place, options.span, signal);
    }
    const shown = await this.#filtered(key, place, signal);
    if (shown === undefined) return undefined;
    const { start, end } = spanIn(key, options.span, shown.bytes.length);
    return { ...shown, bytes: shown.bytes.subarray(start, end) };
  }

  async head(key: string, options: CallOptions = {}): Promise<ObjectInfo | undefined> {
    const signal = options.signal ?? NEVER;
    throwIfAborted(signal);
    const probe = this.#probeKey(key);
    if (probe !== undefined) {
      const found = await this.#objects.head(probe, options);
      return found === undefined ? undefined : { ...found, key };
    }
    const place = placeOfKey(key);
    const right = place === undefined ? 'none' : await this.#rightTo(key, place, signal);
    if (place === undefined || right === 'none') return undefined;
    if (right === 'whole') return await this.#objects.head(key, options);
    if (right === 'parts') {
      return isPartsPlace(place) ? await this.#tenancy.parts.head(this.#gateway, key, place, signal) : undefined;
    }
    const shown = await this.#filtered(key, place, signal);
    return shown === undefined ? undefined : { key, sizeBytes: shown.sizeBytes, etag: shown.etag };
  }

  async put(key: string, body: PutBody, options: PutOptions = {}): Promise<PutResult> {
    const pieces = bodyPieces(body);
    const come = async function* (): AsyncGenerator<Uint8Array> {
      await Promise.resolve();
      yield* pieces;
    };
    return await this.putStream(key, { sizeBytes: bodyLength(body), sha256: '', crc32: '', pieces: come() }, options);
  }

  /** Segments go by piece by piece; all else is small, and in memory while it is checked. */
  async putStream(key: string, body: StreamedBody, options: PutOptions = {}): Promise<PutResult> {
    const signal = options.signal ?? NEVER;
    throwIfAborted(signal);
    const probe = this.#probeKey(key);
    const place = placeOfKey(key);
    const bytesMax = probe !== undefined ? PROBE_BYTES_MAX : place === undefined ? 0 : RIGHTS[place.kind].bytesMax;
    if (probe === undefined && (place === undefined || RIGHTS[place.kind].put === 'none')) throw refuseWrite(key);
    if (body.sizeBytes > bytesMax) {
      const message = `${String(body.sizeBytes)} bytes are more than ${key.slice(0, 200)} may have`;
      throw new SgwError('exhausted', 'object-too-large', message, { details: { key: key.slice(0, 200) } });
    }
    if (place?.kind === 'log') {
      const release = await this.#takeBytes(this.#writes.segmentBytes(body.sizeBytes), signal);
      try {
        return await this.#writes.segment(key, place, body, options);
      } finally {
        release();
      }
    }
    const release = await this.#takeBytes(body.sizeBytes, signal);
    try {
      const bytes = Buffer.concat(await Array.fromAsync(body.pieces));
      if (probe !== undefined) return await this.#objects.put(probe, bytes, options);
      if (place === undefined) throw refuseWrite(key);
      return await this.#writes.whole(key, place, bytes, options);
    } finally {
      release();
    }
  }

  async delete(key: string, options: CallOptions & { readonly ifMatch?: Etag } = {}): Promise<boolean> {
    const signal = options.signal ?? NEVER;
    throwIfAborted(signal);
    const probe = this.#probeKey(key);
    if (probe !== undefined) return await this.#objects.delete(probe, options);
    const place = placeOfKey(key);
    if (place === undefined || RIGHTS[place.kind].remove === 'none') throw refuseWrite(key);
    // What one must not see can't be told from what is not there.
    if ((await this.#rightTo(key, place, signal)) !== 'whole') return false;
    return await this.#objects.delete(key, options);
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    const { limit = Number.POSITIVE_INFINITY, startAfter = '' } = options;
    const signal = options.signal ?? NEVER;
    let left = limit;
    if (left <= 0) return;
    for (const folder of this.#foldersOf(prefix)) {
      throwIfAborted(signal);
      for await (const info of this.#listIn(folder, prefix, startAfter, signal)) {
        if (!info.key.startsWith(prefix) || info.key <= startAfter) continue;
        yield info;
        left -= 1;
        if (left === 0) return;
      }
    }
  }

  async *listFolders(prefix: string, options: CallOptions = {}): AsyncGenerator<string> {
    const signal = options.signal ?? NEVER;
    throwIfAborted(signal);
    if (prefix === '') {
      const tops = FOLDERS.map((folder) => folder.split('/')[0] ?? '');
      const present = new Set(await Array.fromAsync(this.#objects.listFolders('', { signal })));
      for (const top of new Set(tops)) if (present.has(top)) yield top;
      return;
    }
    if (prefix === 'volumes/' || prefix === 'snapshots/' || prefix === 'uploads/') {
      for await (const id of this.#visibleIds(prefix, signal)) yield id;
      return;
    }
    const [folder, id = ''] = prefix.split('/');
    const isOwn = (folder === 'volumes' || folder === 'snapshots') && isId(id) && (await this.#owns(id, signal));
    if (isOwn) yield* this.#objects.listFolders(prefix, { signal });
  }

  async close(): Promise<void> {
    // The store below is the service's.
    await Promise.resolve();
  }

  #probeKey(key: string): string | undefined {
    const name = PROBE.exec(key)?.[1];
    return name === undefined ? undefined : `${PROBE_PREFIX}${this.#gateway.accountId}.${name}`;
  }

  /** How much of an object the gateway may read. */
  async #rightTo(key: string, place: KeyPlace, signal: AbortSignal): Promise<'none' | 'whole' | 'parts' | 'filtered'> {
    const { accountId } = this.#gateway;
    const sealed = await this.#tenancy.sealed(signal);
    if (!sealedFor(sealed, accountId)) return place.kind === 'store' ? 'whole' : 'none';
    switch (RIGHTS[place.kind].read) {
      case 'all':
        return 'whole';
      case 'ownKey':
        return place.kind === 'accountKey' && place.keyId === accountId ? 'whole' : 'none';
      case 'filtered':
        return sealed === null ? 'filtered' : 'whole';
      case 'holder':
      case 'owner':
      case 'ownerOrShared':
      case 'ownerOrParts':
        return await this.#rightToOwned(key, place, sealed !== null, signal);
    }
  }

  /** The same of what is of one account. */
  async #rightToOwned(
    key: string,
    place: KeyPlace,
    isSealed: boolean,
    signal: AbortSignal,
  ): Promise<'none' | 'whole' | 'parts' | 'filtered'> {
    if (place.kind === 'pin' || place.kind === 'restore')
      return (await this.#ownsDocument(key, place.kind, signal)) ? 'whole' : 'none';
    const id = 'volumeId' in place ? place.volumeId : 'snapshotId' in place ? place.snapshotId : undefined;
    if (id === undefined) return 'none';
    if (await this.#owns(id, signal)) return 'whole';
    // Creators are sealed there, so that nothing could be decided on.
    if (isSealed) return 'none';
    if (isPartsPlace(place)) return 'parts';
    return place.kind === 'snapshot' ? 'filtered' : 'none';
  }

  async #owns(id: Parameters<Tenancy['records']['ownerOf']>[0], signal: AbortSignal): Promise<boolean> {
    return (await this.#tenancy.records.ownerOf(id, signal)) === this.#gateway.accountId;
  }

  /** Whether a pin or a restore is of this account; who pins is named by gateway, whose account is known. */
  async #ownsDocument(key: string, kind: 'pin' | 'restore', signal: AbortSignal): Promise<boolean> {
    const object = await this.#objects.get(key, { signal });
    if (object === undefined) return false;
    const { stored } = parseDocument(key, object.bytes);
    if (kind === 'restore') return stored['accountId'] === this.#gateway.accountId;
    if ('sealed' in stored) return true;
    return stored['holder'] === this.#gateway.gatewayId;
  }

  /** A document as this account may see it, with an etag of its own. */
  async #filtered(key: string, place: KeyPlace, signal: AbortSignal): Promise<ObjectBody | undefined> {
    const object = await this.#objects.get(key, { signal });
    if (object === undefined) return undefined;
    const parsed = parseDocument(key, object.bytes);
    const stored =
      place.kind === 'snapshot' ? this.#sharedEntry(parsed.stored) : await this.#ownPurged(parsed.stored, signal);
    if (stored === undefined) return undefined;
    const bytes = documentBytes(key, { ...parsed, stored });
    return { key, sizeBytes: bytes.length, etag: `view-${object.etag}`, bytes };
  }

  /** Of a snapshot that is shared with this account: without whom else it is shared with, and what its owner alone needs. */
  #sharedEntry(stored: Stored): Stored | undefined {
    const entry = asSnapshot(stored);
    if ('sealed' in stored || !isShared(this.#gateway.accountId, entry)) return undefined;
    const grants = grantsSeenBy(this.#gateway.accountId, entry);
    return { ...stored, grants, clientToken: null };
  }

  /** Of what gc purged on a day: what was this account's. */
  async #ownPurged(stored: Stored, signal: AbortSignal): Promise<Stored> {
    const own = async (ids: unknown): Promise<string[]> => {
      const mine: string[] = [];
      for (const id of Array.isArray(ids) ? (ids as readonly unknown[]) : [])
        if (typeof id === 'string' && isId(id) && (await this.#owns(id, signal))) mine.push(id);
      return mine;
    };
    return { ...stored, volumes: await own(stored['volumes']), snapshots: await own(stored['snapshots']) };
  }

  /** What a list of this prefix may have something of, in byte order. */
  #foldersOf(prefix: string): string[] {
    const places = [...FOLDERS, STORE_KEY].sort();
    return places.filter((place) => place.startsWith(prefix) || prefix.startsWith(place));
  }

  async *#listIn(folder: string, prefix: string, startAfter: string, signal: AbortSignal): AsyncGenerator<ObjectInfo> {
    const sealed = await this.#tenancy.sealed(signal);
    if (folder === STORE_KEY) {
      const info = await this.head(STORE_KEY, { signal });
      if (info !== undefined) yield info;
      return;
    }
    if (!sealedFor(sealed, this.#gateway.accountId)) return;
    if (folder === PROBE_PREFIX) {
      yield* this.#listProbes(signal);
      return;
    }
    if (folder === 'volumes/' || folder === 'snapshots/' || folder === 'uploads/') {
      for await (const id of this.#visibleIds(folder, signal, prefix.slice(folder.length), startAfter)) {
        const inside = `${folder}${id}/`;
        const below = prefix.startsWith(inside) ? prefix : inside;
        if (await this.#owns(id, signal)) yield* this.#objects.list(below, { startAfter, signal });
        else for (const info of await this.#sharedObjects(inside, signal)) yield info;
      }
      return;
    }
    yield* this.#listDocuments(prefix.startsWith(folder) ? prefix : folder, startAfter, signal);
  }

  /** Documents of all accounts in one folder: those that this one may read. */
  async *#listDocuments(prefix: string, startAfter: string, signal: AbortSignal): AsyncGenerator<ObjectInfo> {
    let batch: string[] = [];
    const looks = async (): Promise<(ObjectInfo | undefined)[]> => {
      const keys = batch;
      batch = [];
      return await Promise.all(keys.map(async (key) => this.head(key, { signal })));
    };
    for await (const { key } of this.#objects.list(prefix, { startAfter, signal })) {
      batch.push(key);
      if (batch.length < LOOKS_AT_ONCE) continue;
      for (const info of await looks()) if (info !== undefined) yield info;
    }
    for (const info of await looks()) if (info !== undefined) yield info;
  }

  async *#listProbes(signal: AbortSignal): AsyncGenerator<ObjectInfo> {
    const own = `${PROBE_PREFIX}${this.#gateway.accountId}.`;
    for await (const info of this.#objects.list(own, { signal }))
      yield { ...info, key: PROBE_PREFIX + info.key.slice(own.length) };
  }

  /** What an account that a snapshot is shared with sees of its folder. */
  async #sharedObjects(folder: string, signal: AbortSignal): Promise<ObjectInfo[]> {
    const keys = folder.startsWith('snapshots/') ? [`${folder}map`, `${folder}snapshot.json`] : [];
    const infos = await Promise.all(keys.map(async (key) => this.head(key, { signal })));
    return infos.filter((info) => info !== undefined);
  }

  /** Ids of volumes, or of snapshots, that this account may see, in byte order; only those that a list could come to. */
  async *#visibleIds(
    folder: 'volumes/' | 'snapshots/' | 'uploads/',
    signal: AbortSignal,
    rest = '',
    startAfter = '',
  ): AsyncGenerator<NonNullable<ReturnType<typeof idOf>>> {
    const { accountId } = this.#gateway;
    const sealed = await this.#tenancy.sealed(signal);
    if (!sealedFor(sealed, accountId)) return;
    const shared =
      folder === 'snapshots/' && sealed === null
        ? new Set<string>((await this.#tenancy.access.visibleSnapshots(accountId, signal)).map((one) => one.snapshotId))
        : new Set<string>();
    const wanted = rest.split('/', 1)[0] ?? '';
    const isWhole = rest.includes('/');
    const slots = new Semaphore(LOOKS_AT_ONCE);
    let batch: Promise<string | undefined>[] = [];
    const isVisible = async (id: NonNullable<ReturnType<typeof idOf>>): Promise<string | undefined> => {
      if (shared.has(id)) return id;
      const release = await slots.acquire(1, signal);
      try {
        return (await this.#owns(id, signal)) ? id : undefined;
      } finally {
        release();
      }
    };
    for await (const name of this.#objects.listFolders(folder, { signal })) {
      const id = idOf(name);
      // Everything in a folder stands before what comes after it.
      if (id === undefined || `${folder}${name}0` <= startAfter) continue;
      if (isWhole ? name !== wanted : !name.startsWith(wanted)) continue;
      batch.push(isVisible(id));
      if (batch.length < LOOKS_AT_ONCE * 4) continue;
      yield* present(await Promise.all(batch));
      batch = [];
    }
    yield* present(await Promise.all(batch));
  }
}

const idOf = (name: string): Parameters<Tenancy['records']['ownerOf']>[0] | undefined =>
  isId(name) ? name : undefined;

function* present(ids: readonly (string | undefined)[]): Generator<NonNullable<ReturnType<typeof idOf>>> {
  for (const id of ids) if (id !== undefined && isId(id)) yield id;
}

/** @throws invalid `span-past-end` as a store does */
function spanIn(
  key: string,
  span: GetOptions['span'],
  sizeBytes: number,
): { readonly start: number; readonly end: number } {
  if (span === undefined) return { start: 0, end: sizeBytes };
  const start = 'suffix' in span ? Math.max(0, sizeBytes - span.suffix) : span.offset;
  if (start >= sizeBytes)
    throw new SgwError('invalid', 'span-past-end', `the part lies past the end of ${key}`, { details: { key } });
  return { start, end: 'suffix' in span ? sizeBytes : Math.min(sizeBytes, span.offset + span.length) };
}
