/** Volumes as the API describes them. */
import type * as Sdk from '@aws-sdk/client-storage-gateway';
import type { AttachmentDocument, GatewayMode } from '../../../localapi/index.ts';
import { shortTargetName, targetArn } from './arns.ts';
import { lookAt, type Caller } from './caller.ts';
import { RequestRefused } from './errors.ts';
import { findGateway } from './gateway-directory.ts';
import { portalAt } from './interfaces.ts';
import { pageOf } from './paging.ts';
import type { Checked } from './types.ts';
import {
  findLiveVolume,
  findVolume,
  listVolumesOf,
  liveVolume,
  type ApiVolume,
  type LiveVolume,
} from './volume-directory.ts';

const volumeType = (kind: GatewayMode): string => (kind === 'cached' ? 'CACHED iSCSI' : 'STORED iSCSI');

export async function describeCachedVolumes(
  { VolumeARNs }: Checked<Sdk.DescribeCachediSCSIVolumesInput>,
  caller: Caller,
): Promise<Sdk.DescribeCachediSCSIVolumesOutput> {
  const volumes = await describedVolumes(caller, VolumeARNs, 'cached');
  return { CachediSCSIVolumes: volumes.map((volume) => common(caller, volume)) };
}

export async function describeStoredVolumes(
  { VolumeARNs }: Checked<Sdk.DescribeStorediSCSIVolumesInput>,
  caller: Caller,
): Promise<Sdk.DescribeStorediSCSIVolumesOutput> {
  const volumes = await describedVolumes(caller, VolumeARNs, 'shadowing');
  const StorediSCSIVolumes = volumes.map((volume) => {
    const disk = volume.attachment?.image ?? volume.record?.diskId ?? undefined;
    return {
      ...common(caller, volume),
      ...(disk === undefined ? {} : { VolumeDiskId: disk }),
      PreservedExistingData: volume.record?.preservesData ?? true,
    };
  });
  return { StorediSCSIVolumes };
}

/** The gateway is asked once. @throws RequestRefused `InvalidParameters` when they are of several gateways */
async function describedVolumes(caller: Caller, arns: readonly string[], kind: GatewayMode): Promise<LiveVolume[]> {
  const volumes: ApiVolume[] = [];
  for (const arn of arns) volumes.push(await findVolume(caller, arn));
  const [first] = volumes;
  if (first === undefined) throw new RequestRefused('InvalidParameters', 'no volume was given');
  if (volumes.some(({ gatewayId }) => gatewayId !== first.gatewayId))
    throw new RequestRefused('InvalidParameters', 'the volumes are of several gateways');
  if (volumes.some((volume) => volume.kind !== kind))
    throw new RequestRefused('InvalidParameters', `not all of the volumes are ${volumeType(kind)} ones`);
  const isThere = first.gateway?.isRegistered === true;
  const look = isThere ? await lookAt(caller, first.gatewayId) : undefined;
  return volumes.map((volume) => liveVolume(caller, volume, look));
}

function common(caller: Caller, volume: LiveVolume) {
  const { entry, record, attachment } = volume;
  const source = record?.sourceSnapshotId ?? entry.parentSnapshotId;
  const targetName = attachment?.iscsi?.targetName;
  return {
    VolumeARN: volume.arn,
    VolumeId: volume.volumeId,
    VolumeType: volumeType(volume.kind),
    VolumeSizeInBytes: attachment?.sizeBytes ?? entry.sizeBytes,
    VolumeUsedInBytes: entry.mappedBytes,
    VolumeAttachmentStatus: attachmentStatus(volume),
    CreatedDate: new Date(entry.createdAt),
    ...progressOf(attachment),
    VolumeStatus: statusOf(volume),
    ...(source === null ? {} : { SourceSnapshotId: source }),
    ...(targetName === undefined
      ? record === undefined
        ? {}
        : { TargetName: record.targetName }
      : { TargetName: shortTargetName(targetName) }),
    ...attributesOf(caller, volume),
  };
}

function attributesOf(
  caller: Caller,
  { attachment, record, gatewayId }: LiveVolume,
): { VolumeiSCSIAttributes?: Sdk.VolumeiSCSIAttributes } {
  const iscsi = attachment?.iscsi ?? null;
  if (iscsi === null) return {};
  const { address, port } = portalAt(iscsi.portals, record?.networkInterfaceId);
  return {
    VolumeiSCSIAttributes: {
      TargetARN: targetArn(caller, gatewayId, iscsi.targetName),
      NetworkInterfaceId: address,
      NetworkInterfacePort: port,
      LunNumber: iscsi.lun,
      ChapEnabled: iscsi.chapUser !== null || (iscsi.chapInitiators ?? []).length > 0,
    },
  };
}

function attachmentStatus({ isAttached, attachment }: LiveVolume): string {
  if (attachment?.state === 'detaching') return 'DETACHING';
  // Another gateway took it over.
  if (attachment?.state === 'fenced') return 'DETACHED';
  return isAttached ? 'ATTACHED' : 'DETACHED';
}

/** Of a gateway that is out of reach it is told what the store knows: that the volume is there. */
function statusOf({ attachment }: LiveVolume): string {
  if (attachment === undefined) return 'AVAILABLE';
  const isRestoring = attachment.restore !== null && attachment.restore.state !== 'completed';
  switch (attachment.state) {
    case 'damaged':
      return 'IRRECOVERABLE';
    case 'bootstrapping':
    case 'resyncing':
      return isRestoring ? 'RESTORING' : 'BOOTSTRAPPING';
    case 'pass-through':
      return isRestoring ? 'RESTORE AND PASS THROUGH' : 'PASS THROUGH';
    case 'opening':
    case 'waiting':
    case 'stopped':
      return 'CREATING';
    case 'available':
    case 'degraded':
    case 'fenced':
    case 'detaching':
      return isRestoring ? 'RESTORING' : 'AVAILABLE';
  }
}

/** Only while it is restored or bootstrapped. */
function progressOf(attachment: AttachmentDocument | undefined): { VolumeProgress?: number } {
  const { restore = null, shadow = null } = attachment ?? {};
  const at = restore !== null && restore.state !== 'completed' ? restore : shadow;
  if (at?.doneBytes === undefined || at.doneBytes === null || at.totalBytes === null || at.totalBytes === 0) return {};
  return { VolumeProgress: Math.min(100, (100 * at.doneBytes) / at.totalBytes) };
}

export async function listVolumes(
  { GatewayARN, ...paging }: Checked<Sdk.ListVolumesInput>,
  caller: Caller,
): Promise<Sdk.ListVolumesOutput> {
  const gateway = GatewayARN === undefined ? undefined : await findGateway(caller, GatewayARN);
  const volumes = await listVolumesOf(caller, gateway?.gatewayId);
  const { rows, ...marker } = pageOf(volumes, ({ arn }) => arn, paging);
  const VolumeInfos = rows.map(({ arn, volumeId, gatewayId, kind, entry, isAttached }) => ({
    VolumeARN: arn,
    VolumeId: volumeId,
    ...(isAttached ? { GatewayARN: arn.slice(0, arn.indexOf('/volume/')), GatewayId: gatewayId } : {}),
    VolumeType: volumeType(kind),
    VolumeSizeInBytes: entry.sizeBytes,
    VolumeAttachmentStatus: isAttached ? 'ATTACHED' : 'DETACHED',
  }));
  return { ...(GatewayARN === undefined ? {} : { GatewayARN }), ...marker, VolumeInfos };
}

export async function listInitiators(
  { VolumeARN }: Checked<Sdk.ListVolumeInitiatorsInput>,
  caller: Caller,
): Promise<Sdk.ListVolumeInitiatorsOutput> {
  const { attachment } = await findLiveVolume(caller, VolumeARN);
  const names = (attachment?.connected ?? []).flatMap(({ initiator }) => (initiator === null ? [] : [initiator]));
  return { Initiators: [...new Set(names)].sort() };
}
