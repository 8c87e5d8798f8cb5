/** A limit that root sets by the command line, met at a gateway's machine and by AWS's SDK, with the real program. */
import { Agent } from 'node:https';
import * as Sdk from '@aws-sdk/client-storage-gateway';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { MIB } from '../../src/core/kit/index.ts';
import { HomeRig } from '../cli/gateway-rig.ts';
import { freePort } from '../support/free-port.ts';
import { ServiceProcess, ShownDevice, type Customer } from '../support/service-process.ts';

let provider: HomeRig;
let home: HomeRig;
let service: ServiceProcess;
let anna: Customer;
let agent: Agent;
let gateways: Sdk.StorageGatewayClient;

beforeAll(async () => {
  provider = new HomeRig('service');
  home = new HomeRig('gateway');
  service = await ServiceProcess.start(provider);
  anna = await service.customer('anna');
  agent = new Agent({ ca: service.ca });
  const { url, region } = service.ready;
  const settings = { endpoint: url, region, credentials: anna, requestHandler: { httpsAgent: agent } };
  gateways = new Sdk.StorageGatewayClient(settings);
});
afterAll(async () => {
  gateways.destroy();
  agent.destroy();
  await home[Symbol.asyncDispose]();
  await provider[Symbol.asyncDispose]();
});

it('an account that has as much as it may have makes no more, by whichever way, and goes on with what it has', async () => {
  const device = await ShownDevice.show(home, service);
  const place = { GatewayName: 'attic', GatewayTimezone: 'GMT', GatewayRegion: service.ready.region };
  const claim = new Sdk.ActivateGatewayCommand({ ...place, ActivationKey: device.activationKey });
  const { GatewayARN } = await gateways.send(claim);
  await device.activated();
  await home.ok('configure', '--iscsi-listen', `tcp:127.0.0.1:${String(await freePort())}`);
  await home.ok('gateway', 'start');
  const root = service.as(service.ready.rootKey ?? { accessKeyId: '', secretAccessKey: '' });
  const limits = ['--max-volumes', '1', '--max-snapshots', '1', '--max-gateways', '1'];
  await provider.okWith(root, 'service', 'account', 'configure', 'anna', ...limits);
  const create = async (name: string): Promise<string | undefined> => {
    const what = { TargetName: name, ClientToken: `token-${name}`, VolumeSizeInBytes: 64 * MIB };
    const where = { GatewayARN, NetworkInterfaceId: '127.0.0.1' };
    return (await gateways.send(new Sdk.CreateCachediSCSIVolumeCommand({ ...what, ...where }))).VolumeARN;
  };
  const show = new Sdk.DescribeGatewayInformationCommand({ GatewayARN });
  await expect.poll(async () => (await gateways.send(show)).GatewayState, { timeout: 30_000 }).toBe('RUNNING');
  const VolumeARN = await create('db');
  // With the same token it is no other volume.
  expect(await create('db')).toBe(VolumeARN);
  const refused = { name: 'InvalidGatewayRequestException', error: { errorCode: 'MaximumVolumeCountExceeded' } };
  await expect(create('more')).rejects.toMatchObject(refused);
  const quota = { exitCode: 8, code: 'quota-exceeded' };
  expect(await home.failure('volume', 'create', 'own', '--size', '1MiB')).toMatchObject(quota);
  const [volume] = (await home.ok('volume', 'list'))['volumes'] as { readonly name: string }[];
  const name = volume?.name ?? expect.unreachable('the gateway has no volume');
  await home.ok('snapshot', 'create', name, '--wait');
  const { exitCode, code } = await home.failure('snapshot', 'create', name, '--wait');
  expect({ exitCode, code }).toEqual(quota);
  const device2 = await (async () => {
    await using another = new HomeRig('another');
    const shown = await ShownDevice.show(another, service);
    const again = new Sdk.ActivateGatewayCommand({ ...place, ActivationKey: shown.activationKey });
    return await gateways.send(again).catch((error: unknown) => error);
  })();
  expect(device2).toMatchObject({ error: { errorCode: 'UnauthorizedOperation' } });
  const account = await provider.okWith(service.as(anna), 'service', 'account', 'show');
  expect(account).toMatchObject({ usage: { volumes: 1, volumeBytes: 64 * MIB, snapshots: 1, gateways: 1, keys: 1 } });
}, 180_000);
