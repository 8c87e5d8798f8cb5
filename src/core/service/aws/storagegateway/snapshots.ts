/** Snapshots: of a volume as it is, by its gateway; of its last recovery point, by the store alone. */
import type * as Sdk from '@aws-sdk/client-storage-gateway';
import { createSnapshot, listRecoveryPoints, PAGE_BYTES, type VolumeEntry } from '../../../blockstore/index.ts';
import type { SgwError } from '../../../kit/index.ts';
import { type VolumeId } from '../../../kit/index.ts';
import { timeOf } from '../../context.ts';
import { callGateway, type Caller } from './caller.ts';
import { RequestRefused } from './errors.ts';
import { findGateway } from './gateway-directory.ts';
import { tagsOf } from './tags.ts';
import type { Checked } from './types.ts';
import { findVolume, listVolumesOf, type ApiVolume } from './volume-directory.ts';

/** With a time and four digits behind it, no longer than a name may be. */
const NAME_CHARACTERS_MAX = 100;

/** What was acknowledged is in it; it is pending until the gateway has brought that to the store. */
export async function createSnapshotNow(
  { VolumeARN, SnapshotDescription: description, Tags }: Checked<Sdk.CreateSnapshotInput>,
  caller: Caller,
): Promise<Sdk.CreateSnapshotOutput> {
  const tags = tagsOf(Tags);
  const volume = await findVolume(caller, VolumeARN);
  const { volumeId, gatewayId, isAttached, stored } = volume;
  if (!isAttached && stored !== undefined) {
    const snapshotId = await takeInStore(caller, stored, { description, tags });
    return { VolumeARN, SnapshotId: snapshotId };
  }
  const input = { volume: volumeId, description, tags };
  const { snapshotId } = await callGateway(caller, gatewayId, 'snapshot.create', input);
  return { VolumeARN, SnapshotId: snapshotId };
}

/** Each volume's last one; those that have none yet are left out. */
export async function listPoints(
  { GatewayARN }: Checked<Sdk.ListVolumeRecoveryPointsInput>,
  caller: Caller,
): Promise<Sdk.ListVolumeRecoveryPointsOutput> {
  const { gatewayId, mode } = await findGateway(caller, GatewayARN);
  if (mode !== 'cached') throw new RequestRefused('NotSupported', 'only cached volumes have recovery points here');
  const VolumeRecoveryPointInfos: Sdk.VolumeRecoveryPointInfo[] = [];
  for (const { arn, volumeId } of await listVolumesOf(caller, gatewayId)) {
    const point = await lastPoint(caller, volumeId);
    if (point === undefined) continue;
    VolumeRecoveryPointInfos.push({
      VolumeARN: arn,
      VolumeSizeInBytes: point.sizeBytes,
      VolumeUsageInBytes: point.mappedPages * PAGE_BYTES,
      VolumeRecoveryPointTime: new Date(point.timeMs).toISOString(),
    });
  }
  return { GatewayARN, VolumeRecoveryPointInfos };
}

/** Needs the gateway only where nobody else reaches its store. */
export async function createFromRecoveryPoint(
  { VolumeARN, SnapshotDescription: description, Tags }: Checked<Sdk.CreateSnapshotFromVolumeRecoveryPointInput>,
  caller: Caller,
): Promise<Sdk.CreateSnapshotFromVolumeRecoveryPointOutput> {
  const tags = tagsOf(Tags);
  const volume = await findVolume(caller, VolumeARN);
  if (volume.stored === undefined) return await pointByGateway(caller, VolumeARN, volume, { description, tags });
  const point = await lastPoint(caller, volume.volumeId);
  if (point === undefined) throw noPoint(volume);
  const { timeMs } = point;
  const snapshotId = await takeInStore(caller, volume.stored, { description, tags, recoveryPoint: { timeMs } });
  return { VolumeARN, SnapshotId: snapshotId, VolumeRecoveryPointTime: new Date(timeMs).toISOString() };
}

async function pointByGateway(
  caller: Caller,
  VolumeARN: string,
  volume: ApiVolume,
  wish: Pick<NewSnapshot, 'description' | 'tags'>,
): Promise<Sdk.CreateSnapshotFromVolumeRecoveryPointOutput> {
  const { volumeId, gatewayId } = volume;
  const { recoveryPoints } = await callGateway(caller, gatewayId, 'recovery-point.list', { volume: volumeId });
  const at = recoveryPoints.at(-1)?.at;
  if (at === undefined) throw noPoint(volume);
  const input = { volume: volumeId, ...wish, recoveryPoint: at };
  const { snapshotId } = await callGateway(caller, gatewayId, 'snapshot.create', input);
  return { VolumeARN, SnapshotId: snapshotId, VolumeRecoveryPointTime: at };
}

const noPoint = ({ volumeId }: ApiVolume): SgwError =>
  new RequestRefused(
    'VolumeNotReady',
    `volume ${volumeId} has no recovery point yet: nothing was brought to the store`,
  );

/** Undefined before the first commit. */
export async function lastPoint(
  { parts, signal }: Caller,
  volumeId: VolumeId,
): Promise<Awaited<ReturnType<typeof listRecoveryPoints>>[number] | undefined> {
  return (await listRecoveryPoints(parts.context.blocks, volumeId, { signal })).at(-1);
}

interface NewSnapshot {
  readonly description: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly recoveryPoint?: { readonly timeMs: number };
}

/** Completed and durable when it resolves. */
async function takeInStore(
  { parts, accountId, signal }: Caller,
  volume: VolumeEntry,
  wish: NewSnapshot,
): Promise<string> {
  const { blocks } = parts.context;
  if (/\p{Cc}/u.test(wish.description))
    throw new RequestRefused('InvalidParameters', 'the description holds control characters');
  const stamp = timeOf(parts.context).slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-');
  // Nobody holds the names here, so the name is one that nobody chooses.
  const name = `${volume.name.slice(0, NAME_CHARACTERS_MAX)}-${stamp}-${blocks.random.bytes(2).toString('hex')}`;
  const { snapshotId } = await createSnapshot(blocks, { ...wish, volume, name, accountId, signal });
  return snapshotId;
}
