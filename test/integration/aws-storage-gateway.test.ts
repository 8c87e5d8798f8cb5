/** Unmodified clients of the Storage Gateway API run whole stories: what they ask for really happens on a gateway. */
import * as Sdk from '@aws-sdk/client-storage-gateway';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SgwError } from '../../src/core/kit/index.ts';
import { documentsUnder } from '../../src/core/service/documents.ts';
import { ANNA, AwsRig, BERT, LOOPBACK, type ServedGateway } from './aws-rig.ts';

const MIB = 1 << 20;
const TIMEOUT_MS = 120_000;

let rig: AwsRig;
let gateway: ServedGateway;
let client: Sdk.StorageGatewayClient;
let arn: string;
beforeAll(async () => {
  ({ rig, gateway } = await AwsRig.start());
  client = rig.client();
  arn = rig.arn(gateway.gatewayId);
}, TIMEOUT_MS);
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
});

let serial = 0;
async function create(
  more: Partial<Sdk.CreateCachediSCSIVolumeInput> = {},
): Promise<{ VolumeARN: string; TargetARN: string; volumeId: string }> {
  const number = String(++serial);
  const made = await client.send(
    new Sdk.CreateCachediSCSIVolumeCommand({
      GatewayARN: arn,
      VolumeSizeInBytes: 16 * MIB,
      TargetName: `disk-${number}`,
      NetworkInterfaceId: LOOPBACK,
      ClientToken: `token-${number}`,
      ...more,
    }),
  );
  const { VolumeARN = '', TargetARN = '' } = made;
  return { VolumeARN, TargetARN, volumeId: VolumeARN.split('/').at(-1) ?? '' };
}

const describeVolume = async (arnOf: string): Promise<Sdk.CachediSCSIVolume> => {
  const { CachediSCSIVolumes } = await client.send(new Sdk.DescribeCachediSCSIVolumesCommand({ VolumeARNs: [arnOf] }));
  return CachediSCSIVolumes?.[0] ?? {};
};

/** What a request is refused with. */
async function refusal(
  sent: Promise<unknown>,
): Promise<{ name: string; code: string | undefined; status: number | undefined }> {
  const error = await sent.then(
    () => expect.unreachable('it was not refused'),
    (thrown: unknown) => thrown as Sdk.InvalidGatewayRequestException,
  );
  return { name: error.name, code: error.error?.errorCode, status: error.$metadata.httpStatusCode };
}

const refused = (code: string): object => ({ name: 'InvalidGatewayRequestException', code, status: 400 });

describe('a gateway', () => {
  it('is listed and described with its interfaces', async () => {
    const { Gateways } = await client.send(new Sdk.ListGatewaysCommand({}));
    expect(Gateways).toEqual([
      {
        GatewayARN: arn,
        GatewayId: gateway.gatewayId,
        GatewayName: 'attic',
        GatewayType: 'CACHED',
        GatewayOperationalState: 'ACTIVE',
        HostEnvironment: 'OTHER',
      },
    ]);
    const told = await client.send(new Sdk.DescribeGatewayInformationCommand({ GatewayARN: arn }));
    expect(told).toMatchObject({ GatewayName: 'attic', GatewayState: 'RUNNING', GatewayTimezone: 'GMT' });
    expect(told.GatewayNetworkInterfaces).toBeInstanceOf(Array);
  });

  it('gets another name and time zone', async () => {
    const change = { GatewayARN: arn, GatewayName: 'My attic', GatewayTimezone: 'GMT-4:30' };
    await client.send(new Sdk.UpdateGatewayInformationCommand(change));
    const told = await client.send(new Sdk.DescribeGatewayInformationCommand({ GatewayARN: arn }));
    expect(told).toMatchObject({ GatewayName: 'My attic', GatewayTimezone: 'GMT-4:30' });
    const wrong = client.send(new Sdk.UpdateGatewayInformationCommand({ ...change, GatewayTimezone: 'CET' }));
    expect(await refusal(wrong)).toEqual(refused('InvalidParameters'));
    await client.send(new Sdk.UpdateGatewayInformationCommand({ ...change, GatewayTimezone: 'GMT' }));
  });

  it('has its cache and its upload buffer as disks that are allocated', async () => {
    const { Disks } = await client.send(new Sdk.ListLocalDisksCommand({ GatewayARN: arn }));
    expect(Disks?.map(({ DiskId, DiskAllocationType }) => [DiskId, DiskAllocationType])).toEqual([
      ['cache', 'CACHE_STORAGE'],
      ['upload-buffer', 'UPLOAD_BUFFER'],
    ]);
    await client.send(new Sdk.AddCacheCommand({ GatewayARN: arn, DiskIds: ['cache'] }));
    await client.send(new Sdk.AddUploadBufferCommand({ GatewayARN: arn, DiskIds: ['upload-buffer'] }));
    const add = async (DiskIds: string[]): Promise<object> =>
      refusal(client.send(new Sdk.AddCacheCommand({ GatewayARN: arn, DiskIds })));
    expect(await add(['upload-buffer'])).toEqual(refused('DiskAlreadyAllocated'));
    expect(await add(['/etc/passwd'])).toEqual(refused('DiskDoesNotExist'));
    const cache = await client.send(new Sdk.DescribeCacheCommand({ GatewayARN: arn }));
    expect(cache).toMatchObject({ DiskIds: ['cache'], CacheAllocatedInBytes: 64 * MIB, CacheDirtyPercentage: 0 });
    const buffer = await client.send(new Sdk.DescribeUploadBufferCommand({ GatewayARN: arn }));
    expect(buffer).toMatchObject({ DiskIds: ['upload-buffer'], UploadBufferUsedInBytes: 0 });
    const working = client.send(new Sdk.DescribeWorkingStorageCommand({ GatewayARN: arn }));
    expect(await refusal(working)).toEqual(refused('NotSupported'));
    await client.send(new Sdk.ResetCacheCommand({ GatewayARN: arn }));
  });

  it('has a time for maintenance, and software of the service', async () => {
    const time = { HourOfDay: 5, MinuteOfHour: 30, DayOfWeek: 3 };
    await client.send(new Sdk.UpdateMaintenanceStartTimeCommand({ GatewayARN: arn, ...time }));
    const told = await client.send(new Sdk.DescribeMaintenanceStartTimeCommand({ GatewayARN: arn }));
    expect(told).toMatchObject({ ...time, Timezone: 'GMT' });
    await client.send(new Sdk.UpdateGatewaySoftwareNowCommand({ GatewayARN: arn }));
  });

  it('limits its bandwidth in bits, and by intervals', async () => {
    const limits = { AverageUploadRateLimitInBitsPerSec: 512_000, AverageDownloadRateLimitInBitsPerSec: 1_024_000 };
    await client.send(new Sdk.UpdateBandwidthRateLimitCommand({ GatewayARN: arn, ...limits }));
    expect(await gateway.call('bandwidth.show', {})).toMatchObject({ uploadBytesPerSecond: 64_000 });
    expect(await client.send(new Sdk.DescribeBandwidthRateLimitCommand({ GatewayARN: arn }))).toMatchObject(limits);
    await client.send(new Sdk.DeleteBandwidthRateLimitCommand({ GatewayARN: arn, BandwidthType: 'DOWNLOAD' }));
    const left = await client.send(new Sdk.DescribeBandwidthRateLimitCommand({ GatewayARN: arn }));
    expect(left.AverageDownloadRateLimitInBitsPerSec).toBeUndefined();
    await client.send(new Sdk.DeleteBandwidthRateLimitCommand({ GatewayARN: arn, BandwidthType: 'ALL' }));
    const interval = {
      ...{ StartHourOfDay: 8, StartMinuteOfHour: 0, EndHourOfDay: 23, EndMinuteOfHour: 59 },
      ...{ DaysOfWeek: [0, 1, 6], AverageUploadRateLimitInBitsPerSec: 80_000 },
    };
    const set = async (...BandwidthRateLimitIntervals: Sdk.BandwidthRateLimitInterval[]): Promise<unknown> =>
      client.send(new Sdk.UpdateBandwidthRateLimitScheduleCommand({ GatewayARN: arn, BandwidthRateLimitIntervals }));
    await set(interval);
    const { schedule } = await gateway.call('bandwidth.show', {});
    expect(schedule).toMatchObject([{ days: [1, 6, 7], from: '08:00', to: '24:00', uploadBytesPerSecond: 10_000 }]);
    const told = await client.send(new Sdk.DescribeBandwidthRateLimitScheduleCommand({ GatewayARN: arn }));
    expect(told.BandwidthRateLimitIntervals).toEqual([{ ...interval, DaysOfWeek: [1, 6, 0] }]);
    expect(await refusal(set(interval, interval))).toEqual(refused('InvalidSchedule'));
    await set();
    expect((await gateway.call('bandwidth.show', {})).schedule).toEqual([]);
  });
});

describe('a cached volume', () => {
  it('is served as a target of the name that was asked for', async () => {
    const { VolumeARN, TargetARN, volumeId } = await create({ TargetName: 'my-disk' });
    expect(VolumeARN).toMatch(new RegExp(`^${arn}/volume/vol-[0-9a-f]{17}$`));
    expect(TargetARN).toBe(`${arn}/target/iqn.1997-05.com.amazon:my-disk`);
    const { exports } = await gateway.call('gateway.show', {});
    const served = exports.find((one) => one.volumeId === volumeId);
    expect(served).toMatchObject({ protocols: ['iscsi'], iscsi: { targetName: 'iqn.1997-05.com.amazon:my-disk' } });
    const described = await describeVolume(VolumeARN);
    expect(described).toMatchObject({
      VolumeId: volumeId,
      VolumeType: 'CACHED iSCSI',
      VolumeStatus: 'AVAILABLE',
      VolumeAttachmentStatus: 'ATTACHED',
      VolumeSizeInBytes: 16 * MIB,
      VolumeUsedInBytes: 0,
      TargetName: 'my-disk',
      VolumeiSCSIAttributes: { TargetARN, NetworkInterfaceId: LOOPBACK, LunNumber: 0, ChapEnabled: false },
    });
    expect(described.CreatedDate).toBeInstanceOf(Date);
    expect(Math.abs(Date.now() - (described.CreatedDate?.getTime() ?? 0))).toBeLessThan(60_000);
    expect(described.VolumeProgress).toBeUndefined();
    expect(await client.send(new Sdk.ListVolumeInitiatorsCommand({ VolumeARN }))).toMatchObject({ Initiators: [] });
  });

  it('is created once for a token, whatever fails on the way', async () => {
    const wish = { TargetName: 'once', ClientToken: 'a-token-1' };
    for (const [operation, when] of [
      ['volume.create', 'before'],
      ['volume.create', 'after'],
      ['volume.attach', 'after'],
    ] as const) {
      const error = new SgwError('timeout', 'gateway-timed-out', 'the gateway did not answer in time');
      gateway.failing = { operation, when, error };
      expect(await refusal(create(wish))).toEqual(refused('RequestTimeout'));
    }
    gateway.failing = undefined;
    const first = await create(wish);
    expect(await create(wish)).toEqual(first);
    const { volumes } = await gateway.call('volume.list', {});
    expect(volumes.filter(({ tags }) => tags['sgw:aws-target-name'] === 'once')).toHaveLength(1);
    expect(await refusal(create({ ...wish, TargetName: 'other' }))).toEqual(refused('InvalidParameters'));
  });

  it('is created once by requests at the same time with one token', async () => {
    const wish = { TargetName: 'at-once', ClientToken: 'a-token-2' };
    const made = await Promise.allSettled([create(wish), create(wish), create(wish)]);
    const arns = made.flatMap((one) => (one.status === 'fulfilled' ? [one.value.VolumeARN] : []));
    expect(arns.length).toBeGreaterThan(0);
    expect(new Set([...arns, (await create(wish)).VolumeARN]).size).toBe(1);
    const { volumes } = await gateway.call('volume.list', {});
    expect(volumes.filter(({ tags }) => tags['sgw:aws-target-name'] === 'at-once')).toHaveLength(1);
  });

  it('is deleted while its gateway is out of reach, which is fenced', async () => {
    const { VolumeARN, volumeId } = await create({ TargetName: 'unreachable' });
    const other = await create();
    gateway.isConnected = false;
    try {
      await client.send(new Sdk.DeleteVolumeCommand({ VolumeARN }));
      const gone = client.send(new Sdk.DescribeCachediSCSIVolumesCommand({ VolumeARNs: [VolumeARN] }));
      expect(await refusal(gone)).toEqual(refused('VolumeNotFound'));
      const detach = client.send(new Sdk.DetachVolumeCommand({ VolumeARN: other.VolumeARN }));
      expect(await refusal(detach)).toEqual(refused('GatewayNotConnected'));
    } finally {
      gateway.isConnected = true;
    }
    await expect(gateway.call('volume.resize', { volume: volumeId, sizeBytes: 32 * MIB })).rejects.toMatchObject({
      kind: 'notFound',
    });
    await gateway.call('volume.detach', { volume: volumeId, drain: false, ifExists: true });
    const { volumes } = await gateway.call('volume.list', { deleted: true });
    expect(volumes).toContainEqual(expect.objectContaining({ volumeId, state: 'deleted' }));
  });

  it('is not left behind when its target can not be', async () => {
    await create({ TargetName: 'taken' });
    const before = (await gateway.call('volume.list', {})).volumes.length;
    expect(await refusal(create({ TargetName: 'taken' }))).toEqual(refused('TargetAlreadyExists'));
    expect(await refusal(create({ NetworkInterfaceId: '192.0.2.99' }))).toEqual(refused('InvalidParameters'));
    expect((await gateway.call('volume.list', {})).volumes).toHaveLength(before);
  });

  it('is detached, attached again and deleted', async () => {
    const { VolumeARN, volumeId } = await create({ TargetName: 'moving' });
    await client.send(new Sdk.DetachVolumeCommand({ VolumeARN }));
    expect(await describeVolume(VolumeARN)).toMatchObject({ VolumeAttachmentStatus: 'DETACHED', TargetName: 'moving' });
    expect(await refusal(client.send(new Sdk.DetachVolumeCommand({ VolumeARN })))).toEqual(refused('VolumeNotReady'));
    const place = { GatewayARN: arn, VolumeARN, NetworkInterfaceId: LOOPBACK };
    const attached = await client.send(new Sdk.AttachVolumeCommand(place));
    expect(attached).toMatchObject({ VolumeARN, TargetARN: `${arn}/target/iqn.1997-05.com.amazon:moving` });
    expect(await refusal(client.send(new Sdk.AttachVolumeCommand(place)))).toEqual(refused('VolumeInUse'));
    await client.send(new Sdk.DeleteVolumeCommand({ VolumeARN }));
    const gone = client.send(new Sdk.DescribeCachediSCSIVolumesCommand({ VolumeARNs: [VolumeARN] }));
    expect(await refusal(gone)).toEqual(refused('VolumeNotFound'));
    expect((await gateway.call('volume.list', { deleted: true })).volumes).toContainEqual(
      expect.objectContaining({ volumeId, state: 'deleted' }),
    );
  });

  it(
    'moves to another gateway, also when its own was deleted',
    async () => {
      const other = await rig.addGateway('g2', ANNA, 'cached');
      const lost = await rig.addGateway('g3', ANNA, 'cached');
      const { VolumeARN } = await create({ GatewayARN: rig.arn(lost.gatewayId), TargetName: 'survivor' });
      await client.send(new Sdk.DeleteGatewayCommand({ GatewayARN: rig.arn(lost.gatewayId) }));
      lost.isConnected = false;
      const gone = client.send(new Sdk.DescribeGatewayInformationCommand({ GatewayARN: rig.arn(lost.gatewayId) }));
      expect(await refusal(gone)).toEqual(refused('GatewayNotFound'));
      const { Gateways = [] } = await client.send(new Sdk.ListGatewaysCommand({}));
      expect(Gateways.map(({ GatewayId }) => GatewayId)).not.toContain(lost.gatewayId);
      expect(await describeVolume(VolumeARN)).toMatchObject({ VolumeAttachmentStatus: 'DETACHED' });
      const place = { GatewayARN: rig.arn(other.gatewayId), VolumeARN, NetworkInterfaceId: LOOPBACK };
      const moved = await client.send(new Sdk.AttachVolumeCommand(place));
      expect(moved.VolumeARN).toContain(other.gatewayId);
      // Who knows it by its old name finds it still.
      expect(await describeVolume(VolumeARN)).toMatchObject({
        VolumeARN: moved.VolumeARN,
        VolumeAttachmentStatus: 'ATTACHED',
        VolumeiSCSIAttributes: { TargetARN: `${rig.arn(other.gatewayId)}/target/iqn.1997-05.com.amazon:survivor` },
      });
    },
    TIMEOUT_MS,
  );

  it('is listed in pages', async () => {
    for (let i = 0; i < 3; i++) await create();
    const all = await client.send(new Sdk.ListVolumesCommand({ GatewayARN: arn }));
    const seen: (string | undefined)[] = [];
    let Marker: string | undefined;
    do {
      const page = await client.send(new Sdk.ListVolumesCommand({ GatewayARN: arn, Limit: 2, Marker }));
      expect(page.VolumeInfos?.length).toBeLessThanOrEqual(2);
      seen.push(...(page.VolumeInfos ?? []).map((one) => one.VolumeARN));
      ({ Marker } = page);
    } while (Marker !== undefined);
    expect(seen).toEqual(all.VolumeInfos?.map((one) => one.VolumeARN));
    expect(seen).toEqual([...seen].sort());
    expect(seen.length).toBeGreaterThan(2);
  });

  it('lets in initiators that prove themselves, each with its own secret', async () => {
    const { TargetARN, VolumeARN } = await create({ TargetName: 'locked' });
    const names = ['iqn.1991-05.com.microsoft:host-1', 'iqn.1993-08.org.debian:01:abc'];
    for (const [i, InitiatorName] of names.entries()) {
      await client.send(
        new Sdk.UpdateChapCredentialsCommand({
          TargetARN,
          InitiatorName,
          SecretToAuthenticateInitiator: `initiator-${String(i)}-x`,
          SecretToAuthenticateTarget: `target-of-${String(i)}-y`,
        }),
      );
    }
    const { ChapCredentials } = await client.send(new Sdk.DescribeChapCredentialsCommand({ TargetARN }));
    expect(ChapCredentials).toEqual(names.map((InitiatorName) => ({ TargetARN, InitiatorName })));
    expect(await describeVolume(VolumeARN)).toMatchObject({ VolumeiSCSIAttributes: { ChapEnabled: true } });
    const short = { TargetARN, InitiatorName: names[0], SecretToAuthenticateInitiator: 'too-short' };
    const refusedSecret = refusal(client.send(new Sdk.UpdateChapCredentialsCommand(short)));
    expect(await refusedSecret).toEqual(refused('InvalidParameters'));
    for (const InitiatorName of names)
      await client.send(new Sdk.DeleteChapCredentialsCommand({ TargetARN, InitiatorName }));
    const again = client.send(new Sdk.DeleteChapCredentialsCommand({ TargetARN, InitiatorName: names[0] }));
    expect(await refusal(again)).toEqual(refused('ChapCredentialNotFound'));
    expect(await describeVolume(VolumeARN)).toMatchObject({ VolumeiSCSIAttributes: { ChapEnabled: false } });
  });
});

describe('snapshots', () => {
  it('are made of a volume, and volumes of them', async () => {
    const { VolumeARN, volumeId } = await create({ TargetName: 'source' });
    const { SnapshotId = '' } = await client.send(
      new Sdk.CreateSnapshotCommand({ VolumeARN, SnapshotDescription: 'before', Tags: [{ Key: 'a', Value: '1' }] }),
    );
    expect(SnapshotId).toMatch(/^snap-[0-9a-f]{17}$/);
    await expect
      .poll(async () => (await gateway.call('snapshot.show', { snapshot: SnapshotId })).state, { timeout: 20_000 })
      .toBe('completed');
    expect(await gateway.call('snapshot.show', { snapshot: SnapshotId })).toMatchObject({
      volumeId,
      description: 'before',
      tags: { a: '1' },
    });
    const clone = await create({ SnapshotId, TargetName: 'clone' });
    expect(await describeVolume(clone.VolumeARN)).toMatchObject({ SourceSnapshotId: SnapshotId });
    const copy = await create({ SourceVolumeARN: VolumeARN, TargetName: 'copy' });
    expect(await describeVolume(copy.VolumeARN)).toMatchObject({ VolumeStatus: 'AVAILABLE' });
    const small = create({ SourceVolumeARN: VolumeARN, VolumeSizeInBytes: 8 * MIB });
    expect(await refusal(small)).toEqual(refused('InvalidParameters'));
    const none = create({ SnapshotId: 'snap-00000000000000000' });
    expect(await refusal(none)).toEqual(refused('SnapshotNotFound'));
  });

  it('of the last recovery point are made while the gateway is out of reach', async () => {
    const { VolumeARN, volumeId } = await create({ TargetName: 'pointed' });
    const wish = { VolumeARN, SnapshotDescription: 'from the store' };
    const early = client.send(new Sdk.CreateSnapshotFromVolumeRecoveryPointCommand(wish));
    expect(await refusal(early)).toEqual(refused('VolumeNotReady'));
    await gateway.call('volume.resize', { volume: volumeId, sizeBytes: 32 * MIB });
    const { VolumeRecoveryPointInfos = [] } = await client.send(
      new Sdk.ListVolumeRecoveryPointsCommand({ GatewayARN: arn }),
    );
    const point = VolumeRecoveryPointInfos.find((one) => one.VolumeARN === VolumeARN);
    expect(point).toMatchObject({ VolumeSizeInBytes: 32 * MIB, VolumeUsageInBytes: 0 });
    gateway.isConnected = false;
    try {
      const made = await client.send(new Sdk.CreateSnapshotFromVolumeRecoveryPointCommand(wish));
      expect(made.VolumeRecoveryPointTime).toBe(point?.VolumeRecoveryPointTime);
      expect(await describeVolume(VolumeARN)).toMatchObject({ VolumeStatus: 'AVAILABLE' });
      const told = await client.send(new Sdk.DescribeGatewayInformationCommand({ GatewayARN: arn }));
      expect(told.GatewayState).toBe('OFFLINE');
      const now = client.send(new Sdk.CreateSnapshotCommand(wish));
      expect(await refusal(now)).toEqual(refused('GatewayNotConnected'));
      gateway.isConnected = true;
      const shown = await gateway.call('snapshot.show', { snapshot: made.SnapshotId ?? '' });
      expect(shown).toMatchObject({ state: 'completed', description: 'from the store', sizeBytes: 32 * MIB });
    } finally {
      gateway.isConnected = true;
    }
  });

  it('are made on schedule, counted from an hour in the time zone of the gateway', async () => {
    const { VolumeARN, volumeId } = await create({ TargetName: 'scheduled' });
    const none = client.send(new Sdk.DescribeSnapshotScheduleCommand({ VolumeARN }));
    expect(await refusal(none)).toEqual(refused('SnapshotScheduleNotFound'));
    await client.send(new Sdk.UpdateGatewayInformationCommand({ GatewayARN: arn, GatewayTimezone: 'GMT+5:30' }));
    const wish = { VolumeARN, StartAt: 3, RecurrenceInHours: 4, Description: 'often' };
    await client.send(new Sdk.UpdateSnapshotScheduleCommand(wish));
    const { schedules } = await gateway.call('schedule.show', { volume: volumeId });
    expect(schedules).toMatchObject([{ everyMs: 4 * 3_600_000, at: '21:30' }]);
    const told = await client.send(new Sdk.DescribeSnapshotScheduleCommand({ VolumeARN }));
    expect(told).toMatchObject({ ...wish, Timezone: 'GMT+5:30' });
    const odd = client.send(new Sdk.UpdateSnapshotScheduleCommand({ ...wish, RecurrenceInHours: 5 }));
    expect(await refusal(odd)).toEqual(refused('InvalidSchedule'));
    await client.send(new Sdk.DeleteSnapshotScheduleCommand({ VolumeARN }));
    const gone = client.send(new Sdk.DescribeSnapshotScheduleCommand({ VolumeARN }));
    expect(await refusal(gone)).toEqual(refused('SnapshotScheduleNotFound'));
    await client.send(new Sdk.UpdateGatewayInformationCommand({ GatewayARN: arn, GatewayTimezone: 'GMT' }));
  });
});

describe('tags', () => {
  it('of gateways and volumes are added, listed and removed', async () => {
    const { VolumeARN } = await create({ TargetName: 'tagged', Tags: [{ Key: 'team', Value: 'x' }] });
    for (const ResourceARN of [arn, VolumeARN]) {
      const list = async (): Promise<unknown> =>
        (await client.send(new Sdk.ListTagsForResourceCommand({ ResourceARN }))).Tags;
      const first = ResourceARN === arn ? [] : [{ Key: 'team', Value: 'x' }];
      expect(await list()).toEqual(first);
      const Tags = [{ Key: 'colour', Value: 'blue' }];
      await client.send(new Sdk.AddTagsToResourceCommand({ ResourceARN, Tags }));
      expect(await list()).toEqual([...Tags, ...first]);
      const many = Array.from({ length: 50 }, (_, i) => ({ Key: `k${String(i)}`, Value: '' }));
      const tooMany = client.send(new Sdk.AddTagsToResourceCommand({ ResourceARN, Tags: many }));
      expect(await refusal(tooMany)).toEqual(refused('InvalidParameters'));
      const own = [{ Key: 'sgw:aws-target-name', Value: 'y' }];
      const reserved = client.send(new Sdk.AddTagsToResourceCommand({ ResourceARN, Tags: own }));
      expect(await refusal(reserved)).toEqual(refused('InvalidParameters'));
      await client.send(new Sdk.RemoveTagsFromResourceCommand({ ResourceARN, TagKeys: ['colour'] }));
      expect(await list()).toEqual(first);
    }
  });
});

describe('shutting down', () => {
  it(
    'ends what is served until the gateway is started; meanwhile little can be asked',
    async () => {
      const { VolumeARN, volumeId } = await create({ TargetName: 'resting' });
      const stateOf = async (): Promise<string | undefined> =>
        (await client.send(new Sdk.DescribeGatewayInformationCommand({ GatewayARN: arn }))).GatewayState;
      const exportOf = async (): Promise<string | undefined> =>
        (await gateway.call('gateway.show', {})).exports.find((one) => one.volumeId === volumeId)?.state;
      await client.send(new Sdk.ShutdownGatewayCommand({ GatewayARN: arn }));
      await expect.poll(stateOf, { timeout: 20_000 }).toBe('SHUTDOWN');
      expect(await exportOf()).toBe('waiting');
      const { Gateways = [] } = await client.send(new Sdk.ListGatewaysCommand({}));
      expect(Gateways.find((one) => one.GatewayARN === arn)?.GatewayOperationalState).toBe('SHUTDOWN');
      for (const send of [
        async () => client.send(new Sdk.ListVolumesCommand({ GatewayARN: arn })),
        async () => client.send(new Sdk.DescribeCachediSCSIVolumesCommand({ VolumeARNs: [VolumeARN] })),
        async () => client.send(new Sdk.CreateSnapshotCommand({ VolumeARN, SnapshotDescription: 'x' })),
        async () => client.send(new Sdk.ShutdownGatewayCommand({ GatewayARN: arn })),
      ])
        expect(await refusal(send())).toEqual(refused('GatewayNotConnected'));
      // It stays so over a restart of the gateway.
      await gateway.stop();
      await gateway.serve();
      expect(await exportOf()).toBe('waiting');
      await client.send(new Sdk.StartGatewayCommand({ GatewayARN: arn }));
      await expect.poll(stateOf, { timeout: 20_000 }).toBe('RUNNING');
      await expect.poll(exportOf, { timeout: 20_000 }).toBe('available');
      expect(await describeVolume(VolumeARN)).toMatchObject({ VolumeStatus: 'AVAILABLE' });
      const operations: unknown[] = [];
      for await (const { value } of documentsUnder<{ operation?: string }>(
        rig.blocks,
        'service/audit/',
        new AbortController().signal,
      ))
        operations.push(value.operation);
      expect(operations).toEqual(expect.arrayContaining(['gateway.suspend', 'gateway.resume']));
    },
    TIMEOUT_MS,
  );
});

describe('another account', () => {
  it('finds nothing of what is not its own', async () => {
    const { VolumeARN, TargetARN } = await create({ TargetName: 'private' });
    const bert = rig.client(BERT);
    expect((await bert.send(new Sdk.ListGatewaysCommand({}))).Gateways).toEqual([]);
    expect((await bert.send(new Sdk.ListVolumesCommand({}))).VolumeInfos).toEqual([]);
    const asOwn = (text: string): string => text.replace(ANNA, BERT);
    for (const named of [arn, asOwn(arn)]) {
      const sent = bert.send(new Sdk.DescribeGatewayInformationCommand({ GatewayARN: named }));
      expect(await refusal(sent)).toEqual(refused('GatewayNotFound'));
    }
    for (const named of [VolumeARN, asOwn(VolumeARN)]) {
      const sent = bert.send(new Sdk.DeleteVolumeCommand({ VolumeARN: named }));
      expect(await refusal(sent)).toEqual(refused('VolumeNotFound'));
    }
    const chap = bert.send(new Sdk.DescribeChapCredentialsCommand({ TargetARN }));
    expect(await refusal(chap)).toEqual(refused('TargetNotFound'));
  });
});
