/** The verbs of topic `alert`, and configurations with one owner, before a service on the network, as a user runs them. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SgwError } from '../../src/core/kit/index.ts';
import * as schemas from '../../src/core/localapi/schemas.ts';
import type { FrontEnd } from '../../src/core/service/server/index.ts';
import { NetworkDevice } from '../support/device.ts';
import { LiveService } from '../support/live-service.ts';
import { runVerb } from './run-verb.ts';

const HOOK = 'https://hooks.example.com/sgw';
const MIB = 1 << 20;
let live: LiveService;
let folder: string;
let anna: Awaited<ReturnType<LiveService['account']>>;
let bert: typeof anna;
let gatewayId: string;

beforeAll(async () => {
  live = await LiveService.start({ frontEnds: () => [nobodyConnected] });
  [anna, bert] = [await live.account('anna'), await live.account('bert')];
  folder = await mkdtemp(join(tmpdir(), 'sgw-alert-verbs-'));
  const device = new NetworkDevice(live);
  const activationKey = await device.show({ name: 'lab', mode: 'cached' });
  const claimed = await ask('service activate', [activationKey, '--yes'], anna, schemas.ServiceActivationDocument);
  gatewayId = String(claimed['gatewayId']);
  await device.ask('activation.credential', { activationKey, gatewayId, accountId: anna.accountId });
});
afterAll(async () => {
  await live[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** As the control plane answers. */
const nobodyConnected: FrontEnd = {
  name: 'operations',
  listener: 'api',
  add: (app) => {
    app.post('/v1/gateways/:id/operations/:operation', async (_request, reply) => {
      const error = new SgwError('unavailable', 'gateway-not-connected', 'it is not connected').toDocument();
      return await reply.type('application/x-ndjson').send(`${JSON.stringify({ error })}\n`);
    });
  },
};

const run = async (verb: string, words: readonly string[], { accessKey }: typeof anna): ReturnType<typeof runVerb> => {
  const place = ['--service', live.url, '--service-fingerprint', live.fingerprint];
  const key = ['--access-key-id', accessKey.accessKeyId];
  const env = { SGW_SECRET_ACCESS_KEY: accessKey.secretAccessKey };
  return await runVerb(verb, [...words, ...place, ...key], { env });
};

async function ask(
  verb: string,
  words: readonly string[],
  account: typeof anna,
  schema: TSchema,
): Promise<Record<string, unknown>> {
  const outcome = await run(verb, [...words, '--json'], account);
  expect(outcome.document()).not.toHaveProperty('error');
  expect([...Value.Errors(schema, outcome.document())]).toEqual([]);
  expect(outcome.exitCode).toBe(0);
  return outcome.document();
}

const refusal = async (verb: string, words: readonly string[], account: typeof anna): Promise<unknown> => {
  const { error } = (await run(verb, [...words, '--json'], account)).document() as { error?: { code: string } };
  return error?.code;
};

describe('alerts', () => {
  it('are set, shown and removed', async () => {
    const words = ['gone', '--not-connected', '15m', '--exposure', '10GiB', '--webhook', HOOK, '--for', 'lab'];
    const made = await ask('alert set', words, anna, schemas.AlertSet);
    expect(made).toMatchObject({
      ...{ name: 'gone', gatewayId, created: true, webhookUrl: HOOK, repeatMs: null },
      thresholds: { notConnectedMs: 900_000, exposureBytes: 10 * 2 ** 30 },
    });
    const again = await ask(
      'alert set',
      ['gone', '--restore-proof', '--repeat', '6h', '--webhook', HOOK],
      anna,
      schemas.AlertSet,
    );
    expect(again).toMatchObject({ created: false, secret: null, gatewayId: null, thresholds: { restoreProof: true } });
    expect(await ask('alert show', [], anna, schemas.AlertList)).toMatchObject({
      alerts: [{ name: 'gone', firing: [] }],
    });
    expect((await run('alert show', [], anna)).stdout).toMatch(
      /gone +all +restore proof failed +0 +hooks\.example\.com/,
    );
    expect(await ask('alert remove', ['gone'], anna, schemas.AlertRemoved)).toEqual({ name: 'gone', removed: true });
    expect(await ask('alert show', [], anna, schemas.AlertList)).toEqual({ alerts: [] });
  });

  it('tell a secret once, or take one from a file and tell none', async () => {
    const words = ['--restore-proof', '--webhook', HOOK];
    const text = (await run('alert set', ['made', ...words], anna)).stdout;
    expect(text).toMatch(/secret: +[\w-]{43}/);
    const file = join(folder, 'secret');
    await writeFile(file, 'a-secret-of-our-own\n', { mode: 0o600 });
    const given = await run('alert set', ['given', ...words, '--secret-file', file], anna);
    expect(given.exitCode).toBe(0);
    expect(given.stdout).not.toContain('a-secret-of-our-own');
  });

  it('of another account are not there, and its gateways are not to be watched', async () => {
    await ask('alert set', ['mine', '--restore-proof', '--webhook', HOOK], anna, schemas.AlertSet);
    expect(await ask('alert show', [], bert, schemas.AlertList)).toEqual({ alerts: [] });
    expect(await refusal('alert show', ['mine'], bert)).toBe('alert-not-found');
    expect(await refusal('alert remove', ['mine'], bert)).toBe('alert-not-found');
    expect(await refusal('alert remove', ['mine', '--account', anna.accountId], bert)).toBe('account-not-found');
    expect(await refusal('alert set', ['x', '--for', gatewayId, '--restore-proof', '--webhook', HOOK], bert)).toBe(
      'gateway-not-found',
    );
    expect(await ask('alert remove', ['mine', '--if-exists'], bert, schemas.AlertRemoved)).toMatchObject({
      removed: false,
    });
  });

  it('call nothing in the network of the service', async () => {
    const words = (url: string): string[] => ['inside', '--restore-proof', '--webhook', url];
    for (const url of [
      'https://127.0.0.1/',
      'https://[::1]:8443/',
      'http://hooks.example.com/',
      'https://169.254.169.254/',
    ])
      expect(await refusal('alert set', words(url), anna)).toBe('bad-webhook');
  });
});

describe('the configuration of a gateway', () => {
  const configure = async (words: readonly string[]): Promise<Record<string, unknown>> =>
    await ask('service gateway configure', ['lab', ...words], anna, schemas.ServiceGatewayConfigured);
  const asked = async (changes: object): Promise<unknown> =>
    await live.service.configurations.request(gatewayId, changes, new AbortController().signal);

  it('is changed, and waits for a gateway that is not connected', async () => {
    const changed = await configure(['--cache', '1GiB', '--seal-interval', '5s', '--list-exports', 'no']);
    expect(changed).toMatchObject({
      changedSettings: ['listExports', 'cacheBytes', 'sealIntervalMs'],
      configuration: { version: 2, settings: { cacheBytes: 1024 * MIB, sealIntervalMs: 5000, listExports: false } },
      undelivered: { code: 'gateway-not-connected' },
    });
    expect(
      await configure(['--cache', 'default', '--list-exports', 'yes', '--seal-interval', 'default']),
    ).toMatchObject({
      configuration: { version: 3, settings: { cacheBytes: null, listExports: true } },
    });
    expect(await configure(['--cache', 'default'])).toMatchObject({ changed: false, configuration: { version: 3 } });
    expect(await refusal('service gateway configure', ['lab', '--name', 'x', '--if-version', '2'], anna)).toBe(
      'configuration-changed',
    );
  });

  it('shows what its operator asks for, and takes an answer to that', async () => {
    await asked({ serving: { bufferBytes: 128 * MIB } });
    expect(await ask('service gateway show', ['lab'], anna, schemas.ServiceGatewayDocument)).toMatchObject({
      configuration: { request: { settings: { bufferBytes: 128 * MIB } } },
    });
    expect((await run('service gateway show', ['lab'], anna)).stdout).toContain('asks for bufferBytes 134217728');
    expect(await configure(['--accept'])).toMatchObject({
      changedSettings: ['bufferBytes'],
      configuration: { request: null, answer: { accepted: true }, settings: { bufferBytes: 128 * MIB } },
    });
    await asked({ name: 'attic' });
    expect(await configure(['--refuse', '--reason', 'no attics'])).toMatchObject({
      ...{ gatewayName: 'lab', changed: true, changedSettings: [] },
      configuration: { answer: { accepted: false, reason: 'no attics' } },
    });
    expect(await refusal('service gateway configure', ['lab', '--accept'], anna)).toBe('request-not-found');
  });

  it('is nobody else’s to see or change', async () => {
    const other = ['service gateway configure', [gatewayId, '--name', 'stolen'], bert] as const;
    expect(await refusal(...other)).toBe('gateway-not-found');
    expect(await refusal('service gateway show', [gatewayId], bert)).toBe('gateway-not-found');
  });
});
