/**
 * Creating volumes. A cached one is created once for a client's token: every step can be repeated, and the last one notes the
 * answer under the token. A stored one is made of a disk, which makes it at most one volume.
 */
import type * as Sdk from '@aws-sdk/client-storage-gateway';
import { toSgwError } from '../../../kit/index.ts';
import type { GatewayDocument, Input, LocalDiskDocument } from '../../../localapi/index.ts';
import { canonicalJson } from '../../../protocol/index.ts';
import { timeOf } from '../../context.ts';
import { hashOf } from '../../secrets.ts';
import { iqnOf, targetArn, volumeArn } from './arns.ts';
import { callGateway, isOutOfReach, requireLook, type Caller } from './caller.ts';
import { RequestRefused } from './errors.ts';
import { findGateway, plainName, type ApiGateway } from './gateway-directory.ts';
import { requirePortal } from './interfaces.ts';
import { changeToken, changeVolumeRecord, type VolumeRecord } from './records.ts';
import { lastPoint } from './snapshots.ts';
import { tagsOf } from './tags.ts';
import type { Checked } from './types.ts';
import { findVolume, setVolumeTags } from './volume-directory.ts';
import { TARGET_TAG } from './volume-record.ts';

type Cached = Checked<Sdk.CreateCachediSCSIVolumeInput>;
type Stored = Checked<Sdk.CreateStorediSCSIVolumeInput>;

export async function createCached(input: Cached, caller: Caller): Promise<Sdk.CreateCachediSCSIVolumeOutput> {
  const { GatewayARN, ClientToken, TargetName, ...wish } = input;
  requireNoKms(wish);
  const tags = tagsOf(wish.Tags);
  const gateway = await findGateway(caller, GatewayARN);
  if (gateway.mode !== 'cached')
    throw new RequestRefused('NotSupported', 'the gateway has stored volumes: CreateStorediSCSIVolume makes one');
  const tokenHash = hashOf(ClientToken);
  const request = hashOf(canonicalJson({ ...wish, gatewayId: gateway.gatewayId, TargetName }));
  const token = await changeToken(caller, tokenHash, request, (now) => now);
  if (token.request !== request)
    throw new RequestRefused('InvalidParameters', 'the client token was used for another request');
  const { gatewayId } = gateway;
  if (token.result !== null) return answer(caller, gatewayId, token.result.volumeId, token.result.targetName);
  const look = await requireLook(caller, gatewayId);
  await requirePortal(caller, look, wish.NetworkInterfaceId);
  const volumeId = await createAndAttach(caller, gatewayId, {
    name: nameOf(TargetName, tokenHash),
    sizeBytes: wish.VolumeSizeInBytes,
    ...(await sourceOf(caller, wish)),
    tags: { ...tags, [TARGET_TAG]: TargetName },
    clientToken: `aws-${tokenHash.slice(0, 40)}`,
  });
  const first = firstRecord(caller, { gatewayId, volumeId, TargetName, wish });
  await changeVolumeRecord(caller, first, (now) => ({ ...now, isAttached: true }));
  const result = { volumeId, targetName: TargetName };
  await changeToken(caller, tokenHash, request, (now) => ({ ...now, result }));
  return answer(caller, gatewayId, volumeId, TargetName);
}

const answer = (
  caller: Caller,
  gatewayId: string,
  volumeId: string,
  targetName: string,
): { VolumeARN: string; TargetARN: string } => ({
  VolumeARN: volumeArn(caller, gatewayId, volumeId),
  TargetARN: targetArn(caller, gatewayId, iqnOf(targetName)),
});

/** People see the target's name in it; the digits make it one of its kind. */
const nameOf = (targetName: string, hash: string): string =>
  `${plainName(targetName).slice(0, 100)}-${hash.slice(0, 8)}`;

function requireNoKms({
  KMSEncrypted,
  KMSKey,
}: {
  readonly KMSEncrypted?: boolean | undefined;
  readonly KMSKey?: string | undefined;
}): void {
  if (KMSEncrypted === true || KMSKey !== undefined)
    throw new RequestRefused(
      'ParametersNotImplemented',
      'there are no keys of KMS here: a store has a key of its own, or none',
    );
}

type Source = Pick<Input<'volume.create'>, 'fromSnapshot' | 'fromVolume' | 'recoveryPoint'>;

/** A clone of a volume is one of its last recovery point; of one that has none yet, of what there is. */
async function sourceOf(
  caller: Caller,
  {
    SnapshotId,
    SourceVolumeARN,
    VolumeSizeInBytes,
  }: Pick<Cached, 'SnapshotId' | 'SourceVolumeARN' | 'VolumeSizeInBytes'>,
): Promise<Source> {
  if (SnapshotId !== undefined && SourceVolumeARN !== undefined)
    throw new RequestRefused('InvalidParameters', 'give just one of SnapshotId and SourceVolumeARN');
  if (SnapshotId !== undefined) return { fromSnapshot: SnapshotId.toLowerCase() };
  if (SourceVolumeARN === undefined) return {};
  const { volumeId, entry, stored } = await findVolume(caller, SourceVolumeARN);
  if (VolumeSizeInBytes < entry.sizeBytes)
    throw new RequestRefused(
      'InvalidParameters',
      `the source has ${String(entry.sizeBytes)} bytes: a clone has as many, or more`,
    );
  const point = stored === undefined ? undefined : await lastPoint(caller, volumeId);
  if (point === undefined) return { fromVolume: volumeId };
  return { fromVolume: volumeId, recoveryPoint: new Date(point.timeMs).toISOString() };
}

/** A volume that can't be attached is not left behind. */
async function createAndAttach(caller: Caller, gatewayId: string, wish: Input<'volume.create'>): Promise<string> {
  const { volumeId, created } = await callGateway(caller, gatewayId, 'volume.create', wish);
  try {
    await callGateway(caller, gatewayId, 'volume.attach', {
      volume: volumeId,
      protocols: ['iscsi'],
      iscsi: { targetName: iqnOf(wish.tags?.[TARGET_TAG] ?? wish.name) },
      ifNotExists: true,
    });
  } catch (error) {
    // A request with the same token was faster.
    if (toSgwError(error).code === 'volume-attached' && !created) return volumeId;
    // Where it is not known what was done, the next try finds it.
    if (created && !isOutOfReach(error) && !caller.signal.aborted) await removeAgain(caller, gatewayId, volumeId);
    throw error;
  }
  return volumeId;
}

async function removeAgain(caller: Caller, gatewayId: string, volumeId: string): Promise<void> {
  await callGateway(caller, gatewayId, 'volume.delete', { volume: volumeId, ifExists: true }).catch(
    (error: unknown) => {
      caller.parts.log.warn({ volumeId, err: toSgwError(error) }, 'a volume that was not attached stays');
    },
  );
}

interface FirstRecord {
  readonly gatewayId: string;
  readonly volumeId: string;
  readonly TargetName: string;
  readonly wish: Pick<Cached, 'NetworkInterfaceId' | 'SnapshotId'>;
  readonly disk?: { readonly path: string; readonly preservesData: boolean };
}

const firstRecord = (
  { parts }: Caller,
  { gatewayId, volumeId, TargetName, wish, disk }: FirstRecord,
): VolumeRecord => ({
  ...{ volumeId, gatewayId, isAttached: true },
  kind: disk === undefined ? 'cached' : 'shadowing',
  targetName: TargetName,
  networkInterfaceId: wish.NetworkInterfaceId,
  diskId: disk?.path ?? null,
  preservesData: disk?.preservesData ?? false,
  sourceSnapshotId: wish.SnapshotId?.toLowerCase() ?? null,
  scheduleDescription: null,
  scheduleTags: {},
  createdAt: timeOf(parts.context),
});

/**
 * Has the gateway shadow an image in its folder `disks`. Nothing on it is lost: without `PreserveExistingData` it has to be
 * empty, and a snapshot is restored over it once what it holds is kept in another one.
 */
export async function createStored(input: Stored, caller: Caller): Promise<Sdk.CreateStorediSCSIVolumeOutput> {
  const { GatewayARN, TargetName, SnapshotId, PreserveExistingData: preserves, NetworkInterfaceId } = input;
  requireNoKms(input);
  const tags = tagsOf(input.Tags);
  const gateway = await findGateway(caller, GatewayARN);
  if (gateway.mode !== 'shadowing')
    throw new RequestRefused('NotSupported', 'the gateway has cached volumes: CreateCachediSCSIVolume makes one');
  const { gatewayId } = gateway;
  const look = await requireLook(caller, gatewayId);
  const disk = requireDisk(look, input);
  requireFreeTarget(look, TargetName);
  await requirePortal(caller, look, NetworkInterfaceId);
  const { volumeId, sizeBytes } = await shadow(caller, gateway, disk, input);
  const source = { path: disk.path, preservesData: preserves };
  const wish = { NetworkInterfaceId, SnapshotId };
  const first = firstRecord(caller, { gatewayId, volumeId, TargetName, wish, disk: source });
  await changeVolumeRecord(caller, first, (now) => ({ ...now, isAttached: true }));
  const arns = answer(caller, gatewayId, volumeId, TargetName);
  if (Object.keys(tags).length > 0) {
    const volume = await findVolume(caller, arns.VolumeARN);
    await setVolumeTags(caller, volume, (now) => ({ ...now, ...tags }));
  }
  return { ...arns, VolumeSizeInBytes: sizeBytes ?? disk.sizeBytes ?? 0 };
}

/** @throws RequestRefused `DiskDoesNotExist`, `DiskAlreadyAllocated`, `InvalidParameters` */
function requireDisk(
  { disks }: GatewayDocument,
  { DiskId, SnapshotId, PreserveExistingData }: Stored,
): LocalDiskDocument {
  const disk = disks.find(({ diskId }) => diskId === DiskId);
  if (disk?.sizeBytes === undefined || disk.sizeBytes === null)
    throw new RequestRefused('DiskDoesNotExist', 'the gateway has no such disk: ListLocalDisks tells which it has');
  if (disk.use !== 'available') throw new RequestRefused('DiskAlreadyAllocated', 'the disk is used already');
  if (SnapshotId !== undefined && PreserveExistingData)
    throw new RequestRefused(
      'InvalidParameters',
      'a snapshot is restored over what is on the disk, which then is not preserved',
    );
  if (SnapshotId === undefined && !PreserveExistingData && disk.allocatedBytes !== 0)
    throw new RequestRefused(
      'InvalidParameters',
      'the disk may hold data, and this service erases none: preserve it, or give a disk that is empty, a sparse file',
    );
  return disk;
}

function requireFreeTarget({ exports }: GatewayDocument, targetName: string): void {
  if (exports.some(({ iscsi }) => iscsi?.targetName === iqnOf(targetName)))
    throw new RequestRefused('TargetAlreadyExists', 'the gateway has a target of this name');
}

async function shadow(
  caller: Caller,
  { gatewayId }: ApiGateway,
  disk: LocalDiskDocument,
  { TargetName, SnapshotId }: Stored,
): Promise<{ readonly volumeId: string; readonly sizeBytes: number | null }> {
  const name = nameOf(TargetName, hashOf(`${gatewayId} ${disk.path}`));
  const targetName = iqnOf(TargetName);
  const attached =
    SnapshotId === undefined
      ? await callGateway(caller, gatewayId, 'volume.attach', {
          volume: name,
          image: disk.path,
          protocols: ['iscsi'],
          iscsi: { targetName },
        })
      : await restored(caller, gatewayId, {
          snapshot: SnapshotId.toLowerCase(),
          image: disk.path,
          force: true,
          attach: true,
          exportName: name,
          targetName,
        });
  const { volumeId } = attached;
  if (volumeId === null) throw new RequestRefused('GatewayInternalError', 'the gateway names no volume');
  return { volumeId, sizeBytes: attached.sizeBytes };
}

async function restored(
  caller: Caller,
  gatewayId: string,
  wish: Input<'snapshot.restore'>,
): Promise<{ readonly volumeId: string | null; readonly sizeBytes: number | null }> {
  const { export: served } = await callGateway(caller, gatewayId, 'snapshot.restore', wish);
  return served ?? { volumeId: null, sizeBytes: null };
}
