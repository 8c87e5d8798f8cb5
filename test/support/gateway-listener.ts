/** A listener as gateways find it: HTTP/2 with mutual TLS on loopback, and whatever routes a test adds. */
import type { Http2SecureServer, ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import { FRAME_BYTES_MAX, SERVER_WINDOWS } from '../../src/core/objectstore/service/index.ts';
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
        maxSessionMemory: SERVER_WINDOWS.memoryMb,
        settings: {
          maxConcurrentStreams: 256,
          maxFrameSize: FRAME_BYTES_MAX,
          initialWindowSize: SERVER_WINDOWS.streamBytes,
        },
      },
    }) as unknown as FastifyInstance;
    const listener = new GatewayListener(signing, app);
    (app.server as unknown as Http2SecureServer).on('session', (session) => {
      session.setLocalWindowSize(SERVER_WINDOWS.sessionBytes);
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
