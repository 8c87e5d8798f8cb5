/**
 * One initiator's connection: its socket through login and full feature phase to its end.
 *
 * States: login -> full feature -> ending -> closed. Invariants: a session that the connection was admitted to is left exactly once,
 * when no command of the connection is under way; a socket is read only while what it brings may be held.
 */
import type { Socket } from 'node:net';
import { toSgwError, type Random } from '../kit/index.ts';
import { Arena, ByteQueue, finishSocket, receiveInto, type BufferPool, type InFlight } from '../sockets/index.ts';
import { TextExchange, type Portal } from './discovery.ts';
import { FullFeature } from './full-feature.ts';
import type { ServerLimits } from './limits.ts';
import type { AgreedLogin, LoginLimits, LoginResult, LoginStep } from './login-contract.ts';
import { Login } from './login.ts';
import { SEGMENT_BYTES_DEFAULT } from './negotiation.ts';
import { PduReader } from './pdu.ts';
import { Responses } from './responses.ts';
import type { Session, SessionConnection, SessionConnectionInfo } from './session.ts';
import type { SessionRegistry } from './session-registry.ts';
import type { TargetDirectory } from './targets.ts';
import { LOGIN_STATUS } from './wire.ts';

export interface ConnectionParts {
  readonly id: number;
  /** Not read from yet. */
  readonly socket: Socket;
  readonly directory: TargetDirectory;
  readonly registry: SessionRegistry;
  readonly limits: ServerLimits;
  readonly loginLimits: LoginLimits;
  readonly portalGroupTag: number;
  /** Where initiators are told to come, seen from this connection. */
  readonly portals: (portal: string) => readonly Portal[];
  readonly pool: BufferPool;
  /** Responses of all connections that were not sent yet. */
  readonly unsent: InFlight;
  readonly random: Random;
  /** What sockets are read into: all of them, one after the other. */
  readonly receiveMemory: Buffer;
  /** How long the answer to a login with a wrong secret has to wait. */
  readonly failedLoginDelayMs: (address: string) => number;
  readonly onClosed: (connection: Connection, reason: string | undefined) => void;
}

/** For the log. */
export interface ConnectionInfo extends SessionConnectionInfo {
  readonly id: number;
  /** Null until it has logged in. */
  readonly initiator: string | null;
  readonly target: string | null;
}

/** Address and port; IPv6 addresses in brackets, and those that stand for IPv4 as such. */
export function endpoint(address: string | undefined, port: number | undefined): string {
  if (address === undefined) return 'unix';
  const plain = address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
  return `${plain.includes(':') ? `[${plain}]` : plain}:${String(port)}`;
}

export class Connection implements SessionConnection {
  readonly id: number;
  readonly payloads: Arena;
  readonly pool: BufferPool;
  /** Of the initiator. */
  readonly address: string;
  segmentMax = SEGMENT_BYTES_DEFAULT;
  readonly #parts: ConnectionParts;
  readonly #sinceMs: number;
  /** Aborted when the connection ends. */
  readonly #stop = new AbortController();
  readonly #queue = new ByteQueue();
  readonly #reader = new PduReader(this.#queue, SEGMENT_BYTES_DEFAULT);
  readonly #login: Login;
  /** Kept, since a socket that has ended does not know them any more. */
  readonly #remote: string;
  readonly #portal: string;
  readonly #socket: Socket;
  #header: Buffer | undefined;
  #data: Buffer = Buffer.alloc(0);
  /** A login request at work: a session that it is admitted to meanwhile is left before the end. */
  #advancing: Promise<void> | undefined;
  /** The login has failed, and its answer may have to wait: what comes meanwhile is no matter of it. */
  #isRefused = false;
  #session: Session | undefined;
  #result: LoginResult | undefined;
  #responses: Responses | undefined;
  #fullFeature: FullFeature | undefined;
  #receivedBytes = 0;
  #deadline: NodeJS.Timeout | undefined;
  #hold: NodeJS.Timeout | undefined;
  #ended: Promise<void> | undefined;

  constructor(parts: ConnectionParts, nowMs: number) {
    const { id, directory, loginLimits, portalGroupTag, random, limits, receiveMemory, pool, registry } = parts;
    this.id = id;
    this.#parts = parts;
    this.#sinceMs = nowMs;
    this.pool = pool;
    this.payloads = new Arena(pool);
    const socket = receiveInto(parts.socket, receiveMemory, (bytes) => {
      this.#received(bytes);
    });
    this.#socket = socket;
    const { remoteAddress, remotePort, localAddress, localPort } = socket;
    this.address = remoteAddress ?? 'unix';
    this.#remote = endpoint(remoteAddress, remotePort);
    this.#portal = endpoint(localAddress, localPort);
    this.#login = new Login({
      directory,
      sessions: {
        find: (tsih) => registry.find(tsih),
        admit: async (login) => await this.#admit(login),
      },
      limits: loginLimits,
      portalGroupTag,
      random,
    });
    this.#deadline = setTimeout(() => void this.end('the login took too long'), limits.loginMs);
    socket
      .on('drain', () => this.#fullFeature?.roomAgain())
      .on('end', () => void this.end(undefined))
      .on('close', () => {
        this.#gone();
      })
      // Why a socket failed does not matter: its initiator is gone.
      .on('error', () => undefined);
    socket.resume();
  }

  get cid(): number {
    return this.#result?.cid ?? 0;
  }

  /** Of the full feature phase. */
  get responses(): Responses {
    if (this.#responses === undefined) throw new Error('a connection that logs in has no responses');
    return this.#responses;
  }

  get isLoggingIn(): boolean {
    return this.#fullFeature === undefined && this.#ended === undefined;
  }

  /** It asks what targets there are, and uses none. */
  get isDiscovering(): boolean {
    return this.#result?.kind === 'discovery' && this.#ended === undefined;
  }

  get info(): ConnectionInfo {
    const { initiator = null, target = null, connection } = this.#result ?? {};
    return {
      id: this.id,
      cid: this.cid,
      remote: this.#remote,
      portal: this.#portal,
      initiator,
      target: target ?? null,
      headerDigest: connection?.headerDigest ?? false,
      dataDigest: connection?.dataDigest ?? false,
      sinceMs: this.#sinceMs,
      receivedBytes: this.#receivedBytes,
      sentBytes: this.#responses?.sentBytes ?? 0,
    };
  }

  /** Takes what came; its memory is somebody else's. */
  #received(bytes: Buffer): void {
    this.#receivedBytes += bytes.length;
    // What comes after the last request is read, so that the end is seen, and not kept.
    if (this.#ended !== undefined || this.#isRefused) return;
    if (this.#fullFeature === undefined) {
      this.#queue.push(Buffer.from(bytes));
      this.#advance();
      return;
    }
    this.#queue.push(bytes);
    this.#fullFeature.consume();
    this.#queue.own();
  }

  /** Drives the login; what comes meanwhile waits in the queue, which is bounded by pausing the socket. */
  #advance(): void {
    if (this.#advancing !== undefined || this.#ended !== undefined) return;
    let data: Buffer | undefined;
    try {
      data = this.#wholeRequest();
    } catch (error) {
      void this.end(toSgwError(error).message);
      return;
    }
    const header = this.#header;
    if (header === undefined || data === undefined) return;
    this.#header = undefined;
    this.#socket.pause();
    this.#advancing = this.#login.handle(header, data).then(
      (step) => {
        this.#advancing = undefined;
        if (this.#ended === undefined) this.#take(step);
      },
      (error: unknown) => {
        this.#advancing = undefined;
        void this.end(toSgwError(error).message);
      },
    );
  }

  /** The data of the next PDU, whose header is in `#header` then. @throws FramingError */
  #wholeRequest(): Buffer | undefined {
    if (this.#header === undefined) {
      const header = this.#reader.header();
      if (header === undefined) return undefined;
      this.#header = Buffer.from(header);
      this.#data = Buffer.alloc(this.#reader.dataLength);
    }
    return this.#reader.data(this.#data) === 'whole' ? this.#data : undefined;
  }

  #take(step: LoginStep): void {
    switch (step.kind) {
      case 'more':
        this.#socket.write(step.response);
        this.#socket.resume();
        this.#advance();
        return;
      case 'done':
        this.#begin(step.result, step.response);
        return;
      case 'refused':
        this.#refuse(step);
        return;
    }
  }

  #refuse({ response, status, reason }: Extract<LoginStep, { kind: 'refused' }>): void {
    this.#isRefused = true;
    const finish = (): void => {
      if (this.#ended !== undefined) return;
      if (response !== undefined) this.#socket.write(response);
      void this.end(reason);
    };
    if (status !== LOGIN_STATUS.authenticationFailed) {
      finish();
      return;
    }
    this.#hold = setTimeout(finish, this.#parts.failedLoginDelayMs(this.address));
    this.#socket.resume();
  }

  async #admit(login: AgreedLogin): Promise<number> {
    const session = await this.#parts.registry.admit(login, this.#stop.signal);
    this.#session = session;
    return session.tsih;
  }

  /** Full feature phase. */
  #begin(result: LoginResult, response: Buffer): void {
    const session = this.#session;
    if (session === undefined || session.isEnded) {
      void this.end('the session ended before it began');
      return;
    }
    clearTimeout(this.#deadline);
    const { registry, directory, limits, portals, pool, unsent } = this.#parts;
    const { headerDigest, dataDigest, maxSendLength } = result.connection;
    const socket = this.#socket;
    this.#result = result;
    this.segmentMax = maxSendLength;
    socket.write(response);
    this.#responses = new Responses({
      socket,
      pool,
      unsent,
      window: session,
      digests: { header: headerDigest, data: dataDigest },
      nextStatSn: result.nextStatSn,
    });
    this.#fullFeature = new FullFeature({
      session,
      target: registry.targetOf(session),
      connection: this,
      parameters: result.connection,
      text: new TextExchange({
        directory,
        initiator: result.initiator,
        target: result.target,
        portals: () => portals(this.#portal),
        maxSendLength: () => this.segmentMax,
      }),
      queue: this.#queue,
      limits,
      onFull: () => socket.pause(),
      onRoom: () => socket.resume(),
      onEnd: (reason) => void this.end(reason),
    });
    session.add(this);
    socket.resume();
    this.#fullFeature.consume();
  }

  /** Whether the initiator is still there, and keeps up: to be called now and then. */
  check(nowMs: number): void {
    const reason = this.#ended === undefined ? this.#fullFeature?.check(nowMs) : undefined;
    if (reason === undefined) return;
    void this.end(reason);
    this.destroy();
  }

  notify(event: number, parameters: readonly [number, number, number]): void {
    if (this.#ended !== undefined) return;
    this.responses.event(event, parameters);
    this.responses.flush();
  }

  /** The initiator is gone: nobody waits for answers any more. */
  #gone(): void {
    const tasks = this.#session?.tasks;
    if (tasks !== undefined) void tasks.abort(tasks.which((task) => task.connection === this));
    void this.end(undefined);
  }

  async end(reason: string | undefined): Promise<void> {
    this.#ended ??= this.#endOnce(reason, false);
    await this.#ended;
  }

  async leave(): Promise<void> {
    this.#ended ??= this.#endOnce(undefined, true);
    await this.#ended;
  }

  async #endOnce(reason: string | undefined, isClean: boolean): Promise<void> {
    clearTimeout(this.#deadline);
    clearTimeout(this.#hold);
    this.#stop.abort();
    const socket = this.#socket;
    socket.resume();
    try {
      this.#fullFeature?.end();
      await this.#session?.tasks?.settle(this);
      this.#responses?.close();
      await finishSocket(socket);
    } finally {
      this.payloads.close();
      socket.destroy();
      this.#parts.socket.destroy();
      await this.#advancing;
      if (this.#result === undefined) await this.#session?.expectNot();
      else await this.#session?.left(this, isClean);
      this.#parts.onClosed(this, reason);
    }
  }

  destroy(): void {
    this.#socket.destroy();
    this.#parts.socket.destroy();
  }
}
