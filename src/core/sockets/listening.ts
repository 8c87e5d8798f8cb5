/** The listeners of a server, on unix sockets and TCP. What they accept is not read from yet. */
import { unlink } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { ownerOnly, SgwError, toSgwError } from '../kit/index.ts';

export type ListenAddress =
  | { readonly kind: 'unix'; readonly path: string }
  /** Port 0: the system's choice. */
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/** Clients whose machine is gone are found out after this and some probes. */
const KEEP_ALIVE_MS = 60_000;
/** How long calls have to end when they were told to. */
const HEED_MS = 1000;

export class Listening {
  readonly #servers = new Map<Server, ListenAddress>();
  readonly #accept: (socket: Socket, address: ListenAddress) => void;
  readonly #flag: string;

  /** `flag`: the one of `sgw configure` that chooses another address, for hints. */
  constructor(accept: (socket: Socket, address: ListenAddress) => void, flag: string) {
    this.#accept = accept;
    this.#flag = flag;
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
    let actual = address;
    const server = createServer(settings, (socket) => {
      this.#accept(socket, actual);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => {
        reject(listenError(placeOf(address), `sgw configure ${this.#flag}`, error));
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
    if (address.kind === 'tcp' && bound !== null && typeof bound === 'object')
      actual = { ...address, port: bound.port };
    this.#servers.set(server, actual);
    return actual;
  }

  get addresses(): ListenAddress[] {
    return [...this.#servers.values()];
  }

  /** Stops listening at one address. What came there stays connected. */
  async unlisten(address: ListenAddress): Promise<void> {
    for (const [server, other] of this.#servers) {
      if (JSON.stringify(other) !== JSON.stringify(address)) continue;
      this.#servers.delete(server);
      // It has closed for good when the last connection has ended, which may never be.
      server.close();
    }
    return Promise.resolve();
  }

  /** Takes no more connections; resolves when those there were have ended. */
  async close(): Promise<void> {
    await Promise.all([...this.#servers.keys()].map(closed));
    this.#servers.clear();
  }
}

const placeOf = (address: ListenAddress): string =>
  address.kind === 'unix' ? address.path : `${address.host}:${String(address.port)}`;

async function closed(server: Server): Promise<void> {
  await new Promise<void>((resolve) =>
    server.close(() => {
      resolve();
    }),
  );
}

/** A connection that a server has to let go of. */
export interface Endable {
  /** Ends after what is under way was answered. */
  end(reason: string | undefined): Promise<void>;
  /** Ends at once. */
  destroy(): void;
}

/**
 * Ends connections after what is under way was answered, and at the latest after `deadlineMs`: then calls are told to stop.
 * Calls that do not heed that for a second are left to themselves.
 */
export async function endAll(connections: readonly Endable[], deadlineMs: number): Promise<void> {
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

/**
 * Why it can't be listened at `place`, a path or `HOST:PORT`; `hint` says how to choose another one.
 * @returns unavailable `address-in-use`, `address-unknown`; denied; what the system says
 */
export function listenError(place: string, hint: string, error: unknown): SgwError {
  const { code = '' } = error as NodeJS.ErrnoException;
  const row = LISTEN_ERRORS[code];
  if (row === undefined) return toSgwError(Object.assign(error as Error, { path: place }));
  return new SgwError('unavailable', row.code, `${place} ${row.says}`, {
    hint: `${row.hint}${hint}`,
    details: { address: place },
    cause: error,
  });
}

const NOT_HERE = {
  code: 'address-unknown',
  says: 'is no address of this machine now',
  hint: 'Bring its network up, or choose another address: ',
} as const;

const LISTEN_ERRORS: Readonly<Record<string, { readonly code: string; readonly says: string; readonly hint: string }>> =
  {
    EADDRINUSE: {
      code: 'address-in-use',
      says: 'is in use by another program',
      hint: 'Stop that one, or choose another address: ',
    },
    EADDRNOTAVAIL: NOT_HERE,
    ENOTFOUND: NOT_HERE,
    EAI_AGAIN: NOT_HERE,
  };
