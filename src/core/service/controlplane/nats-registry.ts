/**
 * Registrations in a key-value bucket of NATS JetStream: gateway -> server and epoch, changed by compare-and-set; and the
 * servers that there are, each of which writes its own entry again before it ends.
 *
 * Nothing here is needed after a restart of everything: what is lost is registered again by the servers that hold it.
 */
import { Kvm, type KV, type KvEntry } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Clock } from '../../kit/index.ts';
import type { Registration } from './control-bus.ts';

/** An entry of a server that is not written again is gone after this. */
const SERVER_TTL_MS = 20_000;
const TRIES = 16;
const SERVERS_MAX = 64;

export interface ServerEntry {
  readonly serverId: string;
  readonly address: string;
}

export class NatsRegistry {
  readonly #gateways: KV;
  readonly #servers: KV;
  readonly #clock: Pick<Clock, 'nowMs'>;

  private constructor(gateways: KV, servers: KV, clock: Pick<Clock, 'nowMs'>) {
    this.#gateways = gateways;
    this.#servers = servers;
    this.#clock = clock;
  }

  /** Makes the buckets where there are none. @throws what NATS does, such as when it has no JetStream */
  static async open(connection: NatsConnection, space: string, clock: Pick<Clock, 'nowMs'>): Promise<NatsRegistry> {
    const kvm = new Kvm(connection);
    const gateways = await kvm.create(`sgw-gateways-${space}`, { history: 1 });
    const servers = await kvm.create(`sgw-servers-${space}`, { history: 1, ttl: SERVER_TTL_MS });
    return new NatsRegistry(gateways, servers, clock);
  }

  /** With an epoch above every earlier one, also where those are lost and clocks are right. */
  async register(gatewayId: string, serverId: string): Promise<Registration> {
    return await this.#change(gatewayId, (now) => ({
      gatewayId,
      serverId,
      epoch: Math.max((now?.epoch ?? 0) + 1, this.#clock.nowMs()),
    }));
  }

  /** Puts a registration back unless a newer one is there. Returns the one that is there then. */
  async restore(registration: Registration): Promise<Registration> {
    return await this.#change(registration.gatewayId, (now) =>
      now !== undefined && now.epoch >= registration.epoch ? now : registration,
    );
  }

  async lookup(gatewayId: string): Promise<Registration | undefined> {
    return registrationOf(await this.#gateways.get(gatewayId));
  }

  /** Takes it away if it is still this one. */
  async remove({ gatewayId, epoch }: Registration): Promise<void> {
    const entry = await this.#gateways.get(gatewayId);
    if (entry === null || registrationOf(entry)?.epoch !== epoch) return;
    // Whoever was faster has a newer one.
    await this.#gateways.delete(gatewayId, { previousSeq: entry.revision }).catch(rethrowUnlessRaced);
  }

  async announce(entry: ServerEntry): Promise<void> {
    await this.#servers.put(entry.serverId, JSON.stringify(entry));
  }

  async withdraw(serverId: string): Promise<void> {
    await this.#servers.purge(serverId);
  }

  /** The servers that announced themselves lately. */
  async servers(): Promise<ServerEntry[]> {
    const names: string[] = [];
    for await (const name of await this.#servers.keys()) names.push(name);
    const entries = await Promise.all(names.slice(0, SERVERS_MAX).map(async (name) => this.#servers.get(name)));
    return entries.flatMap((entry) => (entry?.operation === 'PUT' ? [entry.json<ServerEntry>()] : []));
  }

  async #change(gatewayId: string, change: (now: Registration | undefined) => Registration): Promise<Registration> {
    for (let attempt = 1; ; attempt++) {
      const entry = await this.#gateways.get(gatewayId);
      const now = registrationOf(entry);
      const wanted = change(now);
      if (wanted === now) return now;
      try {
        const text = JSON.stringify(wanted);
        if (entry === null) await this.#gateways.create(gatewayId, text);
        else await this.#gateways.update(gatewayId, text, entry.revision);
        return wanted;
      } catch (error) {
        if (attempt === TRIES) throw error;
        rethrowUnlessRaced(error);
      }
    }
  }
}

function registrationOf(entry: KvEntry | null): Registration | undefined {
  return entry?.operation === 'PUT' ? entry.json<Registration>() : undefined;
}

/** "Wrong last sequence": somebody else changed the entry first. */
const RACED = 10071;

function rethrowUnlessRaced(error: unknown): void {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  if (code === RACED || String(message).includes('wrong last sequence')) return;
  throw error;
}
