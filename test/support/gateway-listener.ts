/** A listener as gateways find it: HTTP/2 with mutual TLS on loopback, and whatever routes a test adds. */
import type { Http2SecureServer, ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import { TestAuthority } from './certificates.ts';

export class GatewayListener implements AsyncDisposable {
  readonly authority: TestAuthority;
  readonly #app: FastifyInstance;
  readonly #sessions = new Set<ServerHttp2Session>();

  private constructor(authority: TestAuthority, app: FastifyInstance) {
    this.authority = authority;
    this.#app = app;
  }

  static async start(
    add: (app: FastifyInstance) => void | Promise<void>,
    authority?: TestAuthority,
  ): Promise<GatewayListener> {
    const signing = authority ?? (await TestAuthority.create());
    const { certificate, privateKey } = await signing.server();
    const app = fastify({
      http2: true,
      https: {
        allowHTTP1: true,
        ca: signing.ca,
        cert: certificate,
        key: privateKey,
        requestCert: true,
        rejectUnauthorized: true,
        settings: { initialWindowSize: 4 * 1024 * 1024, maxConcurrentStreams: 256 },
      },
    }) as unknown as FastifyInstance;
    const listener = new GatewayListener(signing, app);
    (app.server as unknown as Http2SecureServer).on('session', (session) => {
      session.setLocalWindowSize(32 * 1024 * 1024);
      listener.#sessions.add(session);
      session.on('error', () => undefined);
      session.on('close', () => listener.#sessions.delete(session));
    });
    await app.register(async (context) => {
      await add(context);
    });
    await app.listen({ host: '127.0.0.1', port: 0 });
    return listener;
  }

  get port(): number {
    return (this.#app.server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.#app.close();
    for (const session of this.#sessions) session.destroy();
    await closed;
  }
}

/** The common name of the certificate that a request came with. */
export function commonNameOf(request: FastifyRequest): string {
  const { socket } = request.raw as unknown as { readonly socket: Pick<TLSSocket, 'getPeerCertificate'> };
  return String(socket.getPeerCertificate().subject.CN);
}
