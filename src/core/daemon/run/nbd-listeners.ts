/** The NBD server of a gateway, listening where the settings say. */
import { readFile } from 'node:fs/promises';
import { SgwError, type Clock, type Logger } from '../../kit/index.ts';
import {
  NbdServer,
  tlsSetup,
  type ExportDirectory,
  type TlsMode,
  type TlsSetup,
} from '../../nbd/index.ts';
import type { ListenAddress } from '../../sockets/index.ts';
import type { ServingSettings } from '../../state/index.ts';

/** Where NBD is to be served. */
export interface NbdPlaces {
  readonly unix: string;
  readonly settings: ServingSettings;
}

export class NbdListeners {
  readonly #server: NbdServer;
  /** By address as the settings have it. */
  readonly #listening = new Map<string, ListenAddress>();
  #tlsWishes = '';

  constructor(directory: ExportDirectory, clock: Clock, log: Logger) {
    this.#server = new NbdServer({
      directory,
      clock,
      onClientFault: ({ id, remote, exportName }, reason) => {
        log.warn({ connection: id, remote, exportName, reason }, 'an NBD client was let go');
      },
    });
  }

  /**
   * Listens where `places` say, and nowhere else. Returns whether anything changed; clients that are connected stay.
   * @throws invalid `bad-tls`; notFound; unavailable `address-in-use`
   */
  async apply({ unix, settings }: NbdPlaces): Promise<boolean> {
    const { tls, tlsCertificate, tlsKey, tlsCa, tlsPsk } = settings;
    const wishes = JSON.stringify([tls, tlsCertificate, tlsKey, tlsCa, tlsPsk]);
    let isChanged = wishes !== this.#tlsWishes;
    this.#server.setTls(tls === 'off' ? undefined : { mode: tls satisfies TlsMode, setup: await readTls(settings) });
    this.#tlsWishes = wishes;
    const wanted = new Map<string, ListenAddress>([
      [`unix:${unix}`, { kind: 'unix', path: unix }],
      ...settings.tcp.map((place) => [`tcp:${place}`, tcpAddress(place)] as const),
    ]);
    for (const [name, address] of this.#listening) {
      if (wanted.has(name)) continue;
      await this.#server.unlisten(address);
      this.#listening.delete(name);
      isChanged = true;
    }
    for (const [name, address] of wanted) {
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

  async letGo(exportName: string): Promise<void> {
    await this.#server.closeExport(exportName);
  }

  /** How many clients have an export open. */
  clientsOf(exportName: string): number {
    return this.#server.connections().filter((one) => one.exportName === exportName).length;
  }

  async close(deadlineMs: number): Promise<void> {
    await this.#server.close({ deadlineMs });
  }
}

/** `HOST:PORT`; IPv6 addresses in brackets. */
function tcpAddress(place: string): ListenAddress {
  const at = place.lastIndexOf(':');
  const host = place.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  return { kind: 'tcp', host, port: Number(place.slice(at + 1)) };
}

async function readTls(settings: ServingSettings): Promise<TlsSetup> {
  const read = async (path: string | null): Promise<Buffer | undefined> => {
    if (path === null) return undefined;
    try {
      return await readFile(path);
    } catch (error) {
      throw new SgwError('invalid', 'bad-tls', `${path} can not be read`, {
        hint: 'sgw configure --tls-certificate FILE --tls-key FILE, or --tls-psk FILE, or --tls off',
        details: { path },
        cause: error,
      });
    }
  };
  const [certificate, key, clientCa, psk] = [
    await read(settings.tlsCertificate),
    await read(settings.tlsKey),
    await read(settings.tlsCa),
    await read(settings.tlsPsk),
  ];
  return tlsSetup({
    ...(certificate === undefined ? {} : { certificate }),
    ...(key === undefined ? {} : { key }),
    ...(clientCa === undefined ? {} : { clientCa }),
    ...(psk === undefined ? {} : { psk: psk.toString('utf8') }),
  });
}
