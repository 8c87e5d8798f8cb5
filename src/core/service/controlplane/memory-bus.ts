/** The bus of one server alone; or of several in one process, which tests let come and go. */
import { SgwError, toSgwError, untilAborted, type Clock } from '../../kit/index.ts';
import type { BusNotice, BusPeer, ControlBus, Registration, RequestHow } from './control-bus.ts';
import { gatewayTimedOut, serverGone } from './failures.ts';

/** What the servers of one hub share. */
export class MemoryHub {
  readonly registrations = new Map<string, Registration>();
  readonly members = new Map<string, { readonly peer: BusPeer; readonly address: string; readonly end: AbortSignal }>();
}

export interface MemoryBusOptions {
  readonly serverId: string;
  /** `https://HOST:PORT` for gateways. */
  readonly address: string;
  readonly clock: Clock;
  readonly hub?: MemoryHub;
}

export class MemoryBus implements ControlBus {
  readonly #options: MemoryBusOptions;
  readonly #hub: MemoryHub;
  readonly #end = new AbortController();

  constructor(options: MemoryBusOptions) {
    this.#options = options;
    this.#hub = options.hub ?? new MemoryHub();
  }

  get serverId(): string {
    return this.#options.serverId;
  }

  async join(peer: BusPeer): Promise<void> {
    this.#hub.members.set(this.serverId, { peer, address: this.#options.address, end: this.#end.signal });
    return Promise.resolve();
  }

  async register(gatewayId: string): Promise<Registration> {
    const before = this.#hub.registrations.get(gatewayId);
    const epoch = Math.max((before?.epoch ?? 0) + 1, this.#options.clock.nowMs());
    const registration = { gatewayId, serverId: this.serverId, epoch };
    this.#hub.registrations.set(gatewayId, registration);
    this.notify({ kind: 'registered', registration });
    return Promise.resolve(registration);
  }

  async deregister({ gatewayId, epoch }: Registration): Promise<void> {
    if (this.#hub.registrations.get(gatewayId)?.epoch === epoch) this.#hub.registrations.delete(gatewayId);
    return Promise.resolve();
  }

  async lookup(gatewayId: string): Promise<Registration | undefined> {
    return Promise.resolve(this.#hub.registrations.get(gatewayId));
  }

  async find(gatewayId: string): Promise<Registration | undefined> {
    const held = [...this.#hub.members.values()].flatMap(({ peer }) => peer.held());
    const mine = held.filter((registration) => registration.gatewayId === gatewayId);
    return Promise.resolve(mine.sort((a, b) => b.epoch - a.epoch)[0]);
  }

  async request(serverId: string, body: unknown, how: RequestHow): Promise<unknown> {
    const member = this.#hub.members.get(serverId);
    if (member === undefined) throw serverGone(false);
    const late = new AbortController();
    const timer = setTimeout(() => {
      late.abort(gatewayTimedOut(how.deadlineMs));
    }, how.deadlineMs);
    const stop = AbortSignal.any([how.signal, late.signal]);
    const onPart = (part: unknown): void => {
      if (!stop.aborted && !member.end.aborted) how.onPart(overWire(part));
    };
    try {
      const answer = member.peer.onRequest(overWire(body), { signal: stop, onPart });
      return overWire(await untilAborted(untilAborted(answer, member.end), stop));
    } catch (error) {
      throw overWireError(error);
    } finally {
      clearTimeout(timer);
    }
  }

  notify(notice: BusNotice): void {
    for (const { peer } of this.#hub.members.values()) peer.onNotice(overWire(notice));
  }

  async servers(): Promise<readonly string[]> {
    return Promise.resolve([...this.#hub.members.values()].map(({ address }) => address));
  }

  async close(): Promise<void> {
    this.crash();
    for (const registration of [...this.#hub.registrations.values()])
      if (registration.serverId === this.serverId) this.#hub.registrations.delete(registration.gatewayId);
    return Promise.resolve();
  }

  /** Ends without a word, as a server that is killed does. */
  crash(): void {
    this.#end.abort(serverGone(true));
    this.#hub.members.delete(this.serverId);
  }
}

/** As it would arrive over a network. */
const overWire = <T>(value: T): T => (value === undefined ? value : (JSON.parse(JSON.stringify(value)) as T));

const overWireError = (error: unknown): SgwError => SgwError.fromDocument(overWire(toSgwError(error).toDocument()));
