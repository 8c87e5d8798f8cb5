/**
 * Control servers and gateways over real TLS on loopback: the service's own CA, gateways with certificates of it, the control
 * plane's front end behind a fastify server as the service has it. Shared by unit tests and the soak.
 */
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import fastify from 'fastify';
import {
  seededRandom,
  systemClock,
  systemRandom,
  type Logger,
  type Random,
  type SgwError,
} from '../../../src/core/kit/index.ts';
import { ControlLink, type LinkIdentity, type LinkOptions } from '../../../src/core/gateway/remote/index.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import { certificateRequest, PrivateKey } from '../../../src/core/protocol/index.ts';
import {
  ControlPlane,
  controlFrontEnd,
  MemoryBus,
  type ControlPlaneParts,
} from '../../../src/core/service/controlplane/index.ts';
import type { MemoryHub } from '../../../src/core/service/controlplane/memory-bus.ts';
import type { ControlBus } from '../../../src/core/service/controlplane/control-bus.ts';
import { CertificateAuthority } from '../../../src/core/service/identity/certificates.ts';
import type { GatewayRecord } from '../../../src/core/service/identity/gateways.ts';
import { ServiceKey } from '../../../src/core/service/identity/service-key.ts';

export const ANNA = '111111111111';
export const BERT = '222222222222';

const ignore = (): void => undefined;
export const SILENT: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };

/** A CA, and the gateways that it knows. */
export class ControlNetwork {
  readonly ca: CertificateAuthority;
  readonly records = new Map<string, GatewayRecord>();
  readonly #random: Random;

  private constructor(ca: CertificateAuthority, random: Random) {
    this.ca = ca;
    this.#random = random;
  }

  static async make(): Promise<ControlNetwork> {
    const blocks = { objects: memoryStore(), clock: systemClock, random: systemRandom };
    const context = { blocks, serviceId: 'store-0123456789abcdef', isEmbedded: false };
    const key = new ServiceKey(systemRandom.bytes(32), systemRandom);
    const ca = await CertificateAuthority.open(context, key, new AbortController().signal);
    return new ControlNetwork(ca, seededRandom(7));
  }

  /** A gateway that is registered, with its certificate. */
  async gateway(gatewayId: string, accountId = ANNA): Promise<GatewayOnNet> {
    const key = PrivateKey.make(this.#random);
    const record: GatewayRecord = {
      ...{ gatewayId, gatewayName: gatewayId, accountId, mode: 'cached', region: 'local' },
      ...{ publicKey: key.publicKey, credentialId: 'cred-1', activationId: 'act-1', state: 'active' },
      ...{ registeredAt: new Date().toISOString(), deregisteredAt: null, configurationVersion: 1 },
    };
    this.records.set(gatewayId, record);
    const { certificate } = await this.ca.issueGateway(record, await certificateRequest(key, gatewayId));
    return { record, key, identity: { ca: this.ca.certificate, certificate, privateKey: key.pem() } };
  }
}

export interface GatewayOnNet {
  readonly record: GatewayRecord;
  readonly key: PrivateKey;
  readonly identity: LinkIdentity;
}

/** A control server that listens. */
export interface ListeningServer extends AsyncDisposable {
  readonly plane: ControlPlane;
  readonly url: string;
  readonly bus: ControlBus;
  /** Cuts every connection without a word. */
  readonly kill: () => Promise<void>;
}

export interface ServerOptions {
  readonly bus?: ControlBus | ((url: string) => ControlBus | Promise<ControlBus>);
  readonly hub?: MemoryHub;
  readonly port?: number;
  readonly parts?: Partial<ControlPlaneParts>;
}

/** What a server shows, and whom it knows. */
export interface ServerIdentity {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly records: ReadonlyMap<string, GatewayRecord>;
}

export async function startServer(network: ControlNetwork, options: ServerOptions = {}): Promise<ListeningServer> {
  const { certificate: cert, privateKey: key } = await network.ca.issueServer(['127.0.0.1']);
  const identity = { cert, key, ca: network.ca.certificate, records: network.records };
  return await serveAs(identity, { ...options, parts: { certificates: network.ca, ...options.parts } });
}

export async function serveAs(
  { cert, key, ca, records }: ServerIdentity,
  options: ServerOptions,
): Promise<ListeningServer> {
  const app = fastify({
    http2: true,
    https: { allowHTTP1: true, cert, key, ca, requestCert: true, rejectUnauthorized: true },
  });
  const sockets = new Set<Socket>();
  app.server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const late: { plane?: ControlPlane } = {};
  const gatewayOf = (request: { readonly raw: { readonly socket: unknown } }) => {
    const socket = request.raw.socket as TLSSocket;
    const gatewayId = /^CN=(.*)$/.exec(socket.getPeerX509Certificate()?.subject ?? '')?.[1] ?? '';
    const { accountId = '' } = records.get(gatewayId) ?? {};
    return { kind: 'gateway', gatewayId, accountId } as const;
  };
  const open = (): ControlPlane => {
    if (late.plane === undefined) throw new Error('the server listens before it is ready');
    return late.plane;
  };
  const frontEnd = controlFrontEnd(
    {
      accept: async (...args) => open().accept(...args),
      close: async () => open().close(),
    },
    gatewayOf,
  );
  await app.register(async (inner) => frontEnd.add(inner as never));
  await app.listen({ host: '127.0.0.1', port: options.port ?? 0 });
  const { port } = app.server.address() as AddressInfo;
  const url = `https://127.0.0.1:${String(port)}`;
  const { hub } = options;
  const fallback = (): ControlBus =>
    new MemoryBus({
      serverId: `server-${String(port)}`,
      address: url,
      clock: systemClock,
      ...(hub === undefined ? {} : { hub }),
    });
  const bus = typeof options.bus === 'function' ? await options.bus(url) : (options.bus ?? fallback());
  const plane = new ControlPlane({
    bus,
    clock: systemClock,
    random: systemRandom,
    log: SILENT,
    recordOf: async (gatewayId) => Promise.resolve(records.get(gatewayId)),
    ...options.parts,
  });
  await plane.start(new AbortController().signal);
  late.plane = plane;
  let closed: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    await plane.close(0);
    await app.close();
  };
  return {
    plane,
    url,
    bus,
    kill: async () => {
      if (bus instanceof MemoryBus) bus.crash();
      for (const socket of sockets) socket.destroy();
      closed ??= close();
      await closed;
    },
    [Symbol.asyncDispose]: async () => {
      closed ??= close();
      await closed;
    },
  };
}

/** A gateway's connection with what its handler answers; `log` of failures for tests. */
export function openLink(
  { record, identity }: Pick<GatewayOnNet, 'record' | 'identity'>,
  servers: readonly string[],
  handler: LinkOptions['handler'],
  options: Partial<LinkOptions> = {},
): ControlLink {
  return new ControlLink({
    servers: () => servers,
    identity: async () => Promise.resolve(identity),
    hello: async () =>
      Promise.resolve({
        gatewayId: record.gatewayId,
        software: '1.0.0',
        configurationVersion: record.configurationVersion,
        remoteManagement: true,
      }),
    handler,
    onWelcome: () => undefined,
    clock: systemClock,
    random: systemRandom,
    log: SILENT,
    ...options,
  });
}

/** Resolves when `isSo` is true. @throws when it is not within the time */
export async function until(isSo: () => boolean, what: string, timeoutMs = 15_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!isSo()) {
    if (performance.now() > endMs) throw new Error(`not within ${String(timeoutMs)} ms: ${what}`);
    await systemClock.sleep(10);
  }
}

/** The code of what `work` fails with. */
export async function codeOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => 'ok',
    (error: unknown) => (error as SgwError).code,
  );
}
