/**
 * Volumes of the block API as they are kept (docs/formats/service.md): a document each, that no gateway knows of. What is
 * written to one goes to its session, an upload that the catalog hides (C29); `session` counts them, and may lag behind.
 */
import { createHash } from 'node:crypto';
import { changeDocument, createDocument, readDocument } from '../../blockstore/index.ts';
import {
  isVolumeId,
  newServiceVolumeId,
  serviceVolumeId,
  SgwError,
  type SnapshotId,
  type VolumeId,
} from '../../kit/index.ts';
import { timeOf, type ServiceContext } from '../context.ts';
import { notFoundResource } from '../identity/authorization.ts';
import { serviceKeys } from '../keys.ts';

export interface VolumeRecord {
  readonly volumeId: VolumeId;
  readonly accountId: string;
  readonly name: string;
  /** `creating` until its first session is there. `deleted` is for good. */
  readonly state: 'creating' | 'available' | 'deleted';
  readonly sizeBytes: number;
  readonly fromSnapshotId: SnapshotId | null;
  readonly lineage: VolumeId;
  readonly description: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly createdAt: string;
  readonly deletedAt: string | null;
  /** SHA-256 of what was asked for, hex. */
  readonly request: string;
  /** The session that is open, or one before it. */
  readonly session: number;
}

export type NewVolumeRecord = Pick<
  VolumeRecord,
  'accountId' | 'name' | 'sizeBytes' | 'fromSnapshotId' | 'description' | 'tags'
> & { readonly lineage: VolumeId | null; readonly request: string; readonly clientToken: string | null };

export class VolumeRecords {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** The volume that this request has begun, or undefined. @throws conflict `client-token-reused` */
  async begunBy(
    accountId: string,
    clientToken: string,
    request: string,
    signal: AbortSignal,
  ): Promise<VolumeRecord | undefined> {
    const record = await this.#read(accountId, idOfToken(accountId, clientToken), signal);
    if (record === undefined || record.request === request) return record;
    throw tokenReused(record.volumeId);
  }

  /** Durable, and `creating`, when it resolves. The same token again: what it created. @throws conflict `client-token-reused` */
  async create({ clientToken, lineage, ...wanted }: NewVolumeRecord, signal: AbortSignal): Promise<VolumeRecord> {
    const { accountId, request } = wanted;
    const { blocks } = this.#context;
    const volumeId = clientToken === null ? newServiceVolumeId(blocks.random) : idOfToken(accountId, clientToken);
    const record: VolumeRecord = {
      ...{ volumeId, ...wanted, state: 'creating', lineage: lineage ?? volumeId },
      ...{ createdAt: timeOf(this.#context), deletedAt: null, session: 0 },
    };
    const created = await createDocument(blocks, serviceKeys.volume(accountId, volumeId), record, signal);
    if (created) return record;
    const there = await this.#read(accountId, volumeId, signal);
    if (there?.request === request) return there;
    throw tokenReused(volumeId);
  }

  /** @throws notFound `volume-not-found`, also of another account's, and of one that is not created or deleted */
  async require(accountId: string, volumeId: string, signal: AbortSignal): Promise<VolumeRecord> {
    const record = await this.find(accountId, volumeId, signal);
    if (record?.state === 'available') return record;
    throw notFoundResource({ kind: 'volume', id: volumeId });
  }

  /** Also one that is deleted. */
  async find(accountId: string, volumeId: string, signal: AbortSignal): Promise<VolumeRecord | undefined> {
    return isVolumeId(volumeId) ? await this.#read(accountId, volumeId, signal) : undefined;
  }

  /** Those that are there, in the order of ids: up to `max` behind `after`. */
  async list(
    accountId: string,
    { after, max }: { readonly after: string | null; readonly max: number },
    signal: AbortSignal,
  ): Promise<{ readonly records: readonly VolumeRecord[]; readonly nextToken: string | null }> {
    const startAfter = after === null ? {} : { startAfter: serviceKeys.volume(accountId, after) };
    const records: VolumeRecord[] = [];
    for await (const { key } of this.#context.blocks.objects.list(serviceKeys.volumesOf(accountId), {
      ...startAfter,
      signal,
    })) {
      const record = (await readDocument<VolumeRecord>(this.#context.blocks, key, signal))?.value;
      if (record?.state !== 'available') continue;
      if (records.length === max) return { records, nextToken: records.at(-1)?.volumeId ?? null };
      records.push(record);
    }
    return { records, nextToken: null };
  }

  /** @throws notFound; what `change` throws */
  async change(
    { accountId, volumeId }: Pick<VolumeRecord, 'accountId' | 'volumeId'>,
    change: (now: VolumeRecord) => VolumeRecord,
    signal: AbortSignal,
  ): Promise<VolumeRecord> {
    return await changeDocument(this.#context.blocks, serviceKeys.volume(accountId, volumeId), change, signal);
  }

  async #read(accountId: string, volumeId: VolumeId, signal: AbortSignal): Promise<VolumeRecord | undefined> {
    const key = serviceKeys.volume(accountId, volumeId);
    return (await readDocument<VolumeRecord>(this.#context.blocks, key, signal))?.value;
  }
}

/** One account's client token creates one volume, whichever server is asked, and however often. */
function idOfToken(accountId: string, clientToken: string): VolumeId {
  return serviceVolumeId(createHash('sha256').update(`sgw volume ${accountId} ${clientToken}`, 'utf8').digest('hex'));
}

/** Tells a repeated request from another one with the same token. */
export const requestHash = (facts: readonly unknown[]): string =>
  createHash('sha256').update(JSON.stringify(facts), 'utf8').digest('hex');

export const tokenReused = (id: string): SgwError =>
  new SgwError('conflict', 'client-token-reused', `the client token was used for ${id} already, by another request`, {
    hint: 'Use a new token for a new request.',
    details: { id },
  });
