/** Debian's `aws`, unmodified, over the Storage Gateway API. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { requireTool, toolPath } from '../requirements.ts';
import { WaitingDevice } from './aws-device.ts';
import { ANNA, AwsRig, keyOf, LOOPBACK, REGION } from './aws-rig.ts';

const run = promisify(execFile);
const { it } = requireTool('aws');

it('aws storagegateway activates, creates, snapshots, limits, tags and deletes', async () => {
  const { rig, gateway } = await AwsRig.start();
  await using _rig = rig;
  const home = await mkdtemp(join(tmpdir(), 'sgw-aws-cli-'));
  const env = {
    ...{ PATH: process.env['PATH'] ?? '', HOME: home, AWS_DEFAULT_REGION: REGION, AWS_PAGER: '' },
    ...{ AWS_ACCESS_KEY_ID: keyOf(ANNA), AWS_SECRET_ACCESS_KEY: 'not-checked', AWS_MAX_ATTEMPTS: '1' },
  };
  const aws = async (...words: string[]): Promise<Record<string, unknown>> => {
    const args = ['--endpoint-url', rig.endpoint, '--output', 'json', 'storagegateway', ...words];
    const { stdout } = await run(toolPath('aws') ?? 'aws', args, { env, timeout: 60_000 });
    return stdout === '' ? {} : (JSON.parse(stdout) as Record<string, unknown>);
  };
  try {
    const arn = rig.arn(gateway.gatewayId);
    const device = await WaitingDevice.show(rig.service);
    const place = ['--gateway-timezone', 'GMT+1:00', '--gateway-region', REGION, '--gateway-type', 'CACHED'];
    const activated = await aws(
      ...['activate-gateway', '--activation-key', device.activationKey, '--gateway-name', 'from-cli', ...place],
    );
    const { gatewayId } = await device.collect();
    expect(activated).toEqual({ GatewayARN: rig.arn(gatewayId) });
    expect((await aws('list-gateways'))['Gateways']).toHaveLength(2);
    await aws('delete-gateway', '--gateway-arn', rig.arn(gatewayId));
    const made = await aws(
      ...['create-cached-iscsi-volume', '--gateway-arn', arn, '--volume-size-in-bytes', '8388608'],
      ...['--target-name', 'cli-disk', '--network-interface-id', LOOPBACK, '--client-token', 'cli-token'],
    );
    const volume = String(made['VolumeARN']);
    expect(made['TargetARN']).toBe(`${arn}/target/iqn.1997-05.com.amazon:cli-disk`);
    const described = await aws('describe-cached-iscsi-volumes', '--volume-arns', volume);
    expect(described).toMatchObject({ CachediSCSIVolumes: [{ VolumeARN: volume, VolumeStatus: 'AVAILABLE' }] });
    const snapshot = await aws('create-snapshot', '--volume-arn', volume, '--snapshot-description', 'by cli');
    expect(snapshot['SnapshotId']).toMatch(/^snap-[0-9a-f]{17}$/);
    await aws(
      'update-bandwidth-rate-limit',
      '--gateway-arn',
      arn,
      '--average-upload-rate-limit-in-bits-per-sec',
      '51200',
    );
    expect(await aws('describe-bandwidth-rate-limit', '--gateway-arn', arn)).toMatchObject({
      AverageUploadRateLimitInBitsPerSec: 51_200,
    });
    await aws('add-tags-to-resource', '--resource-arn', volume, '--tags', 'Key=by,Value=cli');
    expect(await aws('list-tags-for-resource', '--resource-arn', volume)).toMatchObject({
      Tags: [{ Key: 'by', Value: 'cli' }],
    });
    await expect(aws('describe-cache', '--gateway-arn', rig.arn('sgw-00000000'))).rejects.toThrow(
      /InvalidGatewayRequest/,
    );
    await expect
      .poll(async () => (await gateway.call('snapshot.list', {})).snapshots.map(({ state }) => state))
      .toEqual(['completed']);
    await aws('delete-volume', '--volume-arn', volume);
    expect((await aws('list-volumes', '--gateway-arn', arn))['VolumeInfos']).toEqual([]);
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}, 180_000);
