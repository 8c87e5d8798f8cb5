import { generateKeyPairSync, sign } from 'node:crypto';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { seededRandom, SgwError, systemClock, systemRandom } from '../../../src/core/kit/index.ts';
import {
  canonicalJson,
  fingerprintOf,
  inMemoryTransport,
  isPublicKey,
  isSignatureOf,
  newActivationKey,
  PrivateKey,
  readActivationKey,
  signRequest,
  type Signed,
} from '../../../src/core/protocol/index.ts';

const signal = new AbortController().signal;

describe('an activation key', () => {
  it('is five groups of five characters, each from 32, and no two are alike', () => {
    const random = seededRandom(1);
    const keys = Array.from({ length: 2000 }, () => newActivationKey(random));
    expect(keys.every((key) => /^([0-9A-HJKMNP-TV-Z]{5}-){4}[0-9A-HJKMNP-TV-Z]{5}$/.test(key))).toBe(true);
    expect(new Set(keys).size).toBe(keys.length);
    const characters = new Set(keys.join('').replaceAll('-', ''));
    expect(characters.size).toBe(32);
  });

  it('is read as people type it, and nothing else is', () => {
    const key = '01234-56789-ABCDE-FGHJK-MNPQR';
    expect(readActivationKey(' o1234 56789abcdefghjk-mnpqr ')).toBe(key);
    expect(readActivationKey('OL234-56789-ABCDE-FGHJK-MNPQR')).toBe(key);
    for (const bad of ['', '01234', `${key}-0`, 'U1234-56789-ABCDE-FGHJK-MNPQR', key.replace('9', '!')]) {
      expect(readActivationKey(bad)).toBeUndefined();
    }
  });
});

describe('canonical JSON', () => {
  it('is one text for one value, whatever the order of its fields', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        const backwards = Object.fromEntries(Object.entries(value).reverse());
        expect(canonicalJson(backwards)).toBe(canonicalJson(value));
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it('is written as this, for other programs to compare', () => {
    expect(canonicalJson({ b: [1, { d: null, c: 'ü"' }], a: true, z: undefined })).toBe(
      '{"a":true,"b":[1,{"c":"ü\\"","d":null}]}',
    );
    const numbered = JSON.parse('{"9":1,"b":2,"10":3,"__proto__":4,"B":5}') as unknown;
    expect(canonicalJson(numbered)).toBe('{"10":3,"9":1,"B":5,"__proto__":4,"b":2}');
  });
});

describe('a key pair', () => {
  test('its signatures are those of Ed25519 as another implementation makes them', () => {
    const pair = generateKeyPairSync('ed25519');
    const der = pair.privateKey.export({ format: 'der', type: 'pkcs8' });
    const key = PrivateKey.of(der.subarray(-32));
    const spki = pair.publicKey.export({ format: 'der', type: 'spki' });
    expect(key.publicKey).toBe(spki.subarray(-32).toString('base64url'));
    expect(key.sign('text')).toBe(sign(null, Buffer.from('text'), pair.privateKey).toString('base64url'));
    expect(isPublicKey(key.publicKey)).toBe(true);
    expect(isPublicKey(`${key.publicKey}A`)).toBe(false);
    expect(fingerprintOf(key.publicKey)).toMatch(/^[0-9a-f]{64}$/);
  });

  it('shows its secret in no output', () => {
    const key = PrivateKey.make(systemRandom);
    const secret = key.secret();
    const shown = [inspect(key, { depth: 9, showHidden: true }), JSON.stringify({ key })].join('\n');
    for (const encoding of ['hex', 'base64', 'base64url'] as const)
      expect(shown).not.toContain(secret.toString(encoding));
  });
});

describe('a signed request', () => {
  const key = PrivateKey.make(seededRandom(7));
  const signer = {
    key,
    signer: 'sgw-00000001',
    credentialId: 'cred-1',
    serviceId: 'store-1',
    clock: systemClock,
    random: systemRandom,
  };
  const body = { accountId: '000000000001', snapshotId: 'snap-1' };
  const request = signRequest(signer, 'export.assess', body);
  const isGood = (altered: Signed<unknown>, serviceId = 'store-1', message = 'export.assess' as const): boolean =>
    isSignatureOf(key.publicKey, serviceId, message, altered);

  it('is good as it is, also after its way over the wire', () => {
    expect(isGood(request)).toBe(true);
    expect(isGood(JSON.parse(JSON.stringify(request)) as Signed<unknown>)).toBe(true);
  });

  it.each([
    ['its body', { body: { ...body, accountId: '000000000002' } }],
    ['its signer', { signer: 'sgw-00000002' }],
    ['its credential', { credentialId: null }],
    ['its time', { timestamp: '2026-01-01T00:00:00.000Z' }],
    ['its nonce', { nonce: 'AAAA' }],
    ['its signature', { signature: key.sign('something else') }],
    ['its signature, which is none', { signature: '' }],
  ])('is not good when %s was changed', (_what, change) => {
    expect(isGood({ ...request, ...change })).toBe(false);
  });

  it('is good for one message, one service and one key', () => {
    expect(isGood(request, 'store-2')).toBe(false);
    expect(isSignatureOf(key.publicKey, 'store-1', 'export.list', request)).toBe(false);
    expect(isSignatureOf(PrivateKey.make(systemRandom).publicKey, 'store-1', 'export.assess', request)).toBe(false);
  });
});

describe('the transport in memory', () => {
  it('passes on only what JSON carries, and shares nothing', async () => {
    let received: unknown;
    const transport = inMemoryTransport(async (_name, input) => {
      received = input;
      return Promise.resolve({ accounts: [] } as never);
    });
    const input = { accountId: '000000000001', extra: undefined };
    await transport.request('account.find', input, { signal });
    expect(received).toEqual({ accountId: '000000000001' });
    expect(received).not.toBe(input);
  });

  it('passes on errors by kind, code, message, hint and details, without their cause', async () => {
    const transport = inMemoryTransport(async () =>
      Promise.reject(
        new SgwError('denied', 'export-denied', 'no', {
          hint: 'ask',
          details: { a: ['b'] },
          cause: new Error('secret'),
        }),
      ),
    );
    const error: unknown = await transport.request('account.list', {}, { signal }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SgwError);
    expect(error).toMatchObject({ kind: 'denied', code: 'export-denied', hint: 'ask', details: { a: ['b'] } });
    expect((error as Error).cause).toBeUndefined();
  });

  it('sends nothing once its signal has fired', async () => {
    let calls = 0;
    const transport = inMemoryTransport(async () => {
      calls += 1;
      return Promise.resolve({} as never);
    });
    const stop = new AbortController();
    stop.abort();
    await expect(transport.request('account.list', {}, { signal: stop.signal })).rejects.toMatchObject({
      kind: 'aborted',
    });
    expect(calls).toBe(0);
  });
});
