/**
 * One control server: holds connections of gateways, and gets requests to any gateway, wherever its connection is held.
 *
 * States: new -> started -> draining -> closed. Invariants: it holds at most one connection of a gateway, the newest that it
 * knows of; a request goes to a gateway at most once, and is answered once or fails by name within its deadline; a gateway
 * that has left the service is cut off by whichever server holds it.
 */
import { randomUUID } from 'node:crypto';
import { toSgwError, type SgwError, type Clock, type Logger, type Random } from '../../kit/index.ts';
import type { Input, OperationName, Progress, Result } from '../../localapi/index.ts';
import { CONTROL_CLOSE, type ConfigurationReceipt, type GatewayConfiguration } from '../../protocol/index.ts';
import type { ConfigurationDelivery } from '../configuration/delivery.ts';
import type { HoldingInquiry } from '../groups/take-overs.ts';
import type { GatewayRecord } from '../identity/gateways.ts';
import { notFoundResource } from '../identity/authorization.ts';
import type { GatewayPrincipal } from '../identity/principal.ts';
import { readHello, refuseConnection, type ControlSocket } from './accepting.ts';
import type { BusNotice, ControlBus, Registration } from './control-bus.ts';
import { gatewayNotConnected, gatewayTimedOut, connectionLost, notMine, serverDraining } from './failures.ts';
import type { GatewayCallOptions, GatewayCalls } from './gateway-calls.ts';
import { HeldConnection, type Asked } from './held-connection.ts';
import { ControlMetrics } from './metrics.ts';
import { Upkeep, type CertificateIssuer, type UpkeepParts } from './upkeep.ts';

const PING_MS = 15_000;
const LOCK_TIMEOUT_MS = 30_000;
/** For what the servers ask each other before a request is under way. */
const BUS_MS = 5000;
/** How often the holder is looked for anew: it may change while it is asked. */
const TRIES = 3;
/** Between two looks: a gateway that changes servers is nowhere for a moment. */
const SETTLE_MS = 150;
/** For calls under way when the server leaves. */
const DRAIN_MS = 10_000;
/** Between two gateways that are sent elsewhere. */
const LEAVE_EACH_MS = 20;
/** Of frames that are no calls. */
const OWN_DEADLINE_MS = 30_000;
const DEADLINE_MS_MAX = 24 * 3600 * 1000;

export interface ControlPlaneParts {
  readonly bus: ControlBus;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** The gateway as the service knows it; undefined when there never was one. */
  readonly recordOf: (gatewayId: string, signal: AbortSignal) => Promise<GatewayRecord | undefined>;
  /** Absent where certificates are not renewed over the connection. */
  readonly certificates?: CertificateIssuer;
  readonly onReceipt?: NonNullable<UpkeepParts['onReceipt']>;
  readonly pingMs?: number;
}

/** A request between servers, and what the holder does with it. */
interface Routed {
  readonly id: string;
  readonly gatewayId: string;
  /** Null: of the service itself. */
  readonly accountId: string | null;
  readonly request: Asked;
  readonly deadlineMs: number;
}

interface Patience {
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

export class ControlPlane implements GatewayCalls, ConfigurationDelivery, HoldingInquiry, AsyncDisposable {
  readonly #parts: ControlPlaneParts;
  readonly #held = new Map<string, HeldConnection>();
  readonly #end = new AbortController();
  readonly #upkeep: Upkeep;
  readonly metrics: ControlMetrics;
  #isDraining = false;
  #closing: Promise<void> | undefined;

  constructor(parts: ControlPlaneParts) {
    this.#parts = parts;
    this.metrics = new ControlMetrics(() => this.#held.size);
    this.#upkeep = new Upkeep(parts, () => this.#held.values());
  }

  /** Joins the other servers. Once, before connections come. @throws unavailable `control-bus-unavailable` */
  async start(signal: AbortSignal): Promise<void> {
    await this.#parts.bus.join(
      {
        onRequest: async (body, { signal: stop, onPart }) => this.#askHeld(body as Routed, stop, onPart),
        onNotice: (notice) => {
          this.#hear(notice);
        },
        held: () => [...this.#held.values()].map((held) => this.#registrationOf(held)),
      },
      signal,
    );
    this.#upkeep.start();
  }

  /** Of this server: unique among all that ever were. */
  get serverId(): string {
    return this.#parts.bus.serverId;
  }

  get connections(): number {
    return this.#held.size;
  }

  /**
   * Takes a connection of a gateway whose certificate was checked. Resolves when it is held, or was refused.
   * `certificateEndsMs` is when the certificate ends, and `certificateBeganMs` when it began.
   */
  async accept(
    socket: ControlSocket,
    principal: GatewayPrincipal,
    certificate?: { readonly beganMs: number; readonly endsMs: number },
  ): Promise<void> {
    const { bus, clock, log, pingMs = PING_MS } = this.#parts;
    const { gatewayId, accountId } = principal;
    // A failure is followed by `close`.
    socket.on('error', () => undefined);
    try {
      if (this.#isDraining) throw serverDraining();
      const hello = await readHello(socket, gatewayId);
      const registration = await this.#register(gatewayId);
      if (socket.readyState !== socket.OPEN || this.#end.signal.aborted) {
        await bus.deregister(registration);
        socket.close(CONTROL_CLOSE.draining);
        return;
      }
      const held = new HeldConnection({
        ...{ socket, hello, accountId, clock, pingMs, epoch: registration.epoch },
        onClosed: () => {
          this.#forget(held);
        },
      });
      this.#held.get(gatewayId)?.close(CONTROL_CLOSE.replaced);
      this.#held.set(gatewayId, held);
      this.metrics.connected();
      const { serverId } = bus;
      const servers = await bus.servers(AbortSignal.timeout(BUS_MS)).catch(() => []);
      held.send({ kind: 'welcome', version: hello.versions[0] ?? 1, serverId, epoch: held.epoch, pingMs, servers });
      log.info({ gatewayId, epoch: held.epoch, software: hello.software }, 'gateway connected');
      this.#upkeep.welcome(held, certificate);
    } catch (error) {
      const failure = toSgwError(error);
      log.warn({ gatewayId, err: failure }, 'a connection was refused');
      refuseConnection(socket, failure);
    }
  }

  async call<N extends OperationName>(
    gatewayId: string,
    operation: N,
    input: Input<N>,
    options: GatewayCallOptions,
  ): Promise<Result<N>> {
    const startedMs = this.#parts.clock.monotonicMs();
    const deadlineMs = Math.min(Math.max(1, options.deadlineMs), DEADLINE_MS_MAX);
    const lockTimeoutMs = Math.min(options.lockTimeoutMs ?? LOCK_TIMEOUT_MS, deadlineMs);
    const { accountId, signal, onProgress } = options;
    const request: Asked = { kind: 'call', operation, input, lockTimeoutMs, deadlineMs };
    const routed = { id: randomUUID(), gatewayId, accountId, request, deadlineMs };
    let outcome = 'ok';
    try {
      return (await this.#route(routed, signal, onProgress)) as Result<N>;
    } catch (error) {
      const failure = toSgwError(error);
      outcome = failure.code;
      throw failure;
    } finally {
      this.metrics.called(outcome, this.#parts.clock.monotonicMs() - startedMs);
    }
  }

  async isConnected(gatewayId: string, signal: AbortSignal): Promise<boolean> {
    if (this.#held.has(gatewayId)) return true;
    const { bus } = this.#parts;
    const found = await bus.lookup(gatewayId, signal).catch(() => undefined);
    return found !== undefined && found.serverId !== bus.serverId;
  }

  /** Tells the gateway that another one has taken its volume over (C6): best effort, since its next request to the store tells it too. */
  async tellFenced(fenced: {
    readonly volumeId: string;
    readonly oldHolder: string;
    readonly newHolder: string | null;
    readonly epoch: number;
  }): Promise<void> {
    const { volumeId, oldHolder, newHolder: byGatewayId, epoch } = fenced;
    await this.#tell(oldHolder, { kind: 'fenced', volumeId, byGatewayId, epoch });
  }

  /** Has gateways look at their group, as far as they are connected; does not wait for it. */
  groupChanged(gatewayIds: readonly string[]): void {
    for (const gatewayId of gatewayIds) void this.#tell(gatewayId, { kind: 'group' });
  }

  async deliver(
    gatewayId: string,
    configuration: GatewayConfiguration,
    patience: Patience,
  ): Promise<ConfigurationReceipt> {
    return (await this.#ask(gatewayId, { kind: 'configuration', configuration }, patience)) as ConfigurationReceipt;
  }

  /** Asks a gateway whether it holds a volume of its group. @throws as `call` */
  async isHolding(gatewayId: string, volumeId: string, patience: Patience): Promise<boolean> {
    const answer = await this.#ask(gatewayId, { kind: 'holding', volumeId }, patience);
    return (answer as { readonly holding?: unknown } | null)?.holding === true;
  }

  /** For the service itself, not for an account. */
  async #ask(gatewayId: string, request: Asked, { deadlineMs, signal }: Patience): Promise<unknown> {
    return await this.#route({ id: randomUUID(), gatewayId, accountId: null, request, deadlineMs }, signal);
  }

  /** Whether this server holds the gateway's connection. */
  holds(gatewayId: string): boolean {
    return this.#held.has(gatewayId);
  }

  /** Ends the gateway's connection, whichever server holds it. */
  gatewayDeregistered(gatewayId: string): void {
    this.#parts.bus.notify({ kind: 'deregistered', gatewayId });
    this.#hear({ kind: 'deregistered', gatewayId });
  }

  /** Takes no more connections, lets calls under way end, and sends the gateways to other servers. Idempotent. */
  async close(drainMs = DRAIN_MS): Promise<void> {
    this.#isDraining = true;
    this.#closing ??= this.#closeOnce(drainMs);
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close(0);
  }

  async #closeOnce(drainMs: number): Promise<void> {
    const { bus, clock, random } = this.#parts;
    const endMs = clock.monotonicMs() + drainMs;
    // One after the other, so that the other servers are not stormed; who was not told yet is served meanwhile.
    const spreadMs = Math.min(drainMs, this.#held.size * LEAVE_EACH_MS);
    const leave = async (held: HeldConnection): Promise<void> => {
      if (spreadMs > 0) await clock.sleep(random.float() * spreadMs);
      while (held.callsUnderWay > 0 && clock.monotonicMs() < endMs) await clock.sleep(20);
      // Before it is told: who looks for it from now on finds it at its next server.
      await bus.deregister(this.#registrationOf(held));
      held.close(CONTROL_CLOSE.draining);
      await held.closed;
    };
    await Promise.all([...this.#held.values()].map(leave));
    this.#end.abort(serverDraining());
    this.#upkeep.stop();
    await bus.close();
  }

  async #register(gatewayId: string): Promise<Registration> {
    const { bus, clock, log } = this.#parts;
    try {
      return await bus.register(gatewayId, AbortSignal.timeout(BUS_MS));
    } catch (error) {
      // It is held all the same: the bus registers what is held once there is a way again.
      log.warn({ gatewayId, err: toSgwError(error) }, 'a connection could not be registered yet');
      return { gatewayId, serverId: bus.serverId, epoch: clock.nowMs() };
    }
  }

  #registrationOf({ gatewayId, epoch }: HeldConnection): Registration {
    return { gatewayId, serverId: this.#parts.bus.serverId, epoch };
  }

  #forget(held: HeldConnection): void {
    if (this.#held.get(held.gatewayId) === held) this.#held.delete(held.gatewayId);
    this.metrics.disconnected();
    const { bus, log } = this.#parts;
    log.info({ gatewayId: held.gatewayId, epoch: held.epoch }, 'gateway disconnected');
    // Never fails; a newer registration stays.
    void bus.deregister(this.#registrationOf(held));
  }

  #hear(notice: BusNotice): void {
    if (notice.kind === 'deregistered') {
      this.#held.get(notice.gatewayId)?.close(CONTROL_CLOSE.refused);
      return;
    }
    const { gatewayId, epoch } = notice.registration;
    const held = this.#held.get(gatewayId);
    if (held !== undefined && held.epoch < epoch) held.close(CONTROL_CLOSE.replaced);
  }

  async #tell(gatewayId: string, request: Asked): Promise<void> {
    const routed = { id: randomUUID(), gatewayId, accountId: null, request, deadlineMs: OWN_DEADLINE_MS };
    try {
      await this.#route(routed, this.#end.signal);
    } catch (error) {
      this.#parts.log.info({ gatewayId, what: request.kind, err: toSgwError(error) }, 'a gateway could not be told');
    }
  }

  /** To this server's own connection, or to the server that has one. */
  async #route(routed: Routed, caller: AbortSignal, onProgress?: (progress: Progress) => void): Promise<unknown> {
    const { bus, clock } = this.#parts;
    const { gatewayId, deadlineMs } = routed;
    const endMs = clock.monotonicMs() + deadlineMs;
    const deadline = AbortSignal.timeout(deadlineMs);
    const signal = AbortSignal.any([caller, deadline]);
    const onPart = (progress: unknown): void => {
      onProgress?.(progress as Progress);
    };
    try {
      for (let attempt = 0; attempt < TRIES; attempt++) {
        if (attempt > 0) await clock.sleep(SETTLE_MS, signal);
        if (this.#held.has(gatewayId)) return await this.#askHeld(routed, signal, onPart);
        const holder = await this.#holderOf(gatewayId, attempt, signal);
        if (holder === undefined) continue;
        try {
          const leftMs = Math.max(1, endMs - clock.monotonicMs());
          return await bus.request(holder.serverId, routed, { deadlineMs: leftMs, signal, onPart });
        } catch (error) {
          await this.#settle(holder, toSgwError(error));
        }
      }
    } catch (error) {
      if (deadline.aborted && !caller.aborted) throw gatewayTimedOut(deadlineMs);
      throw toSgwError(error);
    }
    throw gatewayNotConnected(gatewayId);
  }

  /** By registration first; by asking all when that is stale, or there is none. */
  async #holderOf(gatewayId: string, attempt: number, signal: AbortSignal): Promise<Registration | undefined> {
    const { bus } = this.#parts;
    const known = attempt === 1 ? undefined : await bus.lookup(gatewayId, signal).catch(() => undefined);
    if (known !== undefined && known.serverId !== bus.serverId) return known;
    const found = await bus.find(gatewayId, signal);
    return found?.serverId === bus.serverId ? undefined : found;
  }

  /** Returns when the request was surely not taken. @throws the failure otherwise */
  async #settle(holder: Registration, failure: SgwError): Promise<void> {
    if (failure.code === 'control-not-mine') return;
    if (failure.code !== 'control-server-gone') throw failure;
    if (failure.details['taken'] === true) throw connectionLost(holder.gatewayId);
    await this.#parts.bus.deregister(holder);
  }

  /** Runs a request on a connection of this server. @throws unavailable `control-not-mine` */
  async #askHeld(routed: Routed, signal: AbortSignal, onPart: (part: unknown) => void): Promise<unknown> {
    const { id, gatewayId, accountId, request, deadlineMs } = routed;
    const held = this.#held.get(gatewayId);
    if (held?.isOpen !== true) throw notMine();
    if (accountId !== null && accountId !== held.accountId) throw notFoundResource({ kind: 'gateway', id: gatewayId });
    return await held.ask(request, { id, deadlineMs, signal, onProgress: onPart });
  }
}
