/**
 * Stands before a data endpoint on loopback, and makes the way to it unreliable: an HTTP/2 server with a certificate of the same
 * authority, that passes each stream on over a connection of its own to the real one, with faults by script.
 */
import { connect, constants, createSecureServer, type ClientHttp2Session, type Http2SecureServer } from 'node:http2';
import type { ServerHttp2Session, ServerHttp2Stream, IncomingHttpHeaders } from 'node:http2';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServiceIdentity } from '../../src/core/objectstore/index.ts';
import type { TestAuthority } from './certificates.ts';

/**
 * - `busy`: answered 503, not by the service. - `foreign`: answered 404 as a web server would. - `cut`: the connection ends,
 * not passed on. - `lost`: passed on and answered, and then the connection ends instead of the reply. - `half`: it ends in the
 * middle of the reply's body. - `stall`: the same, but it stays open and silent. - `silent`: passed on, and never answered.
 * - `sent-damaged`, `got-damaged`: a byte of the body is another one.
 */
export type StreamFault =
  'busy' | 'foreign' | 'cut' | 'lost' | 'half' | 'stall' | 'silent' | 'sent-damaged' | 'got-damaged';

export interface PassingStream {
  readonly method: string;
  readonly path: string;
  /** From 0. */
  readonly index: number;
}

export class Http2Proxy implements AsyncDisposable {
  readonly #server: Http2SecureServer;
  readonly #upstream: ClientHttp2Session;
  readonly #sessions = new Set<ServerHttp2Session>();
  #count = 0;
  latencyMs = 0;
  fault: ((passing: PassingStream) => StreamFault | undefined) | undefined;
  /** Faults by kind, so far, and sessions that were opened. */
  readonly seen = new Map<string, number>();

  private constructor(server: Http2SecureServer, upstream: ClientHttp2Session) {
    this.#server = server;
    this.#upstream = upstream;
    upstream.on('error', () => undefined);
    server.on('session', (session) => {
      this.#tally('session');
      this.#sessions.add(session);
      session.setLocalWindowSize(8 << 20);
      session.on('error', () => undefined);
      session.on('close', () => this.#sessions.delete(session));
    });
    server.on('stream', (stream, headers) => {
      stream.on('error', () => undefined);
      this.#pass(stream, headers).catch(() => {
        stream.session?.destroy();
      });
    });
  }

  static async start(authority: TestAuthority, port: number, identity: ServiceIdentity): Promise<Http2Proxy> {
    const { certificate, privateKey } = await authority.server();
    const server = createSecureServer({ cert: certificate, key: privateKey });
    const upstream = connect(`https://127.0.0.1:${String(port)}`, {
      ...{ ca: identity.ca, cert: identity.certificate, key: identity.privateKey },
      settings: { initialWindowSize: 4 << 20 },
    });
    server.listen(0, '127.0.0.1');
    await Promise.all([once(server, 'listening'), once(upstream, 'connect')]);
    return new Http2Proxy(server, upstream);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  #tally(what: string): void {
    this.seen.set(what, (this.seen.get(what) ?? 0) + 1);
  }

  async #pass(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    const method = String(headers[':method']);
    const path = String(headers[':path']);
    const fault = this.fault?.({ method, path, index: this.#count++ });
    if (fault !== undefined) this.#tally(fault);
    if (this.latencyMs > 0) await delay(this.latencyMs);
    if (fault === 'cut') {
      stream.session?.destroy();
      return;
    }
    const sent = await whole(stream);
    if (fault === 'busy' || fault === 'foreign') {
      stream.respond({ ':status': fault === 'busy' ? 503 : 404, 'content-type': 'text/html' });
      stream.end('<html>something else</html>');
      return;
    }
    await this.#forward(stream, headers, fault === 'sent-damaged' ? damaged(sent) : sent, fault);
  }

  async #forward(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    body: Buffer,
    fault: StreamFault | undefined,
  ): Promise<void> {
    const { host: _host, ':authority': _authority, ...passed } = headers;
    const to = this.#upstream.request(passed, { endStream: headers[':method'] !== 'PUT' });
    to.on('error', () => undefined);
    if (headers[':method'] === 'PUT') to.end(body);
    const [answer] = (await once(to, 'response')) as [Record<string, string>];
    const got = await whole(to);
    if (fault === 'silent') return;
    if (fault === 'lost') {
      stream.session?.destroy();
      return;
    }
    if (stream.destroyed) return;
    const { [constants.HTTP2_HEADER_CONNECTION]: _connection, ...answered } = answer;
    stream.respond(answered);
    if (fault === 'half' || fault === 'stall') {
      stream.write(got.subarray(0, got.length >> 1));
      await delay(20);
      if (fault === 'half') stream.session?.destroy();
    } else stream.end(fault === 'got-damaged' ? damaged(got) : got);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const session of this.#sessions) session.destroy();
    this.#upstream.destroy();
    await new Promise<void>((resolve) => {
      this.#server.close(() => {
        resolve();
      });
    });
  }
}

async function whole(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream));
}

function damaged(body: Buffer): Buffer {
  const at = body.length >> 1;
  const other = Buffer.from(body);
  if (other.length > 0) other[at] = (other[at] ?? 0) ^ 1;
  return other;
}
