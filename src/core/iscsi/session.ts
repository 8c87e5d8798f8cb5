/**
 * One session: its connections, the order of its commands, and the target that it uses (RFC 7143, 4.2.2.1, 6.3, 7).
 *
 * States: open -> ended. Invariants: requests that are not immediate are handed on once each and in the order of CmdSN, whichever
 * connection brings them; MaxCmdSN never goes back; the target is released exactly once, when no command of the session is under
 * way. Error recovery level is 0: when a connection fails, so does the session.
 */
import type { LoginResult } from './login-contract.ts';
import type { SessionParameters } from './negotiation.ts';
import type { CommandWindow } from './responses.ts';
import type { TaskSet } from './task-set.ts';
import type { TaskConnection } from './task.ts';
import { ASYNC_EVENT, isBefore, plus } from './wire.ts';

/** A connection in full feature phase, as its session sees it. */
export interface SessionConnection extends TaskConnection {
  readonly cid: number;
  readonly info: SessionConnectionInfo;
  /** As the initiator declared it last. */
  segmentMax: number;
  /** Tells of an event (11.9.1) with its parameters. */
  notify(event: number, parameters: readonly [number, number, number]): void;
  /** Ends after what runs was answered. */
  end(reason: string | undefined): Promise<void>;
  /** The same after a logout: its session goes on if it has others. */
  leave(): Promise<void>;
  /** Ends at once. */
  destroy(): void;
}

/** For status. */
export interface SessionConnectionInfo {
  readonly cid: number;
  /** Address and port of the initiator, and those that it came to. */
  readonly remote: string;
  readonly portal: string;
  readonly headerDigest: boolean;
  readonly dataDigest: boolean;
  readonly sinceMs: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

export interface SessionInfo {
  /** The session's TSIH. */
  readonly id: number;
  readonly initiator: string;
  readonly initiatorAlias: string | null;
  readonly isid: string;
  /** Null: a discovery session. */
  readonly target: string | null;
  /** Who CHAP proved. */
  readonly user: string | null;
  readonly sinceMs: number;
  readonly commands: number;
  readonly connections: readonly SessionConnectionInfo[];
}

/** What a session uses of a target. */
export interface TargetUse {
  readonly tasks: TaskSet;
  /** No command of the session is under way any more. */
  release(): Promise<void>;
}

export interface SessionParts {
  readonly tsih: number;
  readonly login: Omit<LoginResult, 'tsih' | 'nextStatSn' | 'expCmdSn' | 'maxCmdSn'>;
  /** Undefined: a discovery session. */
  readonly use: TargetUse | undefined;
  /** How many commands the initiator was told that it may send at once. */
  readonly firstWindow: number;
  /** How many commands may be under way at the moment. */
  readonly commandsMax: () => number;
  readonly nowMs: number;
  readonly onEnded: (session: Session) => void;
}

export class Session implements CommandWindow {
  readonly tsih: number;
  readonly initiator: string;
  readonly isid: string;
  readonly target: string | undefined;
  readonly portalGroupTag: number;
  /** Who CHAP proved. */
  readonly user: string | undefined;
  readonly parameters: SessionParameters;
  readonly #parts: SessionParts;
  readonly #connections = new Map<number, SessionConnection>();
  /** Requests that came before their turn. */
  readonly #held = new Map<number, () => void>();
  /** What waits until all requests before a CmdSN were handed on. */
  #waiting: { readonly cmdSn: number; readonly run: () => void }[] = [];
  #expCmdSn: number;
  #maxCmdSn: number;
  /** Connections that are to come. */
  #expected = 0;
  #ended: Promise<void> | undefined;
  readonly #hasEnded = Promise.withResolvers<undefined>();

  constructor(parts: SessionParts) {
    const { login, tsih, firstWindow } = parts;
    this.#parts = parts;
    this.tsih = tsih;
    this.initiator = login.initiator;
    this.isid = login.isid;
    this.target = login.target;
    this.portalGroupTag = login.portalGroupTag;
    this.user = login.user;
    this.parameters = login.session;
    this.#expCmdSn = login.firstCmdSn;
    this.#maxCmdSn = plus(login.firstCmdSn, firstWindow - 1);
  }

  /** Undefined in a discovery session. */
  get tasks(): TaskSet | undefined {
    return this.#parts.use?.tasks;
  }

  /** CIDs. */
  get connections(): readonly number[] {
    return [...this.#connections.keys()];
  }

  get info(): SessionInfo {
    const { login, nowMs, use } = this.#parts;
    return {
      id: this.tsih,
      initiator: this.initiator,
      initiatorAlias: login.initiatorAlias ?? null,
      isid: this.isid,
      target: this.target ?? null,
      user: this.user ?? null,
      sinceMs: nowMs,
      commands: use?.tasks.commands ?? 0,
      connections: [...this.#connections.values()].map(({ info }) => info),
    };
  }

  get isEnded(): boolean {
    return this.#ended !== undefined;
  }

  get expCmdSn(): number {
    return this.#expCmdSn;
  }

  /** The window is as wide as commands may be under way, less those that are. */
  get maxCmdSn(): number {
    const open = Math.max(0, this.#parts.commandsMax() - (this.tasks?.size ?? 0));
    const next = plus(this.#expCmdSn, open - 1);
    if (isBefore(this.#maxCmdSn, next)) this.#maxCmdSn = next;
    return this.#maxCmdSn;
  }

  /** The request with ExpCmdSN is handed on. To be followed by `handOn`. */
  advance(): void {
    this.#expCmdSn = plus(this.#expCmdSn, 1);
  }

  /** Hands on what came before its turn, and now it is. */
  handOn(): void {
    if (this.#held.size === 0 && this.#waiting.length === 0) return;
    for (;;) {
      this.#runWaiting();
      const next = this.#held.get(this.#expCmdSn);
      if (next === undefined) return;
      this.#held.delete(this.#expCmdSn);
      this.advance();
      next();
    }
  }

  /**
   * Hands on a request that is not immediate: now, or when those before it have been. Returns false where it is to be ignored:
   * its number lies outside the window, or it was there before.
   */
  inOrder(cmdSn: number, handle: () => void): boolean {
    if (!this.isInWindow(cmdSn) || this.#held.has(cmdSn)) return false;
    this.#held.set(cmdSn, handle);
    this.handOn();
    return true;
  }

  /** Whether a request with this number is the next one, and may come. */
  isNext(cmdSn: number): boolean {
    return cmdSn === this.#expCmdSn && !isBefore(this.#maxCmdSn, cmdSn);
  }

  /** From ExpCmdSN to MaxCmdSN, as the initiator was told. */
  isInWindow(cmdSn: number): boolean {
    return !isBefore(cmdSn, this.#expCmdSn) && !isBefore(this.#maxCmdSn, cmdSn);
  }

  isHeld(cmdSn: number): boolean {
    return this.#held.has(cmdSn);
  }

  /** Runs something when all requests before this CmdSN were handed on: now, where they have been. */
  whenReached(cmdSn: number, run: () => void): void {
    this.#waiting.push({ cmdSn, run });
    this.#runWaiting();
  }

  #runWaiting(): void {
    if (this.#waiting.length === 0) return;
    const ready = this.#waiting.filter(({ cmdSn }) => !isBefore(this.#expCmdSn, cmdSn));
    if (ready.length === 0) return;
    this.#waiting = this.#waiting.filter((one) => !ready.includes(one));
    for (const { run } of ready) run();
  }

  /** With those that are to come. */
  get expectedConnections(): number {
    return this.#connections.size + this.#expected;
  }

  /** A connection is to come: the session waits for it. */
  expect(): void {
    this.#expected += 1;
  }

  /** The connection does not come. */
  async expectNot(): Promise<void> {
    this.#expected -= 1;
    await this.#endIfLeft();
  }

  /** The connection is there. */
  add(connection: SessionConnection): void {
    this.#expected -= 1;
    this.#connections.set(connection.cid, connection);
  }

  connection(cid: number): SessionConnection | undefined {
    return this.#connections.get(cid);
  }

  /** A connection is gone, and none of its commands is under way. `isClean`: after a logout, or since another one takes its place. */
  async left(connection: SessionConnection, isClean: boolean): Promise<void> {
    if (this.#connections.get(connection.cid) === connection) this.#connections.delete(connection.cid);
    if (isClean) await this.#endIfLeft();
    else await this.drop();
  }

  async #endIfLeft(): Promise<void> {
    if (this.#connections.size === 0 && this.#expected === 0) await this.drop();
  }

  /** Resolves when it has ended, for whatever reason. */
  async whenEnded(): Promise<void> {
    await this.#hasEnded.promise;
  }

  /** Asks the initiator to log out within so many seconds. */
  askLogout(seconds: number): void {
    this.#notify(ASYNC_EVENT.logoutRequest, seconds);
  }

  #notify(event: number, seconds: number): void {
    const { defaultTime2Wait } = this.parameters;
    for (const connection of this.#connections.values()) connection.notify(event, [0, defaultTime2Wait, seconds]);
  }

  /** Tells of the command window where no response does. */
  tellWindow(): void {
    for (const { responses } of this.#connections.values()) {
      responses.window();
      responses.schedule();
    }
  }

  /** Ends after what runs was answered; the initiator is told that it does. Idempotent. */
  async end(reason: string | undefined): Promise<void> {
    this.#notify(ASYNC_EVENT.dropSession, 0);
    await Promise.all([...this.#connections.values()].map(async (connection) => connection.end(reason)));
    await this.drop();
  }

  /** Ends at once. */
  destroy(): void {
    void this.drop();
  }

  /** Ends at once; commands under way get no response. Resolves when all of them have ended and the target is released. Idempotent. */
  async drop(): Promise<void> {
    this.#ended ??= this.#dropOnce();
    await this.#ended;
  }

  async #dropOnce(): Promise<void> {
    const { use, onEnded } = this.#parts;
    this.#held.clear();
    this.#waiting = [];
    for (const connection of this.#connections.values()) connection.destroy();
    if (use !== undefined) {
      await use.tasks.abort(use.tasks.which(() => true));
      use.tasks.close();
      await use.release();
    }
    onEnded(this);
    this.#hasEnded.resolve(undefined);
  }
}
