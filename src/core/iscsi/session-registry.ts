/**
 * The sessions of a server: who is admitted, and what they share (RFC 7143, 6.3).
 *
 * Invariants: an initiator port has one session with a target; a session that another one takes the place of has ended, with all its
 * commands, before that one begins; a target's logical unit stays until the target is forgotten.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { toSgwError, type Clock } from '../kit/index.ts';
import type { InFlight } from '../sockets/index.ts';
import type { ServerLimits } from './limits.ts';
import { LoginRefused } from './login-refused.ts';
import type { AgreedLogin } from './login-contract.ts';
import type { Nexus } from './scsi/index.ts';
import { ServedTarget } from './served-target.ts';
import { Session, type TargetUse } from './session.ts';
import type { OpenedTarget, TargetDirectory } from './targets.ts';
import { TaskSet } from './task-set.ts';
import { LOGIN_STATUS } from './wire.ts';

export interface RegistryParts {
  readonly directory: TargetDirectory;
  readonly limits: ServerLimits;
  readonly inFlight: InFlight;
  readonly held: InFlight;
  readonly unsent: InFlight;
  readonly clock: Clock;
}

const TSIH_MAX = 0xffff;
/** There is one target port. */
const RELATIVE_PORT = 1;

export class SessionRegistry {
  readonly #parts: RegistryParts;
  readonly #sessions = new Map<number, Session>();
  readonly #targets = new Map<string, ServedTarget>();
  /** Targets that take no new session. */
  readonly #closing = new Set<string>();
  /** The last admission of each initiator port to a target. */
  readonly #admitting = new Map<string, Promise<Session>>();
  #lastTsih = 0;
  #isClosed = false;

  constructor(parts: RegistryParts) {
    this.#parts = parts;
  }

  get sessions(): Session[] {
    return [...this.#sessions.values()];
  }

  find(tsih: number): Session | undefined {
    const session = this.#sessions.get(tsih);
    return session?.isEnded === true ? undefined : session;
  }

  ofTarget(name: string): Session[] {
    return this.sessions.filter((session) => session.target === name);
  }

  targetOf({ target }: Session): ServedTarget | undefined {
    return target === undefined ? undefined : this.#targets.get(target);
  }

  /**
   * Admits a connection to a new session, or to the one that it names; which waits for it until it was added, or has told that it
   * will not be.
   * @throws LoginRefused; what the directory throws
   */
  async admit(login: AgreedLogin, signal: AbortSignal): Promise<Session> {
    this.#requireOpen(login);
    if (login.tsihAsked !== 0) return await this.#join(login);
    if (login.target === undefined) return this.#make(login, undefined);
    const key = [login.initiator, login.isid, login.target, login.portalGroupTag].join();
    const before = this.#admitting.get(key);
    const admitted = this.#replace(login, login.target, signal, before);
    this.#admitting.set(key, admitted);
    try {
      return await admitted;
    } finally {
      if (this.#admitting.get(key) === admitted) this.#admitting.delete(key);
    }
  }

  /** @throws LoginRefused */
  #requireOpen({ target }: AgreedLogin): void {
    if (this.#isClosed || (target !== undefined && this.#closing.has(target)))
      throw new LoginRefused(LOGIN_STATUS.serviceUnavailable, 'the target is being closed');
  }

  /** 6.3.4: one connection more, or a new one in the place of an old one. */
  async #join(login: AgreedLogin): Promise<Session> {
    const session = this.find(login.tsihAsked);
    if (session === undefined) throw new LoginRefused(LOGIN_STATUS.sessionDoesNotExist, 'the session has ended');
    session.expect();
    try {
      const old = session.connection(login.cid);
      if (old !== undefined) {
        const left = old.leave();
        old.destroy();
        await this.#within(left);
      }
      if (session.isEnded || session.expectedConnections > session.parameters.maxConnections)
        throw new LoginRefused(LOGIN_STATUS.tooManyConnections, 'the session takes no more connections');
      return session;
    } catch (error) {
      await session.expectNot();
      throw toSgwError(error);
    }
  }

  /** 6.3.5: a new session ends the one that the same initiator port had. */
  async #replace(
    login: AgreedLogin,
    target: string,
    signal: AbortSignal,
    before: Promise<Session> | undefined,
  ): Promise<Session> {
    await before?.catch(() => undefined);
    const olds = this.ofTarget(target).filter(
      (old) =>
        old.initiator === login.initiator && old.isid === login.isid && old.portalGroupTag === login.portalGroupTag,
    );
    await this.#within(Promise.all(olds.map(async (old) => old.drop())));
    const { initiator, user } = login;
    const tsih = this.#takeTsih();
    const { directory } = this.#parts;
    const opened = await directory.open(target, { sessionId: tsih, initiator, user, signal });
    try {
      signal.throwIfAborted();
      // It may have begun to close since.
      this.#requireOpen(login);
      return this.#make(login, opened, tsih);
    } catch (error) {
      await opened.release(0).catch(() => undefined);
      throw toSgwError(error);
    }
  }

  /** @throws LoginRefused when commands that were told to end do not */
  async #within(ended: Promise<unknown>): Promise<void> {
    const stop = new AbortController();
    const late = delay(this.#parts.limits.reinstatementMs, 'late', { signal: stop.signal });
    late.catch(() => undefined);
    const first = await Promise.race([ended, late]);
    stop.abort();
    if (first === 'late')
      throw new LoginRefused(LOGIN_STATUS.outOfResources, 'commands of the session before have not ended');
  }

  #make(login: AgreedLogin, opened: OpenedTarget | undefined, tsih = this.#takeTsih()): Session {
    const { inFlight, limits, clock } = this.#parts;
    let onAdded: ((session: Session) => void) | undefined;
    let use: TargetUse | undefined;
    if (opened !== undefined && login.target !== undefined) {
      const { nexus, target, tasks } = this.#open(login, login.target, opened);
      use = {
        tasks,
        release: async () => {
          target.remove(nexus);
          await opened.release(tasks.commands).catch(() => undefined);
        },
      };
      onAdded = (session) => {
        target.add(nexus, session);
      };
    }
    const session = new Session({
      tsih,
      login,
      use,
      firstWindow: limits.commandsMax,
      commandsMax: () => (inFlight.hasRoom ? limits.commandsMax : limits.scarceCommandsMax),
      nowMs: clock.nowMs(),
      onEnded: (ended) => {
        this.#sessions.delete(ended.tsih);
      },
    });
    session.expect();
    this.#sessions.set(tsih, session);
    onAdded?.(session);
    return session;
  }

  #open(
    login: AgreedLogin,
    name: string,
    opened: OpenedTarget,
  ): { readonly nexus: Nexus; readonly target: ServedTarget; readonly tasks: TaskSet } {
    const { inFlight, held, unsent, limits } = this.#parts;
    const { device, isReadOnly, unit } = opened;
    const groupTag = login.portalGroupTag.toString(16).padStart(4, '0');
    const nexus: Nexus = {
      device,
      isReadOnly,
      initiatorPort: `${login.initiator},i,0x${login.isid}`,
      targetPort: `${name},t,0x${groupTag}`,
      relativePort: RELATIVE_PORT,
    };
    const target = this.#targets.get(name) ?? new ServedTarget(unit);
    target.unit.join(nexus);
    this.#targets.set(name, target);
    const tasks = new TaskSet({ unit: target.unit, nexus, parameters: login.session, limits, inFlight, held, unsent });
    return { nexus, target, tasks };
  }

  #takeTsih(): number {
    do this.#lastTsih = this.#lastTsih === TSIH_MAX ? 1 : this.#lastTsih + 1;
    while (this.#sessions.has(this.#lastTsih));
    return this.#lastTsih;
  }

  /** Admits nobody to a target while `end` ends its sessions, and forgets its logical unit then, with all registrations. */
  async closeTarget(name: string, end: (sessions: readonly Session[]) => Promise<void>): Promise<void> {
    this.#closing.add(name);
    try {
      await end(this.ofTarget(name));
      this.#targets.delete(name);
    } finally {
      this.#closing.delete(name);
    }
  }

  /** Admits nobody any more. */
  close(): void {
    this.#isClosed = true;
  }
}
