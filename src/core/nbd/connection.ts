/**
 * One client's connection: its socket through handshake and transmission to its end.
 *
 * States: handshake -> transmission -> ending -> closed. Invariants: the export is released exactly once, when no request of
 * the connection is under way; a socket is read only while what it brings may be held.
 */
import type { Socket } from 'node:net';
import { Arena, ByteQueue, finishSocket, receiveInto, type BufferPool, type InFlight } from '../sockets/index.ts';
import type { ExportDirectory, OpenedExport } from './exports.ts';
import { greeting, Handshake, type HandshakeStep, type TlsMode } from './handshake.ts';
import type { ServerLimits } from './limits.ts';
import { Replies } from './replies.ts';
import { secure, type TlsSetup } from './tls.ts';
import { Transmission } from './transmission.ts';

export interface ConnectionParts {
  readonly id: number;
  /** Not read from yet. */
  readonly socket: Socket;
  readonly directory: ExportDirectory;
  readonly limits: ServerLimits;
  readonly inFlight: InFlight;
  /** Replies of all connections that were not sent yet. */
  readonly unsent: InFlight;
  readonly pool: BufferPool;
  /** What sockets are read into: all of them, one after the other. */
  readonly receiveMemory: Buffer;
  readonly tls: TlsSetup | undefined;
  readonly tlsMode: TlsMode;
  /** The connection is that of this client from now on; see `Handshake`. */
  readonly claim: (clientId: string, connection: Connection) => Promise<void>;
  readonly onClosed: (connection: Connection, reason: string | undefined) => void;
}

/** For status. */
export interface ConnectionInfo {
  readonly id: number;
  /** Address and port, or `unix`. */
  readonly remote: string;
  /** Null during the handshake. */
  readonly exportName: string | null;
  readonly user: string | null;
  readonly isTls: boolean;
  readonly sinceMs: number;
  readonly requests: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

export class Connection {
  readonly id: number;
  readonly #parts: ConnectionParts;
  readonly #sinceMs: number;
  readonly #stop = new AbortController();
  readonly #queue = new ByteQueue();
  readonly #handshake: Handshake;
  /** Kept, since a socket that has ended does not know it any more. */
  readonly #remote: string;
  #socket: Socket;
  #isTls = false;
  #user: string | undefined;
  #replies: Replies | undefined;
  #payloads: Arena | undefined;
  #transmission: Transmission | undefined;
  /** The handshake at work: an export that it opens meanwhile is released before this resolves. */
  #advancing: Promise<void> | undefined;
  #receivedBytes = 0;
  #stopListening: (() => void) | undefined;
  #negotiation: NodeJS.Timeout | undefined;
  #ended: Promise<void> | undefined;

  constructor(parts: ConnectionParts, nowMs: number) {
    const { id, directory, limits, tlsMode, receiveMemory } = parts;
    this.id = id;
    this.#parts = parts;
    this.#sinceMs = nowMs;
    const isPlain = tlsMode === 'off';
    const socket = isPlain
      ? receiveInto(parts.socket, receiveMemory, (bytes) => {
          this.#received(bytes, true);
        })
      : parts.socket;
    this.#socket = socket;
    const { remoteAddress, remotePort } = socket;
    this.#remote = remoteAddress === undefined ? 'unix' : `${remoteAddress}:${String(remotePort)}`;
    this.#handshake = new Handshake({
      queue: this.#queue,
      directory,
      limits,
      tls: tlsMode,
      connectionId: id,
      signal: this.#stop.signal,
      claim: async (clientId) => parts.claim(clientId, this),
      send: (bytes) => {
        this.#socket.write(bytes);
      },
      backlogBytes: () => this.#socket.writableLength,
    });
    this.#negotiation = setTimeout(() => void this.end('the handshake took too long'), limits.negotiationMs);
    this.#listen(socket, !isPlain);
    socket.resume();
    socket.write(greeting());
  }

  get info(): ConnectionInfo {
    return {
      id: this.id,
      remote: this.#remote,
      exportName: this.#transmission?.opened.name ?? null,
      user: this.#user ?? null,
      isTls: this.#isTls,
      sinceMs: this.#sinceMs,
      requests: this.#transmission?.ops ?? 0,
      receivedBytes: this.#receivedBytes,
      sentBytes: this.#replies?.sentBytes ?? 0,
    };
  }

  /** `withData`: what is received is not told of otherwise. */
  #listen(socket: Socket, withData: boolean): void {
    const onData = (chunk: Buffer): void => {
      this.#received(chunk, false);
    };
    const onDrain = (): void => this.#transmission?.roomAgain();
    const onEnd = (): void => void this.end(undefined);
    const onClose = (): void => {
      // Nobody waits for answers any more; what waits for others, such as a store out of reach, is given up.
      this.#stop.abort();
      void this.end(undefined);
    };
    if (withData) socket.on('data', onData);
    socket.on('drain', onDrain).on('end', onEnd).on('close', onClose);
    // Why a socket failed does not matter: its client is gone.
    socket.on('error', () => undefined);
    this.#stopListening = () => {
      socket.off('data', onData).off('drain', onDrain).off('end', onEnd).off('close', onClose);
    };
  }

  /** Takes what came; its memory is somebody else's when it is lent. */
  #received(chunk: Buffer, isLent: boolean): void {
    this.#receivedBytes += chunk.length;
    // What comes after the last request is read, so that the end is seen, and not kept.
    if (this.#ended !== undefined) return;
    if (this.#transmission === undefined) {
      this.#queue.push(isLent ? Buffer.from(chunk) : chunk);
      this.#advance();
      return;
    }
    this.#queue.push(chunk);
    this.#transmission.consume();
    if (isLent) this.#queue.own();
  }

  /** Drives the handshake; what comes meanwhile waits in the queue, which is bounded by pausing the socket. */
  #advance(): void {
    if (this.#advancing !== undefined) return;
    this.#socket.pause();
    this.#advancing = this.#handshake.advance().then(
      async (step) => {
        this.#advancing = undefined;
        if (this.#ended === undefined) this.#take(step);
        else if (step.kind === 'transmission') await release(step.opened);
      },
      (error: unknown) => {
        void this.end(error instanceof Error ? error.message : String(error));
      },
    );
  }

  #take(step: HandshakeStep): void {
    switch (step.kind) {
      case 'more':
        this.#socket.resume();
        return;
      case 'closed':
        void this.end(step.reason);
        return;
      case 'startTls':
        this.#startTls();
        return;
      case 'transmission':
        this.#transmit(step);
        return;
    }
  }

  #startTls(): void {
    const { tls } = this.#parts;
    if (tls === undefined) {
      void this.end('TLS is not set up');
      return;
    }
    this.#stopListening?.();
    secure(this.#socket, tls).then(
      ({ socket, user }) => {
        if (this.#ended !== undefined) {
          socket.destroy();
          return;
        }
        this.#socket = socket;
        this.#isTls = true;
        this.#user = user;
        this.#handshake.secured(user);
        this.#listen(socket, true);
        socket.resume();
      },
      (error: unknown) => {
        void this.end(`TLS failed: ${error instanceof Error ? error.message : String(error)}`);
      },
    );
  }

  #transmit({ opened, isStructured, contexts }: Extract<HandshakeStep, { kind: 'transmission' }>): void {
    clearTimeout(this.#negotiation);
    const { limits, inFlight, unsent, pool } = this.#parts;
    const socket = this.#socket;
    const replies = new Replies(socket, pool, unsent);
    const payloads = new Arena(pool);
    const transmission = new Transmission({
      opened,
      isStructured,
      contexts,
      queue: this.#queue,
      replies,
      payloads,
      limits,
      inFlight,
      signal: this.#stop.signal,
      onFull: () => socket.pause(),
      onRoom: () => socket.resume(),
      onEnd: (reason) => void this.end(reason),
    });
    const stopWaiting = inFlight.whenRoom(() => {
      transmission.roomAgain();
    });
    this.#stop.signal.addEventListener(
      'abort',
      () => {
        stopWaiting();
      },
      { once: true },
    );
    this.#replies = replies;
    this.#payloads = payloads;
    this.#transmission = transmission;
    socket.resume();
    transmission.consume();
  }

  /** Ends after what is under way was answered; the client gets that, and then the end. Idempotent. */
  async end(reason: string | undefined): Promise<void> {
    this.#ended ??= this.#endOnce(reason);
    await this.#ended;
  }

  async #endOnce(reason: string | undefined): Promise<void> {
    clearTimeout(this.#negotiation);
    const socket = this.#socket;
    socket.resume();
    try {
      await this.#transmission?.end();
      this.#replies?.close();
      this.#payloads?.close();
      await finishSocket(socket);
    } finally {
      this.#stop.abort();
      socket.destroy();
      this.#parts.socket.destroy();
      await this.#advancing;
      if (this.#transmission !== undefined) await release(this.#transmission.opened);
      this.#parts.onClosed(this, reason);
    }
  }

  /** Ends at once. */
  destroy(): void {
    this.#stop.abort();
    this.#socket.destroy();
    this.#parts.socket.destroy();
  }
}

async function release(opened: OpenedExport): Promise<void> {
  await opened.release().catch(() => undefined);
}
