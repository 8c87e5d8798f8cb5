/**
 * Takes away what nobody will ask the service for again (docs/formats/service.md): activations that nobody claimed, keys that
 * were revoked long ago, old records of the audit, and whose a volume or snapshot was that is purged.
 *
 * Never a root of gc, and nothing that a repeated request is answered by: claims and credentials stay, and so do the tokens of
 * clients. What changed since it was looked at stays too. Each run may be cut off anywhere, and any number may run at once.
 */
import { Catalog, readDocument } from '../../blockstore/index.ts';
import { readPurged } from '../../blockstore/gc/index.ts';
import { isVolumeId, toSgwError } from '../../kit/index.ts';
import type { Etag } from '../../objectstore/index.ts';
import { compactTime } from '../audit/audit.ts';
import type { ServiceContext } from '../context.ts';
import { documentsUnder } from '../documents.ts';
import { serviceKeys } from '../keys.ts';

const DAY_MS = 24 * 60 * 60_000;
/** A key that has expired is said to be so for a while, and not to be unknown. */
const UNCLAIMED_MS = 7 * DAY_MS;
const REVOKED_MS = 90 * DAY_MS;
/** Longer than anything is under way. */
const OWNED_MS = 30 * DAY_MS;
const DELETES_AT_ONCE = 16;

export interface PruneHow {
  /** Records of the audit are kept for as long; null: for ever. */
  readonly auditMs: number | null;
}

/** How many of each were removed. */
export interface Pruned {
  readonly activations: number;
  readonly activationKeys: number;
  readonly accessKeys: number;
  readonly auditRecords: number;
  readonly owners: number;
}

/** What is removed is gone for good when it resolves. @throws what the store throws */
export async function prune(context: ServiceContext, { auditMs }: PruneHow, signal: AbortSignal): Promise<Pruned> {
  const pruning = new Pruning(context, signal);
  const activations = await pruning.activations();
  return {
    activations,
    activationKeys: await pruning.activationKeys(),
    accessKeys: await pruning.accessKeys(),
    auditRecords: auditMs === null ? 0 : await pruning.auditRecords(auditMs),
    owners: await pruning.owners(),
  };
}

interface Activation {
  readonly activationId: string;
  readonly state: string;
  readonly createdAt: string;
  /** Absent in those of before it was noted. */
  readonly seenAt?: string;
  readonly expiresAt: string | null;
  readonly keyHash: string | null;
}

interface Owner {
  readonly id: string;
  readonly accountId: string;
  readonly createdAt: string;
}

class Pruning {
  readonly #context: ServiceContext;
  readonly #signal: AbortSignal;
  /** Activations that are kept, by id. */
  readonly #kept = new Map<string, Activation>();

  constructor(context: ServiceContext, signal: AbortSignal) {
    this.#context = context;
    this.#signal = signal;
  }

  async activations(): Promise<number> {
    const { blocks } = this.#context;
    const old: Found[] = [];
    for await (const found of documentsUnder<Activation>(blocks, serviceKeys.activations, this.#signal)) {
      const { state, expiresAt } = found.value;
      const isUnclaimed = state === 'registered' || state === 'shown';
      const isOver = expiresAt === null || this.#isOld(expiresAt, UNCLAIMED_MS);
      if (isUnclaimed && isOver && this.#isOld(seenAt(found.value), UNCLAIMED_MS)) old.push(found);
      else this.#kept.set(found.value.activationId, found.value);
    }
    return await this.#remove(old);
  }

  /** Those that no activation has: a newer key of the device has voided them, or it is gone. */
  async activationKeys(): Promise<number> {
    const { blocks } = this.#context;
    const old: Found[] = [];
    const tokens = documentsUnder<{ readonly activationId: string }>(blocks, serviceKeys.tokens, this.#signal);
    for await (const found of tokens) {
      const { activationId } = found.value;
      // One that came since the others were read is read now.
      const activation = this.#kept.get(activationId) ?? (await this.#activation(activationId));
      const isHad = activation?.keyHash !== null && found.key === serviceKeys.token(activation?.keyHash ?? '');
      // A key is there before its activation says so.
      const isSettled = activation === undefined || this.#isOld(seenAt(activation), DAY_MS);
      if (!isHad && isSettled) old.push(found);
    }
    return await this.#remove(old);
  }

  async #activation(activationId: string): Promise<Activation | undefined> {
    const key = serviceKeys.activation(activationId);
    return (await readDocument<Activation>(this.#context.blocks, key, this.#signal))?.value;
  }

  async accessKeys(): Promise<number> {
    const { blocks } = this.#context;
    const old: Found[] = [];
    const keys = documentsUnder<{ readonly revokedAt: string | null }>(blocks, serviceKeys.accessKeys, this.#signal);
    for await (const found of keys) {
      const { revokedAt } = found.value;
      if (revokedAt !== null && this.#isOld(revokedAt, REVOKED_MS)) old.push(found);
    }
    return await this.#remove(old);
  }

  /** Their names are in the order of time, so that only the old ones are looked at. */
  async auditRecords(keptMs: number): Promise<number> {
    const { objects, clock } = this.#context.blocks;
    const end = serviceKeys.audits + compactTime(new Date(clock.nowMs() - keptMs).toISOString());
    let count = 0;
    let batch: Found[] = [];
    for await (const { key, etag } of objects.list(serviceKeys.audits, { signal: this.#signal })) {
      if (key >= end) break;
      batch.push({ key, etag });
      if (batch.length < DELETES_AT_ONCE) continue;
      count += await this.#remove(batch);
      batch = [];
    }
    return count + (await this.#remove(batch));
  }

  /** Of volumes and snapshots that gc has purged, of which nothing is left, and that nothing names any more. */
  async owners(): Promise<number> {
    const { blocks } = this.#context;
    const purged = await readPurged(blocks, this.#signal);
    if (purged.volumes.size + purged.snapshots.size === 0) return 0;
    const named = await this.#named();
    if (named === undefined) return 0;
    const old: Found[] = [];
    let count = 0;
    for await (const found of documentsUnder<Owner>(blocks, serviceKeys.owners, this.#signal)) {
      const { id, createdAt, accountId } = found.value;
      const isPurged = (isVolumeId(id) ? purged.volumes : purged.snapshots).has(id);
      if (!isPurged || named.has(id) || !this.#isOld(createdAt, OWNED_MS) || !(await this.#isEmpty(id))) continue;
      // What the volume was granted before whose it was: a grant without an owner would be nobody's.
      if (isVolumeId(id)) await blocks.objects.delete(serviceKeys.grant(accountId, id), { signal: this.#signal });
      old.push(found);
      if (old.length === DELETES_AT_ONCE) count += await this.#remove(old.splice(0));
    }
    return count + (await this.#remove(old));
  }

  /** Every volume and snapshot that an entry or a grant names; undefined when there is one that can not be read. */
  async #named(): Promise<Set<string> | undefined> {
    const { blocks } = this.#context;
    const catalog = new Catalog(blocks);
    const all = { includeDeleted: true, includeSessions: true, signal: this.#signal };
    const [volumes, snapshots] = [await catalog.surveyVolumes(all), await catalog.surveySnapshots(all)];
    if (volumes.damaged.length + snapshots.damaged.length > 0) return undefined;
    const named = new Set<string>();
    const add = (...ids: (string | null | undefined)[]): void => {
      for (const id of ids) if (typeof id === 'string') named.add(id);
    };
    for (const { volumeId, lineage, parentSnapshotId } of volumes.entries) add(volumeId, lineage, parentSnapshotId);
    for (const { snapshotId, volumeId, lineage } of snapshots.entries) add(snapshotId, volumeId, lineage);
    interface OfApi {
      readonly volumeId: string;
      readonly lineage: string;
      readonly fromSnapshotId: string | null;
    }
    for await (const { value } of documentsUnder<OfApi>(blocks, serviceKeys.volumes, this.#signal))
      add(value.volumeId, value.lineage, value.fromSnapshotId);
    return named;
  }

  async #isEmpty(id: string): Promise<boolean> {
    const folder = isVolumeId(id) ? `volumes/${id}/` : `snapshots/${id}/`;
    for await (const _ of this.#context.blocks.objects.list(folder, { limit: 1, signal: this.#signal })) return false;
    return true;
  }

  #isOld(time: string, ageMs: number): boolean {
    return this.#context.blocks.clock.nowMs() - Date.parse(time) > ageMs;
  }

  /** How many were removed; not those that changed since. */
  async #remove(found: readonly Found[]): Promise<number> {
    const { objects } = this.#context.blocks;
    const remove = async ({ key, etag }: Found): Promise<boolean> => {
      try {
        return await objects.delete(key, { ifMatch: etag, signal: this.#signal });
      } catch (error) {
        if (toSgwError(error).code !== 'etag-mismatch') throw error;
        return false;
      }
    };
    let count = 0;
    for (let at = 0; at < found.length; at += DELETES_AT_ONCE) {
      const removed = await Promise.all(found.slice(at, at + DELETES_AT_ONCE).map(remove));
      count += removed.filter(Boolean).length;
    }
    return count;
  }
}

interface Found {
  readonly key: string;
  readonly etag: Etag;
}

const seenAt = ({ seenAt: last, createdAt }: Activation): string => last ?? createdAt;
