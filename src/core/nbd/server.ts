/**
 * An NBD server: listeners on unix sockets and TCP, and the connections that they bring.
 *
 * States: open -> closed. Invariants: connections are bounded in number, and in what they hold over all; one that stalls,
 * floods or sends rubbish hurts only itself.
 */
import type { Socket } from 'node:net';
import type { Clock } from '../kit/index.ts';
import { BufferPool, endAll, InFlight, Listening, type ListenAddress } from '../sockets/index.ts';
import { Connection, type ConnectionInfo } from './connection.ts';
import type { ExportDirectory } from './exports.ts';
import type { TlsMode } from './handshake.ts';
import { DEFAULT_LIMITS, type ServerLimits } from './limits.ts';
import type { TlsSetup } from './tls.ts';

export interface NbdServerOptions {
  readonly directory: ExportDirectory;
  readonly clock: Clock;
  readonly limits?: Partial<ServerLimits>;
  readonly tls?: { readonly mode: TlsMode; readonly setup: TlsSetup };
  /** Told when a connection ended because of what its client did. */
  readonly onClientFault?: (info: ConnectionInfo, reason: string) => void;
}

/** What one read of a socket brings at most. */
const RECEIVE_BYTES = 256 * 1024;

export class NbdServer {
  readonly #options: NbdServerOptions;
  readonly #limits: ServerLimits;
  readonly #inFlight: InFlight;
  readonly #unsent: InFlight;
  readonly #pool = new BufferPool();
  readonly #receiveMemory = Buffer.allocUnsafeSlow(RECEIVE_BYTES);
  readonly #listening = new Listening((socket) => {
    this.#accept(socket);
  }, '--listen tcp:127.0.0.1:PORT');
  readonly #connections = new Set<Connection>();
  /** The newest connection of each client that says who it is. */
  readonly #clients = new Map<string, Connection>();
  #tls: NbdServerOptions['tls'];
  #nextId = 1;
  #closing: Promise<void> | undefined;

  constructor(options: NbdServerOptions) {
    this.#options = options;
    this.#tls = options.tls;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#inFlight = new InFlight(this.#limits.allBytesMax);
    this.#unsent = new InFlight(this.#limits.allBacklogBytesMax);
  }

  /**
   * Starts to listen; resolves with the address, whose port is the one in use. A unix socket left by a process that has ended
   * is replaced; who calls makes sure that no other one serves there. Its file is 0600.
   * @throws unavailable, denied, invalid: the address can not be used
   */
  async listen(address: ListenAddress): Promise<ListenAddress> {
    return await this.#listening.listen(address);
  }

  get addresses(): ListenAddress[] {
    return this.#listening.addresses;
  }

  /** New connections get this from now on. */
  setTls(tls: NbdServerOptions['tls']): void {
    this.#tls = tls;
  }

  connections(): ConnectionInfo[] {
    return [...this.#connections].map(({ info }) => info);
  }

  #accept(socket: Socket): void {
    if (this.#closing !== undefined || this.#connections.size >= this.#limits.connectionsMax) {
      socket.destroy();
      return;
    }
    const { directory, clock, onClientFault } = this.#options;
    const tls = this.#tls;
    const connection = new Connection(
      {
        id: this.#nextId++,
        socket,
        directory,
        limits: this.#limits,
        inFlight: this.#inFlight,
        unsent: this.#unsent,
        pool: this.#pool,
        receiveMemory: this.#receiveMemory,
        tls: tls?.setup,
        tlsMode: tls?.mode ?? 'off',
        claim: async (clientId, claiming) => this.#claim(clientId, claiming),
        onClosed: (ended, reason) => {
          this.#connections.delete(ended);
          for (const [clientId, one] of this.#clients) if (one === ended) this.#clients.delete(clientId);
          if (reason !== undefined) onClientFault?.(ended.info, reason);
        },
      },
      clock.nowMs(),
    );
    this.#connections.add(connection);
  }

  /** A client has connected anew: what it asked for before is answered to nobody, and over when this resolves. */
  async #claim(clientId: string, connection: Connection): Promise<void> {
    const before = this.#clients.get(clientId);
    this.#clients.set(clientId, connection);
    if (before === undefined || before === connection) return;
    before.destroy();
    await before.end(undefined);
  }

  /**
   * Lets go of the clients of an export, after what is under way was answered, and at the latest after `deadlineMs`: then calls
   * are told to stop. Calls that do not heed that for a second are left to themselves.
   */
  async closeExport(name: string, { deadlineMs = 5000 }: { readonly deadlineMs?: number } = {}): Promise<void> {
    await endAll(
      [...this.#connections].filter(({ info }) => info.exportName === name),
      deadlineMs,
    );
  }

  /** Stops listening at one address. */
  async unlisten(address: ListenAddress): Promise<void> {
    await this.#listening.unlisten(address);
  }

  /** Takes no more connections, and ends those there are as `closeExport` does. Idempotent. */
  async close({ deadlineMs = 5000 }: { readonly deadlineMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#closeOnce(deadlineMs);
    await this.#closing;
  }

  async #closeOnce(deadlineMs: number): Promise<void> {
    const closed = this.#listening.close();
    await endAll([...this.#connections], deadlineMs);
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
