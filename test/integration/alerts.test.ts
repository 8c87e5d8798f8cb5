/** Alerts over a real control plane: a daemon that goes and comes back, and a webhook that hears of both. */
import { createHmac } from 'node:crypto';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock, systemRandom } from '../../src/core/kit/index.ts';
import { Alerts } from '../../src/core/service/alerts/alerts.ts';
import { AlertWatch } from '../../src/core/service/alerts/index.ts';
import type { ControlPlane } from '../../src/core/service/controlplane/index.ts';
import { ServiceKey } from '../../src/core/service/server/index.ts';
import { ManagedHome, remoteCalls, startManagedService, type Customer } from '../support/control/managed-home.ts';
import { until } from '../support/control/network.ts';
import type { LiveService } from '../support/live-service.ts';
import { NbdClient } from '../soak/served/nbd-client.ts';
import { Receiver } from '../unit/service/alerts/receiver.ts';

const SILENT = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const { signal } = new AbortController();
let live: LiveService;
let plane: ControlPlane;
let anna: Customer;
let managed: ManagedHome;
let receiver: Receiver;
let watch: AlertWatch;
/** What messages are signed with. */
let secret = '';

beforeAll(async () => {
  ({ live, plane } = await startManagedService());
  anna = await live.account('anna');
  managed = await ManagedHome.activate(live, anna, 'lab');
  receiver = await Receiver.start();
  const sealing = new ServiceKey(systemRandom.bytes(32), systemRandom);
  const { context, gateways } = live.service;
  const alerts = new Alerts({ context, gateways, sealing, allowPrivate: true });
  const thresholds = { notConnectedMs: 200, exposureBytes: 0, restoreProof: true } as const;
  const wish = { name: 'gone', gatewayId: null, webhookUrl: receiver.url, repeatMs: null, secret: null };
  secret = (await alerts.set(anna.accountId, { ...wish, thresholds }, signal)).secret ?? '';
  watch = new AlertWatch({
    ...{ context, sealing, calls: plane, serverId: plane.serverId, log: SILENT, everyMs: 100 },
    holds: (gatewayId) => plane.holds(gatewayId),
    webhooks: { clock: systemClock, version: '0.0.0', allowPrivate: true, ca: receiver.ca },
  });
});
afterAll(async () => {
  await watch.close();
  await managed[Symbol.asyncDispose]();
  await plane.close(0);
  await live[Symbol.asyncDispose]();
  await receiver[Symbol.asyncDispose]();
});

const gatewayIdOf = async (): Promise<string> =>
  (await live.service.gateways.list(anna.accountId, signal))[0]?.gatewayId ?? '';

const told = (): string[] =>
  receiver.received.map(({ body }) => `${String(body['kind'])} ${String(body['threshold'])}`);

it('a gateway that is not there is told of once, and that it is back', async () => {
  watch.start();
  await until(() => told().length === 1, 'told that it is not there');
  await managed.start();
  await until(() => plane.connections === 1, 'the daemon has connected');
  await until(() => told().length === 2, 'told that it is there');
  expect(told()).toEqual(['firing notConnectedMs', 'resolved notConnectedMs']);
});

it('a volume with data that is not in the store is told of, signed, by its name, and that the data is there', async () => {
  const { call } = remoteCalls(live, anna, await gatewayIdOf());
  await call('volume.create', { name: 'ledger', sizeBytes: 1 << 20 });
  await call('volume.attach', { volume: 'ledger' });
  // So that it stays where it is for a while: long enough for the watch to see it.
  await call('volume.configure', { volume: 'ledger', sealIntervalMs: 3000 });
  receiver.received.length = 0;
  const client = await NbdClient.connect(path.join(managed.home, 'nbd.sock'), 'ledger');
  await client.write(4096, Buffer.alloc(64 << 10, 0x5a));
  await client.flush();
  await until(() => told().length === 1, 'told of the exposure', 60_000);
  const [first] = receiver.received;
  expect(first?.body).toMatchObject({
    ...{ kind: 'firing', threshold: 'exposureBytes', limit: 0, accountId: anna.accountId },
    ...{ gateway: { name: 'lab' }, alert: { name: 'gone' }, volumes: ['ledger'] },
  });
  expect(Number(first?.body['value'])).toBeGreaterThanOrEqual(64 << 10);
  const [, time = '', signature = ''] =
    /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(first?.headers['x-sgw-signature'])) ?? [];
  const hmac = createHmac('sha256', secret).update(`${time}.${first?.text ?? ''}`);
  expect(signature).toBe(hmac.digest('hex'));
  await until(() => told().length === 2, 'told that the data is in the store', 60_000);
  expect(told()).toEqual(['firing exposureBytes', 'resolved exposureBytes']);
  const { volumes } = await call('gateway.show', {});
  expect(volumes).toMatchObject([{ name: 'ledger', dirtyBytes: 0 }]);
  client.close();
}, 150_000);
