/** Room `serviceclient` before a server of the test's own, over TLS. */
import { createPrivateKey, webcrypto } from 'node:crypto';
import 'reflect-metadata';
import { X509CertificateGenerator, SubjectAlternativeNameExtension, BasicConstraintsExtension } from '@peculiar/x509';
import fastify, { type FastifyInstance } from 'fastify';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { SgwError, systemRandom } from '../../../src/core/kit/index.ts';
import {
  certificateFingerprint,
  placeOfService,
  readFingerprint,
  readServiceUrl,
  RemoteGateway,
  ServiceClient,
  type ServiceClientOptions,
} from '../../../src/core/serviceclient/index.ts';
import { ManualClock } from '../objectstore/manual-clock.ts';

const { signal } = new AbortController();
let app: FastifyInstance;
let url: string;
let ca: string;
/** What the server does next, for each request. */
type Act = (
  body: unknown,
  headers: Record<string, unknown>,
) => { status?: number; text?: string; cut?: true } | undefined;
let acts: Act[] = [];
/** Requests that are not answered until they are let go. */
const held: (() => void)[] = [];
let seen: { readonly path: string; readonly headers: Record<string, unknown> }[] = [];

beforeAll(async () => {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...{ name: 'CN=test', keys, signingAlgorithm: algorithm },
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3_600_000),
    extensions: [
      new BasicConstraintsExtension(true),
      new SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }]),
    ],
  });
  ca = certificate.toString('pem');
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }).export({ format: 'pem', type: 'pkcs8' });
  app = fastify({ https: { cert: ca, key }, forceCloseConnections: true });
  app.get('/ca.pem', async (_request, reply) => await reply.send(ca));
  app.post('/v1/*', async (request, reply) => {
    if (request.url.endsWith('gateway.deregister')) await new Promise<void>((resolve) => held.push(resolve));
    seen.push({ path: request.url, headers: request.headers });
    const act = acts.shift()?.(request.body, request.headers) ?? {};
    if (act.cut === true) {
      reply.hijack();
      if (act.text !== undefined) {
        reply.raw.writeHead(200);
        reply.raw.write(act.text);
        await new Promise((resolve) => setImmediate(resolve));
      }
      request.raw.socket.destroy();
      return reply;
    }
    return await reply
      .code(act.status ?? 200)
      .type('application/json')
      .send(act.text ?? '{"accounts":[]}');
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const address = app.server.address();
  url = `https://127.0.0.1:${String(typeof address === 'object' ? address?.port : 0)}`;
});
afterAll(async () => {
  await app.close();
});
beforeEach(() => {
  acts = [];
  seen = [];
});

/** A clock that does not wait. */
class Impatient extends ManualClock {
  override async sleep(): Promise<void> {
    return Promise.resolve();
  }
}

const client = (options: Partial<ServiceClientOptions> = {}): ServiceClient =>
  new ServiceClient({ place: { url, ca }, clock: new Impatient(), random: systemRandom, ...options });
const refusal = (error: object): string => JSON.stringify({ error });
const DENIED = { kind: 'denied', code: 'root-needed', message: 'no', hint: 'ask', details: { a: 1 }, retryable: false };

describe('a client of the service', () => {
  it('sends a message as JSON, and gives its result; nobody signs without a key', async () => {
    await using sending = client();
    acts = [(body) => ({ text: JSON.stringify(body) })];
    const sent = { accountId: '000000000001' };
    expect(await sending.request('account.find', sent, { signal })).toEqual(sent);
    expect(seen).toMatchObject([{ path: '/v1/messages/account.find' }]);
    expect(seen[0]?.headers).not.toHaveProperty('authorization');
  });

  it('signs with an access key, whose secret it sends to nobody', async () => {
    const accessKey = { accessKeyId: 'AKIAABCDEFGHIJKLMNOP', secretAccessKey: 'secret-secret-secret' };
    await using sending = client({ accessKey });
    await sending.request('account.list', {}, { signal });
    const { authorization, ...headers } = seen[0]?.headers ?? {};
    expect(authorization).toMatch(
      /^AWS4-HMAC-SHA256 Credential=AKIAABCDEFGHIJKLMNOP\/\d{8}\/local\/sgw\/aws4_request, /,
    );
    expect(headers).toHaveProperty('x-amz-date');
    expect(JSON.stringify(seen)).not.toContain(accessKey.secretAccessKey);
  });

  it('passes on what the service refuses with, as it was sent', async () => {
    await using sending = client();
    acts = [() => ({ status: 403, text: refusal(DENIED) })];
    const outcome = await sending.request('account.list', {}, { signal }).catch((error: unknown) => error);
    expect(outcome).toBeInstanceOf(SgwError);
    expect(outcome).toMatchObject({
      kind: 'denied',
      code: 'root-needed',
      message: 'no',
      hint: 'ask',
      details: { a: 1 },
    });
    expect(seen).toHaveLength(1);
  });

  it.each([
    ['not-a-service', 'unsupported', { status: 404, text: '<html>' }],
    ['not-a-service', 'unsupported', { status: 200, text: 'hello' }],
    ['service-answer-bad', 'unavailable', { status: 502, text: '<html>' }],
    ['service-answer-bad', 'unavailable', { status: 503, text: '{"error":"none of ours"}' }],
  ])("tells %s (%s) of an answer that is no service's: %j", async (code, kind, act) => {
    await using sending = client();
    acts = Array.from({ length: 8 }, () => () => act);
    await expect(sending.request('activation.claim', {} as never, { signal })).rejects.toMatchObject({ code, kind });
  });

  it('repeats what changes nothing when the service is out of reach, and gives up after a few times', async () => {
    await using sending = client();
    const down = (): { status: number; text: string } => ({ status: 503, text: '<html>' });
    acts = [down, () => ({ cut: true }), down];
    expect(await sending.request('account.list', {}, { signal })).toEqual({ accounts: [] });
    expect(seen).toHaveLength(4);
    acts = Array.from({ length: 8 }, () => down);
    await expect(sending.request('account.list', {}, { signal })).rejects.toMatchObject({ kind: 'unavailable' });
    expect(seen).toHaveLength(8);
  });

  it('repeats nothing that may have been done, but what has a token of its own', async () => {
    await using sending = client();
    const key = { userName: 'x', accountId: null } as never;
    acts = [() => ({ cut: true })];
    await expect(sending.request('key.create', key, { signal })).rejects.toMatchObject({
      code: 'service-unreachable',
    });
    expect(seen).toHaveLength(1);
    const create = { name: 'n', accountId: null, clientToken: null };
    acts = [() => ({ cut: true })];
    await expect(sending.request('account.create', create, { signal })).rejects.toMatchObject({ kind: 'unavailable' });
    expect(seen).toHaveLength(2);
    acts = [() => ({ cut: true })];
    await sending.request('account.create', { ...create, clientToken: 't' }, { signal });
    expect(seen).toHaveLength(4);
  });

  it('waits no longer than its deadline, and stops when it is told to', async () => {
    await using sending = client({ timeoutMs: 50 });
    await expect(sending.request('gateway.deregister', {} as never, { signal })).rejects.toMatchObject({
      kind: 'timeout',
      code: 'service-timed-out',
    });
    held.splice(0).forEach((release) => {
      release();
    });
    const stop = new AbortController();
    const stopped = client().request('gateway.deregister', {} as never, { signal: stop.signal });
    setTimeout(() => {
      stop.abort(new SgwError('aborted', 'interrupted', 'enough'));
    }, 30);
    await expect(stopped).rejects.toMatchObject({ code: 'interrupted' });
    held.splice(0).forEach((release) => {
      release();
    });
  });

  it('says that nobody is there, and tries that again whatever it is', async () => {
    await using sending = client({ place: { url: 'https://127.0.0.1:1', ca } });
    await expect(sending.request('activation.claim', {} as never, { signal })).rejects.toMatchObject({
      kind: 'unavailable',
      code: 'service-unreachable',
      details: { neverSent: true },
    });
  });
});

describe('a gateway from afar', () => {
  const context = { signal, lockTimeoutMs: 1000, onProgress: () => undefined };
  const api = (): RemoteGateway => new RemoteGateway(client(), 'sgw-01234567');
  const lines = (...documents: object[]): string => documents.map((line) => `${JSON.stringify(line)}\n`).join('');

  it('gives progress and the result, in lines as over the socket', async () => {
    const told: string[] = [];
    const progress = { label: 'importing', doneBytes: 1, totalBytes: 2 };
    acts = [() => ({ text: lines({ progress }, { result: { volumes: [] } }) })];
    await using remote = api();
    const onProgress = ({ label }: { label: string }): void => void told.push(label);
    expect(await remote.call('volume.list', {}, { ...context, onProgress })).toEqual({ volumes: [] });
    expect(told).toEqual(['importing']);
    expect(seen).toMatchObject([{ path: '/v1/gateways/sgw-01234567/operations/volume.list' }]);
  });

  it('gives the error of the gateway, whatever the status is', async () => {
    await using remote = api();
    acts = [() => ({ text: lines({ error: DENIED }) }), () => ({ status: 403, text: lines({ error: DENIED }) })];
    for (let n = 0; n < 2; n++)
      await expect(remote.call('volume.list', {}, context)).rejects.toMatchObject({ code: 'root-needed' });
  });

  it('takes an answer that was cut off for no result', async () => {
    await using remote = api();
    acts = [() => ({ cut: true, text: '{"progress":' }), () => ({ text: '\n' }), () => ({ cut: true })];
    for (let n = 0; n < 3; n++)
      await expect(remote.call('volume.list', {}, context)).rejects.toMatchObject({ kind: 'unavailable' });
    expect(seen).toHaveLength(3);
  });
});

describe('whom to believe', () => {
  it('is whoever has the fingerprint; then that certificate alone', async () => {
    const fingerprint = certificateFingerprint(ca);
    const place = await placeOfService(url, { fingerprint }, signal);
    expect(place).toEqual({ url, ca: expect.stringContaining('BEGIN CERTIFICATE') as string });
    await using sending = client({ place });
    expect(await sending.request('account.list', {}, { signal })).toEqual({ accounts: [] });
    const other = `sha256:${'ab'.repeat(32)}`;
    await expect(placeOfService(url, { fingerprint: other }, signal)).rejects.toMatchObject({
      code: 'service-untrusted',
      details: { fingerprint },
    });
  });

  it('is nobody whom the system does not know, when nothing was said', async () => {
    await using sending = client({ place: await placeOfService(url, {}, signal) });
    await expect(sending.request('account.list', {}, { signal })).rejects.toMatchObject({ code: 'service-untrusted' });
    expect(seen).toEqual([]);
  });

  it('is asked for under its own name', async () => {
    await using sending = client({ place: { url: url.replace('127.0.0.1', 'localhost'), ca } });
    await expect(sending.request('account.list', {}, { signal })).rejects.toMatchObject({
      kind: expect.stringMatching(/denied|unavailable/) as string,
    });
    expect(seen).toEqual([]);
  });
});

describe('what names a service', () => {
  it.each([
    ['sgw.example:8443', 'https://sgw.example:8443'],
    ['https://sgw.example', 'https://sgw.example'],
    ['HTTPS://Sgw.Example:443/', 'https://sgw.example'],
    ['https://[::1]:8443', 'https://[::1]:8443'],
  ])('reads %s', (text, read) => {
    expect(readServiceUrl(text)).toBe(read);
  });

  it.each([
    '',
    'http://sgw.example',
    'https://sgw.example/x',
    'https://u:pass@sgw.example',
    'https://a?b',
    'ftp://a',
    '::',
  ])('refuses %j, and shows no password', (text) => {
    let message = '';
    try {
      readServiceUrl(text);
    } catch (error) {
      expect(error).toMatchObject({ code: 'bad-service-url' });
      message = (error as Error).message;
    }
    expect(message).not.toBe('');
    expect(message).not.toContain('pass');
  });

  it('reads fingerprints as other tools print them', () => {
    const digits = 'AB'.repeat(32);
    for (const text of [digits, `sha256:${digits.toLowerCase()}`, `SHA256:${digits.replaceAll(/(..)(?=.)/g, '$1:')}`])
      expect(readFingerprint(text)).toBe(`sha256:${digits.toLowerCase()}`);
    for (const text of ['', 'sha256:', digits.slice(2), `${digits}00`, 'md5:00'])
      expect(() => readFingerprint(text)).toThrow('fingerprint');
  });
});
