/**
 * What a gateway writes, checked before it is stored, by the rules of rights.ts. A write under a condition that does not hold
 * any more is passed on unchecked: the store refuses it, and may know it as one that was done.
 *
 * In a store with its customer's key the contents are sealed, and only what is readable is checked: whose it is, states and
 * epochs. Nobody else has anything there that pointers could lead to.
 */
import {
  isSamePointer,
  type KeyPlace,
  keys,
  type NodePointer,
  parseDocument,
  placeOfKey,
} from '../../blockstore/inspect/index.ts';
import { toSgwError, type SnapshotId, type VolumeId } from '../../kit/index.ts';
import type { PutOptions, PutResult, StreamedBody } from '../../objectstore/index.ts';
import type { GatewayPrincipal } from '../identity/principal.ts';
import type { RestoreEntry } from '../../blockstore/index.ts';
import {
  epochOf,
  holderOf,
  pinOf,
  requireFirstHead,
  requireFirstSnapshot,
  requireRecovery,
  requireRestoreStep,
  requireUnchanged,
  requireVolumeEntry,
  requireVolumeSize,
  requireVolumeStep,
  rootsOfHead,
  snapshotStep,
  VOLUME_FIXED,
} from './documents-check.ts';
import { Pointers } from './pointers.ts';
import { asSnapshot, asVolume, type GrantedRoot, type Stored } from './records.ts';
import { refuseContents, refuseWrite } from './rights.ts';
import { checkedSegment, SEGMENT_TAIL_BYTES } from './segment-check.ts';
import { sealedFor, type Tenancy } from './tenancy.ts';

type PlaceOf<K extends KeyPlace['kind']> = Extract<KeyPlace, { readonly kind: K }>;

/** What is being written, and under what. */
interface Write {
  readonly key: string;
  readonly bytes: Buffer;
  readonly options: PutOptions;
  readonly signal: AbortSignal;
  readonly isSealed: boolean;
}

const NEVER = new AbortController().signal;

export class Writes {
  readonly #tenancy: Tenancy;
  readonly #gateway: GatewayPrincipal;
  readonly #pointers: Pointers;

  constructor(tenancy: Tenancy, gateway: GatewayPrincipal) {
    this.#tenancy = tenancy;
    this.#gateway = gateway;
    this.#pointers = new Pointers(tenancy, gateway);
  }

  /** What a segment takes of memory while it goes by. */
  segmentBytes(sizeBytes: number): number {
    if (this.#tenancy.context.blocks.objects.putStream === undefined) return sizeBytes;
    return Math.min(sizeBytes, SEGMENT_TAIL_BYTES);
  }

  /** @throws denied `store-rights`, `write-refused` */
  async segment(key: string, place: PlaceOf<'log'>, body: StreamedBody, options: PutOptions): Promise<PutResult> {
    const signal = options.signal ?? NEVER;
    const { accountId } = this.#gateway;
    const isSealed = await this.#requireTenant(key, signal);
    await this.#requirePresent(key, place.volumeId, signal);
    requireNew(key, options);
    const grants = await this.#tenancy.records.grantsOf(accountId, place.volumeId, signal);
    const facts = { key, volumeId: place.volumeId, seq: place.seq, accountId, others: creatorsOf(grants), isSealed };
    const checked = checkedSegment(body, facts);
    const { objects } = this.#tenancy.context.blocks;
    if (objects.putStream !== undefined && body.sha256 !== '') return await objects.putStream(key, checked, options);
    return await objects.put(key, await Array.fromAsync(checked.pieces), options);
  }

  /** @throws denied `store-rights`, `write-refused`, `map-refused`, `export-denied`; notFound `snapshot-not-found` */
  async whole(key: string, place: KeyPlace, bytes: Buffer, options: PutOptions): Promise<PutResult> {
    const signal = options.signal ?? NEVER;
    const write = { key, bytes, options, signal, isSealed: await this.#requireTenant(key, signal) };
    switch (place.kind) {
      case 'volume':
        return await this.#volume(write, place.volumeId);
      case 'head':
        return await this.#head(write, place.volumeId);
      case 'volumeKey':
        return await this.#volumeKey(write, place.volumeId);
      case 'map':
        return await this.#map(write, place.volumeId);
      case 'snapshot':
        return await this.#snapshot(write, place.snapshotId);
      case 'snapshotMap':
        return await this.#snapshotMap(write, place.snapshotId);
      case 'restore':
        return await this.#restore(write, place);
      case 'pin':
        return await this.#pin(write);
      default:
        throw refuseWrite(key);
    }
  }

  async #put({ key, bytes, options }: Write): Promise<PutResult> {
    return await this.#tenancy.context.blocks.objects.put(key, bytes, options);
  }

  async #requireTenant(key: string, signal: AbortSignal): Promise<boolean> {
    const sealed = await this.#tenancy.sealed(signal);
    if (!sealedFor(sealed, this.#gateway.accountId)) throw refuseWrite(key);
    return sealed !== null;
  }

  async #owns(id: VolumeId | SnapshotId, signal: AbortSignal): Promise<boolean> {
    return (await this.#tenancy.records.ownerOf(id, signal)) === this.#gateway.accountId;
  }

  /** The fields that come, found to be those of the document under this key. */
  #parse({ key, bytes }: Write): Stored {
    try {
      return parseDocument(key, bytes).stored;
    } catch (error) {
      throw refuseContents(key, toSgwError(error).message);
    }
  }

  /** What the write replaces; undefined when that is not there as the condition says, and the store will refuse it. */
  async #current({ key, options, signal }: Write): Promise<Stored | undefined> {
    const { condition } = options;
    if (condition === undefined || 'ifAbsent' in condition) throw refuseContents(key, 'it is replaced by version only');
    const object = await this.#tenancy.context.blocks.objects.get(key, { signal });
    if (object?.etag !== condition.ifMatch) return undefined;
    return parseDocument(key, object.bytes).stored;
  }

  /**
   * Whether these very bytes are there: they were decided on when they came first. Anything else that is there may be gone when
   * the store looks for it, so it is no reason to decide nothing.
   */
  async #isStored({ key, bytes, signal }: Write): Promise<boolean> {
    const object = await this.#tenancy.context.blocks.objects.get(key, { signal });
    return object !== undefined && bytes.equals(object.bytes);
  }

  /** Of a volume of the account that is there, and not being purged. @throws denied */
  async #requirePresent(key: string, volumeId: VolumeId, signal: AbortSignal): Promise<void> {
    if (!(await this.#owns(volumeId, signal))) throw refuseWrite(key);
    if (!(await this.#tenancy.isPresent(volumeId, signal)))
      throw refuseContents(key, 'its volume has no entry, or is being purged');
  }

  async #claim(key: string, id: VolumeId | SnapshotId, signal: AbortSignal): Promise<void> {
    if (!(await this.#tenancy.records.claim(id, this.#gateway, signal))) throw refuseWrite(key);
  }

  async #volumeKey(write: Write, volumeId: VolumeId): Promise<PutResult> {
    const { key, options, signal, isSealed } = write;
    // Where there are no keys, nobody begins a volume by one.
    if (!isSealed) throw refuseWrite(key);
    await this.#claim(key, volumeId, signal);
    requireNew(key, options);
    return await this.#put(write);
  }

  async #head(write: Write, volumeId: VolumeId): Promise<PutResult> {
    const { key, options, signal, isSealed } = write;
    const stored = this.#parse(write);
    const epoch = epochOf(key, stored);
    if (isNew(options)) {
      if (!isSealed) requireFirstHead(key, stored);
      await this.#claim(key, volumeId, signal);
      return await this.#put(write);
    }
    await this.#requirePresent(key, volumeId, signal);
    const current = await this.#current(write);
    if (current === undefined) return await this.#put(write);
    const before = epochOf(key, current);
    if (epoch < before) throw refuseContents(key, 'its epoch is over');
    if (isSealed) return await this.#put(write);
    requireRecovery(key, stored);
    const [oldHolder, newHolder] = [holderOf(key, current), holderOf(key, stored)];
    if (epoch > before && newHolder?.gatewayId !== this.#gateway.gatewayId)
      throw refuseContents(key, 'a gateway opens a volume for itself only');
    if (epoch === before && newHolder !== null && newHolder.gatewayId !== oldHolder?.gatewayId)
      throw refuseContents(key, 'who holds the volume is another one only under a new epoch');
    const known = rootsOfHead(key, current);
    await this.#pointers.requireRoots(key, volumeId, rootsOfHead(key, stored), known, signal);
    const result = await this.#put(write);
    const isTaken = oldHolder !== null && newHolder !== null && oldHolder.gatewayId !== newHolder.gatewayId;
    if (result.outcome === 'stored' && epoch > before && isTaken)
      this.#tenancy.onFenced({ volumeId, oldHolder, newHolder, epoch });
    return result;
  }

  async #volume(write: Write, volumeId: VolumeId): Promise<PutResult> {
    const { key, options, signal } = write;
    const { accountId } = this.#gateway;
    const stored = this.#parse(write);
    if (!isNew(options)) {
      if (!(await this.#owns(volumeId, signal))) throw refuseWrite(key);
      const current = await this.#current(write);
      if (current === undefined) return await this.#put(write);
      requireUnchanged(key, current, stored, write.isSealed ? SEALED_FIXED : VOLUME_FIXED);
      requireVolumeStep(key, current, stored);
      if (!write.isSealed) requireVolumeSize(key, stored);
      await this.#tenancy.quotas.require(accountId, addedBy(current, stored), signal);
      return await this.#put(write);
    }
    if (write.isSealed) requireUnchanged(key, { volumeId, accountId }, stored, ['volumeId', 'accountId']);
    else requireVolumeEntry(key, volumeId, accountId, stored);
    await this.#claim(key, volumeId, signal);
    // One that says "purging" gives nobody a right.
    const isDecided = stored['state'] === 'purging' || (await this.#isStored(write));
    if (!isDecided) await this.#tenancy.quotas.require(accountId, addedBy(undefined, stored), signal);
    if (!isDecided && !write.isSealed) await this.#decideClone(write, volumeId, stored);
    return await this.#put(write);
  }

  /** What a new volume shows at first, and by what right: nothing, or a snapshot that its account may clone. */
  async #decideClone({ key, signal }: Write, volumeId: VolumeId, stored: Stored): Promise<void> {
    const { records, context, exports, access } = this.#tenancy;
    const { accountId, gatewayId } = this.#gateway;
    const headKey = keys.head(volumeId);
    const head = await context.blocks.objects.get(headKey, { signal });
    if (head === undefined) throw refuseContents(key, 'its head is missing');
    const [root] = rootsOfHead(headKey, parseDocument(headKey, head.bytes).stored);
    const { parentSnapshotId, lineage } = asVolume(stored);
    if (parentSnapshotId === null) {
      if (root !== undefined) throw refuseContents(key, 'it shows a map, and names no snapshot that it is of');
      return;
    }
    const parent = await this.#visibleSnapshot(parentSnapshotId, signal);
    const isForeign = parent?.['accountId'] !== accountId;
    // Leaves its record, and refuses what does not exist for this account in the same words as what does not exist.
    if (parent === undefined || isForeign)
      await exports.decide({ gatewayId, accountId }, { snapshotId: parentSnapshotId, purpose: 'clone' }, signal);
    if (parent === undefined) throw refuseContents(key, 'its snapshot is gone');
    const snapshot = asSnapshot(parent);
    const isSame = root === undefined ? snapshot.root === null : snapshot.root && isSamePointer(snapshot.root, root);
    if (snapshot.state !== 'completed' || isSame !== true || snapshot.lineage !== lineage)
      throw refuseContents(key, 'it does not show what the snapshot that it names shows');
    const roots: readonly GrantedRoot[] = isForeign
      ? root === undefined
        ? []
        : [{ snapshotId: parentSnapshotId, lineage, root }]
      : await records.grantsOf(accountId, snapshot.volumeId, signal);
    if (roots.length === 0) return;
    await records.grant({ volumeId, accountId, roots }, signal);
    access.forget(accountId);
  }

  /** The entry of a snapshot that the account owns or that is shared with it. */
  async #visibleSnapshot(snapshotId: SnapshotId, signal: AbortSignal): Promise<Stored | undefined> {
    const stored = await this.#tenancy.records.entry(snapshotId, signal);
    if (stored === undefined || stored['accountId'] === this.#gateway.accountId) return stored;
    const { grants = [], accountId: owner } = asSnapshot(stored);
    const isSeen = grants.some((grant) => grant.accountId === this.#gateway.accountId && grant.by === owner);
    return isSeen ? stored : undefined;
  }

  async #map(write: Write, volumeId: VolumeId): Promise<PutResult> {
    const { key, options, signal, isSealed } = write;
    await this.#requirePresent(key, volumeId, signal);
    requireNew(key, options);
    if (isSealed) return await this.#put(write);
    return await this.#checkedMap(write, volumeId, volumeId);
  }

  async #snapshotMap(write: Write, snapshotId: SnapshotId): Promise<PutResult> {
    const { key, options, signal, isSealed } = write;
    if (!(await this.#owns(snapshotId, signal))) throw refuseWrite(key);
    requireNew(key, options);
    const entry = await this.#tenancy.records.entry(snapshotId, signal);
    if (entry?.['state'] !== 'pending') throw refuseContents(key, 'its snapshot is not pending');
    if (isSealed) return await this.#put(write);
    const { volumeId } = asSnapshot(entry);
    if (!(await this.#owns(volumeId, signal))) throw refuseContents(key, 'its snapshot is of another volume');
    return await this.#checkedMap(write, volumeId, snapshotId);
  }

  async #checkedMap(write: Write, volumeId: VolumeId, owner: string): Promise<PutResult> {
    const { key, bytes, signal } = write;
    const bases = await this.#pointers.bases(volumeId, signal);
    let remember: () => void;
    try {
      remember = await this.#tenancy.maps.object({ key, owner, body: bytes }, this.#pointers.rules, bases, signal);
    } catch (error) {
      const failure = toSgwError(error);
      throw failure.kind === 'corrupt' || failure.kind === 'unsupported' ? refuseContents(key, failure.message) : error;
    }
    const result = await this.#put(write);
    if (result.outcome === 'stored') remember();
    return result;
  }

  async #snapshot(write: Write, snapshotId: SnapshotId): Promise<PutResult> {
    const { key, options, signal, isSealed } = write;
    const stored = this.#parse(write);
    if (isNew(options)) {
      await this.#requireNewSnapshot(write, snapshotId, stored);
      await this.#claim(key, snapshotId, signal);
      if (!(await this.#isStored(write)))
        await this.#tenancy.quotas.require(this.#gateway.accountId, { snapshots: 1 }, signal);
      return await this.#put(write);
    }
    if (!(await this.#owns(snapshotId, signal))) throw refuseWrite(key);
    const current = await this.#current(write);
    if (current === undefined) return await this.#put(write);
    if (isSealed) {
      requireUnchanged(key, current, stored, SEALED_FIXED);
      return await this.#put(write);
    }
    const root = snapshotStep(key, current, stored);
    if (root !== undefined) {
      const { volumeId } = asSnapshot(current);
      await this.#pointers.requireRoots(key, volumeId, [root], await this.#pointers.bases(volumeId, signal), signal);
    }
    return await this.#put(write);
  }

  /** @throws denied `write-refused` unless it begins one of a volume of the account */
  async #requireNewSnapshot({ key, signal, isSealed }: Write, snapshotId: SnapshotId, stored: Stored): Promise<void> {
    const { accountId } = this.#gateway;
    if (isSealed) {
      requireUnchanged(key, { snapshotId, accountId }, stored, ['snapshotId', 'accountId']);
      return;
    }
    requireFirstSnapshot(key, snapshotId, accountId, stored);
    const { volumeId, lineage } = asSnapshot(stored);
    if (!(await this.#owns(volumeId, signal))) throw refuseContents(key, 'its volume is not of this account');
    const volume = await this.#tenancy.records.entry(volumeId, signal);
    if (volume?.['lineage'] !== lineage) throw refuseContents(key, 'its lineage is not that of its volume');
  }

  async #restore(write: Write, { snapshotId, restoreId }: PlaceOf<'restore'>): Promise<PutResult> {
    const { key, options, signal, isSealed } = write;
    const { accountId, gatewayId } = this.#gateway;
    const stored = this.#parse(write);
    if (stored['accountId'] !== accountId) throw refuseContents(key, 'it names another account');
    if (!isNew(options)) {
      const current = await this.#current(write);
      if (current === undefined) return await this.#put(write);
      if (current['accountId'] !== accountId) throw refuseWrite(key);
      if (!isSealed) requireRestoreStep(key, current, stored);
      return await this.#put(write);
    }
    if (isSealed) {
      if (!(await this.#owns(snapshotId, signal))) throw refuseContents(key, 'its snapshot is of another account');
      return await this.#put(write);
    }
    if (stored['restoreId'] !== restoreId || stored['snapshotId'] !== snapshotId || stored['gatewayId'] !== gatewayId)
      throw refuseContents(key, 'it is another restore, or of another gateway');
    if (!(await this.#isStored(write))) await this.#decideRestore(write, snapshotId, stored);
    const result = await this.#put(write);
    this.#tenancy.access.forget(accountId);
    return result;
  }

  /** A restore takes the data out. */
  async #decideRestore({ key, signal }: Write, snapshotId: SnapshotId, stored: Stored): Promise<void> {
    const { accountId, gatewayId } = this.#gateway;
    const parent = await this.#visibleSnapshot(snapshotId, signal);
    if (parent?.['accountId'] !== accountId)
      await this.#tenancy.exports.decide({ gatewayId, accountId }, { snapshotId, purpose: 'export' }, signal);
    if (parent === undefined) throw refuseContents(key, 'its snapshot is gone');
    const { root } = (stored as unknown as RestoreEntry).snapshot as Partial<RestoreEntry['snapshot']>;
    const shown = asSnapshot(parent).root;
    const isSame = root === null ? shown === null : shown !== null && root !== undefined && isSamePointer(shown, root);
    if (!isSame) throw refuseContents(key, 'it does not show what its snapshot shows');
  }

  async #pin(write: Write): Promise<PutResult> {
    const { key, options, signal, isSealed } = write;
    const stored = this.#parse(write);
    if (isSealed) return await this.#put(write);
    const pin = pinOf(key, stored, this.#tenancy.context.blocks.clock.nowMs());
    if (pin.holder !== this.#gateway.gatewayId) throw refuseContents(key, 'it names another gateway as its holder');
    if (!isNew(options)) {
      const current = await this.#current(write);
      if (current === undefined) return await this.#put(write);
      if (current['holder'] !== this.#gateway.gatewayId) throw refuseWrite(key);
      requireUnchanged(key, current, stored, ['pinId', 'roots', 'objects']);
      // What was taken back meanwhile is not kept from gc any longer.
      await this.#requireSeen(key, pin.roots, signal);
      return await this.#put(write);
    }
    for (const object of pin.objects) {
      const place = placeOfKey(object);
      if (place?.kind !== 'log' || !(await this.#owns(place.volumeId, signal)))
        throw refuseContents(key, 'it pins an object that is not of this account');
    }
    await this.#requireSeen(key, pin.roots, signal);
    return await this.#put(write);
  }

  /** @throws denied `write-refused` */
  async #requireSeen(key: string, roots: readonly NodePointer[], signal: AbortSignal): Promise<void> {
    for (const root of roots)
      if (!(await this.#pointers.maySee(root, signal)))
        throw refuseContents(key, 'it pins what this account does not see');
  }
}

/** What a volume's entry adds to what its account has. The size of one in a sealed store is not to be seen. */
function addedBy(
  before: Stored | undefined,
  after: Stored,
): { readonly volumes: number; readonly volumeBytes: number } {
  const [had, has] = [before, after].map((entry) => {
    const { state, sizeBytes } = entry ?? {};
    const isKept = state === 'available' || state === 'importing';
    return { volumes: isKept ? 1 : 0, volumeBytes: isKept && typeof sizeBytes === 'number' ? sizeBytes : 0 };
  });
  const zero = { volumes: 0, volumeBytes: 0 };
  const { volumes, volumeBytes } = has ?? zero;
  return { volumes: volumes - (had ?? zero).volumes, volumeBytes: volumeBytes - (had ?? zero).volumeBytes };
}

/** What can be read of a sealed document, and never changes. */
const SEALED_FIXED = ['volumeId', 'snapshotId', 'accountId', 'createdAt'];

const isNew = ({ condition }: PutOptions): boolean => condition !== undefined && 'ifAbsent' in condition;

/** @throws denied `write-refused` */
function requireNew(key: string, options: PutOptions): void {
  if (!isNew(options)) throw refuseContents(key, 'it is made once, and never replaced');
}

/** Accounts that made what was granted. */
const creatorsOf = (grants: readonly GrantedRoot[]): ReadonlySet<string> =>
  new Set(grants.flatMap(({ root }) => root.creators));
