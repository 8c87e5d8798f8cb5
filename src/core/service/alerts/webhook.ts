/**
 * Calls a webhook: one HTTPS POST of JSON, signed.
 *
 * Invariants: the address that is connected to is one that was checked, whatever the name answers at another time; a redirect
 * is a failure, never followed; the whole has a deadline; of the answer only the status counts, and no more than a little of
 * its body is taken.
 */
import { createHmac } from 'node:crypto';
import { lookup as lookUp, type LookupAddress } from 'node:dns';
import { request } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { SgwError, toSgwError, type Clock } from '../../kit/index.ts';
import { isPublicAddress } from './addresses.ts';

const DEADLINE_MS = 10_000;
const ANSWER_BYTES_MAX = 64 * 1024;
const URL_LENGTH_MAX = 2048;
const SIGNATURE_HEADER = 'x-sgw-signature';

/** Resolves a name, as `dns.lookup` with `all`. */
export type Resolve = (host: string, done: (error: Error | null, addresses: readonly LookupAddress[]) => void) => void;

export interface WebhookParts {
  readonly clock: Clock;
  /** Of sgw, for the user agent. */
  readonly version: string;
  /** Also loopback, link-local and private networks: whoever runs the service said so. */
  readonly allowPrivate: boolean;
  /** PEM of further authorities, for receivers with certificates of their own. */
  readonly ca?: string | readonly string[];
  readonly resolve?: Resolve;
  readonly deadlineMs?: number;
}

/** @throws invalid `bad-webhook` */
export function checkWebhookUrl(text: unknown, { allowPrivate }: Pick<WebhookParts, 'allowPrivate'>): string {
  const url = typeof text === 'string' && text.length <= URL_LENGTH_MAX ? URL.parse(text) : null;
  if (url === null) throw badWebhook('it is no URL');
  if (url.protocol !== 'https:') throw badWebhook('it is not https://');
  if (url.username !== '' || url.password !== '') throw badWebhook('it has a user in it');
  if (url.hash !== '') throw badWebhook('it has a fragment');
  const host = hostOf(url);
  if (!allowPrivate && isIP(host) !== 0 && !isPublicAddress(host)) throw badWebhook(notPublic(host));
  return url.href;
}

/** What the header holds: the time and HMAC-SHA-256 of `<time>.<body>`, hex. */
function signatureOf(secret: string, atSeconds: number, body: string): string {
  const code = createHmac('sha256', secret)
    .update(`${String(atSeconds)}.${body}`, 'utf8')
    .digest('hex');
  return `t=${String(atSeconds)},v1=${code}`;
}

/**
 * Sends `body`, and resolves when the webhook took it with a 2xx.
 * @throws unavailable `webhook-failed`; timeout `webhook-timed-out`; denied `webhook-address-refused`; invalid `bad-webhook`
 */
export async function callWebhook(
  parts: WebhookParts,
  { url, secret, body }: { readonly url: string; readonly secret: string; readonly body: string },
  signal: AbortSignal,
): Promise<void> {
  const target = new URL(checkWebhookUrl(url, parts));
  const deadline = AbortSignal.timeout(parts.deadlineMs ?? DEADLINE_MS);
  const atSeconds = Math.floor(parts.clock.nowMs() / 1000);
  const bytes = Buffer.from(body, 'utf8');
  const headers = {
    'content-type': 'application/json',
    'content-length': bytes.length,
    'user-agent': `sgw/${parts.version}`,
    [SIGNATURE_HEADER]: signatureOf(secret, atSeconds, body),
  };
  try {
    const status = await post(target, { headers, bytes, signal: AbortSignal.any([signal, deadline]) }, parts);
    if (status >= 200 && status < 300) return;
    throw new SgwError('unavailable', 'webhook-failed', `the webhook at ${target.host} answered ${String(status)}`);
  } catch (error) {
    if (signal.aborted || error instanceof SgwError) throw error;
    if (deadline.aborted)
      throw new SgwError('timeout', 'webhook-timed-out', `the webhook at ${target.host} did not answer in time`);
    throw new SgwError(
      'unavailable',
      'webhook-failed',
      `the webhook at ${target.host} can not be reached: ${toSgwError(error).message}`,
    );
  }
}

interface Post {
  readonly headers: Readonly<Record<string, string | number>>;
  readonly bytes: Buffer;
  readonly signal: AbortSignal;
}

/** The status of the answer. */
async function post(target: URL, { headers, bytes, signal }: Post, parts: WebhookParts): Promise<number> {
  const { ca } = parts;
  return await new Promise<number>((resolve, reject) => {
    const sending = request(
      target,
      {
        method: 'POST',
        headers,
        signal,
        // A connection of its own: none is kept that was checked for another name.
        agent: false,
        lookup: checkedLookup(parts),
        ...(ca === undefined ? {} : { ca: typeof ca === 'string' ? ca : [...ca] }),
      },
      (answer) => {
        let received = 0;
        answer.on('data', (chunk: Buffer) => {
          received += chunk.length;
          if (received > ANSWER_BYTES_MAX) answer.destroy();
        });
        answer.on('error', () => undefined);
        // The status is all that counts: a body that is cut off, or too long, changes nothing.
        answer.on('close', () => {
          resolve(answer.statusCode ?? 0);
        });
      },
    );
    sending.on('error', reject);
    sending.end(bytes);
  });
}

const resolveBySystem: Resolve = (host, done) => {
  lookUp(host, { all: true, order: 'verbatim' }, done);
};

/** Gives only addresses that may be connected to, so that the connection is to one that was checked. */
function checkedLookup({ allowPrivate, resolve }: WebhookParts): LookupFunction {
  const all = resolve ?? resolveBySystem;
  return (host, options, done) => {
    all(host, (error, addresses) => {
      const refused = addresses.find(({ address }) => !allowPrivate && !isPublicAddress(address));
      const [first] = addresses;
      if (error !== null) done(error, '', 0);
      // All of them: a name that leads to one of ours beside one of the public is no webhook's.
      else if (refused !== undefined) done(addressRefused(host), '', 0);
      else if (first === undefined) done(new Error(`${host} has no address`), '', 0);
      else if (options.all === true) done(null, [...addresses]);
      else done(null, first.address, first.family);
    });
  };
}

const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[|\]$/g, '');

const notPublic = (address: string): string => `${address} is not an address of the public internet`;

/** Not which address: whoever made the alert learns nothing of the names in the service's own network. */
const addressRefused = (host: string): SgwError =>
  new SgwError(
    'denied',
    'webhook-address-refused',
    `the webhook's name ${host} leads to an address that is not of the public internet`,
    {
      hint: 'Whoever runs the service allows that by --alert-allow-private.',
    },
  );

const badWebhook = (why: string): SgwError =>
  new SgwError('invalid', 'bad-webhook', `the URL of the webhook is not usable: ${why}`, {
    hint: 'Give https://HOST/PATH, on the public internet unless the service allows others.',
  });
