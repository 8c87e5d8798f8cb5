/**
 * Whole stories by what customers have: a service and gateways as processes of their own, over TLS with real signatures, driven
 * by unmodified AWS SDKs and Debian's `aws`, with QEMU's iSCSI initiator at the gateway.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { promisify } from 'node:util';
import { EBSClient } from '@aws-sdk/client-ebs';
import * as Sdk from '@aws-sdk/client-storage-gateway';
import { afterAll, beforeAll, expect } from 'vitest';
import { GIB, MIB, seededRandom } from '../../src/core/kit/index.ts';
import { HomeRig } from '../cli/gateway-rig.ts';
import { requireThat, toolPath } from '../requirements.ts';
import { freePort } from '../support/free-port.ts';
import { ServiceProcess, ShownDevice, type Customer } from '../support/service-process.ts';
import { BLOCK, changedBlocks, digests, readSnapshot, writeSnapshot } from '../unit/service/ebs/ebs-rig.ts';
import { missingClients } from './iscsi-clients.ts';

const run = promisify(execFile);
const IMAGE_BYTES = 48 * MIB;
const VOLUME_BYTES = 64 * MIB;
const LOOPBACK = '127.0.0.1';
const TOOL_MS = 60_000;
/** Debian's own first: Python's tools may stand before it. */
const AWS = existsSync('/usr/bin/aws') ? '/usr/bin/aws' : toolPath('aws');
const missing = [
  ...missingClients(),
  ...(AWS === undefined ? ['aws'] : []),
  ...['mke2fs', 'e2fsck', 'debugfs'].filter((tool) => toolPath(tool) === undefined),
];
const { describe, it } = requireThat(missing.length === 0, `not installed: ${missing.join(', ')}`);

let provider: HomeRig;
let home: HomeRig;
let service: ServiceProcess;
let anna: Customer;
let caFile: string;
let agent: Agent;
let gateways: Sdk.StorageGatewayClient;
let ebs: EBSClient;
let gatewayArn: string;
/** A file system, and what is in one of its files. */
let image: Buffer;
let letter: Buffer;

beforeAll(async () => {
  provider = new HomeRig('service');
  home = new HomeRig('gateway');
  if (missing.length > 0) return;
  service = await ServiceProcess.start(provider);
  anna = await service.customer('anna');
  caFile = provider.file('ca.pem', service.ca);
  agent = new Agent({ ca: service.ca });
  const { url, region } = service.ready;
  const settings = { endpoint: url, region, credentials: anna, requestHandler: { httpsAgent: agent } };
  gateways = new Sdk.StorageGatewayClient(settings);
  ebs = new EBSClient(settings);
  ({ image, letter } = await fileSystem());
});
afterAll(async () => {
  for (const client of missing.length === 0 ? [gateways, ebs, agent] : []) client.destroy();
  await home[Symbol.asyncDispose]();
  await provider[Symbol.asyncDispose]();
});

async function tool(name: string, ...args: string[]): Promise<string> {
  return (await run(toolPath(name) ?? name, args, { timeout: TOOL_MS, maxBuffer: 16 * MIB })).stdout;
}

/** An ext4 file system with files in it. */
async function fileSystem(): Promise<{ readonly image: Buffer; readonly letter: Buffer }> {
  const folder = `${provider.folder}/files`;
  mkdirSync(folder);
  const random = seededRandom(11);
  for (let i = 0; i < 10; i++) writeFileSync(`${folder}/file-${String(i)}`, random.bytes(300_000 + i * 50_000));
  const file = `${provider.folder}/ext4.img`;
  await tool('mke2fs', '-q', '-t', 'ext4', '-d', folder, file, `${String(IMAGE_BYTES / MIB)}M`);
  return { image: readFileSync(file), letter: readFileSync(`${folder}/file-7`) };
}

async function aws(...words: string[]): Promise<Record<string, unknown>> {
  const env = service.aws(anna, provider.folder, caFile);
  const args = ['--endpoint-url', service.ready.url, '--output', 'json', ...words];
  const { stdout } = await run(AWS ?? '', args, { env, timeout: TOOL_MS });
  return stdout === '' ? {} : (JSON.parse(stdout) as Record<string, unknown>);
}

/** The blocks of an image that are not all zeroes. */
function blocksOf(bytes: Buffer): Map<number, Buffer> {
  const blocks = new Map<number, Buffer>();
  for (let index = 0; index * BLOCK < bytes.length; index++) {
    const block = Buffer.alloc(BLOCK);
    bytes.copy(block, 0, index * BLOCK, (index + 1) * BLOCK);
    if (!block.equals(Buffer.alloc(BLOCK))) blocks.set(index, block);
  }
  return blocks;
}

/** A volume as QEMU's initiator is told of it, by what the API says. */
async function initiatorOf(VolumeARN: string): Promise<string> {
  const wanted = { VolumeARNs: [VolumeARN] };
  const { CachediSCSIVolumes } = await gateways.send(new Sdk.DescribeCachediSCSIVolumesCommand(wanted));
  const about = CachediSCSIVolumes?.[0]?.VolumeiSCSIAttributes ?? {};
  const { TargetARN = '', NetworkInterfaceId = '', NetworkInterfacePort = 0, LunNumber = 0 } = about;
  const target = TargetARN.slice(TargetARN.lastIndexOf('/') + 1);
  return [
    'driver=raw,file.driver=iscsi,file.transport=tcp',
    `file.portal=${NetworkInterfaceId}:${String(NetworkInterfacePort)}`,
    `file.target=${target},file.lun=${String(LunNumber)}`,
  ].join(',');
}

/** A snapshot by the Storage Gateway API; resolves once EBS direct has it. */
async function snapshotOf(VolumeARN: string): Promise<{ readonly id: string; readonly blocks: Map<number, string> }> {
  const wish = { VolumeARN, SnapshotDescription: 'of the story' };
  const { SnapshotId = '' } = await gateways.send(new Sdk.CreateSnapshotCommand(wish));
  const read = async (): Promise<Map<number, string> | null> =>
    readSnapshot(ebs, SnapshotId).then(digests, (error: unknown) => {
      if (isPending(error)) return null;
      throw error;
    });
  await expect.poll(read, { timeout: TOOL_MS, interval: 200 }).not.toBeNull();
  return { id: SnapshotId, blocks: (await read()) ?? new Map<number, string>() };
}

const isPending = (error: unknown): boolean =>
  error instanceof Error && error.name === 'ValidationException' && /pending|not completed/i.test(error.message);

async function runningGateway(arn: string): Promise<void> {
  const describeIt = new Sdk.DescribeGatewayInformationCommand({ GatewayARN: arn });
  const state = async (): Promise<string | undefined> => (await gateways.send(describeIt)).GatewayState;
  await expect.poll(state, { timeout: TOOL_MS, interval: 200 }).toBe('RUNNING');
}

describe('a customer of AWS', () => {
  it('activates a gateway by aws with the key that it shows, and sees it run', async () => {
    const device = await ShownDevice.show(home, service);
    const { activationKey } = device;
    const place = ['--gateway-timezone', 'GMT', '--gateway-region', service.ready.region, '--gateway-type', 'CACHED'];
    const words = ['activate-gateway', '--activation-key', activationKey, '--gateway-name', 'attic', ...place];
    gatewayArn = String((await aws('storagegateway', ...words))['GatewayARN']);
    const activated = await device.activated();
    expect(gatewayArn).toContain(`:${anna.accountId}:gateway/${String(activated['gatewayId'])}`);
    await home.ok('configure', '--iscsi-listen', `tcp:${LOOPBACK}:${String(await freePort())}`);
    await home.ok('gateway', 'start');
    await runningGateway(gatewayArn);
  });

  it('has a volume written over iSCSI, and reads and compares its snapshots block by block', async () => {
    const { VolumeARN = '' } = await gateways.send(
      new Sdk.CreateCachediSCSIVolumeCommand({
        ...{ GatewayARN: gatewayArn, VolumeSizeInBytes: VOLUME_BYTES, TargetName: 'db', ClientToken: 'story-db' },
        NetworkInterfaceId: LOOPBACK,
      }),
    );
    const initiator = await initiatorOf(VolumeARN);
    const file = `${provider.folder}/ext4.img`;
    await tool('qemu-img', 'convert', '-n', '-f', 'raw', '--target-image-opts', file, initiator);
    const first = await snapshotOf(VolumeARN);
    expect(first.blocks).toEqual(digests(blocksOf(image)));
    const [at, length] = [51 * MIB + 4096, 12_288];
    await tool(
      'qemu-io',
      '--image-opts',
      '-c',
      `write -P 0x5a ${String(at)} ${String(length)}`,
      '-c',
      'flush',
      initiator,
    );
    const second = await snapshotOf(VolumeARN);
    const index = Math.floor(at / BLOCK);
    const pair = ['--first-snapshot-id', first.id, '--second-snapshot-id', second.id];
    const changed = (await aws('ebs', 'list-changed-blocks', ...pair)) as {
      readonly ChangedBlocks: readonly { readonly BlockIndex: number; readonly SecondBlockToken: string }[];
    };
    expect(changed.ChangedBlocks.map(({ BlockIndex }) => BlockIndex)).toEqual([index]);
    expect((await changedBlocks(ebs, first.id, second.id)).map((one) => one.index)).toEqual([index]);
    const target = `${provider.folder}/block`;
    const block = ['--snapshot-id', second.id, '--block-index', String(index)];
    const token = changed.ChangedBlocks[0]?.SecondBlockToken ?? '';
    await aws('ebs', 'get-snapshot-block', ...block, '--block-token', token, target);
    const expected = Buffer.alloc(BLOCK);
    expected.fill(0x5a, at % BLOCK, (at % BLOCK) + length);
    expect(readFileSync(target).equals(expected)).toBe(true);
  });

  it('writes a file system as a snapshot, and has it as a volume of the gateway and as an image', async () => {
    const snapshotId = await writeSnapshot(ebs, blocksOf(image), { Tags: [{ Key: 'Name', Value: 'golden' }] });
    const where = ['--gateway-arn', gatewayArn, '--network-interface-id', LOOPBACK];
    const what = ['--volume-size-in-bytes', String(GIB), '--snapshot-id', snapshotId, '--target-name', 'golden'];
    const words = ['create-cached-iscsi-volume', ...where, ...what, '--client-token', 'story-golden'];
    const made = await aws('storagegateway', ...words);
    const initiator = await initiatorOf(String(made['VolumeARN']));
    const whole = `${provider.folder}/whole.img`;
    writeFileSync(whole, image);
    // All that is behind the image has to be zero.
    const same = await tool('qemu-img', 'compare', '--image-opts', `driver=raw,file.filename=${whole}`, initiator);
    expect(same).toContain('Images are identical');
    const file = `${home.folder}/golden.img`;
    await home.ok('snapshot', 'export', 'golden', file);
    const exported = await tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', whole, file);
    expect(exported).toContain('Images are identical');
    await tool('e2fsck', '-fn', file);
    const copy = `${home.folder}/letter`;
    await tool('debugfs', '-R', `dump /file-7 ${copy}`, file);
    expect(readFileSync(copy).equals(letter)).toBe(true);
    // The file system goes on being used, and what was written to it comes back to AWS.
    await tool('qemu-io', '--image-opts', '-c', `write -P 0x7e ${String(100 * MIB)} 4096`, '-c', 'flush', initiator);
    const later = await snapshotOf(String(made['VolumeARN']));
    expect((await changedBlocks(ebs, snapshotId, later.id)).map(({ index }) => index)).toEqual([(100 * MIB) / BLOCK]);
  });

  it('deletes its gateway, which nobody lets in from then on', async () => {
    await gateways.send(new Sdk.DeleteGatewayCommand({ GatewayARN: gatewayArn }));
    expect((await gateways.send(new Sdk.ListGatewaysCommand({}))).Gateways).toEqual([]);
    const refused = await home.failure('snapshot', 'list');
    expect(refused['code']).toBe('gateway-deregistered');
  });
});
