/**
 * What the service itself knows of volumes and snapshots, and takes from no gateway: whose they are, and what of other
 * accounts' data a volume was granted (docs/formats/service.md). Both are created once and never changed.
 */
import { createDocument, readDocument, type SnapshotEntry, type VolumeEntry } from '../../blockstore/index.ts';
import { BoundedCache, keys, parseDocument, type NodePointer } from '../../blockstore/inspect/index.ts';
import {
  isMadeByService,
  isSnapshotId,
  isVolumeId,
  SgwError,
  type SnapshotId,
  type VolumeId,
} from '../../kit/index.ts';
import { timeOf, type ServiceContext } from '../context.ts';
import type { GatewayPrincipal } from '../identity/principal.ts';
import { serviceKeys } from '../keys.ts';

interface OwnerRecord {
  readonly id: string;
  readonly accountId: string;
  /** Which gateway began it. */
  readonly gatewayId: string;
  readonly createdAt: string;
}

export interface GrantedRoot {
  /** The snapshot by which it was granted. */
  readonly snapshotId: string;
  readonly lineage: string;
  readonly root: NodePointer;
}

export interface GrantRecord {
  readonly volumeId: VolumeId;
  readonly accountId: string;
  readonly roots: readonly GrantedRoot[];
  readonly createdAt: string;
}

const OWNERS_CACHE_BYTES = 8 << 20;
const OWNER_BYTES = 100;
const GRANTS_CACHE_BYTES = 16 << 20;
const ROOT_BYTES = 600;

const NO_GRANTS: readonly GrantedRoot[] = [];

export class Records {
  readonly #context: ServiceContext;
  readonly #owners = new BoundedCache<{ readonly accountId: string }>(OWNERS_CACHE_BYTES, () => OWNER_BYTES);
  readonly #grants = new BoundedCache<readonly GrantedRoot[]>(
    GRANTS_CACHE_BYTES,
    (roots) => OWNER_BYTES + roots.length * ROOT_BYTES,
  );

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** The account of a volume or snapshot; undefined when there never was one. It never changes. */
  async ownerOf(id: VolumeId | SnapshotId, signal: AbortSignal): Promise<string | undefined> {
    const known = this.#owners.peek(id);
    if (known !== undefined) return known.accountId;
    const accountId = (await this.#recorded(id, signal)) ?? (await this.#entryOwner(id, signal));
    if (accountId !== undefined) this.#owners.put(id, { accountId });
    return accountId;
  }

  async #recorded(id: string, signal: AbortSignal): Promise<string | undefined> {
    const { blocks } = this.#context;
    return (await readDocument<OwnerRecord>(blocks, serviceKeys.owner(id), signal))?.value.accountId;
  }

  /** Of one that the service or an older home made: its entry says it. */
  async #entryOwner(id: VolumeId | SnapshotId, signal: AbortSignal): Promise<string | undefined> {
    const accountId = (await this.entry(id, signal))?.['accountId'];
    return typeof accountId === 'string' ? accountId : undefined;
  }

  /** The stored entry of a volume or snapshot; undefined when there is none. */
  async entry(id: VolumeId | SnapshotId, signal: AbortSignal): Promise<Stored | undefined> {
    const key = isVolumeId(id) ? keys.volume(id) : keys.snapshot(id);
    const object = await this.#context.blocks.objects.get(key, { signal });
    return object === undefined ? undefined : parseDocument(key, object.bytes).stored;
  }

  /**
   * Makes a volume or snapshot that is about to be begun the gateway's account's. False when it is another's, or when there is
   * something of it that nobody knows whose it is.
   */
  async claim(id: VolumeId | SnapshotId, gateway: GatewayPrincipal, signal: AbortSignal): Promise<boolean> {
    const { accountId, gatewayId } = gateway;
    const owner = await this.ownerOf(id, signal);
    if (owner !== undefined) return owner === accountId;
    // What the service makes gets its owner by its entry.
    if (isMadeByService(id)) return false;
    const { blocks } = this.#context;
    const folder = isVolumeId(id) ? `volumes/${id}/` : `snapshots/${id}/`;
    for await (const _ of blocks.objects.list(folder, { limit: 1, signal })) return false;
    await this.record(id, { accountId, gatewayId }, signal);
    return (await this.ownerOf(id, signal)) === accountId;
  }

  /** Notes whose it is, unless that is noted already. Durable when it resolves. */
  async record(
    id: VolumeId | SnapshotId,
    { accountId, gatewayId }: Pick<OwnerRecord, 'accountId' | 'gatewayId'>,
    signal: AbortSignal,
  ): Promise<void> {
    const record: OwnerRecord = { id, accountId, gatewayId, createdAt: timeOf(this.#context) };
    await createDocument(this.#context.blocks, serviceKeys.owner(id), record, signal);
  }

  /** What of other accounts' data a volume of an account was granted. */
  async grantsOf(accountId: string, volumeId: VolumeId, signal: AbortSignal): Promise<readonly GrantedRoot[]> {
    const key = serviceKeys.grant(accountId, volumeId);
    const known = this.#grants.peek(key);
    if (known !== undefined) return known;
    // The entry first: grants come before it, so that what is not there now never comes.
    const entry = await this.entry(volumeId, signal);
    const stored = await readDocument<GrantRecord>(this.#context.blocks, key, signal);
    if (stored === undefined && entry === undefined) return NO_GRANTS;
    const roots = stored?.value.roots ?? (await this.#madeByService(accountId, volumeId, entry, signal));
    this.#grants.put(key, roots);
    return roots;
  }

  /** Of a clone that no gateway made through the data endpoint: what it shows was decided on when it was made. */
  async #madeByService(
    accountId: string,
    volumeId: VolumeId,
    entry: Stored | undefined,
    signal: AbortSignal,
  ): Promise<readonly GrantedRoot[]> {
    const parentId = entry === undefined ? null : asVolume(entry).parentSnapshotId;
    if (typeof parentId !== 'string' || entry?.['accountId'] !== accountId) return NO_GRANTS;
    if ((await this.#recorded(volumeId, signal)) !== undefined) return NO_GRANTS;
    const parent = await this.entry(parentId, signal);
    if (parent === undefined) return NO_GRANTS;
    const { root, lineage, volumeId: source, accountId: owner } = asSnapshot(parent);
    if (owner === accountId) return await this.grantsOf(accountId, source, signal);
    const roots = root === null ? NO_GRANTS : [{ snapshotId: parentId, lineage, root }];
    if (roots.length > 0) await this.grant({ volumeId, accountId, roots }, signal);
    return roots;
  }

  /** Durable when it resolves. @throws conflict `volume-granted` when other roots were granted to it before */
  async grant(record: Omit<GrantRecord, 'createdAt'>, signal: AbortSignal): Promise<void> {
    const { accountId, volumeId, roots } = record;
    const key = serviceKeys.grant(accountId, volumeId);
    const value: GrantRecord = { ...record, createdAt: timeOf(this.#context) };
    if (await createDocument(this.#context.blocks, key, value, signal)) return;
    const there = (await readDocument<GrantRecord>(this.#context.blocks, key, signal))?.value.roots ?? NO_GRANTS;
    if (JSON.stringify(there.map(({ root }) => root)) === JSON.stringify(roots.map(({ root }) => root))) return;
    throw new SgwError('conflict', 'volume-granted', `volume ${volumeId} was granted other data before`, {
      details: { volumeId },
    });
  }

  /** Volumes of an account that were granted something. */
  async grantedVolumes(accountId: string, signal: AbortSignal): Promise<VolumeId[]> {
    const prefix = serviceKeys.grantsOf(accountId);
    const ids: VolumeId[] = [];
    for await (const { key } of this.#context.blocks.objects.list(prefix, { signal })) {
      const id = key.slice(prefix.length).replace(/\.json$/, '');
      if (isVolumeId(id)) ids.push(id);
    }
    return ids;
  }
}

/** Fields of an entry as they are stored. */
export type Stored = Readonly<Record<string, unknown>>;

/** An entry whose fields are all readable. */
export const asVolume = (stored: Stored): VolumeEntry => stored as unknown as VolumeEntry;
export const asSnapshot = (stored: Stored): SnapshotEntry => stored as unknown as SnapshotEntry;

export const isId = (text: string): text is VolumeId | SnapshotId => isVolumeId(text) || isSnapshotId(text);
