/**
 * The bus of several servers, over NATS.
 *
 * States: new -> joined <-> cut off -> closed. Invariants: while NATS is out of reach nothing waits for it: requests fail with
 * `control-bus-unavailable`, and what is held is registered again when it is back; a request is sent once; who took it shows
 * every few seconds that it is still there, so that a death is noticed long before the deadline; nothing is taken that was not
 * sealed with the service's key, is old, or came before.
 */
import { randomUUID } from 'node:crypto';
import { connect, type Msg, type NatsConnection } from '@nats-io/transport-node';
import { SgwError, toSgwError, type Clock, type Logger } from '../../kit/index.ts';
import type { BusNotice, BusPeer, ControlBus, Registration, RequestHow } from './control-bus.ts';
import { busUnavailable } from './failures.ts';
import { NatsInquiry } from './nats-inquiry.ts';
import { NatsRegistry, type ServerEntry } from './nats-registry.ts';
import { RequestTaker } from './nats-taker.ts';
import { sendRequest } from './nats-request.ts';
import { BusSeal, type Joined } from './nats-wire.ts';

export interface NatsBusOptions {
  /** `nats://HOST:PORT`, several joined by commas; may carry a user and a password, which are shown nowhere. */
  readonly url: string;
  readonly serverId: string;
  /** `https://HOST:PORT` of this server for gateways. */
  readonly address: string;
  /** Names this service among those that share a NATS: the id of its store. */
  readonly space: string;
  /** 32 bytes, the same for all servers of the service, and known to nobody else. */
  readonly key: Uint8Array;
  readonly clock: Clock;
  readonly log: Logger;
}

const CONNECT_MS = 5000;
const PING_MS = 5000;
const HEARTBEAT_MS = 5000;
const RESTORED_AT_ONCE = 16;

export class NatsBus implements ControlBus {
  readonly #options: NatsBusOptions;
  readonly #seal: BusSeal;
  readonly #prefix: string;
  readonly #end = new AbortController();
  #connection: NatsConnection | undefined;
  #registry: NatsRegistry | undefined;
  #taker: RequestTaker | undefined;
  #inquiry: NatsInquiry | undefined;
  #peer: BusPeer | undefined;
  #isUp = false;
  #live: readonly ServerEntry[] = [];
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(options: NatsBusOptions) {
    this.#options = options;
    this.#seal = new BusSeal(options.key);
    this.#prefix = `sgw.${spaceOf(options.space)}`;
  }

  get serverId(): string {
    return this.#options.serverId;
  }

  /** Whether NATS is there, as far as it is known. */
  get isUp(): boolean {
    return this.#isUp;
  }

  async join(peer: BusPeer): Promise<void> {
    const { url, serverId, space, clock } = this.#options;
    this.#peer = peer;
    try {
      const connection = await connect({
        ...addressesOf(url),
        name: `sgw ${serverId}`,
        timeout: CONNECT_MS,
        pingInterval: PING_MS,
        maxPingOut: 2,
        maxReconnectAttempts: -1,
        reconnectTimeWait: 250,
        reconnectJitter: 500,
      });
      this.#connection = connection;
      this.#isUp = true;
      this.#registry = await NatsRegistry.open(connection, spaceOf(space), clock);
      this.#listen(connection, peer);
      void this.#watch(connection);
      await this.#beat();
      const { address } = this.#options;
      this.#publish({ kind: 'joined', serverId, address });
      await connection.flush();
    } catch (error) {
      await this.#connection?.close();
      throw this.#failure(error);
    }
    this.#heartbeat = setInterval(() => {
      this.#beat().catch((error: unknown) => {
        if (this.#isUp)
          this.#options.log.warn({ err: toSgwError(error) }, 'the bus between the servers does not answer');
      });
    }, HEARTBEAT_MS);
  }

  async register(gatewayId: string, signal: AbortSignal): Promise<Registration> {
    const registration = await this.#ask(async (registry) => registry.register(gatewayId, this.serverId), signal);
    this.notify({ kind: 'registered', registration });
    return registration;
  }

  async deregister(registration: Registration): Promise<void> {
    await this.#ask(async (registry) => registry.remove(registration), this.#end.signal).catch(() => undefined);
  }

  async lookup(gatewayId: string, signal: AbortSignal): Promise<Registration | undefined> {
    return await this.#ask(async (registry) => registry.lookup(gatewayId), signal);
  }

  async find(gatewayId: string, signal: AbortSignal): Promise<Registration | undefined> {
    this.#requireUp();
    const servers = new Set(this.#live.map(({ serverId }) => serverId));
    return await this.#inquiry?.ask(gatewayId, servers, signal);
  }

  async request(serverId: string, body: unknown, how: RequestHow): Promise<unknown> {
    const connection = this.#requireUp();
    const subject = this.#subjectOf(serverId);
    return await sendRequest({ connection, seal: this.#seal, clock: this.#options.clock }, subject, body, how);
  }

  notify(notice: BusNotice): void {
    if (!this.#isUp) {
      this.#peer?.onNotice(notice);
      return;
    }
    this.#publish(notice);
  }

  async servers(): Promise<readonly string[]> {
    const others = this.#live.map(({ address }) => address);
    const { address } = this.#options;
    return Promise.resolve([address, ...others.filter((other) => other !== address)]);
  }

  async close(): Promise<void> {
    if (this.#end.signal.aborted) return;
    clearInterval(this.#heartbeat);
    const held = this.#peer?.held() ?? [];
    if (this.#isUp) {
      await Promise.all(held.map(async (registration) => this.deregister(registration)));
      await this.#ask(async (registry) => registry.withdraw(this.serverId), AbortSignal.timeout(CONNECT_MS)).catch(
        () => undefined,
      );
    }
    this.#end.abort(new SgwError('aborted', 'service-draining', 'this server of the service is stopping'));
    this.#taker?.stop();
    await this.#connection?.close();
  }

  #publish(notice: BusNotice | Joined): void {
    const subject = `${this.#prefix}.all`;
    this.#connection?.publish(subject, this.#seal.seal('notice', subject, notice));
  }

  #subjectOf(serverId: string): string {
    return `${this.#prefix}.server.${serverId}`;
  }

  #listen(connection: NatsConnection, peer: BusPeer): void {
    const seal = this.#seal;
    const taker = new RequestTaker({ connection, seal, clock: this.#options.clock, peer, isUp: () => this.#isUp });
    this.#taker = taker;
    const onEach = (subject: string, take: (message: Msg) => void): void => {
      connection.subscribe(subject, {
        callback: (error, message) => {
          if (error === null) take(message);
        },
      });
    };
    onEach(this.#subjectOf(this.serverId), (message) => {
      taker.take(message);
    });
    onEach(`${this.#prefix}.all`, (message) => {
      const notice = seal.open('notice', message.subject, message.data);
      if (notice === undefined) return;
      if (notice.kind === 'joined') this.#meet(notice);
      else peer.onNotice(notice);
    });
    this.#inquiry = new NatsInquiry(connection, seal, `${this.#prefix}.find`);
    this.#inquiry.answer(this.serverId, (gatewayId) => peer.held().find((held) => held.gatewayId === gatewayId));
  }

  /** A server that is new is asked from now on, too. */
  #meet({ serverId, address }: ServerEntry): void {
    if (this.#live.some((server) => server.serverId === serverId)) return;
    this.#live = [...this.#live, { serverId, address }];
  }

  /** Follows what becomes of the connection until it is closed. */
  async #watch(connection: NatsConnection): Promise<void> {
    const { log } = this.#options;
    for await (const status of connection.status()) {
      if (status.type === 'disconnect') {
        this.#isUp = false;
        log.warn({ server: hostOf(status.server) }, 'NATS is out of reach');
      } else if (status.type === 'reconnect') {
        this.#isUp = true;
        log.info({ server: hostOf(status.server) }, 'NATS is back');
        await this.#restore(connection).catch((error: unknown) => {
          log.warn({ err: toSgwError(error) }, 'connections could not be registered again yet');
        });
      } else if (status.type === 'error') {
        log.warn({ reason: status.error.message }, 'NATS refuses something');
      }
    }
    this.#isUp = false;
  }

  /** Registers again what is held here, and learns of newer connections that were registered meanwhile. */
  async #restore(connection: NatsConnection): Promise<void> {
    const { space, clock } = this.#options;
    const registry = await NatsRegistry.open(connection, spaceOf(space), clock);
    this.#registry = registry;
    const held = [...(this.#peer?.held() ?? [])];
    for (let at = 0; at < held.length; at += RESTORED_AT_ONCE) {
      await Promise.all(
        held.slice(at, at + RESTORED_AT_ONCE).map(async (registration) => {
          const now = await registry.restore(registration);
          if (now.epoch > registration.epoch) this.#peer?.onNotice({ kind: 'registered', registration: now });
        }),
      );
    }
    await this.#beat();
  }

  async #beat(): Promise<void> {
    const { serverId, address } = this.#options;
    const registry = this.#registry;
    if (!this.#isUp || registry === undefined) return;
    await registry.announce({ serverId, address });
    this.#live = await registry.servers();
  }

  #requireUp(): NatsConnection {
    if (this.#connection === undefined || !this.#isUp || this.#end.signal.aborted) throw busUnavailable();
    return this.#connection;
  }

  async #ask<T>(work: (registry: NatsRegistry) => Promise<T>, signal: AbortSignal): Promise<T> {
    this.#requireUp();
    const registry = this.#registry;
    if (registry === undefined) throw busUnavailable();
    const { promise, reject } = Promise.withResolvers<never>();
    const stop = (): void => {
      reject(busUnavailable(signal.reason));
    };
    signal.addEventListener('abort', stop, { once: true });
    try {
      return await Promise.race([work(registry), promise]);
    } catch (error) {
      throw this.#failure(error);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  #failure(error: unknown): SgwError {
    return error instanceof SgwError ? error : busUnavailable(error);
  }
}

/** A new name for each run of a server. */
export const newServerId = (): string => `srv-${randomUUID().replaceAll('-', '').slice(0, 16)}`;

/** What subjects and buckets may be named by. */
const spaceOf = (text: string): string => text.replaceAll(/[^A-Za-z0-9_-]/g, '_');

/** @throws invalid `bad-nats-url` */
function addressesOf(text: string): { servers: string[]; user?: string; pass?: string; tls?: object } {
  const urls = text.split(',').map((part) => URL.parse(part.includes('://') ? part : `nats://${part}`));
  const first = urls[0];
  if (first === undefined || urls.some((url) => url === null || !['nats:', 'tls:'].includes(url.protocol)))
    throw new SgwError('invalid', 'bad-nats-url', 'the address of NATS is not nats://HOST:PORT or tls://HOST:PORT', {
      hint: 'Several are joined by commas; a user and a password go before an @.',
    });
  const { username = '', password = '', protocol } = first ?? {};
  return {
    servers: urls.flatMap((url) => (url === null ? [] : [url.host])),
    ...(username === '' ? {} : { user: decodeURIComponent(username), pass: decodeURIComponent(password) }),
    ...(protocol === 'tls:' ? { tls: {} } : {}),
  };
}

const hostOf = (server: string): string => server.replace(/^.*@/, '');
