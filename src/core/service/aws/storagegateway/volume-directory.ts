/**
 * The volumes of an account, as the API names them: those that a gateway has, or had. What a volume is, the catalog of the
 * service's store says; of a gateway with a store of its own, the gateway itself. Where it is, its head says, and what the API
 * has noted. The gateway in an ARN is the one that has the volume, or had it last; ARNs from before it moved name it still.
 */
import { Catalog, PAGE_BYTES, type VolumeEntry } from '../../../blockstore/index.ts';
import { Semaphore, toSgwError, type VolumeId } from '../../../kit/index.ts';
import type { AttachmentDocument, GatewayDocument, GatewayMode, VolumeDocument } from '../../../localapi/index.ts';
import { notThere, parseArn, volumeArn } from './arns.ts';
import { callGateway, lookAt, type Caller } from './caller.ts';
import { RequestRefused } from './errors.ts';
import { gatewayOf, listGatewaysOf, requireStarted, type ApiGateway } from './gateway-directory.ts';
import { readVolumeRecord, type VolumeRecord } from './records.ts';

const READS_AT_ONCE = 16;

export interface ApiVolume {
  readonly volumeId: VolumeId;
  readonly arn: string;
  readonly entry: Pick<
    VolumeDocument,
    'name' | 'sizeBytes' | 'mappedBytes' | 'createdAt' | 'parentSnapshotId' | 'tags'
  >;
  /** As the service's store has it; undefined where that is not the gateway's store. */
  readonly stored: VolumeEntry | undefined;
  readonly record: VolumeRecord | undefined;
  readonly kind: GatewayMode;
  /** That has it, or had it last. */
  readonly gatewayId: string;
  /** Undefined when it was deleted. */
  readonly gateway: ApiGateway | undefined;
  /** That has it open for writing. */
  readonly holderId: string | null;
  readonly isAttached: boolean;
}

/** How a volume does on its gateway; nothing of it is known while that is out of reach. */
export interface LiveVolume extends ApiVolume {
  readonly look: GatewayDocument | undefined;
  readonly attachment: AttachmentDocument | undefined;
}

/**
 * The volume of an ARN, unless its gateway is shut down.
 * @throws RequestRefused `VolumeNotFound`, also of another account's; `GatewayNotConnected`
 */
export async function findVolume(caller: Caller, arn: string): Promise<ApiVolume> {
  const { volumeId, gatewayId } = parseArn(caller, arn, 'volume');
  const [stored, record] = await Promise.all([storedVolume(caller, volumeId), readVolumeRecord(caller, volumeId)]);
  const gateways = async (id: string): Promise<ApiGateway | undefined> => gatewayOrNone(caller, id);
  const found =
    stored === undefined
      ? await volumeElsewhere(caller, volumeId, record ?? { gatewayId })
      : await volumeHere(caller, stored, record, gateways);
  if (found === undefined) throw notThere('volume');
  if (found.gateway !== undefined) requireStarted(found.gateway);
  return found;
}

/** With what its gateway says of it. */
export async function findLiveVolume(caller: Caller, arn: string): Promise<LiveVolume> {
  const volume = await findVolume(caller, arn);
  const look = volume.isAttached && volume.gateway !== undefined ? await lookAt(caller, volume.gatewayId) : undefined;
  return liveVolume(caller, volume, look);
}

export function liveVolume({ accountId }: Caller, volume: ApiVolume, look: GatewayDocument | undefined): LiveVolume {
  const attachment = look?.exports.find(
    (one) =>
      one.volumeId === volume.volumeId &&
      one.recoveryPointSeq === null &&
      one.scratchVolumeId === null &&
      one.accountId === accountId,
  );
  const isAttached = look === undefined ? volume.isAttached : attachment !== undefined;
  return { ...volume, look, attachment, isAttached };
}

/** The volume that is served as a target. @throws RequestRefused `TargetNotFound`, `GatewayNotConnected` */
export async function findTarget(
  caller: Caller,
  arn: string,
): Promise<{ readonly gateway: ApiGateway; readonly attachment: AttachmentDocument }> {
  const { gatewayId, targetName } = parseArn(caller, arn, 'target');
  const gateway = await gatewayOf(caller, gatewayId);
  requireStarted(gateway);
  const look = await callGateway(caller, gatewayId, 'gateway.show', {});
  const attachment = look.exports.find(
    (one) => one.iscsi?.targetName === targetName && one.accountId === caller.accountId,
  );
  if (attachment === undefined) throw notThere('target');
  return { gateway, attachment };
}

/** All that the service's store has, in the order of their ARNs. */
export async function listVolumesOf(caller: Caller, gatewayId?: string): Promise<ApiVolume[]> {
  const { parts, accountId, signal } = caller;
  const [all, gateways] = await Promise.all([
    new Catalog(parts.context.blocks).listVolumes({ signal }),
    listGatewaysOf(caller),
  ]);
  const byId = new Map(gateways.map((gateway) => [gateway.gatewayId, gateway]));
  const slots = new Semaphore(READS_AT_ONCE);
  const found = await Promise.all(
    all
      .filter((entry) => entry.accountId === accountId)
      .map(async (entry) => {
        const release = await slots.acquire(1, signal);
        try {
          const record = await readVolumeRecord(caller, entry.volumeId);
          return await volumeHere(caller, entry, record, async (id) => Promise.resolve(byId.get(id)));
        } finally {
          release();
        }
      }),
  );
  return found
    .filter((volume) => volume !== undefined)
    .filter((volume) => gatewayId === undefined || (volume.gatewayId === gatewayId && volume.isAttached))
    .sort((a, b) => (a.arn < b.arn ? -1 : 1));
}

/** Changes the tags. @throws RequestRefused `NotSupported` for a volume of a gateway with a store of its own */
export async function setVolumeTags(
  { parts, signal }: Caller,
  { volumeId, stored }: ApiVolume,
  change: (now: VolumeEntry['tags']) => VolumeEntry['tags'],
): Promise<void> {
  if (stored === undefined)
    throw new RequestRefused('NotSupported', 'the volume is in a store that only its gateway reaches: tag it there');
  const catalog = new Catalog(parts.context.blocks);
  await catalog.updateVolume(volumeId, (now) => ({ ...now, tags: change(now.tags) }), signal);
}

async function storedVolume(
  { parts, accountId, signal }: Caller,
  volumeId: VolumeId,
): Promise<VolumeEntry | undefined> {
  try {
    const entry = await new Catalog(parts.context.blocks).getVolume(volumeId, signal);
    // Another account's is not there, also not by way of a gateway.
    if (entry.accountId !== accountId || entry.state === 'deleted') throw notThere('volume');
    return entry;
  } catch (error) {
    if (toSgwError(error).code === 'volume-not-found') return undefined;
    throw error;
  }
}

async function volumeHere(
  caller: Caller,
  stored: VolumeEntry,
  record: VolumeRecord | undefined,
  gateways: (gatewayId: string) => Promise<ApiGateway | undefined>,
): Promise<ApiVolume | undefined> {
  const { volumeId } = stored;
  const head = await new Catalog(caller.parts.context.blocks).headOf(volumeId, caller.signal);
  const holderId = head.holder?.gatewayId ?? null;
  const noted = record?.isAttached === true ? record.gatewayId : null;
  const gatewayId = holderId ?? noted ?? record?.gatewayId ?? head.closedBy?.gatewayId;
  if (gatewayId === undefined) return undefined;
  const gateway = await gateways(gatewayId);
  const kind = record?.kind ?? gateway?.mode ?? 'cached';
  const { name, sizeBytes, createdAt, parentSnapshotId, tags } = stored;
  const mappedBytes = head.checkpoint.mappedPages * PAGE_BYTES;
  return {
    ...{ volumeId, stored, record, kind, gatewayId, gateway, holderId },
    arn: volumeArn(caller, gatewayId, volumeId),
    entry: { name, sizeBytes, mappedBytes, createdAt, parentSnapshotId, tags },
    isAttached: gateway !== undefined && (holderId ?? noted) !== null,
  };
}

/** In a store that only a gateway reaches. */
async function volumeElsewhere(
  caller: Caller,
  volumeId: VolumeId,
  record: VolumeRecord | Pick<VolumeRecord, 'gatewayId'>,
): Promise<ApiVolume | undefined> {
  const { gatewayId } = record;
  const gateway = await gatewayOrNone(caller, gatewayId);
  if (gateway?.isRegistered !== true) return undefined;
  requireStarted(gateway);
  const known = 'kind' in record ? record : undefined;
  const entry = await callGateway(caller, gatewayId, 'volume.show', { volume: volumeId });
  if (entry.accountId !== caller.accountId) return undefined;
  return {
    ...{ volumeId, entry, stored: undefined, record: known, gatewayId, gateway },
    arn: volumeArn(caller, gatewayId, volumeId),
    kind: known?.kind ?? gateway.mode,
    holderId: entry.holder?.gatewayId ?? null,
    isAttached: entry.attachment !== null,
  };
}

async function gatewayOrNone(caller: Caller, gatewayId: string): Promise<ApiGateway | undefined> {
  try {
    return await gatewayOf(caller, gatewayId);
  } catch (error) {
    if (error instanceof RequestRefused && error.errorCode === 'GatewayNotFound') return undefined;
    throw error;
  }
}
