/** A service on the network, in this process: both listeners on loopback, over a store in memory, for any clock. */
import type { FastifyRequest } from 'fastify';
import { systemClock, systemRandom, type Clock, type Logger } from '../../src/core/kit/index.ts';
import { memoryStore, type ObjectStore } from '../../src/core/objectstore/index.ts';
import { createStore } from '../../src/core/blockstore/index.ts';
import type { AccessKey } from '../../src/core/serviceclient/index.ts';
import type { GatewayPrincipal } from '../../src/core/service/identity/principal.ts';
import { openProviderStore } from '../../src/core/service/providerkeys/index.ts';
import {
  authorityPage,
  customerMessages,
  gatewayMessages,
  NetworkMessages,
  openNetworkService,
  ServerMetrics,
  ServiceKey,
  ServiceServer,
  type FrontEnd,
  type NetworkService,
} from '../../src/core/service/server/index.ts';

const ignore = (): void => undefined;
const SILENT: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };
const SECRET = Buffer.alloc(32, 7);

export interface LiveServiceOptions {
  readonly objects?: ObjectStore;
  /** Whether the service seals what it stores in `objects`. */
  readonly isSealed?: boolean;
  readonly clock?: Clock;
  /** Where it listens; 0: anywhere. To be the same service again after an end. */
  readonly ports?: { readonly api: number; readonly gateways: number };
  readonly frontEnds?: (parts: {
    readonly service: NetworkService;
    readonly messages: NetworkMessages;
    readonly serviceKey: ServiceKey;
    readonly log: Logger;
    readonly gatewayOf: (request: FastifyRequest) => GatewayPrincipal;
  }) => readonly FrontEnd[];
}

export class LiveService implements AsyncDisposable {
  readonly url: string;
  readonly ports: { readonly api: number; readonly gateways: number };
  readonly objects: ObjectStore;
  readonly service: NetworkService;
  readonly messages: NetworkMessages;
  /** Of root, where this start made it. */
  readonly rootKey: AccessKey | null;
  readonly #server: ServiceServer;

  private constructor(made: {
    readonly objects: ObjectStore;
    readonly service: NetworkService;
    readonly messages: NetworkMessages;
    readonly server: ServiceServer;
    readonly ports: LiveService['ports'];
  }) {
    this.objects = made.objects;
    this.service = made.service;
    this.messages = made.messages;
    this.#server = made.server;
    this.ports = made.ports;
    this.url = `https://127.0.0.1:${String(made.ports.api)}`;
    this.rootKey = made.service.rootKey;
  }

  static async start({
    objects: below = memoryStore(),
    isSealed = false,
    clock = systemClock,
    ports = { api: 0, gateways: 0 },
    frontEnds,
  }: LiveServiceOptions = {}): Promise<LiveService> {
    const plain = { objects: below, clock, random: systemRandom };
    const { signal } = new AbortController();
    const serviceKey = new ServiceKey(SECRET, systemRandom);
    const sealed = isSealed ? await openProviderStore(plain, serviceKey, { mayBegin: true, signal }) : undefined;
    const objects = sealed?.objects ?? below;
    const blocks = { ...plain, objects };
    const { storeId: serviceId } = await createStore(blocks);
    const service = await openNetworkService(
      { ...sealed, blocks, serviceId, isEmbedded: false },
      serviceKey,
      { newRootKey: false },
      signal,
    );
    const { keys, authority, alerts, principals, authenticator } = service;
    const tls = await authority.issueServer(['127.0.0.1', 'localhost']);
    const about = { serviceId, region: 'lab-1', gatewayAddress: '', caFingerprint: authority.fingerprint };
    const messages = new NetworkMessages(service, { keys, authority, alerts, about: () => about });
    const server = new ServiceServer({
      frontEnds: (gatewayOf: (request: FastifyRequest) => GatewayPrincipal) => [
        customerMessages(messages, authenticator),
        gatewayMessages(messages, gatewayOf),
        authorityPage(authority.certificate),
        ...(frontEnds?.({ service, messages, serviceKey, log: SILENT, gatewayOf }) ?? []),
      ],
      tls: { api: tls, gateways: tls },
      ca: authority.certificate,
      principals,
      isProved: (headers) => authenticator.hasProved(headers),
      metrics: new ServerMetrics('0.0.0'),
      isHealthy: async () => Promise.resolve(true),
      clock,
      log: SILENT,
    });
    const place = (port: number): { host: string; port: number } => ({ host: '127.0.0.1', port });
    const bound = await server.listen({ api: place(ports.api), gateways: place(ports.gateways) });
    about.gatewayAddress = `127.0.0.1:${String(bound.gateways)}`;
    return new LiveService({ objects, service, messages, server, ports: bound });
  }

  get fingerprint(): string {
    return `sha256:${this.service.authority.fingerprint}`;
  }

  /** An account and an access key of it. */
  async account(name: string): Promise<{ readonly accountId: string; readonly accessKey: AccessKey }> {
    const { signal } = new AbortController();
    const { accountId } = await this.service.accounts.create({ name, accountId: null, clientToken: null }, signal);
    return { accountId, accessKey: await this.service.keys.create({ accountId, userName: name }, signal) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.close(AbortSignal.abort());
  }
}
