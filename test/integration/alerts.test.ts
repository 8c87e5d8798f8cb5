/** Alerts over a real control plane: a daemon that goes and comes back, and a webhook that hears of both. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock, systemRandom } from '../../src/core/kit/index.ts';
import { Alerts } from '../../src/core/service/alerts/alerts.ts';
import { AlertWatch } from '../../src/core/service/alerts/index.ts';
import type { ControlPlane } from '../../src/core/service/controlplane/index.ts';
import { ServiceKey } from '../../src/core/service/server/index.ts';
import { ManagedHome, startManagedService, type Customer } from '../support/control/managed-home.ts';
import { until } from '../support/control/network.ts';
import type { LiveService } from '../support/live-service.ts';
import { Receiver } from '../unit/service/alerts/receiver.ts';

const SILENT = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const { signal } = new AbortController();
let live: LiveService;
let plane: ControlPlane;
let anna: Customer;
let managed: ManagedHome;
let receiver: Receiver;
let watch: AlertWatch;

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
  await alerts.set(anna.accountId, { ...wish, thresholds }, signal);
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
