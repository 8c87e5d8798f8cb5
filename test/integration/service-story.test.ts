/**
 * The whole of it by the built program: a service, an account and its key, a gateway that is activated at it over the network
 * and keeps its data there, and its snapshot read by AWS's own client.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { Agent } from 'node:https';
import path from 'node:path';
import { EBSClient, GetSnapshotBlockCommand, ListSnapshotBlocksCommand } from '@aws-sdk/client-ebs';
import {
  DescribeGatewayInformationCommand,
  ListGatewaysCommand,
  ListVolumesCommand,
  ShutdownGatewayCommand,
  StorageGatewayClient,
} from '@aws-sdk/client-storage-gateway';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ServiceReadyDocument } from '../../src/core/localapi/schemas.ts';
import { HomeRig, until } from '../cli/gateway-rig.ts';
import { authorityOf } from '../support/service-process.ts';

const BLOCK = 512 * 1024;
const IMAGE = Buffer.alloc(4 * BLOCK, 'sgw over the network\n');

let service: HomeRig;
let home: HomeRig;
let ready: ServiceReadyDocument;
/** Of the service's CA, PEM. */
let ca: string;
let anna: { readonly accountId: string; readonly accessKeyId: string; readonly secretAccessKey: string };

/** Variables that name the service and who asks. */
const as = (who: { readonly accessKeyId: string; readonly secretAccessKey: string }): Record<string, string> => ({
  SGW_SERVICE: ready.url,
  SGW_SERVICE_FINGERPRINT: ready.caFingerprint,
  SGW_ACCESS_KEY_ID: who.accessKeyId,
  SGW_SECRET_ACCESS_KEY: who.secretAccessKey,
});

beforeAll(async () => {
  service = new HomeRig('service');
  home = new HomeRig('gateway');
  const child = service.spawn([
    'service',
    'run',
    '--listen',
    '127.0.0.1:0',
    '--gateway-listen',
    '127.0.0.1:0',
    '--json',
  ]);
  let [stdout, stderr] = ['', ''];
  child.stdout?.on('data', (part: Buffer) => (stdout += part.toString('utf8')));
  child.stderr?.on('data', (part: Buffer) => (stderr += part.toString('utf8')));
  await until('the service is ready', () => stdout.includes('\n') || child.exitCode !== null, 60_000);
  if (child.exitCode !== null) throw new Error(stdout + stderr);
  ready = JSON.parse(stdout) as ServiceReadyDocument;
  const root = as(ready.rootKey ?? { accessKeyId: '', secretAccessKey: '' });
  const { accountId } = (await service.okWith(root, 'service', 'account', 'create', 'anna')) as { accountId: string };
  const key = await service.okWith(root, 'service', 'key', 'create', 'anna', '--account', accountId);
  anna = { ...(key as unknown as typeof anna), accountId };
  ca = await authorityOf(ready.url);
});
afterAll(async () => {
  await home[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

it('a gateway is activated at the service, keeps a volume there, and AWS reads its snapshot', async () => {
  const activating = home.spawn([
    'activate',
    '--service',
    ready.url,
    '--service-fingerprint',
    ready.caFingerprint,
    '--json',
    '--timeout',
    '60s',
    '--page',
    'off',
    '--yes',
  ]);
  let said = '';
  let stdout = '';
  activating.stderr?.on('data', (part: Buffer) => (said += part.toString('utf8')));
  activating.stdout?.on('data', (part: Buffer) => (stdout += part.toString('utf8')));
  const ended = new Promise<number | null>((resolve) => activating.once('close', resolve));
  await expect.poll(() => /([0-9A-Z]{5}-){4}[0-9A-Z]{5}/.exec(said + stdout)?.[0], { timeout: 60_000 }).toBeDefined();
  const activationKey = /([0-9A-Z]{5}-){4}[0-9A-Z]{5}/.exec(said + stdout)?.[0] ?? '';
  await service.okWith(as(anna), 'service', 'activate', activationKey, '--name', 'lab', '--yes');
  expect(await ended, said + stdout).toBe(0);
  const image = home.file('disk.img', IMAGE);
  await home.ok('volume', 'import', image, '--name', 'disk');
  const snapshot = (await home.ok('snapshot', 'create', 'disk', '--name', 'v1')) as { snapshotId: string };
  // Its data is in the service's store, and nowhere in its home.
  expect(existsSync(path.join(home.home, 'store'))).toBe(false);
  const agent = new Agent({ ca });
  const settings = {
    ...{ endpoint: ready.url, region: 'local', credentials: anna, maxAttempts: 1 },
    requestHandler: { httpsAgent: agent },
  };
  const ebs = new EBSClient(settings);
  const sgw = new StorageGatewayClient(settings);
  try {
    const { Blocks = [] } = await ebs.send(new ListSnapshotBlocksCommand({ SnapshotId: snapshot.snapshotId }));
    expect(Blocks.map(({ BlockIndex }) => BlockIndex)).toEqual([0, 1, 2, 3]);
    const { BlockIndex, BlockToken } = Blocks[2] ?? {};
    const block = await ebs.send(
      new GetSnapshotBlockCommand({ SnapshotId: snapshot.snapshotId, BlockIndex, BlockToken }),
    );
    const bytes = Buffer.from((await block.BlockData?.transformToByteArray()) ?? []);
    const digest = (of: Buffer): string => createHash('sha256').update(of).digest('hex');
    expect(digest(bytes)).toBe(digest(IMAGE.subarray(2 * BLOCK, 3 * BLOCK)));
    const { Gateways = [] } = await sgw.send(new ListGatewaysCommand({}));
    expect(Gateways).toMatchObject([{ GatewayName: 'lab' }]);
  } finally {
    ebs.destroy();
    sgw.destroy();
    agent.destroy();
  }
});

it('a gateway that AWS has shut down serves again by the command line, and goes on to', async () => {
  await home.ok('gateway', 'start');
  const agent = new Agent({ ca });
  const settings = { endpoint: ready.url, region: 'local', credentials: anna, requestHandler: { httpsAgent: agent } };
  const sgw = new StorageGatewayClient(settings);
  try {
    const { Gateways: [gateway] = [] } = await sgw.send(new ListGatewaysCommand({}));
    const wanted = { GatewayARN: gateway?.GatewayARN };
    const state = async (): Promise<string | undefined> =>
      (await sgw.send(new DescribeGatewayInformationCommand(wanted))).GatewayState;
    await expect.poll(state, { timeout: 60_000 }).toBe('RUNNING');
    await sgw.send(new ShutdownGatewayCommand(wanted));
    await expect.poll(state, { timeout: 60_000 }).toBe('SHUTDOWN');
    const resume = ['service', 'gateway', 'shutdown', gateway?.GatewayId ?? '', '--resume'];
    await service.okWith(as(anna), ...resume);
    for (let times = 0; times < 3; times++) expect(await state()).toBe('RUNNING');
    expect(await home.ok('gateway', 'show')).toMatchObject({ state: 'serving' });
    const { VolumeInfos = [] } = await sgw.send(new ListVolumesCommand(wanted));
    expect(VolumeInfos).toHaveLength(0);
  } finally {
    sgw.destroy();
    agent.destroy();
    await home.ok('gateway', 'stop');
  }
});

it('the gateway that runs is operated from afar by its account alone, and stopped', async () => {
  await home.ok('gateway', 'start');
  const { gateways } = (await service.okWith(as(anna), 'service', 'gateway', 'list')) as {
    gateways: readonly { readonly gatewayId: string }[];
  };
  const gatewayId = gateways[0]?.gatewayId ?? '';
  const list = async (who: Parameters<typeof as>[0]): Promise<string> =>
    (await service.run(['volume', 'list', '--gateway', gatewayId, '--json'], as(who))).stdout;
  await expect.poll(async () => list(anna), { timeout: 60_000 }).toContain('"disk"');
  const root = as(ready.rootKey ?? anna);
  const { accountId } = (await service.okWith(root, 'service', 'account', 'create', 'bert')) as { accountId: string };
  const bert = await service.okWith(root, 'service', 'key', 'create', 'bert', '--account', accountId);
  expect(await list(bert as unknown as typeof anna)).toContain('gateway-not-found');
  expect(await list({ ...anna, secretAccessKey: 'x' })).toContain('signature-wrong');
  await service.okWith(as(anna), 'service', 'gateway', 'shutdown', gatewayId, '--yes');
  const attach = ['volume', 'attach', 'disk', '--gateway', gatewayId, '--json'];
  expect((await service.run(attach, as(anna))).stdout).toContain('gateway-suspended');
  await service.okWith(as(anna), 'gateway', 'stop', '--gateway', gatewayId);
  expect(await list(anna)).not.toContain('"disk"');
});
