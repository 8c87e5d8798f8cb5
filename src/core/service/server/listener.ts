/**
 * One listener of the service: TLS, its limits, and what is the same for all front ends on it.
 *
 * States: made -> listening -> draining (new requests are refused, those under way go on) -> closed.
 * Invariants: every request on the gateways' listener but `/healthz` has a gateway that was proved and active when it came; an
 * address that was refused too often is answered by nothing else.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingHttpHeaders } from 'node:http';
import type { Server } from 'node:https';
import type { Http2SecureServer, Http2Session } from 'node:http2';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { SgwError, toSgwError, type Clock, type Logger } from '../../kit/index.ts';
import { FRAME_BYTES_MAX, SERVER_WINDOWS } from '../../objectstore/service/index.ts';
import type { GatewayPrincipals } from '../identity/gateway-principals.ts';
import type { GatewayPrincipal } from '../identity/principal.ts';
import { AddressRates, networkOf, type RateLimit } from './address-rates.ts';
import { sendFailure } from './failures.ts';
import type { FrontEnd } from './front-end.ts';
import type { ListenerName, ServerMetrics } from './metrics.ts';

export interface TlsSettings {
  /** PEM. */
  readonly certificate: string;
  readonly privateKey: string;
}

export interface ListenerLimits {
  readonly connectionsMax: number;
  /** For each address, beside which others still come in. */
  readonly connectionsOfAddressMax: number;
  /** Of requests of nobody that is known which were refused, for each address. */
  readonly refusals: RateLimit;
  /** Of those that were answered and may have changed something: messages of devices. */
  readonly unsigned: RateLimit;
}

export interface ListenerOptions {
  readonly name: ListenerName;
  readonly tls: TlsSettings;
  /** For the gateways' listener: whose certificates are taken, PEM, and who their holders are. */
  readonly mutual?: { readonly ca: string; readonly principals: GatewayPrincipals };
  /** Whether a request with these headers, the very object, was found to be signed by a user. */
  readonly isProved: (headers: IncomingHttpHeaders) => boolean;
  readonly frontEnds: readonly FrontEnd[];
  readonly limits: ListenerLimits;
  readonly metrics: ServerMetrics;
  readonly isHealthy: () => Promise<boolean>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly log: Logger;
}

/** What a front end does not say otherwise of its routes. */
const BODY_BYTES_MAX = 1 << 20;
const HANDSHAKE_TIMEOUT_MS = 10_000;
const HEADERS_TIMEOUT_MS = 20_000;
const REQUEST_TIMEOUT_MS = 120_000;
const KEEP_ALIVE_MS = 60_000;
const HTTP2_STREAMS_MAX = 256;
/** An HTTP/2 connection on which nothing is asked. */
const HTTP2_IDLE_MS = 10 * 60_000;
const AUTHENTICATION_MS = 10_000;
const URL_LENGTH_MAX = 8192;
const HEALTH_PATH = '/healthz';
/** Of an address that sent too many that were refused. */
const RETRY_AFTER_SECONDS = '5';

export class Listener {
  readonly #options: ListenerOptions;
  readonly #app: FastifyInstance;
  readonly #rates: Readonly<Record<'refusals' | 'unsigned', AddressRates>>;
  readonly #connections = new Map<string, number>();
  readonly #sockets = new Set<TLSSocket>();
  readonly #sessions = new Set<Http2Session>();
  readonly #gateways = new WeakMap<FastifyRequest, GatewayPrincipal>();
  readonly #frontEnds = new WeakMap<FastifyRequest, string>();
  #isDraining = false;
  #closed: Promise<void> | undefined;

  constructor(options: ListenerOptions) {
    this.#options = options;
    const { limits, clock } = options;
    this.#rates = {
      refusals: new AddressRates(limits.refusals, clock),
      unsigned: new AddressRates(limits.unsigned, clock),
    };
    this.#app = newApp(options);
    this.#watchConnections();
    this.#addHooks();
    this.#addHealth();
  }

  /** Who sent a request to this listener. */
  gatewayOf(request: FastifyRequest): GatewayPrincipal {
    const gateway = this.#gateways.get(request);
    if (gateway !== undefined) return gateway;
    throw new SgwError('internal', 'assertion', 'assertion failed: a request of a gateway has its principal');
  }

  /** Resolves with the port. @throws unavailable `address-in-use`; denied */
  async listen(host: string, port: number): Promise<number> {
    for (const frontEnd of this.#options.frontEnds) {
      await this.#app.register(async (app) => {
        app.addHook('onRequest', async (request) => {
          this.#frontEnds.set(request, frontEnd.name);
          return Promise.resolve();
        });
        await frontEnd.add(app);
      });
    }
    await this.#app.ready();
    const server = this.#server;
    server.listen({ host, port });
    try {
      await once(server, 'listening');
    } catch (error) {
      throw listenFailure(error, this.#options.name, `${host}:${String(port)}`);
    }
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : port;
  }

  /** For connections from now on. */
  renew({ certificate, privateKey }: TlsSettings): void {
    const { mutual } = this.#options;
    this.#server.setSecureContext({
      ...{ cert: certificate, key: privateKey, minVersion: 'TLSv1.2' },
      ...(mutual === undefined ? {} : { ca: mutual.ca }),
    });
  }

  /** Refuses new requests, and ends when those under way are answered. Idempotent; `cut` ends it at once. */
  async close(): Promise<void> {
    this.#isDraining = true;
    this.#closed ??= this.#closeOnce();
    await this.#closed;
  }

  cut(): void {
    for (const session of this.#sessions) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }

  async #closeOnce(): Promise<void> {
    for (const session of this.#sessions) session.close();
    await this.#app.close();
  }

  get #server(): Server & Http2SecureServer {
    return this.#app.server as unknown as Server & Http2SecureServer;
  }

  #watchConnections(): void {
    const { name, metrics, limits, log } = this.#options;
    const server = this.#server;
    server.maxConnections = limits.connectionsMax;
    // Before TLS, so that those that never end a handshake count as well.
    server.on('connection', (socket: Socket) => {
      this.#admit(socket);
    });
    server.on('secureConnection', (socket: TLSSocket) => {
      this.#sockets.add(socket);
      metrics.opened(name);
      socket.once('close', () => {
        this.#sockets.delete(socket);
        metrics.closed(name);
      });
    });
    server.on('session', (session: Http2Session) => {
      this.#sessions.add(session);
      session.setLocalWindowSize(SERVER_WINDOWS.sessionBytes);
      session.setTimeout(HTTP2_IDLE_MS, () => {
        session.close();
      });
      session.once('close', () => this.#sessions.delete(session));
    });
    server.on('tlsClientError', (error: Error) => {
      log.debug({ listener: name, reason: error.message }, 'a connection did not become one');
    });
  }

  #admit(socket: Socket): void {
    const network = networkOf(socket.remoteAddress ?? '');
    const count = (this.#connections.get(network) ?? 0) + 1;
    if (count > this.#options.limits.connectionsOfAddressMax) {
      this.#options.metrics.refused(this.#options.name, 'connections');
      socket.destroy();
      return;
    }
    this.#connections.set(network, count);
    socket.once('close', () => {
      const left = (this.#connections.get(network) ?? 1) - 1;
      if (left > 0) this.#connections.set(network, left);
      else this.#connections.delete(network);
    });
  }

  #addHooks(): void {
    const { name, mutual, metrics, clock, log } = this.#options;
    const started = new WeakMap<FastifyRequest, number>();
    this.#app.addHook('onRequest', async (request, reply) => {
      started.set(request, clock.monotonicMs());
      void reply.header('x-sgw-request-id', request.id);
      if (request.url === HEALTH_PATH) return;
      if (this.#isDraining) {
        metrics.refused(name, 'draining');
        void reply.header('connection', 'close');
        throw draining();
      }
      const { refusals, unsigned } = this.#rates;
      const address = addressOf(request);
      if (!refusals.isOpen(address) || !unsigned.isOpen(address)) {
        metrics.refused(name, 'rate');
        void reply.header('retry-after', RETRY_AFTER_SECONDS);
        throw tooMany();
      }
      if (mutual === undefined) return;
      const signal = AbortSignal.timeout(AUTHENTICATION_MS);
      this.#gateways.set(request, await mutual.principals.ofSocket(socketOf(request), signal));
    });
    this.#app.addHook('onResponse', async (request, reply) => {
      const durationMs = Math.round(clock.monotonicMs() - (started.get(request) ?? clock.monotonicMs()));
      const frontEnd = this.#frontEnds.get(request) ?? 'none';
      const { statusCode: status } = reply;
      this.#count(request, status);
      metrics.answered(frontEnd, status, durationMs);
      // The pattern, and not what was asked for: tokens and keys may be in that.
      const route = request.routeOptions.url ?? null;
      const level =
        status >= 500 ? 'warn' : request.method === 'POST' || request.method === 'DELETE' ? 'info' : 'debug';
      log[level](
        { requestId: request.id, listener: name, frontEnd, method: request.method, route, status, durationMs },
        'request',
      );
      return Promise.resolve();
    });
    this.#app.setErrorHandler(async (error, _request, reply) => await sendFailure(error, reply, log));
    this.#app.setNotFoundHandler(async (_request, reply) => {
      const failure = new SgwError('notFound', 'unknown-path', 'there is nothing at this path');
      return await sendFailure(failure, reply, log);
    });
  }

  /** What of strangers counts. Who is known may be wrong as often as he likes: he can be told so, and be revoked. */
  #count(request: FastifyRequest, status: number): void {
    if (this.#gateways.has(request) || this.#options.isProved(request.raw.headers)) return;
    const { refusals, unsigned } = this.#rates;
    if (isRefusal(status)) refusals.spend(addressOf(request));
    else if (request.method !== 'GET' && request.method !== 'HEAD') unsigned.spend(addressOf(request));
  }

  #addHealth(): void {
    this.#app.get(HEALTH_PATH, async (_request, reply: FastifyReply) => {
      const state = this.#isDraining ? 'draining' : (await this.#options.isHealthy()) ? 'serving' : 'store-unavailable';
      return await reply
        .code(state === 'serving' ? 200 : 503)
        .header('cache-control', 'no-store')
        .send({ state });
    });
  }
}

function newApp({ tls, mutual }: ListenerOptions): FastifyInstance {
  const https = {
    cert: tls.certificate,
    key: tls.privateKey,
    minVersion: 'TLSv1.2' as const,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
  };
  const common = {
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    exposeHeadRoutes: false,
    requestIdHeader: false as const,
    genReqId: () => randomUUID(),
    routerOptions: { maxParamLength: URL_LENGTH_MAX },
  };
  const app =
    mutual === undefined
      ? fastify({ ...common, forceCloseConnections: 'idle', https })
      : fastify({
          ...common,
          http2: true,
          https: {
            ...https,
            allowHTTP1: true,
            ca: mutual.ca,
            requestCert: true,
            // Refused by name, in the hook: a gateway whose certificate has expired is to learn that.
            rejectUnauthorized: false,
            maxSessionMemory: SERVER_WINDOWS.memoryMb,
            settings: {
              maxConcurrentStreams: HTTP2_STREAMS_MAX,
              maxFrameSize: FRAME_BYTES_MAX,
              initialWindowSize: SERVER_WINDOWS.streamBytes,
            },
          },
        });
  const made = app as unknown as FastifyInstance;
  Object.assign(made.server, { headersTimeout: HEADERS_TIMEOUT_MS });
  return made;
}

/** What an honest stranger rarely gets. APIs of AWS say 400 as well of a signature that is none. */
const isRefusal = (status: number): boolean => status === 400 || status === 401 || status === 403;

/** Of an HTTP/2 stream that has ended there may be none any more. */
const addressOf = (request: FastifyRequest): string =>
  (request.raw.socket as Partial<Socket> | undefined)?.remoteAddress ?? '';

/** The TLS connection; of HTTP/2, that of the session, whichever of its streams it is. */
function socketOf({ raw }: FastifyRequest): TLSSocket {
  const { socket, stream } = raw as unknown as Transport;
  return stream?.session?.socket ?? socket;
}

/** Of HTTP/1.1 over TLS, and of HTTP/2. */
interface Transport {
  readonly socket: TLSSocket;
  readonly stream?: { readonly session?: { readonly socket: TLSSocket } };
}

const draining = (): SgwError =>
  new SgwError('unavailable', 'service-draining', 'this server of the service is stopping', {
    hint: 'Try again; another server answers, or this one when it is back.',
  });

const tooMany = (): SgwError =>
  new SgwError('unavailable', 'too-many-requests', 'too many requests of this address were refused', {
    hint: 'Try again in a few seconds.',
  });

function listenFailure(error: unknown, name: ListenerName, place: string): SgwError {
  const { code } = error as NodeJS.ErrnoException;
  const flag = name === 'api' ? '--listen' : '--gateway-listen';
  if (code === 'EADDRINUSE')
    return new SgwError('unavailable', 'address-in-use', `${place} is in use by another program`, {
      hint: `Give another one: ${flag} HOST:PORT`,
      details: { place },
    });
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
    return new SgwError('invalid', 'bad-listen', `${place} is no address of this machine`, {
      hint: `Give another one: ${flag} HOST:PORT`,
      details: { place },
    });
  return toSgwError(error);
}
