/**
 * What the listeners show: certificates of the service's own CA, which are made at the start and anew long before they end, or
 * files of whoever runs the service, which are read again at SIGHUP. Connections that are open stay as they are.
 */
import { readFile } from 'node:fs/promises';
import { hostname, networkInterfaces } from 'node:os';
import { createSecureContext } from 'node:tls';
import { SgwError, toSgwError, type Clock, type Logger } from '../../kit/index.ts';
import type { ListenerName, NetworkService, Place, TlsSettings } from '../../service/server/index.ts';

export interface CertificateFiles {
  readonly certificate: string;
  readonly privateKey: string;
}

export interface CertificateWishes {
  readonly places: Readonly<Record<ListenerName, Place>>;
  /** Further names and addresses that the service is reached by. */
  readonly names: readonly string[];
  /** Shown to customers, in place of one of the CA's. */
  readonly files: CertificateFiles | null;
}

interface Issued extends TlsSettings {
  readonly expiresAtMs: number;
}

const LOOK_EVERY_MS = 60 * 60_000;
/** Of 90 days. */
const RENEW_BEFORE_MS = 30 * 24 * 60 * 60_000;
const LISTENERS = ['api', 'gateways'] as const;

export class ListenerCertificates {
  readonly #authority: NetworkService['authority'];
  readonly #wishes: CertificateWishes;
  #now: Partial<Record<ListenerName, Issued>> = {};

  constructor(authority: NetworkService['authority'], wishes: CertificateWishes) {
    this.#authority = authority;
    this.#wishes = wishes;
  }

  /** @throws invalid `bad-certificate`; what reading the files throws */
  async open(): Promise<Record<ListenerName, TlsSettings>> {
    const [api, gateways] = [await this.#make('api'), await this.#make('gateways')];
    this.#now = { api, gateways };
    return { api, gateways };
  }

  /** Hands over new ones when it is time, until it is disposed. */
  watch(renew: (listener: ListenerName, tls: TlsSettings) => void, clock: Clock, log: Logger): Disposable {
    const look = async (isAsked: boolean): Promise<void> => {
      for (const listener of LISTENERS) {
        const dueMs = (this.#now[listener]?.expiresAtMs ?? 0) - RENEW_BEFORE_MS;
        const isFile = listener === 'api' && this.#wishes.files !== null;
        if (isFile ? !isAsked : clock.nowMs() < dueMs) continue;
        const made = await this.#make(listener);
        this.#now[listener] = made;
        renew(listener, made);
        log.info({ listener, expiresAt: timeText(made.expiresAtMs) }, 'shows a new certificate');
      }
    };
    const lookOr = (isAsked: boolean) => (): void => {
      look(isAsked).catch((error: unknown) => {
        log.error({ err: toSgwError(error) }, 'the certificate stays as it is');
      });
    };
    const timer = setInterval(lookOr(false), LOOK_EVERY_MS).unref();
    const onHangUp = lookOr(true);
    process.on('SIGHUP', onHangUp);
    return {
      [Symbol.dispose]: () => {
        clearInterval(timer);
        process.off('SIGHUP', onHangUp);
      },
    };
  }

  async #make(listener: ListenerName): Promise<Issued> {
    const { places, names, files } = this.#wishes;
    if (listener === 'api' && files !== null) return await readFiles(files);
    return await this.#authority.issueServer([...new Set([...namesOf(places[listener].host), ...names])]);
  }
}

const timeText = (timeMs: number): string | null => (Number.isFinite(timeMs) ? new Date(timeMs).toISOString() : null);

/** By what a listener at this address is reached. */
function namesOf(host: string): string[] {
  const isAny = host === '0.0.0.0' || host === '::';
  const isLoopback = host === '::1' || host === 'localhost' || host.startsWith('127.');
  const addresses = Object.values(networkInterfaces()).flatMap((of) => (of ?? []).map(({ address }) => address));
  return [
    ...(isAny ? [hostname(), ...addresses.filter((address) => !address.includes('%'))] : [host]),
    ...(isAny || isLoopback ? ['localhost', '127.0.0.1', '::1'] : []),
  ];
}

async function readFiles(files: CertificateFiles): Promise<Issued> {
  try {
    const certificate = await readFile(files.certificate, 'utf8');
    const privateKey = await readFile(files.privateKey, 'utf8');
    checkPair(files, certificate, privateKey);
    return { certificate, privateKey, expiresAtMs: Number.POSITIVE_INFINITY };
  } catch (error) {
    throw toSgwError(error);
  }
}

function checkPair(files: CertificateFiles, cert: string, key: string): void {
  try {
    createSecureContext({ cert, key });
  } catch {
    // What OpenSSL says may have parts of the key in it.
    const message = `${files.certificate} and ${files.privateKey} are not a certificate and its key, both PEM`;
    throw new SgwError('invalid', 'bad-certificate', message, {
      hint: 'Give the chain of the certificate, the leaf first, and its key without a passphrase.',
      details: { certificate: files.certificate, key: files.privateKey },
    });
  }
}
