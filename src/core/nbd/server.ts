/**
 * An NBD server: listeners on unix sockets and TCP, and the connections that they bring.
 *
 * States: open -> closed. Invariants: connections are bounded in number, and in what they hold over all; one that stalls,
 * floods or sends rubbish hurts only itself.
 */
import { unlink } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { ownerOnly, SgwError, toSgwError, type Clock } from '../kit/index.ts';
import { BufferPool } from './buffer-pool.ts';
import { Connection, type ConnectionInfo } from './connection.ts';
import type { ExportDirectory } from './exports.ts';
import type { TlsMode } from './handshake.ts';
import { DEFAULT_LIMITS, InFlight, type ServerLimits } from './limits.ts';
import type { TlsSetup } from './tls.ts';

export type ListenAddress =
  | { readonly kind: 'unix'; readonly path: string }
  /** Port 0: the system's choice. */
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

export interface NbdServerOptions {
  readonly directory: ExportDirectory;
  readonly clock: Clock;
  readonly limits?: Partial<ServerLimits>;
  readonly tls?: { readonly mode: TlsMode; readonly setup: TlsSetup };
  /** Told when a connection ended because of what its client did. */
  readonly onClientFault?: (info: ConnectionInfo, reason: string) => void;
}

/** Clients whose machine is gone are found out after this and some probes. */
const KEEP_ALIVE_MS = 60_000;
/** What one read of a socket brings at most. */
const RECEIVE_BYTES = 256 * 1024;
/** How long calls have to end when they were told to. */
const HEED_MS = 1000;

export class NbdServer {
  readonly #options: NbdServerOptions;
  readonly #limits: ServerLimits;
  readonly #inFlight: InFlight;
  readonly #pool = new BufferPool();
  readonly #receiveMemory = Buffer.allocUnsafeSlow(RECEIVE_BYTES);
  readonly #servers = new Map<Server, ListenAddress>();
  readonly #connections = new Set<Connection>();
  #tls: NbdServerOptions['tls'];
  #nextId = 1;
  #closing: Promise<void> | undefined;

  constructor(options: NbdServerOptions) {
    this.#options = options;
    this.#tls = options.tls;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#inFlight = new InFlight(this.#limits.allBytesMax);
  }

  /**
   * Starts to listen; resolves with the address, whose port is the one in use. A unix socket left by a process that has ended
   * is replaced; who calls makes sure that no other one serves there. Its file is 0600.
   * @throws unavailable, denied, invalid: the address can not be used
   */
  async listen(address: ListenAddress): Promise<ListenAddress> {
    if (address.kind === 'unix') await unlink(address.path).catch(() => undefined);
    const settings = {
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      highWaterMark: 256 * 1024,
      pauseOnConnect: true,
    };
    const server = createServer(settings, (socket) => {
      this.#accept(socket);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => {
        reject(listenError(address, error));
      });
      if (address.kind === 'tcp') server.listen(address.port, address.host, resolve);
      else {
        ownerOnly(() => {
          server.listen(address.path, resolve);
        });
      }
    });
    server.on('error', () => undefined);
    const bound = server.address();
    const actual =
      address.kind === 'tcp' && bound !== null && typeof bound === 'object'
        ? { ...address, port: bound.port }
        : address;
    this.#servers.set(server, actual);
    return actual;
  }

  get addresses(): ListenAddress[] {
    return [...this.#servers.values()];
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
        pool: this.#pool,
        receiveMemory: this.#receiveMemory,
        tls: tls?.setup,
        tlsMode: tls?.mode ?? 'off',
        onClosed: (ended, reason) => {
          this.#connections.delete(ended);
          if (reason !== undefined) onClientFault?.(ended.info, reason);
        },
      },
      clock.nowMs(),
    );
    this.#connections.add(connection);
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
    for (const [server, other] of this.#servers) {
      if (JSON.stringify(other) !== JSON.stringify(address)) continue;
      this.#servers.delete(server);
      await new Promise<void>((resolve) =>
        server.close(() => {
          resolve();
        }),
      );
    }
  }

  /** Takes no more connections, and ends those there are as `closeExport` does. Idempotent. */
  async close({ deadlineMs = 5000 }: { readonly deadlineMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#closeOnce(deadlineMs);
    await this.#closing;
  }

  async #closeOnce(deadlineMs: number): Promise<void> {
    const closed = [...this.#servers.keys()].map(
      async (server) =>
        new Promise<void>((resolve) =>
          server.close(() => {
            resolve();
          }),
        ),
    );
    await endAll([...this.#connections], deadlineMs);
    await Promise.all(closed);
    this.#servers.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** See `closeExport`. */
async function endAll(connections: readonly Connection[], deadlineMs: number): Promise<void> {
  const timers: NodeJS.Timeout[] = [];
  const givenUp = new Promise<void>((resolve) => {
    timers.push(setTimeout(resolve, deadlineMs + HEED_MS));
  });
  timers.push(
    setTimeout(() => {
      for (const connection of connections) connection.destroy();
    }, deadlineMs),
  );
  await Promise.race([Promise.all(connections.map(async (connection) => connection.end(undefined))), givenUp]);
  for (const timer of timers) clearTimeout(timer);
}

function listenError(address: ListenAddress, error: Error): SgwError {
  const place = address.kind === 'unix' ? address.path : `${address.host}:${String(address.port)}`;
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE')
    return new SgwError('unavailable', 'address-in-use', `${place} is in use by another program`, {
      hint: 'Stop that one, or choose another address: sgw configure --listen tcp:127.0.0.1:PORT',
      details: { address: place },
      cause: error,
    });
  return toSgwError(Object.assign(error, { path: place }));
}
