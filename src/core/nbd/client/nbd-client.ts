/**
 * One connection of an NBD client: from connecting to the end. Requests are sent as they come, as many as are asked for; who asks bounds
 * them.
 *
 * States: open -> ended. Invariants: each request is answered once, or is among `unanswered` when the connection has ended; `onEnd`
 * is called once, with no call of an answer after it.
 */
import { connect as connectSocket, type Socket } from 'node:net';
import { abortReason, SgwError, toSgwError } from '../../kit/index.ts';
import { BufferPool, ByteQueue, finishSocket, type ListenAddress } from '../../sockets/index.ts';
import { CMD } from '../wire.ts';
import { negotiate, type Channel, type ExportInfo, type Wishes } from './negotiation.ts';
import { ReplyParser } from './reply-parser.ts';
import { RequestOutput } from './request-output.ts';
import { Slots, type ClientRequest } from './request.ts';
import { secureClient, type ClientTls } from './tls.ts';

export interface NbdClientOptions extends Omit<Wishes, 'isTls'> {
  readonly address: ListenAddress;
  readonly tls?: ClientTls;
  /** Gives up opening. */
  readonly signal: AbortSignal;
}

const RECEIVE_BYTES = 256 * 1024;
const KEEP_ALIVE_MS = 10_000;

const DISCONNECT: ClientRequest = {
  ...{ type: CMD.disconnect, flags: 0, offset: 0, length: 0, data: undefined },
  answered: () => undefined,
};

export class NbdClient {
  readonly address: ListenAddress;
  readonly info: ExportInfo;
  readonly #socket: Socket;
  readonly #queue: ByteQueue;
  readonly #slots = new Slots();
  readonly #parser: ReplyParser;
  readonly #output: RequestOutput;
  /** Told once, when the connection has ended by itself or by the server. */
  onEnd: (reason: SgwError) => void = () => undefined;
  /** How often something has come; for who wonders whether the server is still there. */
  receivedCount = 0;
  #isEnded = false;

  private constructor(link: Link, info: ExportInfo, address: ListenAddress) {
    this.address = address;
    this.info = info;
    this.#socket = link.socket;
    this.#queue = link.queue;
    this.#output = new RequestOutput(link.socket, new BufferPool());
    this.#parser = new ReplyParser({
      queue: link.queue,
      slots: this.#slots,
      isStructured: info.isStructured,
      statusContext: info.statusContext,
    });
    link.handOver(
      (isLent) => {
        this.#received(isLent);
      },
      (reason) => {
        this.#end(reason);
      },
    );
  }

  /**
   * Connects and opens the export.
   * @throws unavailable `nbd-unreachable`, `nbd-negotiation`; notFound, denied, unavailable `nbd-refused`; denied `nbd-tls`; the
   * signal's reason; what `consider` throws
   */
  static async open(options: NbdClientOptions): Promise<NbdClient> {
    const { address, tls, signal } = options;
    const link = new Link(address, tls);
    const stop = (): void => {
      link.fail(abortReason(signal));
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
    try {
      const info = await negotiate(link, { ...options, isTls: tls !== undefined });
      if (signal.aborted) throw abortReason(signal);
      return new NbdClient(link, info, address);
    } catch (error) {
      link.fail(toSgwError(error));
      throw error;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Requests that were not answered yet. */
  get underWay(): number {
    return this.#slots.inUse;
  }

  /** Sends a request, soon; not after the end. */
  submit(request: ClientRequest): void {
    this.#output.add(request, this.#slots.take(request));
  }

  #received(isLent: boolean): void {
    this.receivedCount += 1;
    if (this.#isEnded) return;
    try {
      this.#parser.consume();
    } catch (error) {
      this.#end(toSgwError(error));
      return;
    }
    if (isLent) this.#queue.own();
  }

  #end(reason: SgwError): void {
    if (this.#isEnded) return;
    this.destroy();
    this.onEnd(reason);
  }

  /** Ends at once; nothing is answered any more, and `onEnd` is not called. */
  destroy(): void {
    this.#isEnded = true;
    this.#parser.stop();
    this.#socket.destroy();
    this.#output.close();
  }

  /** Takes leave of the server, once everything was answered. */
  async close(): Promise<void> {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.submit(DISCONNECT);
    this.#output.close();
    await finishSocket(this.#socket);
    this.destroy();
  }
}

/** The socket until it is handed over to the client that it is opened for. */
class Link implements Channel {
  readonly queue = new ByteQueue();
  socket: Socket;
  readonly #tls: ClientTls | undefined;
  readonly #host: string;
  #failure: SgwError | undefined;
  #wake: (() => void) | undefined;
  #onBytes: ((isLent: boolean) => void) | undefined;
  #onEnd: ((reason: SgwError) => void) | undefined;

  constructor(address: ListenAddress, tls: ClientTls | undefined) {
    this.#tls = tls;
    this.#host = address.kind === 'tcp' ? address.host : 'localhost';
    const place = address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port };
    const common = {
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      highWaterMark: RECEIVE_BYTES,
    };
    // Read into the same memory again and again; a TLS socket reads by itself.
    const onread = {
      buffer: Buffer.allocUnsafeSlow(tls === undefined ? RECEIVE_BYTES : 0),
      callback: (count: number, bytes: Uint8Array) => {
        this.#received(Buffer.from(bytes.buffer, bytes.byteOffset, count), true);
        return true;
      },
    };
    this.socket = connectSocket({ ...place, ...common, ...(tls === undefined ? { onread } : {}) });
    this.#listen(this.socket);
  }

  #listen(socket: Socket): void {
    socket.on('error', (error) => {
      this.fail(unreachable(error));
    });
    socket.on('end', () => {
      this.fail(new SgwError('unavailable', 'nbd-ended', 'the NBD server ended the connection'));
    });
    socket.on('close', () => {
      this.fail(new SgwError('unavailable', 'nbd-ended', 'the connection to the NBD server is gone'));
    });
    if (this.#tls !== undefined) socket.on('data', this.#onData);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#received(chunk, false);
  };

  /** Until it is handed over its memory is copied, since it is taken later. */
  #received(chunk: Buffer, isLent: boolean): void {
    const onBytes = this.#onBytes;
    this.queue.push(isLent && onBytes === undefined ? Buffer.from(chunk) : chunk);
    if (onBytes === undefined) this.#wake?.();
    else onBytes(isLent);
  }

  async take(count: number): Promise<Buffer> {
    while (this.queue.length < count) {
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.queue.take(count);
  }

  send(bytes: Buffer): void {
    if (!this.socket.destroyed) this.socket.write(bytes);
  }

  async secure(): Promise<void> {
    if (this.queue.length > 0)
      throw new SgwError('denied', 'nbd-tls', 'bytes of the NBD server follow STARTTLS in the clear');
    const plain = this.socket;
    plain.off('data', this.#onData);
    this.socket = await secureClient(plain, this.#tls ?? {}, this.#host);
    this.#listen(this.socket);
  }

  fail(reason: SgwError): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    this.socket.destroy();
    this.#wake?.();
    this.#onEnd?.(reason);
  }

  /** What comes from now on is the client's; what has come already it takes at once. */
  handOver(onBytes: (isLent: boolean) => void, onEnd: (reason: SgwError) => void): void {
    this.#onBytes = onBytes;
    this.#onEnd = onEnd;
    if (this.#failure !== undefined) throw this.#failure;
  }
}

function unreachable(error: Error): SgwError {
  return new SgwError('unavailable', 'nbd-unreachable', `the NBD server can not be reached: ${error.message}`, {
    cause: error,
  });
}
