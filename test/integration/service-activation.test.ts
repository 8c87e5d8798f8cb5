/** Activation over the network as it is installed: a service, a customer, a device, each a process of its own (S5). */
import { once } from 'node:events';
import type { ChildProcess } from 'node:child_process';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ServiceReadyDocument } from '../../src/core/localapi/schemas.ts';
import { HomeRig } from '../cli/gateway-rig.ts';
import { freePort } from '../support/free-port.ts';

const READY_WITHIN_MS = 60_000;

let provider: HomeRig;
let device: HomeRig;
let ready: ServiceReadyDocument;
let server: ChildProcess;
let account: string;
/** What a customer sets. */
let anna: Record<string, string>;

async function startService(listen: string, gatewayListen: string): Promise<void> {
  server = provider.spawn(['service', 'run', '--listen', listen, '--gateway-listen', gatewayListen, '--json']);
  let stdout = '';
  server.stdout?.on('data', (part: Buffer) => (stdout += part.toString('utf8')));
  server.stderr?.resume();
  const signal = AbortSignal.timeout(READY_WITHIN_MS);
  while (!stdout.includes('\n')) await once(server.stdout ?? server, 'data', { signal });
  ready = JSON.parse(stdout) as ServiceReadyDocument;
}

beforeAll(async () => {
  provider = new HomeRig('service');
  device = new HomeRig('gateway');
  await startService('127.0.0.1:0', '127.0.0.1:0');
  const place = { SGW_SERVICE: ready.url, SGW_SERVICE_FINGERPRINT: ready.caFingerprint };
  const { accessKeyId = '', secretAccessKey = '' } = ready.rootKey ?? {};
  const root = { ...place, SGW_ACCESS_KEY_ID: accessKeyId, SGW_SECRET_ACCESS_KEY: secretAccessKey };
  account = String((await provider.okWith(root, 'service', 'account', 'create', 'anna'))['accountId']);
  const key = await provider.okWith(root, 'service', 'key', 'create', 'anna', '--account', account);
  anna = {
    ...place,
    SGW_ACCESS_KEY_ID: String(key['accessKeyId']),
    SGW_SECRET_ACCESS_KEY: String(key['secretAccessKey']),
  };
}, 120_000);
afterAll(async () => {
  await device[Symbol.asyncDispose]();
  await provider[Symbol.asyncDispose]();
});

it('a device is activated by its page and a customer, through ends of itself and of the service, and works', async () => {
  const port = String(await freePort());
  const place = ['--service', ready.url, '--service-fingerprint', ready.caFingerprint];
  const first = await device.ok('activate', ...place, '--name', 'lab', '--no-wait');
  expect(first).toMatchObject({ state: 'shown', service: ready.url });
  // It waits, and is killed.
  const waiting = device.spawn(['activate', '--page', `127.0.0.1:${port}`, '--account', account, '--progress', 'none']);
  const page = `http://127.0.0.1:${port}/?activationRegion=lab`;
  const fetched = async (url: string): Promise<string> => {
    try {
      return await (await fetch(url, { redirect: 'manual' })).text();
    } catch {
      return '';
    }
  };
  await expect.poll(async () => fetched(`${page}&no_redirect`), { timeout: 30_000 }).toBe(first['activationKey']);
  const { headers } = await fetch(page, { redirect: 'manual' });
  expect(headers.get('location')).toBe(first['claimUrl']);
  waiting.kill('SIGKILL');
  await once(waiting, 'close');
  // So is the service, which is started again where it was.
  const [listen, gatewayListen] = [new URL(ready.url).host, ready.gatewayAddress];
  process.kill(ready.pid, 'SIGKILL');
  await once(server, 'close');
  await startService(listen, gatewayListen);
  const claimed = await provider.okWith(anna, 'service', 'activate', String(first['activationKey']), '--yes');
  expect(claimed).toMatchObject({ accountId: account, gatewayName: 'lab', keyFingerprint: first['keyFingerprint'] });
  const made = await device.ok('activate', '--account', account);
  expect(made).toMatchObject({
    gatewayId: claimed['gatewayId'],
    accountId: account,
    service: ready.url,
    created: true,
  });
  expect(await fetched(page)).toBe('');
  // Its store is the service's, over mutual TLS.
  expect(made['store']).toBe(`sgw-service://${ready.gatewayAddress}`);
  await device.ok('volume', 'create', 'v', '--size', '1MiB');
  await device.ok('snapshot', 'create', 'v', '--name', 's', '--wait');
  expect(await device.ok('snapshot', 'show', 's')).toMatchObject({ exportable: true, accountId: account });
  expect(await provider.okWith(anna, 'service', 'gateway', 'list')).toMatchObject({
    gateways: [{ gatewayId: made['gatewayId'], state: 'active' }],
  });
  expect(await device.ok('deactivate', '--yes')).toMatchObject({ gatewayId: made['gatewayId'] });
  expect(await provider.okWith(anna, 'service', 'gateway', 'list')).toMatchObject({
    gateways: [{ gatewayId: made['gatewayId'], state: 'deregistered' }],
  });
  // No secret of the customer came near the device.
  const files = readdirSync(device.folder, { recursive: true }).map((name) => path.join(device.folder, String(name)));
  for (const file of files.filter((name) => statSync(name).isFile()))
    expect(readFileSync(file, 'latin1')).not.toContain(anna['SGW_SECRET_ACCESS_KEY']);
}, 240_000);
