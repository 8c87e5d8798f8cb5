/**
 * The page that a device shows on its own network while it waits to be claimed (S5): the key, and what a person compares.
 *
 *   /?activationRegion=R[&gatewayType=T]               redirects to the service's page, with the key
 *   /?activationRegion=R[&gatewayType=T]&no_redirect   the key as text
 *   /                                                  a page for people
 *
 * It is open while somebody waits, and closed with the activation. Whoever can read it can claim the device for an account of
 * his, and gets nothing else: the credential goes to the holder of the private key. So it is on the loopback interface unless
 * somebody says otherwise, answers nothing but GET, and is kept by no cache and in no frame.
 */
import { isIP } from 'node:net';
import { escapedHtml, SgwError, toSgwError } from '../../kit/index.ts';

export interface PageFacts {
  readonly serviceUrl: string;
  readonly activationKey: string;
  readonly expiresAt: string;
  readonly keyFingerprint: string;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface Page extends AsyncDisposable {
  readonly url: string;
}

const CONNECTIONS_MAX = 32;
const REQUEST_TIMEOUT_MS = 10_000;
const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const;

/** Where a customer claims the device. */
export function claimUrl(serviceUrl: string, activationKey: string, gatewayType?: string): string {
  const url = new URL('/activate', serviceUrl);
  url.searchParams.set('activationKey', activationKey);
  if (gatewayType !== undefined) url.searchParams.set('gatewayType', gatewayType);
  return url.href;
}

/**
 * Opens the page at `HOST:PORT`, an address of this machine; port 0: any. Loads the server.
 * @throws invalid `bad-page-address`; unavailable `page-address-used`; what the system refuses with
 */
export async function openPage(at: string, facts: PageFacts): Promise<Page> {
  const { host, port } = readAddress(at);
  const { default: fastify } = await import('fastify');
  const app = fastify({
    logger: false,
    bodyLimit: 1024,
    connectionTimeout: REQUEST_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: 1000,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
  });
  app.server.maxConnections = CONNECTIONS_MAX;
  app.addHook('onSend', (_request, reply, _payload, done) => {
    void reply.headers(HEADERS);
    done();
  });
  app.get('/', async (request, reply) => {
    const query = request.query as Readonly<Record<string, unknown>>;
    if (query['activationRegion'] === undefined) return await reply.type('text/html; charset=utf-8').send(html(facts));
    const gatewayType = word(query['gatewayType']);
    if ('no_redirect' in query) return await reply.type('text/plain; charset=utf-8').send(facts.activationKey);
    return await reply.redirect(claimUrl(facts.serviceUrl, facts.activationKey, gatewayType), 302);
  });
  app.setNotFoundHandler(async (_request, reply) => reply.code(404).type('text/plain').send('not here\n'));
  app.setErrorHandler(async (_error, _request, reply) => reply.code(400).type('text/plain').send('not so\n'));
  try {
    await app.listen({ host, port, backlog: CONNECTIONS_MAX });
  } catch (error) {
    await app.close();
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') throw addressUsed(at, error);
    throw toSgwError(error);
  }
  const bound = app.server.address();
  const boundPort = typeof bound === 'object' && bound !== null ? bound.port : port;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${String(boundPort)}/`,
    [Symbol.asyncDispose]: async () => {
      await app.close();
    },
  };
}

/** A value of the query that is passed on: a short word, or nothing. */
const word = (value: unknown): string | undefined =>
  typeof value === 'string' && /^\w{1,32}$/.test(value) ? value : undefined;

function readAddress(at: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+)):(\d{1,5})$/i.exec(at);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  if (match !== null && port <= 65_535 && (match[1] === undefined || isIP(host) === 6)) return { host, port };
  throw new SgwError('invalid', 'bad-page-address', `"${at.slice(0, 100)}" is no address for a page`, {
    hint: 'Give HOST:PORT, such as 127.0.0.1:8480 or [::1]:8480.',
  });
}

const addressUsed = (at: string, cause: unknown): SgwError =>
  new SgwError('unavailable', 'page-address-used', `something else listens at ${at} already`, {
    hint: 'Give another place for the page: --page HOST:PORT, or --page off for none.',
    details: { address: at },
    cause,
  });

function html({ serviceUrl, activationKey, expiresAt, keyFingerprint, metadata }: PageFacts): string {
  const rows = [
    ['activation key', activationKey],
    ['good until', expiresAt],
    ['fingerprint of its public key', keyFingerprint],
    ...Object.entries(metadata),
  ]
    .map(
      ([name = '', value = '']) => `<tr><th>${escapedHtml(name)}</th><td><code>${escapedHtml(value)}</code></td></tr>`,
    )
    .join('\n');
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>sgw: activation</title>
<style>body{font:16px sans-serif;margin:3em auto;max-width:48em}th{text-align:left;padding-right:1em;font-weight:normal}</style></head>
<body>
<h1>This gateway waits to be claimed</h1>
<p>Take its activation key to <a href="${escapedHtml(claimUrl(serviceUrl, activationKey))}">${escapedHtml(serviceUrl)}</a>,
and compare what is shown there with this page.</p>
<table>
${rows}
</table>
</body>
</html>
`;
}
