/** The addresses that a server listens at, kept as the settings say. */
import type { ListenAddress } from '../../sockets/index.ts';

interface ListeningServer {
  listen(address: ListenAddress): Promise<ListenAddress>;
  unlisten(address: ListenAddress): Promise<void>;
}

export class Places {
  readonly #server: ListeningServer;
  /** By address as the settings have it. */
  readonly #listening = new Map<string, ListenAddress>();

  constructor(server: ListeningServer) {
    this.#server = server;
  }

  /**
   * Listens at these and nowhere else. Returns whether anything changed; clients that are connected stay.
   * @throws unavailable `address-in-use`; denied; invalid
   */
  async apply(wanted: readonly ListenAddress[]): Promise<boolean> {
    const byName = new Map(wanted.map((address) => [JSON.stringify(address), address]));
    let isChanged = false;
    for (const [name, address] of this.#listening) {
      if (byName.has(name)) continue;
      await this.#server.unlisten(address);
      this.#listening.delete(name);
      isChanged = true;
    }
    for (const [name, address] of byName) {
      if (this.#listening.has(name)) continue;
      this.#listening.set(name, await this.#server.listen(address));
      isChanged = true;
    }
    return isChanged;
  }

  /** `HOST:PORT` of each TCP listener, with the ports in use. */
  get tcp(): string[] {
    return [...this.#listening.values()].flatMap((address) =>
      address.kind === 'tcp'
        ? [`${address.host.includes(':') ? `[${address.host}]` : address.host}:${String(address.port)}`]
        : [],
    );
  }
}

/** `HOST:PORT`; IPv6 addresses in brackets. */
export function tcpAddress(place: string): ListenAddress {
  const at = place.lastIndexOf(':');
  const host = place.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  return { kind: 'tcp', host, port: Number(place.slice(at + 1)) };
}
