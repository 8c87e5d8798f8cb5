/** The NBD server of a gateway, listening where the settings say. */
import { readFile } from 'node:fs/promises';
import type { ConnectedClient } from '../../gateway/index.ts';
import { SgwError, type Clock, type Logger } from '../../kit/index.ts';
import { NbdServer, tlsSetup, type ExportDirectory, type TlsMode, type TlsSetup } from '../../nbd/index.ts';
import type { ServingSettings } from '../../state/index.ts';
import { tcpAddress } from '../../sockets/index.ts';
import { Places, type PlacesParts, type WaitingPlace } from './places.ts';

/** Where NBD is to be served. */
export interface NbdPlaces {
  readonly unix: string;
  readonly settings: ServingSettings;
}

export class NbdListeners {
  readonly #server: NbdServer;
  readonly #places: Places;
  #tlsWishes = '';

  constructor(directory: ExportDirectory, clock: Clock, log: Logger, onChange: PlacesParts['onChange']) {
    this.#server = new NbdServer({
      directory,
      clock,
      onClientFault: ({ id, remote, exportName }, reason) => {
        log.warn({ connection: id, remote, exportName, reason }, 'an NBD client was let go');
      },
    });
    this.#places = new Places(this.#server, { clock, onChange });
  }

  /**
   * Listens where `places` say, and nowhere else. Returns whether anything changed; clients that are connected stay. What can't be
   * had is waited for with `mayWait`.
   * @throws invalid `bad-tls`; notFound; what `Places.apply` throws
   */
  async apply({ unix, settings }: NbdPlaces, mayWait: boolean): Promise<boolean> {
    const { tls, tlsCertificate, tlsKey, tlsCa, tlsPsk } = settings;
    const wishes = JSON.stringify([tls, tlsCertificate, tlsKey, tlsCa, tlsPsk]);
    const isOther = wishes !== this.#tlsWishes;
    this.#server.setTls(tls === 'off' ? undefined : { mode: tls satisfies TlsMode, setup: await readTls(settings) });
    this.#tlsWishes = wishes;
    const wanted = [{ kind: 'unix', path: unix } as const, ...settings.tcp.map(tcpAddress)];
    const isMoved = await this.#places.apply(wanted, { mayWait });
    return isOther || isMoved;
  }

  /** `HOST:PORT` of each TCP listener, with the ports in use. */
  get tcp(): string[] {
    return this.#places.tcp;
  }

  /** Addresses that could not be had yet. */
  get waiting(): WaitingPlace[] {
    return this.#places.waiting;
  }

  async letGo(exportName: string): Promise<void> {
    await this.#server.closeExport(exportName);
  }

  /** Who has an export open. */
  clientsOf(exportName: string): ConnectedClient[] {
    const connections = this.#server.connections().filter((one) => one.exportName === exportName);
    return connections.map(({ remote, user, sinceMs, requests, receivedBytes, sentBytes }) => ({
      protocol: 'nbd',
      remotes: [remote],
      initiator: null,
      user,
      sinceMs,
      requests,
      receivedBytes,
      sentBytes,
    }));
  }

  async close(deadlineMs: number): Promise<void> {
    await this.#places.close();
    await this.#server.close({ deadlineMs });
  }
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
