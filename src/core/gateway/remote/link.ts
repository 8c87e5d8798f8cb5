/**
 * The gateway's connection to the control plane (mechanisms, S3): opened outwards over mutual TLS, kept, and opened again.
 *
 * States: connecting -> connected -> waiting -> connecting ... -> closed. Invariants: one connection at a time; on it the
 * gateway sends `hello` and then only answers; a connection that is silent for too long is given up; between two tries there
 * is a random wait, so that many gateways do not come back at once.
 */
import type { IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import { SgwError, toSgwError, type Clock, type ErrorDocument, type Logger, type Random } from '../../kit/index.ts';
import {
  CONTROL_CLOSE,
  CONTROL_FRAME_BYTES_MAX,
  CONTROL_PATH,
  CONTROL_VERSIONS,
  readDownFrame,
  sentError,
  type HelloFrame,
  type UpFrame,
  type WelcomeFrame,
} from '../../protocol/index.ts';
import { backOffMs, chooseServer, hasStood, type Ending } from './back-off.ts';
import { RequestRunner, SeenCalls, type RequestHandler } from './requests.ts';

const CONNECT_MS = 15_000;
/** Pings that may be missed. */
const SILENT_PINGS = 2.5;
/** For answers under way when the gateway ends. */
const CLOSE_MS = 2000;
/** For the other side to close. */
const CLOSING_MS = 500;
/** Calls may carry what people write, such as tags; servers' frames are no larger than ours. */
const DOWN_BYTES_MAX = 2 * CONTROL_FRAME_BYTES_MAX;

/** What a connection shows and believes; PEM. */
export interface LinkIdentity {
  readonly ca: string;
  readonly certificate: string;
  readonly privateKey: string;
}

export interface LinkOptions {
  /** `https://HOST:PORT` of control servers; at least one. Asked before each try. */
  readonly servers: () => readonly string[];
  /** Read before each try, so that a new certificate is in use at once. */
  readonly identity: () => Promise<LinkIdentity>;
  readonly hello: () => Promise<Omit<HelloFrame, 'kind' | 'versions'>>;
  readonly handler: RequestHandler;
  /** Told of the servers that there are, after each connection. */
  readonly onWelcome: (welcome: WelcomeFrame) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface LinkStatus {
  readonly state: 'connecting' | 'connected' | 'waiting' | 'closed';
  /** Of the service, the one that is connected to or tried; null before the first try. */
  readonly server: string | null;
  /** When the state began, by the clock's `nowMs`. */
  readonly sinceMs: number;
  /** Why the last connection ended, or could not be had; null when none ever did. */
  readonly lastFailure: { readonly atMs: number; readonly error: SgwError } | null;
  /** Connections that stood. */
  readonly connections: number;
}

interface Over {
  readonly ending: Ending;
  readonly error: SgwError;
  /** Whether the tries before it are forgotten. */
  readonly isForgiven: boolean;
}

type Served = Omit<Over, 'isForgiven'> & { readonly isWelcomed: boolean; readonly callsTaken: number };

export class ControlLink {
  readonly #options: LinkOptions;
  readonly #end = new AbortController();
  readonly #seen = new SeenCalls();
  #status: LinkStatus;
  #running: Promise<void> | undefined;
  #runner: RequestRunner | undefined;
  #socket: WebSocket | undefined;
  /** Of the connection: resolves when it is over. */
  #ended: Promise<unknown> | undefined;
  #isClosing = false;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#status = {
      state: 'connecting',
      server: null,
      sinceMs: options.clock.nowMs(),
      lastFailure: null,
      connections: 0,
    };
  }

  get status(): LinkStatus {
    return this.#status;
  }

  #isOver(): boolean {
    return this.#isClosing || this.#end.signal.aborted;
  }

  /** Begins. `firstWaitMs` bounds a random wait before the first try. */
  start(firstWaitMs = 0): void {
    this.#running ??= this.#keep(firstWaitMs);
  }

  /** Ends the connection once what is under way was answered, for at most `graceMs`. Idempotent. */
  async close(graceMs = CLOSE_MS): Promise<void> {
    if (!this.#isOver()) {
      await this.#settle(graceMs);
      this.#isClosing = true;
      // What was answered last is on its way until the other side has closed as well.
      this.#socket?.close(1000);
      await this.#within(CLOSING_MS, this.#ended);
      this.#end.abort(new SgwError('aborted', 'gateway-stopping', 'the gateway daemon is stopping'));
    }
    await this.#running;
  }

  async #settle(graceMs: number): Promise<void> {
    await this.#within(graceMs, this.#runner?.settled());
  }

  /** Waits for `work`, but not for longer. */
  async #within(mostMs: number, work: Promise<unknown> | undefined): Promise<void> {
    const over = new AbortController();
    const late = this.#options.clock.sleep(mostMs, over.signal).catch(() => undefined);
    await Promise.race([work, late]);
    over.abort();
  }

  async #keep(firstWaitMs: number): Promise<void> {
    const { clock, random, log } = this.#options;
    let failures = 0;
    let failed: string | undefined;
    let waitMs = random.float() * firstWaitMs;
    while (!this.#isOver()) {
      if (waitMs > 0) await clock.sleep(waitMs, this.#end.signal).catch(() => undefined);
      if (this.#isOver()) break;
      const server = chooseServer(this.#options.servers(), failed, random);
      this.#turn({ state: 'connecting', server: server ?? null });
      const { ending, error, isForgiven } = await this.#connectOnce(server);
      if (this.#isOver()) break;
      failures = isForgiven ? 0 : failures + 1;
      failed = server;
      waitMs = backOffMs(ending, failures, random);
      this.#turn({ state: 'waiting', lastFailure: { atMs: clock.nowMs(), error } });
      log.warn({ server, waitMs: Math.round(waitMs), err: error }, 'no connection to the service');
    }
    this.#turn({ state: 'closed' });
  }

  #turn(change: Partial<LinkStatus>): void {
    this.#status = { ...this.#status, sinceMs: this.#options.clock.nowMs(), ...change };
  }

  /** One connection, until it is over. Never fails. */
  async #connectOnce(server: string | undefined): Promise<Over> {
    const { clock } = this.#options;
    const startedMs = clock.monotonicMs();
    try {
      if (server === undefined) throw new SgwError('invalid', 'no-control-server', 'no server of the service is known');
      const hello = { kind: 'hello', versions: CONTROL_VERSIONS, ...(await this.#options.hello()) } as const;
      const socket = await this.#dial(server);
      const over = await this.#serve(socket, server, hello);
      const lastedMs = clock.monotonicMs() - startedMs;
      return { ...over, isForgiven: hasStood({ ...over, lastedMs }) };
    } catch (error) {
      const failure = toSgwError(error);
      return { ending: failure.kind === 'denied' ? 'refused' : 'failed', error: failure, isForgiven: false };
    }
  }

  async #dial(server: string): Promise<WebSocket> {
    const { ca, certificate, privateKey } = await this.#options.identity();
    const socket = new WebSocket(`${server.replace(/^https:/, 'wss:')}${CONTROL_PATH}`, {
      ca,
      cert: certificate,
      key: privateKey,
      minVersion: 'TLSv1.2',
      handshakeTimeout: CONNECT_MS,
      maxPayload: DOWN_BYTES_MAX,
      perMessageDeflate: false,
      followRedirects: false,
    });
    // A failure is followed by `close`; before the opening it is what this throws.
    socket.on('error', () => undefined);
    const stop = (): void => {
      socket.terminate();
    };
    this.#end.signal.addEventListener('abort', stop, { once: true });
    socket.once('close', () => {
      this.#end.signal.removeEventListener('abort', stop);
    });
    return await new Promise<WebSocket>((resolve, reject) => {
      socket.once('open', () => {
        resolve(socket);
      });
      socket.once('error', (error) => {
        reject(unreachable(server, error));
      });
      // It is no WebSocket: the answer says why.
      socket.once('unexpected-response', (_request, response) => {
        readRefusal(response).then(
          (refusal) => {
            reject(refusal ?? unreachable(server, new Error(`HTTP status ${String(response.statusCode)}`)));
            socket.terminate();
          },
          (error: unknown) => {
            reject(unreachable(server, error as Error));
          },
        );
      });
      if (this.#isOver()) stop();
    });
  }

  /** Answers what comes until the connection is over. */
  async #serve(socket: WebSocket, server: string, hello: HelloFrame): Promise<Served> {
    const { handler, clock } = this.#options;
    const runner = new RequestRunner(linkOf(socket), handler, this.#seen, clock);
    this.#runner = runner;
    const { promise, resolve } = Promise.withResolvers<Omit<Over, 'isForgiven'>>();
    this.#socket = socket;
    this.#ended = promise;
    let refusal: SgwError | undefined;
    let isWelcomed = false;
    let silence = setTimeout(giveUp, CONNECT_MS);
    let silentMs = CONNECT_MS;
    function giveUp(): void {
      refusal ??= new SgwError('timeout', 'service-silent', 'the service was silent for too long');
      socket.terminate();
    }
    const alive = (): void => {
      clearTimeout(silence);
      silence = setTimeout(giveUp, silentMs);
    };
    socket.on('ping', alive);
    socket.on('message', (data, isBinary) => {
      alive();
      const frame = isBinary ? undefined : readDownFrame((data as Buffer).toString('utf8'));
      if (frame === undefined) socket.close(CONTROL_CLOSE.badFrame);
      else if (frame.kind === 'welcome') {
        isWelcomed = true;
        silentMs = this.#welcome(frame, server);
      } else if (frame.kind === 'refused') refusal = sentError(frame.error);
      else if (frame.kind === 'cancel') runner.cancel(frame.id);
      else if (frame.kind !== 'unknown') runner.run(frame);
      else if (frame.id !== undefined) runner.refuse(frame.id);
    });
    socket.once('close', (code) => {
      clearTimeout(silence);
      runner.stop(new SgwError('aborted', 'caller-gone', 'the connection to the service ended'));
      resolve(endingOf(code, server, refusal));
    });
    socket.send(JSON.stringify(hello));
    if (socket.readyState === socket.CLOSED) resolve(endingOf(1006, server, refusal));
    return { ...(await promise), isWelcomed, callsTaken: runner.callsTaken };
  }

  /** Returns how long silence may last from now on. */
  #welcome(welcome: WelcomeFrame, server: string): number {
    const { log, onWelcome } = this.#options;
    this.#turn({ state: 'connected', server, connections: this.#status.connections + 1 });
    log.info({ server, serverId: welcome.serverId, epoch: welcome.epoch }, 'connected to the service');
    onWelcome(welcome);
    return Math.max(1000, welcome.pingMs * SILENT_PINGS);
  }
}

const linkOf = (socket: WebSocket): { readonly unsentBytes: number; send(frame: UpFrame): Promise<void> } => ({
  get unsentBytes(): number {
    return socket.bufferedAmount;
  },
  send: async (frame) => {
    await new Promise<void>((resolve, reject) => {
      socket.send(JSON.stringify(frame), (error) => {
        if (error instanceof Error) reject(error);
        else resolve();
      });
    });
  },
});

function endingOf(code: number, server: string, refusal: SgwError | undefined): Omit<Over, 'isForgiven'> {
  const details = { server, code };
  if (code === CONTROL_CLOSE.draining) {
    const error = new SgwError('unavailable', 'service-draining', 'the server of the service is stopping', { details });
    return { ending: 'draining', error };
  }
  if (code === CONTROL_CLOSE.replaced) {
    const message = 'another connection of this gateway took the place of this one';
    const hint =
      'If that goes on, a copy of this home runs elsewhere: each gateway needs a home and an activation of its own.';
    return { ending: 'refused', error: new SgwError('conflict', 'connection-replaced', message, { hint, details }) };
  }
  if (code === CONTROL_CLOSE.refused || refusal?.kind === 'denied') {
    const message = 'the service does not take this gateway: it may be deregistered';
    return { ending: 'refused', error: refusal ?? new SgwError('denied', 'connection-refused', message, { details }) };
  }
  const error =
    refusal ?? new SgwError('unavailable', 'service-disconnected', 'the connection to the service ended', { details });
  return { ending: 'failed', error };
}

function unreachable(server: string, error: Error): SgwError {
  return new SgwError('unavailable', 'service-unreachable', `${server} can not be reached: ${error.message}`, {
    details: { server },
    cause: error,
  });
}

const REFUSAL_BYTES_MAX = 16_384;

/** The error that the service answered with; undefined when it is none. */
async function readRefusal(response: IncomingMessage): Promise<SgwError | undefined> {
  let text = '';
  response.setEncoding('utf8');
  for await (const part of response as AsyncIterable<string>) {
    text += part;
    if (text.length > REFUSAL_BYTES_MAX) break;
  }
  try {
    const { error } = JSON.parse(text) as { readonly error: ErrorDocument };
    return sentError(error);
  } catch {
    return undefined;
  }
}
