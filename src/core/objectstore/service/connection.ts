/**
 * One HTTP/2 session to the data endpoint, opened when it is needed and again after it broke.
 *
 * States: none -> opening (shared by all who ask meanwhile) -> open -> none. After a failure the next opening goes to the next
 * server of the service, where there are several, and waits, longer each time and by chance, so that many gateways do not come
 * back at once. A session that was silent for long is asked
 * whether it is alive before it is used.
 */
import { connect, constants, type ClientHttp2Session } from 'node:http2';
import { isIP } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { throwIfAborted, untilAborted, type Clock, type Random } from '../../kit/index.ts';
import type { ServiceIdentity } from './identity.ts';
import { tooSlow, unanswered } from './failure.ts';
import { authorityOf, type ServicePlace } from './place.ts';
import { CLIENT_WINDOWS, FRAME_BYTES_MAX } from './wire.ts';

const CONNECT_TIMEOUT_MS = 10_000;
const PING_TIMEOUT_MS = 5000;
/** Silent for so long, a session may be dead without anybody having said so. */
const SILENT_MS = 30_000;
const BASE_DELAY_MS = 100;
const DELAY_MAX_MS = 10_000;
const KEEP_ALIVE_MS = 60_000;

export interface ConnectionParts {
  readonly place: ServicePlace;
  readonly identity: () => Promise<ServiceIdentity>;
  readonly clock: Clock;
  readonly random: Random;
}

export class Connection {
  readonly #parts: ConnectionParts;
  readonly #stop = new AbortController();
  #session: ClientHttp2Session | undefined;
  #opening: Promise<ClientHttp2Session> | undefined;
  #failures = 0;
  /** Which of the servers is asked: the one that answered last, until it does not. */
  #turn = 0;
  #usedMs = 0;
  #users = 0;

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
  }

  /** An open session. @throws denied `store-certificate`; unavailable `store-unreachable`; timeout; the signal's reason */
  async session(signal: AbortSignal): Promise<ClientHttp2Session> {
    throwIfAborted(signal);
    const present = this.#session;
    if (present !== undefined && isUsable(present) && (await this.#isAlive(present))) {
      this.#usedMs = this.#parts.clock.monotonicMs();
      return present;
    }
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    return await untilAborted(this.#opening, signal);
  }

  /** A request is under way: until it lets go, the session keeps the process running. */
  hold(): () => void {
    this.#users += 1;
    this.#session?.ref();
    return () => {
      this.#users -= 1;
      if (this.#users === 0 && this.#session?.destroyed === false) this.#session.unref();
    };
  }

  /** Whether the session answers; one that does not is given up, with everything that is under way on it. */
  async probe(session: ClientHttp2Session): Promise<boolean> {
    if (!isUsable(session)) return false;
    const isAnswered = await new Promise<boolean>((resolve) => {
      const giveUp = new AbortController();
      const end = (answered: boolean): void => {
        giveUp.abort();
        session.off('close', onClose);
        resolve(answered);
      };
      const onClose = (): void => {
        end(false);
      };
      session.once('close', onClose);
      this.#parts.clock.sleep(PING_TIMEOUT_MS, giveUp.signal).then(
        () => {
          end(false);
        },
        () => undefined,
      );
      const isSent = session.ping((error) => {
        end(error === null);
      });
      if (!isSent) end(false);
    });
    if (!isAnswered) session.destroy(undefined, constants.NGHTTP2_CANCEL);
    return isAnswered;
  }

  async #isAlive(session: ClientHttp2Session): Promise<boolean> {
    if (this.#parts.clock.monotonicMs() - this.#usedMs < SILENT_MS) return true;
    return await this.probe(session);
  }

  async #open(): Promise<ClientHttp2Session> {
    const { clock, random } = this.#parts;
    if (this.#failures > 0) {
      const limitMs = Math.min(DELAY_MAX_MS, BASE_DELAY_MS * 2 ** (this.#failures - 1));
      await clock.sleep(random.float() * limitMs, this.#stop.signal);
    }
    throwIfAborted(this.#stop.signal);
    let { place } = this.#parts;
    try {
      const identity = await this.#parts.identity();
      const places = [place, ...(identity.elsewhere ?? [])];
      place = places[this.#turn % places.length] ?? place;
      const session = await this.#connect(place, identity);
      this.#failures = 0;
      this.#session = session;
      this.#usedMs = clock.monotonicMs();
      return session;
    } catch (error) {
      this.#failures += 1;
      this.#turn += 1;
      throw unanswered(error, 'take a connection', place);
    }
  }

  async #connect(place: ServicePlace, { ca, certificate, privateKey }: ServiceIdentity): Promise<ClientHttp2Session> {
    const { clock } = this.#parts;
    const socket = connectTls({
      host: place.host,
      port: place.port,
      ...(isIP(place.host) === 0 ? { servername: place.host } : {}),
      ca,
      cert: certificate,
      key: privateKey,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['h2'],
    });
    socket.setKeepAlive(true, KEEP_ALIVE_MS).setNoDelay(true);
    const session = connect(`https://${authorityOf(place)}`, {
      createConnection: () => socket,
      maxSessionMemory: CLIENT_WINDOWS.memoryMb,
      settings: { enablePush: false, maxFrameSize: FRAME_BYTES_MAX, initialWindowSize: CLIENT_WINDOWS.streamBytes },
    });
    const giveUp = new AbortController();
    try {
      await new Promise<void>((resolve, reject) => {
        session.once('error', reject);
        session.once('connect', () => {
          resolve();
        });
        session.once('close', () => {
          reject(unanswered({}, 'take a connection', place));
        });
        clock.sleep(CONNECT_TIMEOUT_MS, giveUp.signal).then(
          () => {
            reject(tooSlow('take a connection', CONNECT_TIMEOUT_MS, place));
          },
          () => undefined,
        );
      });
    } catch (error) {
      session.destroy();
      throw error;
    } finally {
      giveUp.abort();
    }
    session.setLocalWindowSize(CLIENT_WINDOWS.sessionBytes);
    if (this.#users === 0) session.unref();
    // What fails on it is told to its requests; the session is given up as a whole.
    session.on('error', () => undefined);
    session.once('goaway', () => {
      if (this.#session === session) this.#session = undefined;
    });
    return session;
  }

  /** Ends the session; nothing is under way. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#opening?.catch(() => undefined);
    const session = this.#session;
    this.#session = undefined;
    if (session === undefined || session.destroyed) return;
    await new Promise<void>((resolve) => {
      session.once('close', () => {
        resolve();
      });
      session.destroy();
    });
  }
}

const isUsable = (session: ClientHttp2Session): boolean => !session.closed && !session.destroyed;
