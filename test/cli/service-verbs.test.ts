/** The verbs of topic `service` before a service on the network, as a user runs them. */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Value } from 'typebox/value';
import type { TSchema } from 'typebox';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import * as documents from '../../src/core/cli/documents.ts';
import * as schemas from '../../src/core/localapi/schemas.ts';
import { SgwError } from '../../src/core/kit/index.ts';
import type { FrontEnd } from '../../src/core/service/server/index.ts';
import { NetworkDevice } from '../support/device.ts';
import { LiveService } from '../support/live-service.ts';
import { runVerb } from './run-verb.ts';

const METADATA = { name: 'lab', mode: 'cached', note: 'from\u001b[2J afar' };
let live: LiveService;
let folder: string;
let anna: Awaited<ReturnType<LiveService['account']>>;
beforeAll(async () => {
  live = await LiveService.start({ frontEnds: () => [operations()] });
  anna = await live.account('anna');
  folder = await mkdtemp(join(tmpdir(), 'sgw-service-verbs-'));
});
afterAll(async () => {
  await live[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** What the control plane answers of gateways: those that `connected` names are there. */
const connected = new Map<string, unknown>();
/** Operations in the order in which they came. */
const asked: string[] = [];
const operations = (): FrontEnd => ({
  name: 'operations',
  listener: 'api',
  add: (app) => {
    app.post('/v1/gateways/:id/operations/:operation', async (request, reply) => {
      const { id, operation } = request.params as { id: string; operation: string };
      asked.push(operation);
      const away = new SgwError('unavailable', 'gateway-not-connected', `gateway ${id} is not connected`).toDocument();
      const result = operation === 'status' ? connected.get(id) : { drained: true };
      const lines = [
        { progress: { label: 'asked', doneBytes: 0, totalBytes: 0 } },
        connected.has(id) ? { result } : { error: away },
      ];
      return await reply.type('application/x-ndjson').send(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    });
  },
});

type Env = Record<string, string>;
const place = (): Env => ({ SGW_SERVICE: live.url, SGW_SERVICE_FINGERPRINT: live.fingerprint });
const asRoot = (): Env => ({
  ...place(),
  SGW_ACCESS_KEY_ID: live.rootKey?.accessKeyId ?? '',
  SGW_SECRET_ACCESS_KEY: live.rootKey?.secretAccessKey ?? '',
});
const asAnna = (): Env => ({
  ...place(),
  SGW_ACCESS_KEY_ID: anna.accessKey.accessKeyId,
  SGW_SECRET_ACCESS_KEY: anna.accessKey.secretAccessKey,
});

const FLAGS: Readonly<Record<string, string>> = {
  SGW_SERVICE: '--service',
  SGW_SERVICE_FINGERPRINT: '--service-fingerprint',
  SGW_ACCESS_KEY_ID: '--access-key-id',
};

/** In this process the variables of flags are not seen: they are given as flags. */
async function run(verb: string, words: readonly string[], env: Env): ReturnType<typeof runVerb> {
  const flags = Object.entries(env).flatMap(([name, value]) => {
    const flag = FLAGS[name];
    return flag === undefined ? [] : [flag, value];
  });
  return await runVerb(verb, [...words, ...flags], { env });
}

async function ask(
  verb: string,
  words: readonly string[],
  env: Env,
  schema?: TSchema,
): Promise<Record<string, unknown>> {
  const outcome = await run(verb, [...words, '--json'], env);
  const document = outcome.document();
  expect(document).not.toHaveProperty('error');
  expect(outcome.exitCode).toBe(0);
  expect(outcome.stderr).toBe('');
  if (schema !== undefined) expect([...Value.Errors(schema, document)]).toEqual([]);
  return document;
}

async function refusal(verb: string, words: readonly string[], env: Env): Promise<unknown> {
  const outcome = await run(verb, [...words, '--json'], env);
  const { error } = outcome.document() as { error?: { code: string } };
  return error?.code;
}

/** A device that shows its key. */
async function shownKey(): Promise<{ activationKey: string; device: NetworkDevice }> {
  const device = new NetworkDevice(live);
  return { activationKey: await device.show(METADATA), device };
}

describe('service activate', () => {
  it('claims a gateway for the account of the access key, as it proposes', async () => {
    const { activationKey } = await shownKey();
    const claimed = await ask(
      'service activate',
      [activationKey, '--yes'],
      asAnna(),
      schemas.ServiceActivationDocument,
    );
    expect(claimed).toMatchObject({ gatewayName: 'lab', accountId: anna.accountId, mode: 'cached', region: 'lab-1' });
    expect(await refusal('service activate', [activationKey, '--yes'], asAnna())).toBe('activation-key-used');
  });

  it('claims nothing unseen: it asks, or needs --yes', async () => {
    const { activationKey } = await shownKey();
    expect(await refusal('service activate', [activationKey], asAnna())).toBe('confirmation-needed');
    expect(await refusal('service activate', ['00000-00000-00000-00000-00000'], asAnna())).toBe(
      'activation-key-unknown',
    );
    expect(await ask('service activate', [activationKey, '--yes', '--name', 'own'], asAnna())).toMatchObject({
      gatewayName: 'own',
    });
  });

  it('claims for another account only as whoever runs the service', async () => {
    const bert = await live.account('bert');
    const first = await shownKey();
    const words = [first.activationKey, '--yes', '--account', bert.accountId];
    expect(await refusal('service activate', words, asAnna())).toBe('account-not-found');
    expect(await ask('service activate', words, asRoot())).toMatchObject({ accountId: bert.accountId });
  });
});

describe('service account', () => {
  it('makes and lists accounts at the service, for whoever runs it alone', async () => {
    const made = await ask('service account create', ['carl'], asRoot(), schemas.AccountCreated);
    expect(made).toMatchObject({ name: 'carl', created: true });
    const again = await ask('service account create', ['carl', '--if-not-exists'], asRoot());
    expect(again).toMatchObject({ accountId: made['accountId'], created: false });
    expect(await refusal('service account create', ['carl'], asRoot())).toBe('account-exists');
    const differs = ['carl', '--id', '123456789012', '--if-not-exists'];
    expect(await refusal('service account create', differs, asRoot())).toBe('different-parameters');
    const list = await ask('service account list', [], asRoot(), schemas.AccountList);
    expect(JSON.stringify(list)).toContain('carl');
    expect(await refusal('service account list', [], asAnna())).toBe('root-needed');
    expect(await refusal('service account create', ['dora'], asAnna())).toBe('root-needed');
  });
});

describe('service key', () => {
  it('makes keys whose secret is shown once, lists and revokes them', async () => {
    const made = await ask('service key create', ['script'], asAnna(), schemas.AccessKeyCreated);
    const { accessKeyId, secretAccessKey } = made as { accessKeyId: string; secretAccessKey: string };
    const env = { ...place(), SGW_ACCESS_KEY_ID: accessKeyId, SGW_SECRET_ACCESS_KEY: secretAccessKey };
    const list = await ask('service key list', [], env, schemas.AccessKeyList);
    expect(JSON.stringify(list)).toContain(accessKeyId);
    expect(JSON.stringify(list)).not.toContain(secretAccessKey);
    expect(JSON.stringify(list)).not.toContain(live.rootKey?.accessKeyId);
    const revoked = await ask('service key revoke', [accessKeyId, '--yes'], asAnna(), schemas.AccessKeyRevoked);
    expect(revoked).toMatchObject({ changed: true });
    expect(await refusal('service key list', [], env)).toBe('signature-wrong');
    const text = await run('service key create', ['shown'], asAnna());
    expect(text.stdout).toContain('The secret is shown only now');
  });

  it('of other accounts are for whoever runs the service', async () => {
    expect(await refusal('service key list', ['--all'], asAnna())).toBe('root-needed');
    const all = await ask('service key list', ['--all'], asRoot());
    expect(JSON.stringify(all)).toContain(anna.accessKey.accessKeyId);
    const own = await ask('service key create', ['x', '--account', anna.accountId], asRoot());
    expect(own).toMatchObject({ accountId: anna.accountId });
    expect(await refusal('service key revoke', [live.rootKey?.accessKeyId ?? '', '--yes'], asAnna())).toBe(
      'key-not-found',
    );
  });
});

describe('service gateway', () => {
  const claimed = async (name: string): Promise<string> => {
    const { activationKey, device } = await shownKey();
    const words = [activationKey, '--yes', '--name', name];
    const { gatewayId } = (await ask('service activate', words, asAnna())) as { gatewayId: string };
    await device.ask('activation.credential', { activationKey, gatewayId, accountId: anna.accountId });
    return gatewayId;
  };

  it('lists, configures, and takes away the gateways of an account', async () => {
    const gatewayId = await claimed('worker');
    expect(await ask('service gateway list', [], asAnna(), schemas.ServiceGatewayList)).toMatchObject({
      gateways: expect.arrayContaining([expect.objectContaining({ gatewayId, state: 'active' })]) as unknown,
    });
    const words = ['worker', '--name', 'worker-2', '--region', 'berlin'];
    const changed = await ask('service gateway configure', words, asAnna(), schemas.ServiceGatewayConfigured);
    expect(changed).toMatchObject({ gatewayId, gatewayName: 'worker-2', region: 'berlin', changed: true });
    const table = await run('service gateway list', [], asAnna());
    expect(table.stdout).toContain('worker-2');
    expect(await refusal('service gateway show', ['worker'], asAnna())).toBe('gateway-not-found');
    const bert = await live.account('other');
    const asBert = {
      ...place(),
      SGW_ACCESS_KEY_ID: bert.accessKey.accessKeyId,
      SGW_SECRET_ACCESS_KEY: bert.accessKey.secretAccessKey,
    };
    for (const verb of ['service gateway show', 'service gateway shutdown'])
      expect(await refusal(verb, [gatewayId, ...(verb.endsWith('show') ? [] : ['--yes'])], asBert)).toBe(
        'gateway-not-found',
      );
    expect(await ask('service gateway list', [], asBert)).toEqual({ gateways: [] });
  });

  it('shows what a gateway says of itself, or why it can not be reached, and ends it', async () => {
    const gatewayId = await claimed('afar');
    const away = await ask('service gateway show', ['afar'], asAnna(), schemas.ServiceGatewayDocument);
    expect(away).toMatchObject({ reachable: false, reason: `gateway ${gatewayId} is not connected`, status: null });
    expect(await refusal('service gateway shutdown', [gatewayId, '--yes'], asAnna())).toBe('gateway-not-connected');
    connected.set(gatewayId, { version: '9.9.9' });
    const there = await ask('service gateway show', ['afar'], asAnna(), schemas.ServiceGatewayDocument);
    expect(there).toMatchObject({ reachable: true, reason: null, status: { version: '9.9.9' } });
    const ended = await ask('service gateway shutdown', ['afar', '--yes'], asAnna(), schemas.ServiceGatewayShutdown);
    expect(ended).toMatchObject({ gatewayId, stopped: true, deregistered: false, remarks: [] });
    const resumed = await ask(
      'service gateway shutdown',
      ['afar', '--resume'],
      asAnna(),
      schemas.ServiceGatewayShutdown,
    );
    expect(resumed).toMatchObject({ gatewayId, stopped: false, deregistered: false });
    expect(asked.slice(-2)).toEqual(['gateway.suspend', 'gateway.resume']);
    connected.delete(gatewayId);
    const gone = await ask('service gateway shutdown', ['afar', '--yes', '--deregister'], asAnna());
    expect(gone).toMatchObject({
      stopped: false,
      deregistered: true,
      remarks: [expect.stringContaining('not connected')],
    });
    expect(await ask('service gateway show', [gatewayId], asAnna())).toMatchObject({
      state: 'deregistered',
      reason: 'it was deregistered',
    });
  });

  it('one of two that have a name is named by its id', async () => {
    const first = await claimed('twin');
    await claimed('twin');
    expect(await refusal('service gateway configure', ['twin', '--region', 'x'], asAnna())).toBe('ambiguous-name');
    expect(await ask('service gateway configure', [first, '--region', 'x'], asAnna())).toMatchObject({ region: 'x' });
  });
});

describe('the service that is kept', () => {
  let env: Env;
  beforeEach(async () => {
    env = { SGW_CONFIG_DIR: await mkdtemp(join(folder, 'config-')) };
  });

  it('needs neither flag nor variable later, in a file for its owner alone, until it is forgotten', async () => {
    const kept = await ask('configure', ['--keep-service'], { ...asAnna(), ...env }, documents.Configuration);
    expect(kept).toMatchObject({
      changed: ['service'],
      preferences: { service: { url: live.url, accessKeyId: anna.accessKey.accessKeyId } },
    });
    expect(JSON.stringify(kept)).not.toContain(anna.accessKey.secretAccessKey);
    const file = join(env['SGW_CONFIG_DIR'] ?? '', 'service.json');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readFile(file, 'utf8')).toContain(anna.accessKey.secretAccessKey);
    expect(await ask('service key list', [], env)).toHaveProperty('keys');
    await ask('configure', ['--forget-service'], env, documents.Configuration);
    expect(await readFile(file, 'utf8')).not.toContain(anna.accessKey.secretAccessKey);
    expect(await refusal('service key list', [], env)).toBe('service-missing');
  });

  it('is not kept when the service does not take the key', async () => {
    const wrong = { ...asAnna(), ...env, SGW_SECRET_ACCESS_KEY: 'x'.repeat(40) };
    expect(await refusal('configure', ['--keep-service'], wrong)).toMatch(/signature-wrong|access-key-unknown/);
    expect(await refusal('service key list', [], env)).toBe('service-missing');
  });

  it('has a key that goes to no other service', async () => {
    await ask('configure', ['--keep-service'], { ...asAnna(), ...env });
    const elsewhere = { ...env, SGW_SERVICE: 'https://127.0.0.1:1' };
    expect(await refusal('service key list', [], elsewhere)).toBe('access-key-missing');
  });

  it('that was damaged is told, and can be forgotten', async () => {
    await writeFile(join(env['SGW_CONFIG_DIR'] ?? '', 'service.json'), '{"url": 3');
    expect(await refusal('service key list', [], env)).toBe('bad-preferences');
    await ask('configure', ['--forget-service'], env);
    expect(await refusal('service key list', [], env)).toBe('service-missing');
  });
});

describe('service account configure and show', () => {
  it('limit an account for root, by id or name, and tell everybody what his own has', async () => {
    const { accountId } = anna;
    const none = { volumes: null, volumeBytes: null, snapshots: null, gateways: null, keys: null };
    const before = await ask('service account show', [], asAnna(), schemas.AccountDocument);
    expect(before).toMatchObject({ accountId, name: 'anna', limits: none, usage: { volumes: 0, snapshots: 0 } });
    const words = ['anna', '--max-volumes', '5', '--max-volume-bytes', '10GiB', '--max-keys', 'none'];
    const configured = await ask('service account configure', words, asRoot(), schemas.AccountConfigured);
    const limits = { ...none, volumes: 5, volumeBytes: 10 * 2 ** 30 };
    expect(configured).toMatchObject({ accountId, limits, changedLimits: ['volumes', 'volumeBytes'] });
    const back = [accountId, '--max-volumes', 'none', '--max-volume-bytes', 'none'];
    const { stdout } = await run('service account show', [], asAnna());
    expect(stdout).toMatch(/volumes +0 +5\n/);
    expect(stdout).toMatch(/sizes of volumes +0 B +10 GiB\n/);
    const cleared = await ask('service account configure', back, asRoot(), schemas.AccountConfigured);
    expect(cleared).toMatchObject({ limits: none, changedLimits: ['volumes', 'volumeBytes'] });
  });

  it('are refused to who is not root, for accounts that are not there, and for root itself', async () => {
    const limit = ['--max-volumes', '1'];
    const configure = 'service account configure';
    expect(await refusal(configure, [anna.accountId, ...limit], asAnna())).toBe('root-needed');
    expect(await refusal(configure, ['000000000777', ...limit], asRoot())).toBe('account-not-found');
    expect(await refusal(configure, ['nobody', ...limit], asRoot())).toBe('account-not-found');
    expect(await refusal(configure, ['root', ...limit], asRoot())).toBe('root-unlimited');
    expect(await refusal('service account show', ['000000000777'], asAnna())).toBe('account-not-found');
    const { accountId } = await live.account('berta');
    expect(await refusal('service account show', [accountId], asAnna())).toBe('account-not-found');
    expect(await refusal('service account show', ['berta'], asAnna())).toBe('root-needed');
  });
});

describe('whom to believe', () => {
  it('is the CA that was named, or the one with the fingerprint, and nobody else', async () => {
    const file = join(folder, 'ca.pem');
    await writeFile(file, live.service.authority.certificate);
    const { SGW_SERVICE_FINGERPRINT: _, ...keys } = asAnna();
    expect(await ask('service key list', ['--service-ca', file], keys)).toHaveProperty('keys');
    expect(await refusal('service key list', [], keys)).toBe('service-untrusted');
    const fingerprint = ['--service-fingerprint', `sha256:${'0'.repeat(64)}`];
    expect(await refusal('service key list', fingerprint, keys)).toBe('service-untrusted');
    expect(await refusal('service key list', ['--service-fingerprint', 'sha256:0'], keys)).toBe('bad-fingerprint');
    expect(await refusal('service key list', ['--service-ca', file], asAnna())).toBe('one-of');
    await writeFile(file, 'nothing');
    expect(await refusal('service key list', ['--service-ca', file], keys)).toBe('bad-certificate');
  });
});
