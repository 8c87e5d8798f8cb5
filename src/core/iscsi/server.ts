/**
 * An iSCSI server: its portals, and the sessions that come to them.
 *
 * States: open -> closed. Invariants: connections are bounded in number, those that are not logged in by a smaller one, and both in
 * what they hold over all; one that stalls, floods or sends rubbish hurts only itself.
 */
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { systemRandom, type Clock, type Random } from '../kit/index.ts';
import { BufferPool, endAll, InFlight, Listening, type ListenAddress } from '../sockets/index.ts';
import { Connection, endpoint, type ConnectionInfo } from './connection.ts';
import type { Portal } from './discovery.ts';
import { FailedLogins } from './failed-logins.ts';
import { DEFAULT_LIMITS, type ServerLimits } from './limits.ts';
import { DEFAULT_LOGIN_LIMITS } from './login-contract.ts';
import { DEFAULT_WISHES, type Wishes } from './negotiation.ts';
import { SessionRegistry } from './session-registry.ts';
import type { Session, SessionInfo } from './session.ts';
import type { TargetDirectory } from './targets.ts';

export interface IscsiServerOptions {
  readonly directory: TargetDirectory;
  readonly clock: Clock;
  readonly random?: Random;
  readonly limits?: Partial<ServerLimits>;
  /** What is asked for in negotiations. */
  readonly wishes?: Partial<Wishes>;
  /** `HOST:PORT` of each portal that initiators are told of now; none: those that the server listens at. */
  readonly portals?: () => readonly string[];
  /** Told when a connection ended because of what its initiator did. */
  readonly onClientFault?: (info: ConnectionInfo, reason: string) => void;
}

/** What one read of a socket brings at most. */
const RECEIVE_BYTES = 256 * 1024;
/** All portals are one portal group. */
const GROUP_TAG = 1;
const CHECK_MS_MAX = 5000;
const WILDCARDS: ReadonlySet<string> = new Set(['0.0.0.0', '::', '']);

export class IscsiServer {
  readonly #options: IscsiServerOptions;
  readonly #limits: ServerLimits;
  readonly #pool = new BufferPool();
  readonly #receiveMemory = Buffer.allocUnsafeSlow(RECEIVE_BYTES);
  readonly #unsent: InFlight;
  readonly #failedLogins: FailedLogins;
  readonly #registry: SessionRegistry;
  readonly #listening = new Listening((socket) => {
    this.#accept(socket);
  }, '--iscsi-listen tcp:HOST:PORT');
  readonly #connections = new Set<Connection>();
  readonly #checks: NodeJS.Timeout;
  #nextId = 1;
  #closing: Promise<void> | undefined;

  constructor(options: IscsiServerOptions) {
    this.#options = options;
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#limits = limits;
    this.#failedLogins = new FailedLogins(limits.failedLoginMs, limits.failedLoginAddressesMax);
    this.#unsent = new InFlight(limits.allBacklogBytesMax);
    this.#registry = new SessionRegistry({
      directory: options.directory,
      limits,
      inFlight: new InFlight(limits.allBytesMax),
      held: new InFlight(limits.allHeldBytesMax),
      unsent: this.#unsent,
      clock: options.clock,
    });
    const everyMs = Math.min(CHECK_MS_MAX, limits.idleMs / 4, limits.dataMs / 4);
    this.#checks = setInterval(() => {
      const nowMs = options.clock.monotonicMs();
      for (const connection of this.#connections) connection.check(nowMs);
    }, everyMs).unref();
  }

  /**
   * Starts to listen; resolves with the address, whose port is the one in use.
   * @throws unavailable, denied, invalid: the address can not be used
   */
  async listen(address: ListenAddress): Promise<ListenAddress> {
    return await this.#listening.listen(address);
  }

  get addresses(): ListenAddress[] {
    return this.#listening.addresses;
  }

  /** Stops listening at one address. */
  async unlisten(address: ListenAddress): Promise<void> {
    await this.#listening.unlisten(address);
  }

  /** Who is connected, discovery sessions too. */
  sessions(): SessionInfo[] {
    return this.#registry.sessions.map(({ info }) => info);
  }

  #accept(socket: Socket): void {
    if (this.#closing !== undefined || !this.#makeRoom()) {
      socket.destroy();
      return;
    }
    const { directory, clock, onClientFault, random = systemRandom, wishes } = this.#options;
    const connection = new Connection(
      {
        id: this.#nextId++,
        socket,
        directory,
        registry: this.#registry,
        limits: this.#limits,
        loginLimits: {
          ...DEFAULT_LOGIN_LIMITS,
          wishes: { ...DEFAULT_WISHES, ...wishes },
          commandWindow: this.#limits.commandsMax,
        },
        portalGroupTag: GROUP_TAG,
        portals: (portal) => this.#portals(portal),
        pool: this.#pool,
        unsent: this.#unsent,
        random,
        receiveMemory: this.#receiveMemory,
        failedLoginDelayMs: (address) => this.#failedLogins.delayMs(address, clock.monotonicMs()),
        onClosed: (ended, reason) => {
          this.#connections.delete(ended);
          if (reason !== undefined) onClientFault?.(ended.info, reason);
        },
      },
      clock.nowMs(),
    );
    this.#connections.add(connection);
  }

  /** Lets go of a connection that uses no target, where there are too many; whether there is room for one more. */
  #makeRoom(): boolean {
    const { connectionsMax, loginsMax } = this.#limits;
    const all = [...this.#connections];
    const logins = all.filter(({ isLoggingIn }) => isLoggingIn);
    if (logins.length < loginsMax && all.length < connectionsMax) return true;
    const idle = logins.length < loginsMax ? oldestOfMost(all.filter(({ isDiscovering }) => isDiscovering)) : undefined;
    const victim = idle ?? oldestOfMost(logins);
    void victim?.end(victim === idle ? 'too many connections' : 'too many logins at once');
    victim?.destroy();
    return victim !== undefined;
  }

  /** What initiators are told of who came to `portal`: where a wildcard is listened at, they know that address. */
  #portals(portal: string): Portal[] {
    const told = this.#options.portals?.() ?? [];
    const own = this.addresses.flatMap((address) => {
      if (address.kind === 'unix') return [];
      const { host, port } = address;
      return [WILDCARDS.has(host) ? portal.replace(/\d+$/, String(port)) : endpoint(host, port)];
    });
    return (told.length > 0 ? told : own).map((address) => ({ address, groupTag: GROUP_TAG }));
  }

  /**
   * Lets go of the initiators of a target, after they had time to log out and what is under way was answered, and at the latest after
   * `deadlineMs`: then calls are told to stop. Calls that do not heed that for a second are left to themselves. Reservations of
   * the target are forgotten.
   */
  async closeTarget(name: string, { deadlineMs = 5000 }: { readonly deadlineMs?: number } = {}): Promise<void> {
    await this.#registry.closeTarget(name, async (sessions) => {
      await this.#endSessions(sessions, deadlineMs);
    });
  }

  async #endSessions(sessions: readonly Session[], deadlineMs: number): Promise<void> {
    if (sessions.length === 0) return;
    const logoutMs = Math.min(this.#limits.logoutMs, deadlineMs / 2);
    const stop = new AbortController();
    const isTime = delay(logoutMs, undefined, { signal: stop.signal });
    isTime.catch(() => undefined);
    for (const session of sessions) session.askLogout(Math.ceil(logoutMs / 1000));
    await Promise.race([Promise.all(sessions.map(async (session) => session.whenEnded())), isTime]);
    stop.abort();
    await endAll(sessions, deadlineMs - logoutMs);
  }

  /** Takes no more connections, and ends those there are as `closeTarget` does. Idempotent. */
  async close({ deadlineMs = 5000 }: { readonly deadlineMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#closeOnce(deadlineMs);
    await this.#closing;
  }

  async #closeOnce(deadlineMs: number): Promise<void> {
    const closed = this.#listening.close();
    this.#registry.close();
    clearInterval(this.#checks);
    const logins = [...this.#connections].filter(({ isLoggingIn }) => isLoggingIn);
    await Promise.all([this.#endSessions(this.#registry.sessions, deadlineMs), endAll(logins, deadlineMs)]);
    for (const connection of this.#connections) connection.destroy();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The oldest connection of the address that has most of them, so that who floods hurts himself. */
function oldestOfMost(connections: readonly Connection[]): Connection | undefined {
  const counts = new Map<string, number>();
  for (const { address } of connections) counts.set(address, (counts.get(address) ?? 0) + 1);
  const most = Math.max(0, ...counts.values());
  return connections.find(({ address }) => counts.get(address) === most);
}
