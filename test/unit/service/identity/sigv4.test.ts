/** Signatures: AWS's own test vectors, what the SDK's signer makes, and every part of a request changed. */
import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import fc from 'fast-check';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type {
  SignatureVerdict,
  SignedHttpRequest,
  SigningName,
} from '../../../../src/core/service/identity/authenticator.ts';
import { Sigv4Signer } from '../../../../src/core/kit/index.ts';
import { canonicalRequest } from '../../../../src/core/service/identity/sigv4-canonical.ts';
import { NetworkRig } from './rig.ts';

const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const UNRESERVED = '-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** Of AWS's Signature Version 4 test suite; those whose path a client would have made plain are refused here. */
const VECTORS: readonly {
  readonly name: string;
  readonly method?: string;
  readonly url?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly payload?: string;
  readonly signature: string;
}[] = [
  { name: 'get-vanilla', signature: '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31' },
  {
    name: 'get-vanilla-query-order-key-case',
    url: '/?Param2=value2&Param1=value1',
    signature: 'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500',
  },
  {
    name: 'get-vanilla-empty-query-key',
    url: '/?Param1=value1',
    signature: 'a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb',
  },
  {
    name: 'get-vanilla-query-unreserved',
    url: `/?${UNRESERVED}=${UNRESERVED}`,
    signature: '9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197',
  },
  {
    name: 'get-vanilla-utf8-query',
    url: '/?%E1%88%B4=bar',
    signature: '2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04',
  },
  {
    name: 'get-unreserved',
    url: `/${UNRESERVED}`,
    signature: '07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f',
  },
  { name: 'get-utf8', url: '/ሴ', signature: '8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85' },
  {
    name: 'get-header-value-trim',
    headers: { 'my-header1': ' value1', 'my-header2': ' "a   b   c" ' },
    signature: 'acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736',
  },
  {
    name: 'post-vanilla',
    method: 'POST',
    signature: '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b',
  },
  {
    name: 'post-vanilla-query',
    method: 'POST',
    url: '/?Param1=value1',
    signature: '28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11',
  },
  {
    name: 'post-vanilla-query-nonunreserved',
    method: 'POST',
    url: `/?${encodeURIComponent('@#$%^')}=&%2B=${encodeURIComponent('/,?><`";:\\|][{}')}`,
    signature: '66c82657c86e26fb25238d0e69f011edc4c6df5ae71119d7cb98ed9b87393c1e',
  },
  {
    name: 'post-header-key-sort',
    method: 'POST',
    headers: { 'my-header1': 'value1' },
    signature: 'c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c',
  },
  {
    name: 'post-header-value-case',
    method: 'POST',
    headers: { 'my-header1': 'VALUE1' },
    signature: 'cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d',
  },
  {
    name: 'post-x-www-form-urlencoded',
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: '9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e',
    signature: 'ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a',
  },
];

describe("AWS's test vectors", () => {
  it.each(VECTORS)('$name', ({ method = 'GET', url = '/', headers = {}, payload = EMPTY, signature }) => {
    const all = { host: 'example.amazonaws.com', 'x-amz-date': '20150830T123600Z', ...headers };
    const signedHeaders = Object.keys(all).sort();
    const canonical = canonicalRequest({ method, url, headers: all, signedHeaders, payload });
    const scope = { date: '20150830', region: 'us-east-1', service: 'service' };
    const key = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };
    const signer = new Sigv4Signer();
    const signed = (): string => signer.signature(key, scope, '20150830T123600Z', canonical ?? '');
    // By the key of the day, made anew and again.
    expect([signed(), signed()]).toEqual([signature, signature]);
  });

  it.each(['/a/../b', '/a/./b', '//a', '/a//b', '/..', '/a/.', 'a', '/?a=%zz'])(
    'there is no canonical form of %s',
    (url) => {
      expect(canonicalRequest({ method: 'GET', url, headers: {}, signedHeaders: [], payload: EMPTY })).toBeUndefined();
    },
  );

  it('a trailing slash and an empty query stay', () => {
    const parts = { method: 'GET', headers: {}, signedHeaders: [], payload: EMPTY };
    expect(canonicalRequest({ ...parts, url: '/a/?' })).toBe(`GET\n/a/\n\n\n\n${EMPTY}`);
  });
});

let rig: NetworkRig;
let credentials: { accessKeyId: string; secretAccessKey: string };

beforeAll(async () => {
  rig = await NetworkRig.open();
});

beforeEach(async () => {
  rig.clock.ms = Date.UTC(2026, 0, 1);
  if (rig.service.rootKey === null) throw new Error('the first server makes a key');
  credentials = rig.service.rootKey;
  await Promise.resolve();
});

interface Signing {
  readonly url?: string;
  readonly method?: string;
  readonly body?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  readonly service?: SigningName;
  readonly region?: string;
  readonly atMs?: number;
  readonly credentials?: { accessKeyId: string; secretAccessKey: string };
}

/** As the SDK's clients sign. */
async function signed(options: Signing = {}): Promise<SignedHttpRequest> {
  const { url = '/snapshots/snap-1/blocks?maxResults=100&pageToken=a%2Bb%3D', method = 'POST', body = '{}' } = options;
  const signer = new SignatureV4({
    credentials: options.credentials ?? credentials,
    region: options.region ?? 'eu-west-3',
    service: options.service ?? 'ebs',
    sha256: Sha256,
  });
  const at = new URL(url, 'https://service.example:8443');
  const request = await signer.sign(
    {
      method,
      protocol: 'https:',
      hostname: at.hostname,
      path: at.pathname,
      query: Object.fromEntries(at.searchParams),
      headers: { host: at.host, 'content-type': 'application/json', ...options.headers },
      ...(body === null ? {} : { body }),
    },
    { signingDate: new Date(options.atMs ?? rig.clock.ms) },
  );
  const headers = Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [name.toLowerCase(), value]),
  );
  return { method, url, headers, body: body === null ? null : Buffer.from(body) };
}

const verify = async (request: SignedHttpRequest, name: SigningName = 'ebs'): Promise<SignatureVerdict> =>
  await rig.service.authenticator.verify(request, name);

describe('a signed request', () => {
  it('is its user, in any region', async () => {
    for (const region of ['us-east-1', 'lab']) {
      const { user, payloadSha256 } = await verify(await signed({ region }));
      expect(user).toEqual({
        kind: 'user',
        accountId: rig.service.rootAccountId,
        accessKeyId: credentials.accessKeyId,
        isRoot: true,
      });
      expect(payloadSha256).toBeNull();
    }
  });

  it('whose body is a stream says what it was signed with', async () => {
    const request = await signed({ body: 'data' });
    const { payloadSha256 } = await verify({ ...request, body: null });
    expect(payloadSha256).toBe('3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7');
  });

  it('may leave the body unsigned for ebs, and as a stream', async () => {
    const headers = { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' };
    expect((await verify(await signed({ headers, body: 'x' }))).payloadSha256).toBeNull();
    const native = await signed({ headers, body: 'x', service: 'sgw' });
    expect((await verify({ ...native, body: null }, 'sgw')).payloadSha256).toBeNull();
    await expect(verify(native, 'sgw')).rejects.toMatchObject({ code: 'bad-signature-form' });
  });

  it('may leave out what its body was signed with', async () => {
    const signer = { scope: { date: '20260101', region: 'r', service: 'ebs' }, timestamp: '20260101T000000Z' };
    const headers = { host: 'h', 'x-amz-date': signer.timestamp };
    const signedHeaders = ['host', 'x-amz-date'];
    for (const [payload, body] of [
      [EMPTY, Buffer.alloc(0)],
      ['UNSIGNED-PAYLOAD', null],
      ['UNSIGNED-PAYLOAD', Buffer.from('x')],
    ] as const) {
      const canonical = canonicalRequest({ method: 'GET', url: '/', headers, signedHeaders, payload }) ?? '';
      const signature = new Sigv4Signer().signature(credentials, signer.scope, signer.timestamp, canonical);
      const authorization = `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/20260101/r/ebs/aws4_request, SignedHeaders=host;x-amz-date, Signature=${signature}`;
      const { user } = await verify({ method: 'GET', url: '/', headers: { ...headers, authorization }, body });
      expect(user.isRoot).toBe(true);
    }
  });

  it('is refused more than 15 minutes from now, either way, and taken within', async () => {
    const minute = 60_000;
    for (const off of [-14.9 * minute, 14.9 * minute]) await verify(await signed({ atMs: rig.clock.ms + off }));
    for (const off of [-15.1 * minute, 15.1 * minute])
      await expect(verify(await signed({ atMs: rig.clock.ms + off }))).rejects.toMatchObject({ code: 'request-stale' });
  });

  it('is refused for another API', async () => {
    await expect(verify(await signed(), 'storagegateway')).rejects.toMatchObject({ code: 'signature-wrong' });
  });

  it('is refused in the same words with an unknown key, a revoked key, and a wrong secret', async () => {
    const refusal = async (use: { accessKeyId: string; secretAccessKey: string }): Promise<unknown> =>
      verify(await signed({ credentials: use })).then(
        () => 'taken',
        (error: unknown) => (error as { toDocument: () => unknown }).toDocument(),
      );
    const { accountId } = (await verify(await signed())).user;
    const made = await rig.service.keys.create({ accountId, userName: 'u' }, rig.signal);
    expect(await refusal(made)).toBe('taken');
    await rig.service.keys.revoke(made.accessKeyId, rig.signal);
    const revoked = await refusal(made);
    expect(revoked).toMatchObject({ code: 'signature-wrong', kind: 'denied' });
    expect(await refusal({ ...made, accessKeyId: `AKIA${'A'.repeat(16)}` })).toEqual(revoked);
    expect(await refusal({ ...made, accessKeyId: 'somebody' })).toEqual(revoked);
    expect(await refusal({ ...credentials, secretAccessKey: 'x' })).toEqual(revoked);
    expect(JSON.stringify(revoked)).not.toContain(made.secretAccessKey);
  });

  it('is refused where a key is read as empty of a secret', async () => {
    const { NO_SECRET } = await import('../../../../src/core/service/identity/access-keys.ts');
    const nobody = { accessKeyId: `AKIA${'B'.repeat(16)}`, secretAccessKey: NO_SECRET };
    await expect(verify(await signed({ credentials: nobody }))).rejects.toMatchObject({ code: 'signature-wrong' });
  });
});

describe('a request that is changed', () => {
  const changes: Readonly<Record<string, (request: SignedHttpRequest) => SignedHttpRequest>> = {
    'in its method': (r) => ({ ...r, method: 'PUT' }),
    'in its path': (r) => ({ ...r, url: r.url.replace('snap-1', 'snap-2') }),
    'in a value of its query': (r) => ({ ...r, url: r.url.replace('100', '101') }),
    'by one more query parameter': (r) => ({ ...r, url: `${r.url}&a=b` }),
    'by one query parameter less': (r) => ({ ...r, url: r.url.replace('maxResults=100&', '') }),
    'in its body': (r) => ({ ...r, body: Buffer.from('{"a":1}') }),
    'in its host': (r) => ({ ...r, headers: { ...r.headers, host: 'other:8443' } }),
    'in its content type': (r) => ({ ...r, headers: { ...r.headers, 'content-type': 'text/plain' } }),
    'in its date': (r) => ({ ...r, headers: { ...r.headers, 'x-amz-date': '20260101T000001Z' } }),
    'in what its body is signed with': (r) => ({ ...r, headers: { ...r.headers, 'x-amz-content-sha256': EMPTY } }),
    'to an unsigned body': (r) => ({ ...r, headers: { ...r.headers, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' } }),
    'in its region': (r) => authorized(r, (text) => text.replace('eu-west-3', 'eu-west-4')),
    'in the date of its scope': (r) => authorized(r, (text) => text.replace('/20260101/', '/20260102/')),
    'in its access key': (r) => authorized(r, (text) => text.replace(/AKIA\w{4}/, 'AKIAAAAA')),
    'in its signature': (r) => authorized(r, (text) => text.replace(/.$/, (last) => (last === '0' ? '1' : '0'))),
  };

  it.each(Object.keys(changes))('%s is refused', async (name) => {
    const change = changes[name];
    const request = await signed();
    await verify(request);
    const changed = change?.(request);
    expect(changed).not.toEqual(request);
    await expect(verify(changed ?? request)).rejects.toMatchObject({ code: 'signature-wrong' });
  });

  const forms: Readonly<Record<string, readonly [string, (request: SignedHttpRequest) => SignedHttpRequest]>> = {
    'by a header of AWS that is not signed': [
      'bad-signature-form',
      (r) => ({ ...r, headers: { ...r.headers, 'x-amz-target': 'X.Y' } }),
    ],
    'to sign no host': ['bad-signature-form', (r) => authorized(r, (text) => text.replace('host;', ''))],
    'to sign no date': ['bad-signature-form', (r) => authorized(r, (text) => text.replace(';x-amz-date', ''))],
    'to sign a header that is not there': [
      'bad-signature-form',
      (r) => authorized(r, (text) => text.replace('host;', 'host;nothing;')),
    ],
    'to name a header twice': [
      'bad-signature-form',
      (r) => authorized(r, (text) => text.replace('host;', 'host;host;')),
    ],
    'to another algorithm': ['bad-signature-form', (r) => authorized(r, (text) => text.replace('SHA256', 'SHA1'))],
    'to none': ['signature-missing', (r) => ({ ...r, headers: { ...r.headers, authorization: undefined } })],
    'to a signature in the query': [
      'signature-in-query',
      (r) => ({ ...r, url: `${r.url}&X-Amz-Signature=00`, headers: { ...r.headers, authorization: undefined } }),
    ],
    'to a body signed in parts': [
      'signature-streaming',
      (r) => ({
        ...r,
        headers: { ...r.headers, 'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' },
      }),
    ],
  };

  it.each(Object.keys(forms))('%s is refused by name', async (name) => {
    const [code, change] = forms[name] ?? ['', (r: SignedHttpRequest) => r];
    await expect(verify(change(await signed()))).rejects.toMatchObject({ code });
  });

  it('anywhere is refused: no change of one character of a header is taken', async () => {
    const request = await signed();
    const names = Object.keys(request.headers);
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat(), fc.integer({ min: 33, max: 126 }), async (which, where, code) => {
        const name = names[which % names.length] ?? '';
        const value = String(request.headers[name]);
        const at = where % value.length;
        const changed = value.slice(0, at) + String.fromCharCode(code) + value.slice(at + 1);
        // Of hexadecimal digits and dates too, only what came is what was signed.
        if (changed.trim() === value.trim()) return;
        await expect(verify({ ...request, headers: { ...request.headers, [name]: changed } })).rejects.toMatchObject({
          name: 'SgwError',
        });
      }),
      { numRuns: 400 },
    );
  });
});

const authorized = (request: SignedHttpRequest, change: (text: string) => string): SignedHttpRequest => ({
  ...request,
  headers: { ...request.headers, authorization: change(request.headers.authorization ?? '') },
});
