/** Attaching, detaching and deleting volumes. */
import type * as Sdk from '@aws-sdk/client-storage-gateway';
import { Catalog, openVolumeWriter, type VolumeEntry } from '../../../blockstore/index.ts';
import { toSgwError } from '../../../kit/index.ts';
import type { Input } from '../../../localapi/index.ts';
import { timeOf } from '../../context.ts';
import { iqnOf, targetArn, volumeArn } from './arns.ts';
import { callGateway, callGatewayLong, requireLook, type Caller } from './caller.ts';
import { RequestRefused } from './errors.ts';
import { findGateway, type ApiGateway } from './gateway-directory.ts';
import { requirePortal } from './interfaces.ts';
import { changeVolumeRecord } from './records.ts';
import type { Checked } from './types.ts';
import { findLiveVolume, findVolume, type ApiVolume, type LiveVolume } from './volume-directory.ts';
import { recordOf } from './volume-record.ts';

export async function attachVolume(
  input: Checked<Sdk.AttachVolumeInput>,
  caller: Caller,
): Promise<Sdk.AttachVolumeOutput> {
  const { GatewayARN, VolumeARN, NetworkInterfaceId } = input;
  const gateway = await findGateway(caller, GatewayARN);
  const volume = await findLiveVolume(caller, VolumeARN);
  if (volume.isAttached) throw new RequestRefused('VolumeInUse', 'the volume is attached already: detach it first');
  if (volume.kind !== gateway.mode)
    throw new RequestRefused('NotSupported', 'the gateway has volumes of another type than this one');
  const { gatewayId } = gateway;
  const look = await requireLook(caller, gatewayId);
  const record = recordOf(caller, volume);
  const targetName = input.TargetName ?? record.targetName;
  if (look.exports.some(({ iscsi }) => iscsi?.targetName === iqnOf(targetName)))
    throw new RequestRefused('TargetAlreadyExists', 'the gateway has a target of this name');
  await requirePortal(caller, look, NetworkInterfaceId);
  const attached = await callGateway(caller, gatewayId, 'volume.attach', {
    ...placeOf(gateway, volume, input.DiskId),
    protocols: ['iscsi'],
    iscsi: { targetName: iqnOf(targetName) },
    // Whoever held it was deleted, and does not come back.
    takeOver: volume.holderId !== null && volume.gateway === undefined,
  });
  const where = { gatewayId, isAttached: true, targetName, networkInterfaceId: NetworkInterfaceId };
  await changeVolumeRecord(caller, record, (now) => ({ ...now, ...where }));
  return {
    VolumeARN: volumeArn(caller, gatewayId, volume.volumeId),
    TargetARN: targetArn(caller, gatewayId, attached.iscsi?.targetName ?? iqnOf(targetName)),
  };
}

/** A stored volume is what is on its disk: with another disk it would be another volume. */
function placeOf(
  { gatewayId, mode }: ApiGateway,
  { volumeId, record, entry }: ApiVolume,
  diskId: string | undefined,
): Pick<Input<'volume.attach'>, 'volume' | 'image'> {
  if (mode === 'cached') {
    if (diskId !== undefined) throw new RequestRefused('InvalidParameters', 'a cached volume has no disk');
    return { volume: volumeId };
  }
  const disk = record?.diskId ?? null;
  if (diskId === undefined) throw new RequestRefused('InvalidParameters', 'a stored volume needs its disk');
  if (disk === null || disk !== diskId || record?.gatewayId !== gatewayId)
    throw new RequestRefused(
      'NotSupported',
      'a stored volume is attached again with the disk that it had; on another one, create a volume from a snapshot of it',
    );
  return { volume: entry.name, image: disk };
}

/** What is left is uploaded first; where that takes long, it goes on after the answer, and `DETACHING` is told meanwhile. */
export async function detachVolume(
  { VolumeARN, ForceDetach = false }: Checked<Sdk.DetachVolumeInput>,
  caller: Caller,
): Promise<Sdk.DetachVolumeOutput> {
  const volume = await findVolume(caller, VolumeARN);
  if (!volume.isAttached) throw new RequestRefused('VolumeNotReady', 'the volume is not attached');
  const input = { volume: volume.volumeId, force: ForceDetach };
  await callGatewayLong(caller, volume.gatewayId, 'volume.detach', input, {
    after: async (_detached, signal) => {
      await noteDetached({ ...caller, signal }, volume);
    },
  });
  return { VolumeARN };
}

async function noteDetached(caller: Caller, volume: ApiVolume): Promise<void> {
  await changeVolumeRecord(caller, recordOf(caller, volume), (now) => ({ ...now, isAttached: false }));
}

/** By its gateway where that can be reached; else by the store alone, which fences the gateway. Completed snapshots stay. */
export async function deleteVolume(
  { VolumeARN }: Checked<Sdk.DeleteVolumeInput>,
  caller: Caller,
): Promise<Sdk.DeleteVolumeOutput> {
  const volume = await findLiveVolume(caller, VolumeARN);
  await requireIdle(caller, volume);
  const { stored, look, isAttached } = volume;
  if (stored !== undefined && (!isAttached || look === undefined)) await deleteInStore(caller, stored);
  else await deleteByGateway(caller, volume);
  await noteDetached(caller, volume);
  return { VolumeARN };
}

async function deleteByGateway(caller: Caller, { volumeId, gatewayId, attachment }: LiveVolume): Promise<void> {
  const remove = { volume: volumeId, ifExists: true };
  if (attachment === undefined) {
    await callGateway(caller, gatewayId, 'volume.delete', remove);
    return;
  }
  await callGatewayLong(
    caller,
    gatewayId,
    'volume.detach',
    { volume: volumeId, ifExists: true },
    {
      after: async (_detached, signal) => {
        await callGateway({ ...caller, signal }, gatewayId, 'volume.delete', remove);
      },
    },
  );
}

/** @throws RequestRefused `VolumeInUse`, `SnapshotInProgress` */
async function requireIdle({ parts, signal }: Caller, { volumeId, attachment }: LiveVolume): Promise<void> {
  if ((attachment?.clients ?? 0) > 0)
    throw new RequestRefused('VolumeInUse', 'initiators are connected to the volume: disconnect them first');
  const snapshots = await new Catalog(parts.context.blocks).listSnapshots({ signal });
  if (snapshots.some((snapshot) => snapshot.volumeId === volumeId && snapshot.state === 'pending'))
    throw new RequestRefused('SnapshotInProgress', 'a snapshot of the volume is under way');
}

const HOLDER = { gatewayId: 'service', name: 'service' };

/** As a gateway deletes a volume: it can be undeleted for a while. */
async function deleteInStore({ parts, accountId, signal }: Caller, { volumeId }: VolumeEntry): Promise<void> {
  const { blocks } = parts.context;
  // Its epoch fences whoever writes to it still.
  const writer = await openVolumeWriter(blocks, volumeId, { holder: HOLDER, accountId, takeOver: true, signal }).catch(
    (error: unknown) => {
      if (toSgwError(error).kind !== 'corrupt') throw error;
      return undefined;
    },
  );
  try {
    const deletedAt = timeOf(parts.context);
    await new Catalog(blocks).updateVolume(
      volumeId,
      (now) =>
        now.state === 'available' || now.state === 'importing'
          ? { ...now, state: 'deleted', stateBefore: now.state, deletedAt }
          : now,
      signal,
    );
  } finally {
    await writer?.close().catch(() => undefined);
    await writer?.abandon();
  }
}
