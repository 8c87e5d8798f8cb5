/** Stored volumes by the Storage Gateway API: images at the gateway's machine that the store follows. */
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as Sdk from '@aws-sdk/client-storage-gateway';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AwsRig, LOOPBACK, type ServedGateway } from './aws-rig.ts';

const MIB = 1 << 20;

let rig: AwsRig;
let gateway: ServedGateway;
let client: Sdk.StorageGatewayClient;
let arn: string;
beforeAll(async () => {
  ({ rig, gateway } = await AwsRig.start('shadowing'));
  client = rig.client();
  arn = rig.arn(gateway.gatewayId);
}, 60_000);
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
});

const disk = (name: string): string => join(gateway.home, 'disks', name);
async function newDisk(name: string, bytes: Buffer | undefined): Promise<string> {
  await writeFile(disk(name), bytes ?? '');
  await truncate(disk(name), 8 * MIB);
  return disk(name);
}
const create = async (
  DiskId: string,
  TargetName: string,
  more: Partial<Sdk.CreateStorediSCSIVolumeInput> = {},
): Promise<Sdk.CreateStorediSCSIVolumeOutput> =>
  client.send(
    new Sdk.CreateStorediSCSIVolumeCommand({
      ...{ GatewayARN: arn, DiskId, TargetName, NetworkInterfaceId: LOOPBACK, PreserveExistingData: true },
      ...more,
    }),
  );
const describeStored = async (VolumeARN: string | undefined): Promise<Sdk.StorediSCSIVolume> => {
  const wanted = { VolumeARNs: [VolumeARN ?? ''] };
  return (await client.send(new Sdk.DescribeStorediSCSIVolumesCommand(wanted))).StorediSCSIVolumes?.[0] ?? {};
};
const available = async (VolumeARN: string | undefined): Promise<void> => {
  await expect.poll(async () => (await describeStored(VolumeARN)).VolumeStatus, { timeout: 30_000 }).toBe('AVAILABLE');
};
const codeOf = async (sent: Promise<unknown>): Promise<string | undefined> =>
  sent.then(
    () => expect.unreachable('it was not refused'),
    (error: unknown) => (error as Sdk.InvalidGatewayRequestException).error?.errorCode,
  );

describe('a stored volume', () => {
  it('is made of a disk with what is on it, and goes through its snapshot to another disk', async () => {
    const data = Buffer.alloc(2 * MIB, 7);
    const DiskId = await newDisk('full', data);
    const { Disks = [] } = await client.send(new Sdk.ListLocalDisksCommand({ GatewayARN: arn }));
    expect(Disks).toContainEqual(
      expect.objectContaining({ DiskId, DiskAllocationType: 'AVAILABLE', DiskSizeInBytes: 8 * MIB }),
    );
    const made = await create(DiskId, 'full', { Tags: [{ Key: 'of', Value: 'db' }] });
    expect(made).toMatchObject({
      VolumeSizeInBytes: 8 * MIB,
      TargetARN: `${arn}/target/iqn.1997-05.com.amazon:full`,
    });
    await available(made.VolumeARN);
    expect(await describeStored(made.VolumeARN)).toMatchObject({
      VolumeType: 'STORED iSCSI',
      VolumeDiskId: DiskId,
      PreservedExistingData: true,
      VolumeAttachmentStatus: 'ATTACHED',
    });
    const tags = await client.send(new Sdk.ListTagsForResourceCommand({ ResourceARN: made.VolumeARN }));
    expect(tags.Tags).toEqual([{ Key: 'of', Value: 'db' }]);
    expect(await codeOf(create(DiskId, 'again'))).toBe('DiskAlreadyAllocated');
    const allocated = await client.send(new Sdk.ListLocalDisksCommand({ GatewayARN: arn }));
    expect(allocated.Disks).toContainEqual(
      expect.objectContaining({ DiskId, DiskAllocationType: 'STORED_ISCSI_VOLUME' }),
    );
    const wish = { VolumeARN: made.VolumeARN, SnapshotDescription: 'all' };
    const { SnapshotId = '' } = await client.send(new Sdk.CreateSnapshotCommand(wish));
    await expect
      .poll(async () => (await gateway.call('snapshot.show', { snapshot: SnapshotId })).state, { timeout: 30_000 })
      .toBe('completed');
    const other = await newDisk('other', Buffer.alloc(MIB, 9));
    const both = create(other, 'restored', { SnapshotId });
    expect(await codeOf(both)).toBe('InvalidParameters');
    const restored = await create(other, 'restored', { SnapshotId, PreserveExistingData: false });
    await available(restored.VolumeARN);
    expect(await describeStored(restored.VolumeARN)).toMatchObject({
      SourceSnapshotId: SnapshotId,
      VolumeDiskId: other,
      VolumeiSCSIAttributes: { TargetARN: restored.TargetARN },
    });
    // What was on the disk before is in a snapshot.
    const { snapshots } = await gateway.call('snapshot.list', {});
    expect(snapshots.length).toBeGreaterThan(1);
  }, 90_000);

  it('is never made over data that would be lost', async () => {
    const DiskId = await newDisk('precious', Buffer.alloc(MIB, 3));
    expect(await codeOf(create(DiskId, 'empty', { PreserveExistingData: false }))).toBe('InvalidParameters');
    const empty = await newDisk('empty', undefined);
    const made = await create(empty, 'empty', { PreserveExistingData: false });
    expect(await describeStored(made.VolumeARN)).toMatchObject({ PreservedExistingData: false });
  });

  it('is made of no other file of the machine', async () => {
    for (const DiskId of ['/etc/passwd', '../state.json', join(gateway.home, 'state.json'), 'upload-buffer'])
      expect(await codeOf(create(DiskId, 'nowhere'))).toMatch(/^Disk(DoesNotExist|AlreadyAllocated)$/);
    expect((await gateway.call('volume.list', {})).volumes.filter(({ name }) => name.startsWith('nowhere'))).toEqual(
      [],
    );
  });

  it('is detached, and attached again with its own disk only', async () => {
    const DiskId = await newDisk('home', Buffer.alloc(MIB, 5));
    const { VolumeARN } = await create(DiskId, 'homing');
    await available(VolumeARN);
    await client.send(new Sdk.DetachVolumeCommand({ VolumeARN }));
    const attach = async (id: string): Promise<unknown> =>
      client.send(
        new Sdk.AttachVolumeCommand({ GatewayARN: arn, VolumeARN, NetworkInterfaceId: LOOPBACK, DiskId: id }),
      );
    expect(await codeOf(attach(await newDisk('foreign', undefined)))).toBe('NotSupported');
    await attach(DiskId);
    await available(VolumeARN);
    await client.send(new Sdk.DeleteVolumeCommand({ VolumeARN }));
    expect(await codeOf(describeStored(VolumeARN))).toBe('VolumeNotFound');
  }, 60_000);

  it('has working storage, and no cache', async () => {
    const working = await client.send(new Sdk.DescribeWorkingStorageCommand({ GatewayARN: arn }));
    expect(working.DiskIds).toEqual(['upload-buffer']);
    await client.send(new Sdk.AddWorkingStorageCommand({ GatewayARN: arn, DiskIds: ['upload-buffer'] }));
    expect(await codeOf(client.send(new Sdk.DescribeCacheCommand({ GatewayARN: arn })))).toBe('NotSupported');
    expect(await codeOf(client.send(new Sdk.ListVolumeRecoveryPointsCommand({ GatewayARN: arn })))).toBe(
      'NotSupported',
    );
    const cached = { VolumeSizeInBytes: MIB, TargetName: 'x', NetworkInterfaceId: LOOPBACK, ClientToken: 'token' };
    const wrong = client.send(new Sdk.CreateCachediSCSIVolumeCommand({ GatewayARN: arn, ...cached }));
    expect(await codeOf(wrong)).toBe('NotSupported');
  });
});
