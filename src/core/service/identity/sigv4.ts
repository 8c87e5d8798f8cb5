/**
 * Verifies AWS Signature Version 4 in the header `Authorization`.
 *
 * What it accepts: any region that is one by its form, since clients are configured with one; the date of the scope must be
 * that of the request, the service the one that the API has. A request can be sent again within its 15 minutes, as with AWS:
 * what must not happen twice has a client token. TLS keeps it from others.
 *
 * An unknown key takes the same way as a wrong signature, with a secret that is nobody's, and ends in the same words.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { SgwError, SIGV4, SIGV4_TERMINATOR, Sigv4Signer, type CredentialScope } from '../../kit/index.ts';
import type { ServiceContext } from '../context.ts';
import { NO_SECRET, type AccessKeys, type SigningKey } from './access-keys.ts';
import type { Authenticator, SignatureVerdict, SignedHttpRequest, SigningName } from './authenticator.ts';
import { canonicalRequest } from './sigv4-canonical.ts';

const SKEW_MS = 15 * 60_000;
const HEADER_CHARACTERS_MAX = 4096;
const SIGNED_HEADERS_MAX = 64;
/** For the look at the access key. */
const DEADLINE_MS = 10_000;
const UNSIGNED = 'UNSIGNED-PAYLOAD';
const PAYLOAD_HEADER = 'x-amz-content-sha256';
const DATE_HEADER = 'x-amz-date';

const AUTHORIZATION = /^AWS4-HMAC-SHA256 +Credential=([^,\s]+), *SignedHeaders=([^,\s]+), *Signature=([0-9a-f]{64})$/;

const REGION = /^[a-z0-9-]{1,64}$/;

interface Authorization {
  readonly accessKeyId: string;
  readonly scope: CredentialScope;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
}

export class SigV4Authenticator implements Authenticator {
  readonly #context: ServiceContext;
  readonly #keys: Pick<AccessKeys, 'remembered' | 'signingKey'>;
  readonly #signer = new Sigv4Signer();
  /** By the headers that came. */
  readonly #proved = new WeakSet<SignedHttpRequest['headers']>();

  constructor(context: ServiceContext, keys: Pick<AccessKeys, 'remembered' | 'signingKey'>) {
    this.#context = context;
    this.#keys = keys;
  }

  /** Whether a request with these headers, the very object, was found to be signed by a user. */
  hasProved(headers: SignedHttpRequest['headers']): boolean {
    return this.#proved.has(headers);
  }

  async verify(request: SignedHttpRequest, signingName: SigningName): Promise<SignatureVerdict> {
    const authorization = authorizationOf(request);
    requireSigned(request, authorization);
    const sent = timeOf(request, authorization);
    const payloads = payloadsOf(request, signingName);
    const key = await this.#keyOf(authorization);
    const signatureFor = (canonical: string): string => {
      const { accessKeyId, scope } = authorization;
      const secretAccessKey = key?.secretAccessKey ?? NO_SECRET;
      return this.#signer.signature({ accessKeyId, secretAccessKey }, scope, sent.timestamp, canonical);
    };
    const payload = matching(request, authorization, signatureFor, payloads);
    const isForUs = authorization.scope.service === signingName && sent.date === authorization.scope.date;
    if (key === undefined || payload === undefined || !isForUs) throw wrong();
    // Only now, so that who has no key learns nothing of our clock.
    if (!(Math.abs(this.#context.blocks.clock.nowMs() - sent.timeMs) <= SKEW_MS)) throw stale(sent.timestamp);
    this.#proved.add(request.headers);
    const isOpen = payload !== UNSIGNED && request.body === null;
    return { user: key.user, payloadSha256: isOpen ? payload : null };
  }

  async #keyOf({ accessKeyId }: Authorization): Promise<SigningKey | undefined> {
    const remembered = this.#keys.remembered(accessKeyId);
    if (remembered !== undefined) return remembered.key;
    return await this.#keys.signingKey(accessKeyId, AbortSignal.timeout(DEADLINE_MS));
  }
}

/** @throws denied `signature-missing`; invalid `bad-signature-form`; unsupported `signature-in-query` */
function authorizationOf({ headers, url }: SignedHttpRequest): Authorization {
  const { authorization } = headers;
  if (authorization === undefined) {
    if (/[?&]X-Amz-(?:Signature|Credential)=/i.test(url)) throw inQuery();
    throw missing();
  }
  if (authorization.length > HEADER_CHARACTERS_MAX) throw badForm('its Authorization is too long');
  const [, credential = '', headerList = '', signature = ''] = AUTHORIZATION.exec(authorization.trim()) ?? [];
  const scope = scopeOf(credential);
  const signedHeaders = headerList.split(';');
  const isSorted = signedHeaders.every((name, at) => at === 0 || (signedHeaders[at - 1] ?? '') < name);
  if (
    scope === undefined ||
    !isSorted ||
    !signedHeaders.every(isHeaderName) ||
    signedHeaders.length > SIGNED_HEADERS_MAX
  )
    throw badForm(`its Authorization is not ${SIGV4} with a credential, signed headers and a signature`);
  return { ...scope, signedHeaders, signature };
}

function scopeOf(credential: string): Pick<Authorization, 'accessKeyId' | 'scope'> | undefined {
  const parts = credential.split('/');
  const [accessKeyId = '', date = '', region = '', service = '', terminator] = parts;
  const isFormed = parts.length === 5 && terminator === SIGV4_TERMINATOR && /^\d{8}$/.test(date) && REGION.test(region);
  return isFormed ? { accessKeyId, scope: { date, region, service } } : undefined;
}

const isHeaderName = (name: string): boolean => /^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$/.test(name);

/** What a request does is in its host and its `x-amz-*` headers: nobody may add or change one. */
function requireSigned({ headers }: SignedHttpRequest, { signedHeaders }: Authorization): void {
  const signed = new Set(signedHeaders);
  const isDated = signed.has(DATE_HEADER) || signed.has('date');
  const open = Object.keys(headers).find((name) => name.startsWith('x-amz-') && !signed.has(name));
  const absent = signedHeaders.find((name) => headers[name] === undefined);
  if (!signed.has('host') || !isDated) throw badForm('host and x-amz-date must be among its signed headers');
  if (open !== undefined) throw badForm(`its header ${open.slice(0, 64)} is not signed`);
  if (absent !== undefined) throw badForm(`its header ${absent.slice(0, 64)} is signed, and did not come`);
}

interface Sent {
  /** As it is signed: `YYYYMMDDTHHMMSSZ`. */
  readonly timestamp: string;
  readonly date: string;
  readonly timeMs: number;
}

function timeOf({ headers }: SignedHttpRequest, { signedHeaders }: Authorization): Sent {
  const given = signedHeaders.includes(DATE_HEADER) ? headers[DATE_HEADER] : headers.date;
  const text = typeof given === 'string' ? given : '';
  const basic = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  const [, year = '', month = '', day = '', hour = '', minute = '', second = ''] = basic ?? [];
  const timeMs = Date.parse(basic === null ? text : `${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(timeMs)) throw badForm('its date is none');
  const timestamp = new Date(timeMs).toISOString().replaceAll(/[-:]|\.\d{3}/g, '');
  return { timestamp, date: timestamp.slice(0, 8), timeMs };
}

/**
 * What the body may have been signed as. Not every client names it in a header; where none does, and the body is a stream
 * of EBS, it can only be unsigned.
 */
function payloadsOf({ headers, body }: SignedHttpRequest, signingName: SigningName): readonly string[] {
  const named = headers[PAYLOAD_HEADER];
  const maySkip = signingName === 'ebs' || body === null;
  const hash = body === null ? undefined : createHash('sha256').update(body).digest('hex');
  if (named === undefined) return [...(hash === undefined ? [] : [hash]), ...(signingName === 'ebs' ? [UNSIGNED] : [])];
  if (typeof named === 'string' && named.startsWith('STREAMING-')) throw streaming();
  if (named === UNSIGNED) {
    if (maySkip) return [UNSIGNED];
    throw badForm('its body is not signed');
  }
  if (typeof named !== 'string' || !/^[0-9a-f]{64}$/.test(named)) throw badForm(`its ${PAYLOAD_HEADER} is none`);
  return hash === undefined || hash === named ? [named] : [];
}

/** The payload that the signature is for; undefined when it is for none of them. */
function matching(
  request: SignedHttpRequest,
  { signedHeaders, signature }: Authorization,
  signatureFor: (canonical: string) => string,
  payloads: readonly string[],
): string | undefined {
  const { method, url, headers } = request;
  // With nothing to compare, the same work is done: how long it takes tells nothing.
  const tried = payloads.length === 0 ? [''] : payloads;
  const found = tried.find((payload) => {
    const canonical = canonicalRequest({ method, url, headers, signedHeaders, payload }) ?? '';
    return (
      timingSafeEqual(Buffer.from(signatureFor(canonical), 'hex'), Buffer.from(signature, 'hex')) && canonical !== ''
    );
  });
  return payloads.length === 0 ? undefined : found;
}

const HINT = 'Sign with the secret of the access key; `sgw` and the AWS SDKs and CLIs do.';

const missing = (): SgwError =>
  new SgwError('denied', 'signature-missing', 'the request is not signed', { hint: HINT });

const wrong = (): SgwError =>
  new SgwError('denied', 'signature-wrong', 'the signature is not that of the access key, or there is no such key', {
    hint: 'Check the access key id and the secret, and that nothing between changes the request.',
  });

const stale = (timestamp: string): SgwError =>
  new SgwError('denied', 'request-stale', `the request was signed at ${timestamp}, which is too far from now`, {
    hint: 'Set the clock right.',
  });

const badForm = (what: string): SgwError =>
  new SgwError('invalid', 'bad-signature-form', `the request is not signed as it must be: ${what}`, { hint: HINT });

const inQuery = (): SgwError =>
  new SgwError('unsupported', 'signature-in-query', 'a request that is signed in its query is not taken', {
    hint: 'Sign it in the header Authorization.',
  });

const streaming = (): SgwError =>
  new SgwError('unsupported', 'signature-streaming', 'a body that is signed in parts is not taken', {
    hint: 'Sign it whole.',
  });
