import { createHmac } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SgwError } from '../../../../src/core/kit/index.ts';
import { ATTEMPTS_MAX } from '../../../../src/core/service/alerts/evaluate.ts';
import { ANNA, BERT } from '../rig.ts';
import { MINUTE_MS, WatchRig } from './watch-rig.ts';

const GIB = 2 ** 30;
let rig: WatchRig;

beforeEach(async () => {
  rig = await WatchRig.start();
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
});

const firing = async (accountId = ANNA) =>
  (await rig.alerts.list(accountId, rig.service.signal)).flatMap((alert) => alert.firing);

/** Whether the first message is signed with this secret. */
function signedBy(secret: string | null): boolean {
  const [seen] = rig.receiver.received;
  const [, at = '', code] = /^t=(\d+),v1=(.*)$/.exec(String(seen?.headers['x-sgw-signature'])) ?? [];
  const signed = `${at}.${seen?.text ?? ''}`;
  return (
    code ===
    createHmac('sha256', secret ?? '')
      .update(signed)
      .digest('hex')
  );
}

describe('a threshold', () => {
  it('that is passed is told once, and its end once', async () => {
    const gatewayId = await rig.gateway();
    const { secret } = await rig.alert({ exposureBytes: GIB });
    const server = rig.server();
    rig.exposes(gatewayId, GIB);
    await rig.minute(server);
    expect(rig.told()).toEqual([]);
    rig.exposes(gatewayId, GIB + 1);
    await rig.minutes(5, server);
    expect(rig.told()).toEqual(['firing exposureBytes']);
    expect(rig.receiver.received[0]?.body).toMatchObject({
      accountId: ANNA,
      alert: { name: 'watch' },
      gateway: { gatewayId, name: 'lab' },
      ...{ limit: GIB, value: GIB + 1, volumes: ['db'], isRepeated: false },
      since: '2026-01-01T00:01:00.000Z',
    });
    expect(await firing()).toMatchObject([{ gatewayId, threshold: 'exposureBytes', state: 'firing', failure: null }]);
    rig.exposes(gatewayId, 0);
    await rig.minutes(5, server);
    expect(rig.told()).toEqual(['firing exposureBytes', 'resolved exposureBytes']);
    expect(await firing()).toEqual([]);
    expect(signedBy(secret)).toBe(true);
  });

  it('of time since the store has all, of a buffer that fills, and of proofs that failed is told', async () => {
    const gatewayId = await rig.gateway();
    await rig.alert({ exposureMs: 60_000, timeToFullMs: 600_000, restoreProof: true });
    const server = rig.server();
    rig.exposes(gatewayId, 1, { dirtyMs: 60_001.5, fullInMs: 600_000 });
    rig.telling(gatewayId).schedules = [
      { name: 'db', ok: false, failure: null },
      { name: 'web', ok: true, failure: 'the store is away' },
      { name: 'mail', ok: true, failure: null },
      { name: 'new', ok: null, failure: null },
    ];
    await rig.minute(server);
    expect(rig.told().sort()).toEqual(['firing exposureMs', 'firing restoreProof', 'firing timeToFullMs']);
    const proof = rig.receiver.received.find(({ body }) => body['threshold'] === 'restoreProof');
    expect(proof?.body).toMatchObject({ volumes: ['db', 'web'], value: null });
    rig.exposes(gatewayId, 1, { dirtyMs: 1, fullInMs: null });
    rig.telling(gatewayId).schedules = [];
    await rig.minute(server);
    expect(rig.told()).toHaveLength(6);
  });

  it('of the time without a connection counts from when it was first seen gone, over restarts of the server', async () => {
    const gatewayId = await rig.gateway(ANNA, null);
    await rig.alert({ notConnectedMs: 10 * MINUTE_MS });
    for (let i = 0; i < 10; i++) await rig.minute(rig.server());
    expect(rig.told()).toEqual([]);
    await rig.minute(rig.server());
    expect(rig.told()).toEqual(['firing notConnectedMs']);
    rig.telling(gatewayId).holder = 'one';
    await rig.minutes(2, rig.server());
    expect(rig.told()).toEqual(['firing notConnectedMs', 'resolved notConnectedMs']);
  });

  it('stays as it is while the gateway does not say how it does', async () => {
    const gatewayId = await rig.gateway();
    await rig.alert({ exposureBytes: GIB });
    const server = rig.server();
    rig.exposes(gatewayId, 2 * GIB);
    await rig.minute(server);
    rig.telling(gatewayId).refuses = new SgwError('denied', 'remote-management-off', 'the operator does not want that');
    rig.exposes(gatewayId, 0);
    await rig.minutes(3, server);
    rig.telling(gatewayId).refuses = null;
    rig.telling(gatewayId).holder = null;
    await rig.minutes(3, server);
    expect(rig.told()).toEqual(['firing exposureBytes']);
    expect(await firing()).toHaveLength(1);
  });

  it('is told again after the time that was asked for, as long as it is passed', async () => {
    const gatewayId = await rig.gateway();
    await rig.alert({ exposureBytes: GIB }, { repeatMs: 5 * MINUTE_MS });
    const server = rig.server();
    rig.exposes(gatewayId, 2 * GIB);
    await rig.minutes(11, server);
    expect(rig.told()).toHaveLength(3);
    expect(rig.receiver.received.map(({ body }) => body['isRepeated'])).toEqual([false, true, true]);
    expect(new Set(rig.receiver.received.map(({ body }) => body['messageId'])).size).toBe(3);
  });

  it('of a snapshot that is served alone is no exposure', async () => {
    const gatewayId = await rig.gateway();
    await rig.alert({ exposureBytes: 0 });
    rig.exposes(gatewayId, 5, { readOnly: true });
    await rig.minute(rig.server());
    expect(rig.told()).toEqual([]);
  });
});

describe('an alert', () => {
  it('is about the gateways of its account, or one of them, and nobody else’s', async () => {
    const [first, second, other] = [await rig.gateway(), await rig.gateway(), await rig.gateway(BERT)];
    await rig.alert({ exposureBytes: 1 }, { name: 'all' });
    await rig.alert({ exposureBytes: 1 }, { name: 'second', gatewayId: second });
    for (const gatewayId of [first, second, other]) rig.exposes(gatewayId, 2);
    await rig.minute(rig.server());
    const about = rig.receiver.received.map(
      ({ body }) => body as { alert: { name: string }; gateway: { gatewayId: string } },
    );
    expect(about.map(({ alert, gateway }) => `${alert.name} ${gateway.gatewayId}`).sort()).toEqual(
      [`all ${first}`, `all ${second}`, `second ${second}`].sort(),
    );
    expect(rig.telling(other).asked).toEqual([]);
    expect(await rig.alerts.list(BERT, rig.service.signal)).toEqual([]);
    await expect(rig.alert({ exposureBytes: 1 }, { gatewayId: other })).rejects.toMatchObject({
      code: 'gateway-not-found',
    });
  });

  it('that is removed while it fires is told no more, and nothing is kept of it', async () => {
    const gatewayId = await rig.gateway();
    await rig.alert({ exposureBytes: GIB });
    const server = rig.server();
    rig.exposes(gatewayId, 2 * GIB);
    await rig.minute(server);
    expect(await rig.alerts.remove(ANNA, 'watch', rig.service.signal)).toBe(true);
    expect(await rig.alerts.remove(ANNA, 'watch', rig.service.signal)).toBe(false);
    await rig.alert({ notConnectedMs: MINUTE_MS }, { name: 'other' });
    rig.exposes(gatewayId, 0);
    await rig.minutes(2, server);
    expect(rig.told()).toEqual(['firing exposureBytes']);
    expect(await rig.service.documents('service/alert-states/')).toMatchObject([{ firing: [] }]);
  });

  it('that is set again is changed, and keeps its secret until another one is given', async () => {
    const gatewayId = await rig.gateway();
    const made = await rig.alert({ exposureBytes: GIB });
    expect(made).toMatchObject({ created: true, secret: expect.stringMatching(/^[\w-]{43}$/) as string });
    const changed = await rig.alert({ exposureBytes: 1 }, { repeatMs: MINUTE_MS });
    expect(changed).toMatchObject({ created: false, secret: null, alertId: made.alertId, repeatMs: MINUTE_MS });
    rig.exposes(gatewayId, 2);
    await rig.minute(rig.server());
    expect(rig.told()).toEqual(['firing exposureBytes']);
    expect(signedBy(made.secret)).toBe(true);
    expect(await rig.alert({ exposureBytes: 1 }, { secret: 'sixteen-or-more-characters' })).toMatchObject({
      secret: null,
    });
  });

  it('keeps its secret sealed in the store', async () => {
    const { secret } = await rig.alert({ exposureBytes: GIB }, { secret: null });
    const own = 'a-secret-that-is-given';
    await rig.alert({ exposureBytes: GIB }, { name: 'own', secret: own });
    const stored = JSON.stringify(await rig.service.documents('service/'));
    expect(stored).not.toContain(secret);
    expect(stored).not.toContain(own);
    expect(JSON.stringify(await rig.alerts.list(ANNA, rig.service.signal))).not.toContain(own);
  });

  it.each([
    ['no threshold', {}],
    ['one that there is not', { temperature: 5 }],
    ['one of every object', { toString: 5 }],
    ['a negative one', { exposureBytes: -1 }],
    ['a text', { exposureMs: '5' }],
    ['a proof that may fail', { restoreProof: false }],
  ] satisfies [string, object][])('with %s is refused', async (_what, thresholds: object) => {
    await expect(rig.alert(thresholds)).rejects.toMatchObject({ kind: 'invalid', code: 'bad-threshold' });
  });

  it.each([
    ['bad-name', { name: '../x' }],
    ['bad-webhook', { webhookUrl: 'http://example.com/' }],
    ['bad-repeat', { repeatMs: 10 }],
    ['bad-alert-secret', { secret: 'short' }],
  ])('is refused with %s', async (code, change) => {
    await expect(rig.alert({ exposureBytes: 1 }, change)).rejects.toMatchObject({ kind: 'invalid', code });
  });

  it('is one of a hundred at most', async () => {
    for (let i = 0; i < 100; i++) await rig.alert({ exposureBytes: 1 }, { name: `a${String(i)}` });
    await expect(rig.alert({ exposureBytes: 1 }, { name: 'one-more' })).rejects.toMatchObject({
      code: 'too-many-alerts',
    });
    await rig.alert({ exposureBytes: 2 }, { name: 'a7' });
  });
});

describe('a webhook that does not take it', () => {
  it('is called again under the same id, later and later, until it does', async () => {
    const gatewayId = await rig.gateway();
    await rig.alert({ exposureBytes: GIB });
    rig.exposes(gatewayId, 2 * GIB);
    rig.receiver.answer = (response) => response.writeHead(503).end();
    // The servers die after each round: what is to be told is in the store.
    for (let i = 0; i < 15; i++) await rig.minute(rig.server());
    const before = rig.receiver.received.length;
    expect(before).toBeGreaterThan(2);
    expect(before).toBeLessThan(8);
    expect(await firing()).toMatchObject([{ deliveredAt: null, failure: expect.stringContaining('503') as string }]);
    rig.receiver.answer = (response) => response.writeHead(200).end('ok');
    for (let i = 0; i < 30; i++) await rig.minute(rig.server());
    expect(rig.receiver.received).toHaveLength(before + 1);
    expect(new Set(rig.receiver.received.map(({ body }) => body['messageId'])).size).toBe(1);
    expect(await firing()).toMatchObject([{ failure: null }]);
  });

  it('is given up after the last try, and told the end when that comes', async () => {
    const gatewayId = await rig.gateway();
    await rig.alert({ exposureBytes: GIB });
    rig.exposes(gatewayId, 2 * GIB);
    rig.receiver.answer = (response) => response.writeHead(503).end();
    const server = rig.server();
    await rig.minutes(30 * 60, server);
    expect(rig.receiver.received).toHaveLength(ATTEMPTS_MAX);
    rig.receiver.answer = (response) => response.writeHead(200).end();
    rig.exposes(gatewayId, 0);
    await rig.minutes(2, server);
    expect(rig.told().slice(ATTEMPTS_MAX)).toEqual(['resolved exposureBytes']);
  });

  it('hears of an end whose beginning it missed', async () => {
    const gatewayId = await rig.gateway();
    await rig.alert({ exposureBytes: GIB });
    const server = rig.server();
    rig.exposes(gatewayId, 2 * GIB);
    rig.receiver.answer = (response) => response.writeHead(503).end();
    await rig.minute(server);
    rig.receiver.answer = (response) => response.writeHead(200).end();
    rig.exposes(gatewayId, 0);
    await rig.minutes(3, server);
    expect(rig.told()).toEqual(['firing exposureBytes', 'resolved exposureBytes']);
    expect(await firing()).toEqual([]);
  });

  it('does not keep others from being told', async () => {
    const gatewayId = await rig.gateway();
    await rig.alert({ exposureBytes: 1 }, { name: 'deaf', webhookUrl: 'https://127.0.0.1:1/' });
    await rig.alert({ exposureBytes: 1 }, { name: 'hears' });
    rig.exposes(gatewayId, 2);
    await rig.minute(rig.server());
    expect(rig.told()).toEqual(['firing exposureBytes']);
  });
});

describe('several servers', () => {
  it('tell each thing once, whoever holds the connection', async () => {
    const gatewayIds = await Promise.all(['one', 'two', null].map(async (holder) => rig.gateway(ANNA, holder)));
    await rig.alert({ exposureBytes: 1, notConnectedMs: 0 });
    const servers = [rig.server('one'), rig.server('two'), rig.server('three')];
    for (const gatewayId of gatewayIds) rig.exposes(gatewayId, 2);
    await rig.minutes(6, ...servers);
    expect(rig.told().sort()).toEqual(['firing exposureBytes', 'firing exposureBytes', 'firing notConnectedMs']);
  });

  it('go on where one is gone, without telling anything again', async () => {
    const gatewayId = await rig.gateway();
    await rig.alert({ exposureBytes: 1 });
    rig.exposes(gatewayId, 2);
    await rig.minute(rig.server('one'), rig.server('two'));
    // The gateway connects to the other one; the claim of the first runs out.
    rig.telling(gatewayId).holder = 'two';
    const two = rig.server('two');
    await rig.minutes(5, two);
    expect(rig.told()).toEqual(['firing exposureBytes']);
    rig.exposes(gatewayId, 0);
    await rig.minutes(2, two);
    expect(rig.told()).toEqual(['firing exposureBytes', 'resolved exposureBytes']);
  });

  it('do not wait for a claim whose holder sees that the gateway is elsewhere', async () => {
    const gatewayId = await rig.gateway();
    await rig.alert({ exposureBytes: 1 });
    const [one, two] = [rig.server('one'), rig.server('two')];
    await rig.minute(one);
    rig.telling(gatewayId).holder = 'two';
    rig.exposes(gatewayId, 2);
    await rig.minute(one);
    await rig.minute(two);
    expect(rig.told()).toEqual(['firing exposureBytes']);
  });

  it('send the same message again, under its id, where one died before it noted that it was taken', async () => {
    const gatewayId = await rig.gateway();
    await rig.alert({ exposureBytes: 1 });
    rig.exposes(gatewayId, 2);
    const dying = new AbortController();
    rig.receiver.answer = (response) => {
      dying.abort();
      response.writeHead(200).end();
    };
    await rig
      .server('one')
      .round(dying.signal)
      .catch(() => undefined);
    rig.receiver.answer = (response) => response.writeHead(200).end();
    rig.service.clock.ms += MINUTE_MS;
    await rig.minutes(3, rig.server('one'));
    expect(rig.told()).toEqual(['firing exposureBytes', 'firing exposureBytes']);
    expect(new Set(rig.receiver.received.map(({ body }) => body['messageId'])).size).toBe(1);
  });
});

describe('the store', () => {
  it('is asked for one list a round where there are no alerts, and the gateways are asked nothing', async () => {
    const gatewayId = await rig.gateway();
    await rig.minute(rig.server());
    expect(rig.telling(gatewayId).asked).toEqual([]);
    expect(await rig.service.documents('service/alert-states/')).toEqual([]);
  });

  it('is written to seldom while all is well', async () => {
    const gatewayId = await rig.gateway();
    await rig.alert({ exposureBytes: GIB });
    const server = rig.server();
    let versions = 0;
    for (let i = 0; i < 60; i++) {
      rig.exposes(gatewayId, i);
      await rig.minute(server);
      versions = Number((await rig.service.documents('service/alert-states/'))[0]?.['version']);
    }
    expect(rig.telling(gatewayId).asked).toHaveLength(60);
    expect(versions).toBeLessThan(35);
  });

  it('keeps nothing of gateways that have left', async () => {
    const gatewayId = await rig.gateway(ANNA, null);
    await rig.alert({ notConnectedMs: 0 });
    const server = rig.server();
    await rig.minute(server);
    await rig.gateways.deregister(gatewayId, rig.service.signal);
    await rig.minutes(2, server);
    expect(rig.told()).toEqual(['firing notConnectedMs']);
    expect(await rig.service.documents('service/alert-states/')).toEqual([]);
  });
});

it('a watch that is closed ends its round', async () => {
  const server = rig.server();
  server.start();
  await server.close();
  await server.close();
  expect(rig.told()).toEqual([]);
});

it('the embedded form says that alerts need a service', async () => {
  await expect(rig.service.operator('alert.list', { accountId: ANNA })).rejects.toMatchObject({
    kind: 'unsupported',
    code: 'alerts-need-service',
  });
});
