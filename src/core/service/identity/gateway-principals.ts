/**
 * Who is at the other end of a TLS connection of the gateways' listener, by the certificate that it showed.
 *
 * Invariant: that a gateway is active is at most `REMEMBERED_MS` old at each request, on every server; the server that
 * deregisters it forgets it at once.
 */
import type { TLSSocket } from 'node:tls';
import { SgwError } from '../../kit/index.ts';
import type { ServiceContext } from '../context.ts';
import { isSame } from '../secrets.ts';
import { keyOf } from './certificates.ts';
import { requireStaying, type GatewayRecord, type Gateways } from './gateways.ts';
import type { GatewayPrincipal } from './principal.ts';

const REMEMBERED_MS = 2000;
const REMEMBERED_MAX = 4096;

/** What a certificate that our CA signed says. */
interface Shown {
  readonly gatewayId: string;
  readonly publicKey: string;
  readonly expiresAtMs: number;
}

interface Note {
  readonly record: GatewayRecord | undefined;
  readonly untilMs: number;
}

export class GatewayPrincipals {
  readonly #context: ServiceContext;
  readonly #gateways: Gateways;
  /** By connection: a certificate is read once. */
  readonly #shown = new WeakMap<TLSSocket, Shown>();
  readonly #remembered = new Map<string, Note>();
  /** How many this process has deregistered: what was read before is not remembered after. */
  #departures = 0;

  constructor(context: ServiceContext, gateways: Gateways) {
    this.#context = context;
    this.#gateways = gateways;
    gateways.onDeregistered((gatewayId) => {
      this.#departures++;
      this.#remembered.delete(gatewayId);
    });
  }

  /**
   * The gateway that holds the connection. To be asked at each request.
   * @throws denied `certificate-missing`, `certificate-expired`, `certificate-key-wrong`, and what `requireActive` throws
   */
  async ofSocket(socket: TLSSocket, signal: AbortSignal): Promise<GatewayPrincipal> {
    let shown = this.#shown.get(socket);
    if (shown === undefined) {
      shown = readShown(socket);
      this.#shown.set(socket, shown);
    }
    const { gatewayId, publicKey, expiresAtMs } = shown;
    if (this.#context.blocks.clock.nowMs() >= expiresAtMs) throw expired(`gateway ${gatewayId}`);
    const record = await this.requireActive(gatewayId, signal);
    // The id of a gateway that left may be another device's now.
    if (!isSame(record.publicKey, publicKey)) {
      const message = `the certificate is not for the key that gateway ${gatewayId} has now`;
      throw refused('certificate-key-wrong', message, 'Activate the gateway anew: sgw deactivate, then sgw activate.');
    }
    return { kind: 'gateway', gatewayId, accountId: record.accountId };
  }

  /** @throws denied `gateway-unknown`, `gateway-deregistered` */
  async requireActive(gatewayId: string, signal: AbortSignal): Promise<GatewayRecord> {
    const { clock } = this.#context.blocks;
    const known = this.#remembered.get(gatewayId);
    if (known !== undefined && clock.monotonicMs() < known.untilMs) return active(known.record);
    // The time from before it is read: it is no older than that.
    const untilMs = clock.monotonicMs() + REMEMBERED_MS;
    const departures = this.#departures;
    const record = await this.#gateways.find(gatewayId, signal);
    if (departures === this.#departures) this.#remember(gatewayId, { record, untilMs });
    return active(record);
  }

  #remember(gatewayId: string, note: Note): void {
    this.#remembered.delete(gatewayId);
    this.#remembered.set(gatewayId, note);
    for (const oldest of this.#remembered.keys()) {
      if (this.#remembered.size <= REMEMBERED_MAX) break;
      this.#remembered.delete(oldest);
    }
  }
}

function active(record: GatewayRecord | undefined): GatewayRecord {
  if (record !== undefined) return requireStaying(record);
  throw refused('gateway-unknown', 'this service knows no such gateway', 'Activate the gateway anew.');
}

/** @throws denied `certificate-missing`, `certificate-expired` */
function readShown(socket: TLSSocket): Shown {
  const certificate = socket.getPeerX509Certificate();
  if (certificate !== undefined && String(socket.authorizationError) === 'CERT_HAS_EXPIRED') {
    throw expired('the gateway');
  }
  const gatewayId = /^CN=(sgw-[0-9a-f]{8})$/.exec(certificate?.subject ?? '')?.[1];
  if (!socket.authorized || certificate === undefined || gatewayId === undefined) throw missing();
  const publicKey = keyOf(certificate.publicKey.export({ format: 'der', type: 'spki' }));
  if (publicKey === undefined) throw missing();
  return { gatewayId, publicKey, expiresAtMs: Date.parse(certificate.validTo) };
}

const missing = (): SgwError =>
  refused(
    'certificate-missing',
    'no certificate of a gateway of this service was shown',
    'Gateways get theirs when they are activated.',
  );

const expired = (whose: string): SgwError =>
  refused(
    'certificate-expired',
    `the certificate of ${whose} has expired`,
    'The gateway asks for another one, signed with its key, at the address that it was activated at.',
  );

const refused = (code: string, message: string, hint: string): SgwError =>
  new SgwError('denied', code, message, { hint });
