/** S5 between machines: a device, its customer, and a service that is reached by HTTPS. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openState } from '../../../src/core/state/index.ts';
import { gatewayTls } from '../../../src/core/gateway/network/index.ts';
import type { RemoteTransport } from '../../../src/core/gateway/network/reach.ts';
import { systemRandom } from '../../../src/core/kit/index.ts';
import { ServiceClient, type ServicePlace } from '../../../src/core/serviceclient/index.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import { LiveService } from '../../support/live-service.ts';
import { activateAt, beginInput, claim, dyingReach, interruptedReach, ShiftedClock } from './network-rig.ts';
import { GatewayRig } from './rig.ts';

let live: LiveService;
let anna: Awaited<ReturnType<LiveService['account']>>;
let bert: Awaited<ReturnType<LiveService['account']>>;
beforeAll(async () => {
  live = await LiveService.start();
  anna = await live.account('anna');
  bert = await live.account('bert');
});
afterAll(async () => {
  await live[Symbol.asyncDispose]();
});
const device = async (): Promise<GatewayRig> => GatewayRig.fresh(live.objects);

describe('activation over the network', () => {
  it('shows a key, waits until it is claimed, and becomes the gateway that the customer named', async () => {
    await using rig = await device();
    const begun = await rig.call('activation.begin', beginInput(live));
    expect(begun).toMatchObject({ state: 'shown', service: live.url, claimedBy: null, metadata: { name: 'lab' } });
    expect(begun.claimUrl).toBe(`${live.url}/activate?activationKey=${begun.activationKey ?? ''}`);
    expect(await rig.call('status', {})).toMatchObject({
      activated: false,
      activation: { service: live.url, state: 'shown' },
    });
    const waiting = rig.call('activation.await', {});
    const gatewayId = await claim(live, begun.activationKey ?? '', anna, { gatewayName: 'named', mode: 'shadowing' });
    const claimedBy = { gatewayId, name: 'named', accountId: anna.accountId, mode: 'shadowing', region: 'lab-1' };
    expect(await waiting).toMatchObject({ state: 'claimed', activationKey: null, claimedBy });
    const made = await rig.call('activation.finish', { accountId: anna.accountId });
    expect(made).toMatchObject({ ...claimedBy, service: live.url, created: true, encryption: 'none' });
    expect(made.store).toBe(`sgw-service://127.0.0.1:${String(live.ports.gateways)}`);
    const status = await rig.call('status', {});
    expect(status).toMatchObject({ activated: true, gateway: { gatewayId, accountId: anna.accountId } });
    expect(Date.parse(status.service?.certificateEndsAt ?? '')).toBeGreaterThan(Date.now() + 6 * 86_400_000);
    expect(await rig.call('activation.finish', { accountId: anna.accountId })).toMatchObject({ created: false });
  });

  it('keeps the private key in its file and nowhere else, and files for their owner alone', async () => {
    await using rig = await device();
    await activateAt(rig, live, anna);
    const home = rig.path('home');
    for (const file of ['gateway.key', 'gateway.crt']) expect((await stat(join(home, file))).mode & 0o777).toBe(0o600);
    const secret = /:(.*)\n/.exec(await readFile(join(home, 'gateway.key'), 'utf8'))?.[1] ?? '';
    const bytes = Buffer.from(secret, 'base64url');
    expect(bytes).toHaveLength(32);
    const texts = [await readFile(join(home, 'state.json'), 'utf8'), await readFile(join(home, 'gateway.crt'), 'utf8')];
    for await (const { key } of live.objects.list(''))
      texts.push(((await live.objects.get(key))?.bytes ?? Buffer.alloc(0)).toString('latin1'));
    for (const encoding of ['hex', 'base64', 'base64url', 'latin1'] as const)
      expect(texts.join('\n')).not.toContain(bytes.toString(encoding));
  });

  it('asks the service over mutual TLS afterwards, for its own account and no other', async () => {
    await using rig = await device();
    await activateAt(rig, live, anna);
    await rig.call('volume.create', { name: 'v', sizeBytes: 4096 });
    await rig.call('snapshot.create', { volume: 'v', name: 's' });
    expect(await rig.call('snapshot.show', { snapshot: 's' })).toMatchObject({ exportable: true });
    expect(await rig.call('snapshot.share', { snapshot: 's', accountId: bert.accountId })).toMatchObject({
      changed: true,
    });
    await using other = rig.again({ accountId: bert.accountId });
    await expect(other.call('volume.list', {})).rejects.toMatchObject({ code: 'service-elsewhere' });
    await rig.call('snapshot.delete', { snapshot: 's' });
    await rig.call('volume.delete', { volume: 'v' });
  });

  it('is refused where the fingerprint is another one, before the service hears anything', async () => {
    await using rig = await device();
    const service = { url: live.url, fingerprint: `sha256:${'0'.repeat(64)}` };
    await expect(rig.call('activation.begin', { ...beginInput(live), service })).rejects.toMatchObject({
      kind: 'denied',
      code: 'service-untrusted',
    });
    await expect(
      rig.call('activation.begin', { ...beginInput(live), service: { url: live.url } }),
    ).rejects.toMatchObject({ code: 'service-untrusted' });
    expect(await openState(rig.path('home'))).toMatchObject({ activation: null });
  });

  it('is for the account that whoever is at the device has seen, and no other', async () => {
    await using rig = await device();
    const { activationKey } = await rig.call('activation.begin', beginInput(live));
    const gatewayId = await claim(live, activationKey ?? '', bert);
    await rig.call('activation.await', {});
    await expect(rig.call('activation.finish', { accountId: anna.accountId })).rejects.toMatchObject({
      code: 'claimed-by-other',
      details: { accountId: bert.accountId },
    });
    await rig.call('activation.withdraw', {});
    await expect(stat(join(rig.path('home'), 'gateway.key'))).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await live.service.gateways.find(gatewayId, new AbortController().signal)).toBeUndefined();
    expect((await activateAt(rig, live, anna)).accountId).toBe(anna.accountId);
  });

  it('goes on without being told where, and is given up when something else is asked for', async () => {
    await using rig = await device();
    const first = await rig.call('activation.begin', beginInput(live));
    expect(await rig.call('activation.begin', {})).toEqual(first);
    const renamed = await rig.call('activation.begin', { ...beginInput(live), name: 'other' });
    expect(renamed.keyFingerprint).not.toBe(first.keyFingerprint);
    await expect(claim(live, first.activationKey ?? '', anna)).rejects.toMatchObject({ code: 'activation-withdrawn' });
    await claim(live, renamed.activationKey ?? '', anna);
    expect(await rig.call('activation.begin', {})).toMatchObject({ state: 'claimed' });
  });

  it('may have a store of its own, which the service does not see', async () => {
    const own = memoryStore();
    await using rig = await GatewayRig.fresh(live.objects, { storeAt: () => own });
    const made = await activateAt(rig, live, anna, { store: 's3://own/bucket' });
    expect(made.store).toBe('s3://own/bucket');
    expect(made.storeId).not.toBe((await openState(rig.path('home'))).gateway?.service?.serviceId);
    await rig.call('volume.create', { name: 'mine', sizeBytes: 4096 });
    await rig.call('snapshot.create', { volume: 'mine', name: 's' });
    expect(await rig.call('snapshot.show', { snapshot: 's' })).toMatchObject({ exportable: true });
    await expect(rig.call('snapshot.share', { snapshot: 's', accountId: bert.accountId })).rejects.toMatchObject({
      code: 'own-store',
    });
    expect(await rig.call('deactivate', {})).toMatchObject({ store: 's3://own/bucket' });
  });

  it('of a home that is a gateway is refused, or answered when it is as wanted', async () => {
    await using rig = await device();
    const made = await activateAt(rig, live, anna);
    const again = { service: { url: live.url }, ifNotExists: true };
    expect(await rig.call('activation.begin', again)).toMatchObject({
      state: 'activated',
      claimedBy: { gatewayId: made.gatewayId },
    });
    await expect(rig.call('activation.begin', { service: { url: live.url } })).rejects.toMatchObject({
      code: 'already-activated',
    });
    const elsewhere = { service: { url: 'https://elsewhere.example' }, ifNotExists: true };
    await expect(rig.call('activation.begin', elsewhere)).rejects.toMatchObject({
      details: { differing: ['service'] },
    });
  });
});

describe('the certificate', () => {
  const deadline = new AbortController().signal;

  it('is renewed by itself when it is gone or over, also after the gateway was off for long', async () => {
    await using rig = await device();
    await activateAt(rig, live, anna);
    const file = join(rig.path('home'), 'gateway.crt');
    const first = await readFile(file, 'utf8');
    const { writeFile, unlink } = await import('node:fs/promises');
    for (const spoil of [async () => unlink(file), async () => writeFile(file, 'garbage')]) {
      await spoil();
      await using again = rig.again();
      await again.call('volume.create', { name: 'v', sizeBytes: 4096 });
      await again.call('snapshot.create', { volume: 'v', name: 's' });
      await again.call('snapshot.show', { snapshot: 's' });
      const now = await readFile(file, 'utf8');
      expect(now).toContain('BEGIN CERTIFICATE');
      expect(now).not.toBe(first);
      await again.call('snapshot.delete', { snapshot: 's' });
      await again.call('volume.delete', { volume: 'v' });
    }
  });

  it('is renewed when half of its time is over, and used to its end when that can not be', async () => {
    await using rig = await device();
    await activateAt(rig, live, anna);
    const clock = new ShiftedClock();
    const parts = { home: rig.path('home'), clock, random: systemRandom };
    const first = await gatewayTls(parts, deadline);
    const day = 86_400_000;
    // The service's clock is right: what it is asked is signed by the time of now.
    const reachService = async (place: ServicePlace): Promise<RemoteTransport> => {
      asked += 1;
      clock.shiftMs = 0;
      return Promise.resolve(new ServiceClient({ place }));
    };
    const away = async (): Promise<RemoteTransport> =>
      Promise.resolve(new ServiceClient({ place: { url: 'https://127.0.0.1:1', ca: null } }));
    let asked = 0;
    clock.shiftMs = 3 * day;
    expect(await gatewayTls({ ...parts, reachService }, deadline)).toEqual(first);
    expect(asked).toBe(0);
    clock.shiftMs = 4 * day;
    expect(await gatewayTls({ ...parts, reachService: away }, deadline)).toEqual(first);
    clock.shiftMs = 4 * day;
    const second = await gatewayTls({ ...parts, reachService }, deadline);
    expect(asked).toBe(1);
    expect(second.certificate).not.toBe(first.certificate);
    expect(second.privateKey).toBe(first.privateKey);
    expect(await readFile(join(rig.path('home'), 'gateway.crt'), 'utf8')).toBe(second.certificate);
    clock.shiftMs = 8 * day;
    await expect(gatewayTls({ ...parts, reachService: away }, deadline)).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it('of a gateway that was deregistered is no use at once, and the home can be deactivated all the same', async () => {
    await using rig = await device();
    const { gatewayId } = await activateAt(rig, live, anna);
    await rig.call('volume.create', { name: 'v', sizeBytes: 4096 });
    await rig.call('snapshot.create', { volume: 'v', name: 's' });
    await rig.call('snapshot.show', { snapshot: 's' });
    await live.service.gateways.deregister(gatewayId, deadline);
    await expect(rig.call('snapshot.show', { snapshot: 's' })).rejects.toMatchObject({ code: 'gateway-deregistered' });
    await rig.call('snapshot.delete', { snapshot: 's' });
    await rig.call('volume.delete', { volume: 'v' });
    expect((await rig.call('deactivate', {})).remarks).toEqual(['The service had deregistered the gateway already.']);
    expect(await rig.call('status', {})).toMatchObject({ activated: false });
  });
});

describe('deactivation over the network', () => {
  it('tells the service, and leaves no key and no certificate', async () => {
    await using rig = await device();
    const { gatewayId } = await activateAt(rig, live, anna);
    await rig.call('deactivate', {});
    const record = await live.service.gateways.find(gatewayId, new AbortController().signal);
    expect(record).toMatchObject({ state: 'deregistered' });
    for (const file of ['gateway.key', 'gateway.crt'])
      await expect(stat(join(rig.path('home'), file))).rejects.toMatchObject({ code: 'ENOENT' });
    expect((await activateAt(rig, live, anna)).gatewayId).not.toBe(gatewayId);
  });

  it('of a gateway that lost its private key says what the service has to be told', async () => {
    await using rig = await device();
    const { gatewayId } = await activateAt(rig, live, anna);
    const { unlink } = await import('node:fs/promises');
    await unlink(join(rig.path('home'), 'gateway.key'));
    const { remarks = [] } = await rig.call('deactivate', {});
    expect(remarks.join('')).toContain(`sgw service gateway shutdown ${gatewayId} --deregister`);
  });
});

describe('activation over the network that died', () => {
  const run = async (rig: GatewayRig): Promise<void> => {
    await activateAt(rig, live, anna);
  };

  it.each(['before', 'after'] as const)('%s any message goes on, to one gateway', async (when) => {
    const before = await activeGateways();
    let count = 0;
    for (; ; count++) {
      await using rig = await device();
      const death = dyingReach({ at: count, when });
      await using first = rig.again({ reachService: death.reachService });
      const outcome = await run(first).catch((error: unknown) => error);
      if (death.sent() <= count) break;
      expect(outcome).toMatchObject({ message: expect.stringContaining('died') as string });
      await run(rig);
      const { gateway, activation } = await openState(rig.path('home'));
      expect(activation).toBeNull();
      const { gatewayId = '', credential } = gateway ?? {};
      const record = await live.service.gateways.find(gatewayId, new AbortController().signal);
      expect(record).toMatchObject({ state: 'active', credentialId: credential?.credentialId });
      await rig.call('deactivate', {});
    }
    // describe, register, prove, collect, credential, configuration, certificate
    expect(count).toBeGreaterThanOrEqual(7);
    // That of the run which had no such message any more.
    expect(await activeGateways()).toBe(before + 1);
  });

  const activeGateways = async (): Promise<number> =>
    (await live.service.gateways.list(null, new AbortController().signal)).filter(({ state }) => state === 'active')
      .length;

  it('between any two of its own writes goes on', async () => {
    for (const file of ['gateway.crt', 'state.json.previous.new']) {
      await using rig = await device();
      const { mkdir, rm } = await import('node:fs/promises');
      const begun = await rig.call('activation.begin', beginInput(live));
      await claim(live, begun.activationKey ?? '', anna);
      await rig.call('activation.await', {});
      const obstacle = join(rig.path('home'), file);
      await mkdir(join(obstacle, 'in-the-way'), { recursive: true });
      await expect(rig.call('activation.finish', { accountId: anna.accountId })).rejects.toBeInstanceOf(Error);
      await rm(obstacle, { recursive: true });
      expect(await rig.call('activation.finish', { accountId: anna.accountId })).toMatchObject({ created: true });
    }
  });
});

describe('a service that is started again', () => {
  it.each(['before', 'after'] as const)('%s any message of an activation is gone on with', async (when) => {
    for (let at = 0; ; at++) {
      let served = await LiveService.start();
      try {
        const account = await served.account('anna');
        const { objects, ports } = served;
        const restart = async (): Promise<void> => {
          await served[Symbol.asyncDispose]();
          served = await LiveService.start({ objects, ports });
        };
        const reach = interruptedReach({ at, when, instead: restart });
        await using rig = await GatewayRig.fresh(objects, { reachService: reach.reachService });
        expect(await activateAt(rig, served, account)).toMatchObject({ created: true, name: 'named' });
        if (reach.sent() <= at) break;
      } finally {
        await served[Symbol.asyncDispose]();
      }
    }
  });
});

describe('a key that nobody took in time', () => {
  it('is replaced by another one of the same key pair, and is of no use itself', async () => {
    const clock = new ShiftedClock();
    await using served = await LiveService.start({ clock });
    const account = await served.account('anna');
    await using rig = await GatewayRig.fresh(served.objects, { clock });
    const first = await rig.call('activation.begin', beginInput(served));
    clock.shiftMs = 31 * 60_000;
    await expect(claim(served, first.activationKey ?? '', account)).rejects.toMatchObject({
      code: expect.stringMatching(/activation-key-expired|request-stale/) as string,
    });
    expect(await rig.call('activation.await', {})).toMatchObject({ state: 'expired', activationKey: null });
    const second = await rig.call('activation.begin', beginInput(served));
    expect(second).toMatchObject({ state: 'shown', keyFingerprint: first.keyFingerprint });
    expect(second.activationKey).not.toBe(first.activationKey);
    const messages = served.service.activations;
    const { signal } = new AbortController();
    await expect(messages.describe({ activationKey: first.activationKey ?? '' }, signal)).rejects.toMatchObject({
      code: 'activation-key-unknown',
    });
    expect(await messages.describe({ activationKey: second.activationKey ?? '' }, signal)).toMatchObject({
      keyFingerprint: first.keyFingerprint,
    });
  });
});
