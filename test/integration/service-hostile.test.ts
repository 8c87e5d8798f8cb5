/**
 * Two customers and a hostile one, at a service that has all its APIs (docs/ATTACKS.md): no key, id, token, path, list or
 * signature of his lets him read, list, write or activate what is another's, and what is another's is refused in the very words
 * for what does not exist. And requests by chance at every route that there is, also at those that will be added.
 */
import { Agent } from 'node:https';
import { connect } from 'node:tls';
import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import {
  CompleteSnapshotCommand,
  EBSClient,
  ListSnapshotBlocksCommand,
  PutSnapshotBlockCommand,
  StartSnapshotCommand,
} from '@aws-sdk/client-ebs';
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Catalog, createStore, type VolumeEntry } from '../../src/core/blockstore/index.ts';
import { composeFrontEnds } from '../../src/core/daemon/service/front-ends.ts';
import { openControlPlane } from '../../src/core/daemon/service/control.ts';
import { seededRandom, type Random, type SnapshotId, systemClock } from '../../src/core/kit/index.ts';
import type { ControlPlane } from '../../src/core/service/controlplane/index.ts';
import type { SigningName } from '../../src/core/service/identity/authenticator.ts';
import type { FrontEnd } from '../../src/core/service/server/index.ts';
import { ServerRig, type Answer, type Credentials, type RigGateway } from '../unit/service/server/rig.ts';

const SEED = Number(process.env['SGW_SEED'] ?? 8);
/** What root may do anywhere, and what it may not; the gateway is looked for first, so one that is none is as good. */
const OPERATIONS = [
  ...[
    'status',
    'doctor',
    'gateway.show',
    'gateway.logs',
    'gateway.stop',
    'volume.list',
    'volume.show',
    'snapshot.list',
  ],
  ...[
    'volume.create',
    'volume.delete',
    'volume.attach',
    'snapshot.create',
    'snapshot.export',
    'snapshot.restore',
    'snapshot.share',
  ],
  ...['configure', 'deactivate', 'bandwidth.set', 'schedule.set', 'store.stats', 'not.there'],
];
const FUZZ_MS = 20_000;
const BLOCK = 512 * 1024;
const NO_LIMITS = { refusals: { perSecond: 1e6, burst: 1e9 }, unsigned: { perSecond: 1e6, burst: 1e9 } };

type Account = Credentials & { readonly accountId: string };

/** What a customer has. Every name and byte of it holds a word that nobody else uses. */
interface Customer extends Account {
  readonly word: string;
  readonly gateway: RigGateway;
  readonly volume: VolumeEntry;
  readonly snapshotId: string;
  readonly blockToken: string;
  /** That no answer to somebody else has, unless he named it himself. */
  readonly ids: readonly string[];
}

interface Route {
  readonly to: 'api' | 'gateways';
  readonly method: string;
  readonly url: string;
}

let rig: ServerRig;
let plane: ControlPlane;
let agents: Record<'api' | 'gateways', Agent>;
let anna: Customer;
let bert: Customer;
let mallory: Customer;
const routes: Route[] = [];

beforeAll(async () => {
  const late: { plane?: ControlPlane } = {};
  rig = await ServerRig.open(undefined, NO_LIMITS, (net, gatewayOf, log) => {
    const about = () => ({
      serviceId: net.service.context.serviceId,
      region: 'lab-1',
      gatewayAddress: '',
      caFingerprint: '',
    });
    const { service, serviceKey } = net;
    const composition = { service, serviceKey, region: 'lab-1', version: '1.0.0', log, about, gatewayOf };
    return composeFrontEnds({ ...composition, plane: () => late.plane }).map(noted);
  });
  // Requests have their deadlines: this clock would let all time pass at once.
  rig.net.clock.sleep = systemClock.sleep;
  const { service, serviceKey } = rig.net;
  await createStore(service.context.blocks);
  const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
  plane = await openControlPlane(
    { service, serviceKey, nats: null, gatewayAddress: '127.0.0.1:1', log },
    rig.net.signal,
  );
  late.plane = plane;
  const ca = service.authority.certificate;
  anna = await customer('kumquat');
  bert = await customer('persimmon');
  mallory = await customer('quince');
  const keepAlive = { keepAlive: true, maxSockets: 8, ca };
  agents = { api: new Agent(keepAlive), gateways: new Agent({ ...keepAlive, ...mallory.gateway.tls }) };
}, 120_000);
afterAll(async () => {
  for (const agent of Object.values(agents)) agent.destroy();
  await plane.close(0);
  await rig[Symbol.asyncDispose]();
});

const ignore = (): void => undefined;

/** With its routes written down as they are added. */
function noted(frontEnd: FrontEnd): FrontEnd {
  return {
    ...frontEnd,
    add: async (app) => {
      app.addHook('onRoute', ({ method, url }) => {
        for (const one of [method].flat()) routes.push({ to: frontEnd.listener, method: one, url });
      });
      await frontEnd.add(app);
    },
  };
}

async function customer(word: string): Promise<Customer> {
  const account = await rig.account(word);
  const gateway = await rig.gateway(account, `${word}-gateway`);
  const catalog = new Catalog(rig.net.service.context.blocks);
  const { snapshotId, blockToken } = await uploaded(account, word);
  const from = await catalog.getSnapshot(snapshotId as SnapshotId);
  const { accountId } = account;
  const volume = await catalog.createVolume({ name: `${word}-volume`, sizeBytes: 1 << 30, accountId, from });
  const alert = { accountId, name: `${word}-alert`, gatewayId: null, thresholds: { exposureMs: 1 }, repeatMs: null };
  const set = await rig.say(account, 'alert.set', {
    ...alert,
    webhookUrl: `https://example.com/${word}`,
    secret: null,
  });
  expect(set.status).toBe(200);
  const ids = [accountId, account.accessKeyId, gateway.gatewayId, volume.volumeId, snapshotId, blockToken];
  return { ...account, word, gateway, volume, snapshotId, blockToken, ids };
}

/** A snapshot that AWS's client wrote, with the word all over. */
async function uploaded(account: Account, word: string): Promise<{ snapshotId: string; blockToken: string }> {
  const agent = new Agent({ ca: rig.net.service.authority.certificate });
  const ebs = new EBSClient({
    ...{
      endpoint: `https://127.0.0.1:${String(rig.ports.api)}`,
      region: 'lab-1',
      credentials: account,
      maxAttempts: 1,
    },
    requestHandler: { httpsAgent: agent },
  });
  try {
    const Tags = [{ Key: 'Name', Value: `${word}-snapshot` }];
    const { SnapshotId = '' } = await ebs.send(new StartSnapshotCommand({ VolumeSize: 1, Tags, Description: word }));
    const BlockData = Buffer.alloc(BLOCK, `${word} `);
    const Checksum = createHash('sha256').update(BlockData).digest('base64');
    const block = {
      SnapshotId,
      BlockIndex: 3,
      BlockData,
      DataLength: BLOCK,
      Checksum,
      ChecksumAlgorithm: 'SHA256' as const,
    };
    await ebs.send(new PutSnapshotBlockCommand(block));
    const complete = async () => ebs.send(new CompleteSnapshotCommand({ SnapshotId, ChangedBlocksCount: 1 }));
    await complete();
    // The first one is answered before the map is made.
    expect((await complete()).Status).toBe('completed');
    const { Blocks = [] } = await ebs.send(new ListSnapshotBlocksCommand({ SnapshotId }));
    return { snapshotId: SnapshotId, blockToken: Blocks[0]?.BlockToken ?? '' };
  } finally {
    ebs.destroy();
    agent.destroy();
  }
}

interface Ask {
  readonly to?: 'api' | 'gateways';
  readonly method: string;
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Null: nobody. */
  readonly as?: Credentials | null;
  readonly service?: SigningName;
}

async function signed({
  method,
  path,
  query = {},
  headers = {},
  body,
  as,
  service = 'sgw',
}: Ask): Promise<Record<string, string>> {
  const host = `127.0.0.1:${String(rig.ports.api)}`;
  if (as === null || as === undefined) return { host, ...headers };
  const signer = new SignatureV4({ credentials: as, region: 'lab-1', service, sha256: Sha256 });
  const request = {
    method,
    protocol: 'https:',
    hostname: '127.0.0.1',
    path,
    query: { ...query },
    headers: { host, ...headers },
  };
  const { headers: all } = await signer.sign(
    { ...request, ...(body === undefined ? {} : { body }) },
    { signingDate: new Date() },
  );
  return all;
}

async function send(ask: Ask, more: object = {}): Promise<Answer> {
  const { to = 'api', method, path, query = {}, body } = ask;
  const headers = to === 'api' ? await signed(ask) : { ...ask.headers };
  const text = new URLSearchParams(query).toString();
  const whole = text === '' ? path : `${path}?${text}`;
  const asked = { to, method, path: whole, headers, agent: agents[to], ...(body === undefined ? {} : { body }) };
  return await rig.ask({ ...asked, ...more });
}

/** Nothing of the other two is in it but what was asked with. */
function expectNothingOfOthers(ask: Ask, { text, headers }: Answer): void {
  const asked = JSON.stringify(ask);
  const answered = text + JSON.stringify(headers);
  for (const { word, ids } of [anna, bert])
    for (const secret of [word, ...ids])
      if (!asked.includes(secret)) expect(answered.includes(secret), `${secret} in the answer to ${asked}`).toBe(false);
}

/** The same of somebody else and of nobody: told apart by nothing but the id that was given. */
async function expectAlike(ask: (id: string) => Ask, theirs: string, nobodys: string): Promise<void> {
  const [there, absent] = [await send(ask(theirs)), await send(ask(nobodys))];
  expectNothingOfOthers(ask(theirs), there);
  const plain = ({ status, text }: Answer, id: string): unknown => [status, text.replaceAll(id, 'ID')];
  expect(plain(there, theirs), JSON.stringify(ask(theirs))).toEqual(plain(absent, nobodys));
  expect(there.status, there.text).toBeGreaterThanOrEqual(400);
  expect(there.status, there.text).toBeLessThan(500);
}

const json = { 'content-type': 'application/json' } as const;
const amz = (name: string) => ({
  'content-type': 'application/x-amz-json-1.1',
  'x-amz-target': `StorageGateway_20130630.${name}`,
});
const message = (name: string, input: unknown): Ask => ({
  ...{ method: 'POST', path: `/v1/messages/${name}`, headers: json, body: JSON.stringify(input), as: mallory },
});

describe('what is another customer’s, to one who has a key', () => {
  it('does not exist for any message about a gateway, a key, an alert or an account', async () => {
    const gateways: Record<string, object> = {
      'gateway.find': {},
      'gateway.settings': {},
      'gateway.remove': {},
      'gateway.configure': { gatewayName: 'mine', region: null },
    };
    for (const [name, more] of Object.entries(gateways))
      await expectAlike((gatewayId) => message(name, { gatewayId, ...more }), anna.gateway.gatewayId, 'sgw-00000000');
    const keys = (accessKeyId: string): Ask => message('key.revoke', { accessKeyId });
    await expectAlike(keys, anna.accessKeyId, `AKIA${'A'.repeat(16)}`);
    const wish = {
      name: 'x',
      gatewayId: null,
      thresholds: { exposureMs: 1 },
      webhookUrl: 'https://example.com/',
      repeatMs: null,
    };
    const accounts: Record<string, object> = {
      'alert.list': {},
      'alert.remove': { name: `${anna.word}-alert` },
      'alert.set': { ...wish, secret: null },
      'key.list': {},
      'key.create': { userName: 'x' },
      'account.find': {},
      'gateway.list': {},
    };
    for (const [name, more] of Object.entries(accounts))
      await expectAlike((accountId) => message(name, { accountId, ...more }), anna.accountId, '999999999999');
    const alert = (gatewayId: string): Ask =>
      message('alert.set', { ...wish, accountId: mallory.accountId, gatewayId, secret: null });
    await expectAlike(alert, anna.gateway.gatewayId, 'sgw-00000000');
    expect((await rig.say(anna, 'alert.list', { accountId: anna.accountId })).text).toContain('kumquat-alert');
  });

  it('is operated by no operation that there is, on no gateway', async () => {
    for (const operation of OPERATIONS) {
      const ask = (gatewayId: string): Ask => ({
        ...{ method: 'POST', path: `/v1/gateways/${gatewayId}/operations/${operation}`, headers: json, as: mallory },
        body: JSON.stringify({ input: { volume: anna.volume.volumeId }, lockTimeoutMs: 0, secrets: [] }),
      });
      await expectAlike(ask, anna.gateway.gatewayId, 'sgw-00000000');
    }
  });

  it('is no snapshot of EBS: not listed, read, written, completed, or taken as a parent', async () => {
    const of =
      (method: string, path: (id: string) => string, more: Partial<Ask> = {}) =>
      (id: string): Ask => ({
        ...{ method, path: path(id), as: mallory, service: 'ebs' as const },
        ...more,
      });
    const blockToken = mallory.blockToken;
    const count = { 'x-amz-changedblockscount': '1' };
    const asks = [
      of('GET', (id) => `/snapshots/${id}/blocks`),
      of('GET', (id) => `/snapshots/${id}/changedblocks`),
      of('GET', () => `/snapshots/${mallory.snapshotId}/changedblocks`),
      of('GET', (id) => `/snapshots/${id}/blocks/3`, { query: { blockToken } }),
      of('GET', (id) => `/snapshots/${id}/blocks/3`, { query: { blockToken: anna.blockToken } }),
      of('POST', (id) => `/snapshots/completion/${id}`, { headers: count }),
    ];
    const absent = 'snap-0123456789abcdef0';
    for (const ask of asks.filter((_ask, at) => at !== 2)) await expectAlike(ask, anna.snapshotId, absent);
    const compared = (firstSnapshotId: string): Ask => ({ ...(asks[2]?.('') as Ask), query: { firstSnapshotId } });
    await expectAlike(compared, anna.snapshotId, absent);
    const child = (ParentSnapshotId: string): Ask => ({
      ...{ method: 'POST', path: '/snapshots', headers: json, as: mallory, service: 'ebs' },
      body: JSON.stringify({ VolumeSize: 1, ParentSnapshotId }),
    });
    await expectAlike(child, anna.snapshotId, absent);
    // The token of a block is for its account, its snapshot and its block.
    const own = { query: { blockToken: mallory.blockToken }, as: mallory, service: 'ebs' as const, method: 'GET' };
    const path = `/snapshots/${mallory.snapshotId}/blocks`;
    expect((await send({ ...own, path: `${path}/3` })).status).toBe(200);
    expect((await send({ ...own, path: `${path}/4` })).status).toBe(400);
    expect((await send({ ...own, path: `${path}/3`, as: bert })).status).toBe(400);
  });

  it('is no volume and no snapshot of the block API', async () => {
    const create = { method: 'POST', path: '/v1/volumes', headers: json, as: anna } as const;
    const made = await send({ ...create, body: JSON.stringify({ name: 'kumquat-blocks', sizeBytes: 1 << 20 }) });
    expect(made.status, made.text).toBeLessThan(300);
    const { id } = made.json as { id: string };
    const of =
      (method: string, path: string, body?: object) =>
      (theirs: string): Ask => ({
        ...{ method, path: path.replace('ID', theirs), as: mallory },
        ...(body === undefined ? {} : { headers: json, body: JSON.stringify(body) }),
      });
    const block = 'AAAA';
    const volumes = [
      ...[of('GET', '/v1/volumes/ID'), of('DELETE', '/v1/volumes/ID'), of('GET', '/v1/volumes/ID/blocks')],
      ...[of('GET', '/v1/volumes/ID/blocks/0'), of('POST', '/v1/volumes/ID/snapshots', { name: 'x' })],
      (theirs: string): Ask => ({
        ...{ method: 'PUT', path: `/v1/volumes/${theirs}/blocks/0`, as: mallory, body: block },
        headers: { 'content-digest': `sha-256=:${createHash('sha256').update(block).digest('base64')}:` },
      }),
    ];
    for (const ask of volumes) await expectAlike(ask, id, 'vol-0123456789abcdef0');
    const snapshots = [
      ...[of('GET', '/v1/snapshots/ID'), of('DELETE', '/v1/snapshots/ID'), of('GET', '/v1/snapshots/ID/blocks')],
      of('GET', '/v1/snapshots/ID/blocks/3'),
      (fromSnapshotId: string) => of('POST', '/v1/volumes', { name: 'x', fromSnapshotId })(''),
    ];
    for (const ask of snapshots) await expectAlike(ask, anna.snapshotId, 'snap-0123456789abcdef0');
    for (const path of ['/v1/volumes', '/v1/snapshots']) {
      const ask: Ask = { method: 'GET', path, as: mallory };
      expectNothingOfOthers(ask, await send(ask));
    }
  });

  it('has no ARN, by its own account or by his', async () => {
    const volume = (account: string, id: string): string =>
      `arn:aws:storagegateway:lab-1:${account}:gateway/${anna.gateway.gatewayId}/volume/${id}`;
    const gateway = (account: string) => (id: string) => `arn:aws:storagegateway:lab-1:${account}:gateway/${id}`;
    for (const account of [anna.accountId, mallory.accountId]) {
      for (const name of [
        'DescribeGatewayInformation',
        'DeleteGateway',
        'ListLocalDisks',
        'DescribeBandwidthRateLimit',
        'ShutdownGateway',
      ])
        await expectAlike(
          (id) => ({
            ...{ method: 'POST', path: '/', headers: amz(name), as: mallory, service: 'storagegateway' },
            body: JSON.stringify({ GatewayARN: gateway(account)(id) }),
          }),
          anna.gateway.gatewayId,
          'sgw-00000000',
        );
      for (const name of ['DeleteVolume', 'DetachVolume', 'DescribeSnapshotSchedule', 'ListVolumeInitiators'])
        await expectAlike(
          (id) => ({
            ...{ method: 'POST', path: '/', headers: amz(name), as: mallory, service: 'storagegateway' },
            body: JSON.stringify({ VolumeARN: volume(account, id) }),
          }),
          anna.volume.volumeId,
          'vol-0123456789abcdef0',
        );
    }
  });

  it('is in no list', async () => {
    const lists: readonly Ask[] = [
      message('gateway.list', { accountId: mallory.accountId }),
      message('key.list', { accountId: mallory.accountId }),
      message('alert.list', { accountId: mallory.accountId }),
      ...['ListGateways', 'ListVolumes'].map((name): Ask => ({
        ...{ method: 'POST', path: '/', headers: amz(name), body: '{}', as: mallory, service: 'storagegateway' },
      })),
      ...[
        '',
        'volumes/',
        'snapshots/',
        'uploads/',
        'service/',
        'service/keys/',
        'gc/',
        'pins/',
        'restores/',
        '/',
        '..',
      ].flatMap((prefix): Ask[] => [
        { to: 'gateways', method: 'GET', path: '/objects', query: { prefix } },
        { to: 'gateways', method: 'GET', path: '/folders', query: { prefix } },
      ]),
    ];
    for (const ask of lists) expectNothingOfOthers(ask, await send(ask));
    const own = await send({ to: 'gateways', method: 'GET', path: '/objects', query: { prefix: 'volumes/' } });
    expect(own.text).toContain(mallory.volume.volumeId);
  });
});

describe('a signature', () => {
  it('is for one request: its API, method, path, query, body and headers', async () => {
    const ask: Ask = {
      method: 'GET',
      path: `/snapshots/${anna.snapshotId}/blocks`,
      query: { maxResults: '100' },
      as: anna,
      service: 'ebs',
    };
    const headers = await signed(ask);
    const path = `${ask.path}?maxResults=100`;
    const again = async (change: object) => (await rig.ask({ method: 'GET', path, headers, ...change })).status;
    expect(await again({})).toBe(200);
    expect(await again({ path: ask.path })).toBe(403);
    expect(await again({ path: `${ask.path}?maxResults=101` })).toBe(403);
    expect(await again({ path: `${path}&nextToken=` })).toBe(403);
    expect(await again({ path: path.replace(anna.snapshotId, bert.snapshotId) })).toBe(403);
    expect(await again({ path: path.replace('blocks', 'changedblocks') })).toBe(403);
    expect(await again({ servername: 'localhost', headers: { ...headers, host: 'other.example' } })).toBe(403);
    expect(await again({ headers: { ...headers, 'x-amz-security-token': 'x' } })).toBe(400);
    expect(await again({ headers: { ...headers, 'x-amz-date': '20200101T000000Z' } })).toBe(403);
    expect(await again({ path: `http://127.0.0.1${path}` })).toBe(403);
    expect(await again({ path: `//x/..${path}` })).not.toBe(200);
    for (const service of ['sgw', 'storagegateway', 's3'] as const)
      expect((await send({ ...ask, service: service as SigningName })).status).toBe(403);
    const other: Ask = { ...message('user.describe', {}), as: anna, service: 'ebs' };
    expect((await send(other)).status).toBe(403);
  });

  it('of a device is for its own activation, and of a gateway for itself', async () => {
    const forged = anna.gateway.sign('gateway.configuration', {}) as Record<string, unknown>;
    const stolen = { ...(mallory.gateway.sign('gateway.configuration', {}) as object), signer: anna.gateway.gatewayId };
    for (const input of [
      stolen,
      { ...forged, body: { x: 1 } },
      { ...forged, credentialId: mallory.gateway.credentialId },
    ])
      expect((await rig.tell('gateway.configuration', input)).status).toBe(403);
    // Nothing else is it good for, and not twice.
    expect((await rig.tell('gateway.deregister', forged)).status).toBe(403);
    expect((await rig.tell('gateway.configuration', forged)).status).toBe(200);
    expect((await rig.tell('gateway.configuration', forged)).status).toBe(403);
    const again = await rig.tell('activation.register', { publicKey: anna.gateway.key.publicKey, metadata: {} });
    expect(again.status).toBe(409);
  });

  it('of his gateway says nothing about the snapshots of others', async () => {
    const { accountId } = mallory;
    for (const name of ['export.decide', 'export.assess', 'snapshot.share', 'snapshot.unshare'] as const) {
      const input = (snapshotId: string): unknown =>
        mallory.gateway.sign(name, {
          accountId,
          snapshotId,
          purpose: 'export',
          withAccountId: bert.accountId,
        } as never);
      const said = async (snapshotId: string): Promise<string> => {
        const { status, text } = await mallory.gateway.say(name, input(snapshotId));
        return `${String(status)} ${text.replaceAll(snapshotId, 'ID')}`;
      };
      const there = await said(anna.snapshotId);
      expect(there).toBe(await said('snap-0123456789abcdef0'));
      expect(there).not.toContain(anna.word);
    }
    const asAnna = mallory.gateway.sign('export.decide', {
      accountId: anna.accountId,
      snapshotId: anna.snapshotId,
      purpose: 'export',
    });
    expect((await mallory.gateway.say('export.decide', asAnna)).status).toBe(403);
  });
});

describe('whoever has nothing', () => {
  it('gets the same answer for a key that there is and for one that there is not', async () => {
    const ask = (accessKeyId: string): Ask => ({
      ...message('user.describe', {}),
      as: { accessKeyId, secretAccessKey: 'x' },
    });
    await expectAlike(ask, anna.accessKeyId, `AKIA${'A'.repeat(16)}`);
    const form = (accessKeyId: string): Ask => ({
      ...{
        method: 'POST',
        path: '/activate',
        as: null,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      },
      body: new URLSearchParams({ step: 'look', accessKeyId, secretAccessKey: 'x', activationKey: 'x' }).toString(),
    });
    await expectAlike(form, anna.accessKeyId, `AKIA${'A'.repeat(16)}`);
  });

  it('learns nothing of anybody from what is for everybody', async () => {
    for (const [to, path] of [
      ['api', '/ca.pem'],
      ['api', '/healthz'],
      ['gateways', '/healthz'],
      ['api', '/activate'],
      ['api', '/metrics'],
    ] as const) {
      const answer = await rig.ask({ to, path });
      expectNothingOfOthers({ method: 'GET', path }, answer);
    }
    const metrics = await rig.metrics.text();
    for (const secret of [anna.word, ...anna.ids]) expect(metrics).not.toContain(secret);
  });

  it('gets through no route of gateways, whichever there is', async () => {
    const known = routes.filter(({ to }) => to === 'gateways');
    expect(known.length).toBeGreaterThan(5);
    for (const { method, url } of known) {
      const path = url.replace('*', 'sgw.json').replaceAll(/:\w+/g, 'gateway.configuration');
      const body = method === 'PUT' || method === 'POST' ? { body: '{}', headers: json } : {};
      expect((await rig.ask({ to: 'gateways', method, path, ...body })).status, `${method} ${url}`).toBe(403);
    }
  });

  it('gets through no route of customers but those that are for everybody', async () => {
    const open = new Set(['GET /ca.pem', 'GET /activate', 'POST /activate']);
    const known = routes.filter(({ to, method, url }) => to === 'api' && !open.has(`${method} ${url}`));
    expect(known.length).toBeGreaterThan(7);
    for (const { method, url } of known) {
      const path = url
        .replace(':snapshotId', anna.snapshotId)
        .replace(':gatewayId', anna.gateway.gatewayId)
        .replace(':operation', 'status')
        .replace(':blockIndex', '3')
        .replace(':name', 'gateway.list');
      const body = method === 'POST' || method === 'PUT' ? { body: '{}', headers: json } : {};
      const answer = await rig.ask({ method, path, ...body });
      expect(answer.status, `${method} ${url} ${answer.text}`).toBe(403);
    }
  });

  it('ends no server by requests that are none', async () => {
    const texts = [
      'GET http://[/activate HTTP/1.1\r\nHost: x\r\n\r\n',
      'GET http://x/activate?activationKey=%ZZ HTTP/1.1\r\nHost: x\r\n\r\n',
      'GET /activate?%=%&&==# HTTP/1.1\r\nHost: x\r\n\r\n',
      'GET /snapshots/%E0%A4%A/blocks HTTP/1.1\r\nHost: x\r\n\r\n',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      'POST /v1/messages/x HTTP/1.1\r\nHost: x\r\nHost: y\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}',
      'GET / HTTP/1.1\r\nHost: x\r\nAuthorization: AWS4-HMAC-SHA256 \r\n\r\n',
      `GET /${'x'.repeat(9000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
      `GET / HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`,
      'OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n',
      'CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n',
      'GET /control HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
      '\0\0\0\0\r\n\r\n',
    ];
    for (const to of ['api', 'gateways'] as const)
      for (const text of texts) {
        const status = await spoken(to, text);
        expect(status === 0 || status === 501 || (status >= 200 && status < 500), `${String(status)} to ${text}`).toBe(
          true,
        );
      }
    expect((await rig.ask({ path: '/healthz' })).status).toBe(200);
    expect(rig.log.filter(({ level }) => level === 'error')).toEqual([]);
  });
});

/** The status of what is answered to these bytes; 0: nothing. */
async function spoken(to: 'api' | 'gateways', text: string): Promise<number> {
  return await new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port: rig.ports[to], ca: rig.net.service.authority.certificate });
    let answer = '';
    const timer = setTimeout(() => socket.destroy(), 2000);
    socket.on('secureConnect', () => socket.write(text));
    socket.on('data', (part: Buffer) => {
      answer += part.toString('latin1');
      if (answer.includes('\r\n')) socket.destroy();
    });
    socket.on('error', ignore);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0));
    });
  });
}

const below = (random: Random, count: number): number => Math.floor(random.float() * count);
const oneOf = <T>(random: Random, values: readonly [T, ...T[]]): T => values[below(random, values.length)] ?? values[0];

/** Requests by chance at one route, by the hostile customer or by nobody. */
class Fuzz {
  readonly #random: Random;
  readonly #words: readonly [string, ...string[]];

  constructor(random: Random) {
    this.#random = random;
    const messages = [
      'service.describe',
      'gateway.list',
      'key.list',
      'activation.prove',
      'gateway.certificate',
      'alert.set',
    ];
    this.#words = [
      ...[
        'x',
        '..',
        '%2e%2e',
        '%2F',
        '%00',
        '-1',
        '0',
        '3',
        '2147483648',
        '%F0%9F%92%A9',
        '*',
        '__proto__',
        'constructor',
      ],
      ...[
        'y'.repeat(300),
        'sgw.json',
        'service/ca.json',
        'probe/x',
        'status',
        'volume.list',
        'snap-0123456789abcdef0',
        ...messages,
      ],
      ...[anna, bert, mallory].flatMap(({ ids, volume, snapshotId }) => [
        ...ids,
        `volumes/${volume.volumeId}/head.json`,
        `volumes/${volume.volumeId}/volume.json`,
        `snapshots/${snapshotId}/map`,
        `uploads/${snapshotId}/`,
      ]),
    ] as [string, ...string[]];
  }

  word(): string {
    return oneOf(this.#random, this.#words);
  }

  value(depth = 0): unknown {
    const random = this.#random;
    const leaf = oneOf<unknown>(random, [null, true, 0, -1, 1e308, 2 ** 53, '', this.word(), this.word(), [], {}]);
    if (depth > 2 || random.float() < 0.5) return leaf;
    if (random.float() < 0.3) return [this.value(depth + 1), this.value(depth + 1)];
    const names = [
      'accountId',
      'gatewayId',
      'snapshotId',
      'body',
      'signer',
      'nonce',
      'metadata',
      'input',
      'GatewayARN',
      'VolumeSize',
    ];
    return Object.fromEntries(
      Array.from({ length: 4 }, () => [oneOf(random, names as [string]), this.value(depth + 1)]),
    );
  }

  ask({ to, method, url }: Route): Ask {
    const random = this.#random;
    const chance = (part: number): boolean => random.float() < part;
    const path = url.replaceAll(/:\w+|\*/g, () => encodeURI(decodeURI(this.word())).replaceAll('?', ''));
    const query = chance(0.5)
      ? {
          [oneOf(random, ['prefix', 'limit', 'blockToken', 'pageToken', 'maxResults', 'startAfter', 'x'])]: this.word(),
        }
      : {};
    const headers: Record<string, string> = {
      'content-type': oneOf(random, [
        'application/json',
        'application/x-amz-json-1.1',
        'application/octet-stream',
        'text/plain',
        'application/x-www-form-urlencoded',
      ]),
    };
    const names = [
      'range',
      'if-match',
      'if-none-match',
      'x-amz-target',
      'x-amz-date',
      'x-amz-content-sha256',
      'x-amz-checksum',
      'x-amz-data-length',
      'x-sgw-crc32',
      'authorization',
      'upgrade',
    ];
    if (chance(0.5))
      headers[oneOf(random, names as [string])] = oneOf(random, [
        'bytes=0-9',
        '"x"',
        '*',
        'x',
        '-1',
        'StorageGateway_20130630.ListGateways',
        '0'.repeat(64),
      ]);
    const used = chance(0.9) ? method : oneOf(random, ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']);
    const hasBody = used === 'POST' || used === 'PUT' || used === 'PATCH';
    const body = chance(0.9) ? JSON.stringify(this.value()) : random.bytes(40).toString('latin1');
    const as =
      to === 'api' && headers['authorization'] === undefined && headers['x-amz-date'] === undefined && chance(0.7)
        ? mallory
        : null;
    const service = oneOf(
      random,
      url.startsWith('/snapshots') ? ['ebs', 'ebs', 'sgw'] : url === '/' ? ['storagegateway'] : ['sgw', 'sgw', 'ebs'],
    );
    return {
      to,
      method: used,
      path,
      query,
      headers,
      as,
      service: service as SigningName,
      ...(hasBody ? { body } : {}),
    };
  }
}

/** Undefined where the client itself refuses to send it. A connection may end after a request that was refused: then once more. */
async function sent(ask: Ask): Promise<Answer | undefined> {
  let cause: unknown;
  for (const fresh of [{}, { agent: false, ...(ask.to === 'gateways' ? mallory.gateway.tls : {}) }]) {
    try {
      return await send(ask, fresh);
    } catch (error) {
      if (/Invalid|ERR_|unescaped/.test(String(error))) return undefined;
      cause = error;
    }
  }
  throw new Error(`no answer to ${JSON.stringify(ask)}`, { cause });
}

it(`requests by chance at every route are no bug, and tell nothing of others (SGW_SEED=${String(SEED)})`, async () => {
  const fuzz = new Fuzz(seededRandom(SEED));
  const untilMs = performance.now() + FUZZ_MS;
  const answered = new Map<string, number>();
  for (let round = 0; round < 400 && performance.now() < untilMs; round++)
    for (const route of routes) {
      const ask = fuzz.ask(route);
      const answer = await sent(ask);
      if (answer === undefined) continue;
      expect(
        answer.status < 500 || answer.status === 501 || answer.status === 503,
        `${String(answer.status)} ${answer.text} to ${JSON.stringify(ask)}`,
      ).toBe(true);
      expectNothingOfOthers(ask, answer);
      const name = `${route.to} ${route.method} ${route.url}`;
      answered.set(name, (answered.get(name) ?? 0) + 1);
    }
  const names = new Set(routes.map(({ to, method, url }) => `${to} ${method} ${url}`));
  expect([...names].filter((name) => !answered.has(name))).toEqual([]);
  for (const to of ['api', 'gateways'] as const) expect((await rig.ask({ to, path: '/healthz' })).status).toBe(200);
  expect(rig.log.filter(({ level }) => level === 'error')).toEqual([]);
  const blocks = rig.net.service.context.blocks;
  for (const { volume } of [anna, bert])
    expect((await new Catalog(blocks).getVolume(volume.volumeId)).accountId).toBe(volume.accountId);
}, 90_000);
