import { beforeEach, describe, expect, it } from 'vitest';
import type { ConfigurationReceipt, GatewayConfiguration } from '../../../src/core/protocol/index.ts';
import { Configurations, type ConfigurationOrder } from '../../../src/core/service/configuration/configurations.ts';
import { Gateways } from '../../../src/core/service/identity/gateways.ts';
import { SignatureCheck } from '../../../src/core/service/identity/signature-check.ts';
import { SgwError } from '../../../src/core/kit/index.ts';
import { SERVICE_ID, ServiceRig, type Device } from './rig.ts';

const NOTHING: ConfigurationOrder = { changes: {}, answer: null, expectedVersion: null };
const MIB = 1 << 20;

/** A gateway that takes what it is sent, unless it is away or has no room. */
class FakeGateway {
  isAway = false;
  failure: ConfigurationReceipt['failure'] = null;
  readonly got: GatewayConfiguration[] = [];
  applied = 1;

  async deliver(gatewayId: string, configuration: GatewayConfiguration): Promise<ConfigurationReceipt> {
    if (this.isAway)
      throw new SgwError('unavailable', 'gateway-not-connected', `gateway ${gatewayId} is not connected`);
    this.got.push(configuration);
    if (this.failure === null) this.applied = configuration.version;
    return Promise.resolve({ version: configuration.version, appliedVersion: this.applied, failure: this.failure });
  }
}

let rig: ServiceRig;
let device: Device;
let gatewayId: string;
let gateways: Gateways;
let configurations: Configurations;
let gateway: FakeGateway;

beforeEach(async () => {
  rig = new ServiceRig();
  await rig.accounts();
  device = await rig.activated();
  gatewayId = device.credential?.gatewayId ?? '';
  const context = { blocks: rig.blocks, serviceId: SERVICE_ID, isEmbedded: false };
  gateways = new Gateways(context, new SignatureCheck(context));
  configurations = new Configurations(context, gateways);
  gateway = new FakeGateway();
  configurations.deliverBy(gateway);
});

const change = async (order: Partial<ConfigurationOrder>) =>
  await configurations.change(gatewayId, { ...NOTHING, ...order }, rig.signal);

describe('what the provider changes', () => {
  it('makes the next version, is delivered, and what is in force is shown', async () => {
    const outcome = await change({ changes: { name: 'berlin', serving: { cacheBytes: 5 * MIB } } });
    expect(outcome).toMatchObject({ changed: true, changedSettings: ['name', 'cacheBytes'], undelivered: null });
    expect(gateway.got).toMatchObject([
      { version: 2, name: 'berlin', serving: { cacheBytes: 5 * MIB, bufferBytes: null } },
    ]);
    expect(await configurations.standing(gatewayId, rig.signal)).toMatchObject({
      configuration: { version: 2, name: 'berlin' },
      receipt: { version: 2, appliedVersion: 2, failure: null },
      request: null,
    });
  });

  it('makes no version where it changes nothing', async () => {
    await change({ changes: { name: 'berlin' } });
    expect(await change({ changes: { name: 'berlin' } })).toMatchObject({ changed: false, changedSettings: [] });
    expect((await configurations.standing(gatewayId, rig.signal)).configuration.version).toBe(2);
    expect(gateway.got).toHaveLength(1);
  });

  it('stands while the gateway is away, and is there for its next connection', async () => {
    gateway.isAway = true;
    const outcome = await change({ changes: { region: 'eu-1' } });
    expect(outcome.undelivered).toMatchObject({ code: 'gateway-not-connected' });
    expect(outcome.standing).toMatchObject({ configuration: { version: 2, region: 'eu-1' }, receipt: null });
    expect(await configurations.newerThan(gatewayId, 1, rig.signal)).toMatchObject({ version: 2, region: 'eu-1' });
    expect(await configurations.newerThan(gatewayId, 2, rig.signal)).toBeUndefined();
  });

  it('shows what the gateway could not do, and which version it goes on with', async () => {
    gateway.failure = { code: 'no-room', message: 'there is no room', hint: null };
    await change({ changes: { serving: { cacheBytes: 1 << 30 } } });
    expect((await configurations.standing(gatewayId, rig.signal)).receipt).toMatchObject({
      version: 2,
      appliedVersion: 1,
      failure: { code: 'no-room' },
    });
  });

  it('is refused to whoever has not seen the newest version', async () => {
    await change({ changes: { name: 'berlin' }, expectedVersion: 1 });
    await expect(change({ changes: { name: 'paris' }, expectedVersion: 1 })).rejects.toMatchObject({
      kind: 'conflict',
      code: 'configuration-changed',
      details: { version: 2 },
    });
  });

  it('gets one version each when several change it at once', async () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    await Promise.all(names.map(async (name) => change({ changes: { name } })));
    expect(new Set(gateway.got.map(({ version }) => version)).size).toBe(5);
    const { configuration } = await configurations.standing(gatewayId, rig.signal);
    expect(configuration.version).toBe(6);
    expect(gateway.got.find(({ version }) => version === 6)?.name).toBe(configuration.name);
  });

  it.each([
    ['a mode', { mode: 'shadowing' }],
    ['listeners', { serving: { listen: ['tcp:0.0.0.0:1'] } }],
    ['paths', { serving: { tlsKey: '/etc/key.pem' } }],
    ['a field of every object', { serving: { toString: 1 } }],
    ['a buffer that holds nothing', { serving: { bufferBytes: 1 } }],
    ['a text for a size', { serving: { cacheBytes: '5' } }],
    ['no object', { serving: [] }],
    ['a name that is none', { name: '../x' }],
    ['a region that is none', { region: 'EU 1' }],
  ])('is refused where it is %s', async (_what, changes) => {
    await expect(change({ changes: changes as object })).rejects.toMatchObject({ kind: 'invalid' });
    expect((await configurations.standing(gatewayId, rig.signal)).configuration.version).toBe(1);
  });

  it('is not for a gateway that has left', async () => {
    await gateways.deregister(gatewayId, rig.signal);
    await expect(change({ changes: { name: 'x' } })).rejects.toMatchObject({ code: 'gateway-not-found' });
    await expect(configurations.newerThan(gatewayId, 0, rig.signal)).rejects.toMatchObject({
      code: 'gateway-not-found',
    });
  });
});

describe('what the local operator asks for', () => {
  const ask = async (changes: object) =>
    await rig.gateway('gateway.request-configuration', device.sign('gateway.request-configuration', { changes }));

  it('is kept until somebody accepts it, and comes with the version that has it', async () => {
    const { requestId } = await ask({ name: 'attic', serving: { bufferBytes: 128 * MIB } });
    expect((await configurations.standing(gatewayId, rig.signal)).request).toMatchObject({
      requestId,
      changes: { name: 'attic', serving: { bufferBytes: 128 * MIB } },
    });
    await change({ answer: { requestId, accept: true, reason: 'fine' } });
    expect(gateway.got).toMatchObject([
      {
        version: 2,
        name: 'attic',
        serving: { bufferBytes: 128 * MIB },
        answer: { requestId, accepted: true, reason: 'fine' },
      },
    ]);
    expect((await configurations.standing(gatewayId, rig.signal)).request).toBeNull();
  });

  it('that is refused changes nothing, and the gateway hears of it', async () => {
    await ask({ name: 'attic' });
    await change({ answer: { requestId: null, accept: false, reason: 'too expensive' } });
    expect(gateway.got).toMatchObject([
      { version: 2, name: 'lab', answer: { accepted: false, reason: 'too expensive' } },
    ]);
  });

  it('is accepted in part where the provider says otherwise himself', async () => {
    const { requestId } = await ask({ name: 'attic', serving: { bufferBytes: 128 * MIB } });
    await change({ changes: { name: 'cellar' }, answer: { requestId, accept: true, reason: null } });
    expect(gateway.got).toMatchObject([{ name: 'cellar', serving: { bufferBytes: 128 * MIB } }]);
  });

  it('repeated is the same request; more of it takes up what is pending', async () => {
    const first = await ask({ name: 'attic' });
    expect(await ask({ name: 'attic' })).toEqual(first);
    const second = await ask({ serving: { readAheadBytes: 0 } });
    expect(second.requestId).not.toBe(first.requestId);
    expect(second.changes).toEqual({ name: 'attic', serving: { readAheadBytes: 0 } });
    await expect(change({ answer: { requestId: first.requestId, accept: true, reason: null } })).rejects.toMatchObject({
      code: 'request-not-found',
    });
  });

  it('is nothing where all of it is so already', async () => {
    await expect(ask({ name: 'lab' })).rejects.toMatchObject({ kind: 'conflict', code: 'nothing-requested' });
  });

  it('is answered once: the same answer again is taken, another one is not', async () => {
    const { requestId } = await ask({ name: 'attic' });
    await change({ answer: { requestId, accept: true, reason: null } });
    expect(await change({ answer: { requestId, accept: true, reason: null } })).toMatchObject({ changed: false });
    await expect(change({ answer: { requestId, accept: false, reason: null } })).rejects.toMatchObject({
      kind: 'notFound',
      code: 'request-not-found',
    });
  });

  it('needs the signature of the gateway', async () => {
    const other = await rig.activated();
    const forged = { ...device.sign('gateway.request-configuration', { changes: { name: 'x' } }) };
    const stolen = { ...forged, signer: other.credential?.gatewayId ?? '' };
    await expect(rig.gateway('gateway.request-configuration', stolen)).rejects.toMatchObject({
      code: 'signature-wrong',
    });
  });
});

describe('receipts', () => {
  const acknowledge = async (receipt: ConfigurationReceipt) =>
    await configurations.acknowledge(gatewayId, receipt, rig.signal);

  it('that come late do not hide newer ones', async () => {
    await change({ changes: { name: 'b' } });
    await acknowledge({ version: 1, appliedVersion: 1, failure: null });
    expect((await configurations.standing(gatewayId, rig.signal)).receipt).toMatchObject({ version: 2 });
  });

  it('for versions that were never made are not kept', async () => {
    await acknowledge({ version: 7, appliedVersion: 7, failure: null });
    expect((await configurations.standing(gatewayId, rig.signal)).receipt).toBeNull();
  });

  it('tell that a version which failed is in force after all', async () => {
    gateway.failure = { code: 'no-room', message: 'there is no room', hint: null };
    await change({ changes: { serving: { cacheBytes: MIB } } });
    await acknowledge({ version: 2, appliedVersion: 2, failure: null });
    expect((await configurations.standing(gatewayId, rig.signal)).receipt).toMatchObject({
      appliedVersion: 2,
      failure: null,
    });
  });
});

it('a gateway whose service is embedded has its own operator', async () => {
  const embedded = new ServiceRig({ isEmbedded: true });
  await embedded.accounts();
  const own = await embedded.activated();
  const id = own.credential?.gatewayId ?? '';
  await expect(
    embedded.operator('gateway.configure', { gatewayId: id, gatewayName: 'x', region: null }),
  ).rejects.toMatchObject({ kind: 'unsupported', code: 'operator-owned' });
  expect(await embedded.gateway('gateway.configuration', own.sign('gateway.configuration', {}))).toMatchObject({
    version: 1,
    name: 'lab',
  });
});
