/**
 * What the service does for the gateways that are connected, unasked: gives them a configuration that is newer than theirs, and
 * a new certificate at half the life of the present one; and cuts off those that have left, should a notice have been missed.
 */
import { randomUUID } from 'node:crypto';
import { SgwError, toSgwError, type Clock, type Logger } from '../../kit/index.ts';
import { CONTROL_CLOSE, type ConfigurationReceipt } from '../../protocol/index.ts';
import { configurationOf } from '../configuration/configurations.ts';
import type { CertificateAuthority } from '../identity/certificates.ts';
import type { GatewayRecord } from '../identity/gateways.ts';
import type { HeldConnection } from './held-connection.ts';

/** Makes certificates for gateways: the service's CA. */
export type CertificateIssuer = Pick<CertificateAuthority, 'issueGateway'>;

export interface UpkeepParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly recordOf: (gatewayId: string, signal: AbortSignal) => Promise<GatewayRecord | undefined>;
  readonly certificates?: CertificateIssuer;
  /** Hears what gateways say of their configuration. */
  readonly onReceipt?: (gatewayId: string, receipt: ConfigurationReceipt, signal: AbortSignal) => Promise<unknown>;
}

/** How often all are looked after. */
const ROUND_MS = 60_000;
/** How old the knowledge may be that a gateway has not left. */
const ACTIVE_MS = 300_000;
const ASK_MS = 30_000;
/** After a renewal that failed. */
const RENEW_AGAIN_MS = 300_000;
/** Looked after at a time. */
const AT_ONCE = 8;

interface Care {
  renewAtMs: number;
  lookAtMs: number;
}

export class Upkeep {
  readonly #parts: UpkeepParts;
  readonly #held: () => Iterable<HeldConnection>;
  readonly #care = new WeakMap<HeldConnection, Care>();
  readonly #end = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #isLooking = false;

  constructor(parts: UpkeepParts, held: () => Iterable<HeldConnection>) {
    this.#parts = parts;
    this.#held = held;
  }

  start(roundMs = ROUND_MS): void {
    this.#timer = setInterval(() => {
      if (this.#isLooking) return;
      this.#isLooking = true;
      void this.#goRound().finally(() => {
        this.#isLooking = false;
      });
    }, roundMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#end.abort(new SgwError('aborted', 'service-draining', 'this server of the service is stopping'));
  }

  /** Looks after a connection that has just begun. `certificate` is the one that it came with. */
  welcome(held: HeldConnection, certificate?: { readonly beganMs: number; readonly endsMs: number }): void {
    const renewAtMs =
      certificate === undefined
        ? Number.POSITIVE_INFINITY
        : certificate.beganMs + (certificate.endsMs - certificate.beganMs) / 2;
    this.#care.set(held, { renewAtMs, lookAtMs: 0 });
    void this.#lookAfter(held);
  }

  async #goRound(): Promise<void> {
    const all = [...this.#held()];
    for (let at = 0; at < all.length && !this.#end.signal.aborted; at += AT_ONCE)
      await Promise.all(all.slice(at, at + AT_ONCE).map(async (held) => this.#lookAfter(held)));
  }

  /** Never fails: what could not be done is done in a later round. */
  async #lookAfter(held: HeldConnection): Promise<void> {
    const care = this.#care.get(held);
    if (care === undefined || !held.isOpen) return;
    const { clock, log, recordOf } = this.#parts;
    const nowMs = clock.nowMs();
    const isDue = nowMs >= care.renewAtMs;
    if (!isDue && nowMs < care.lookAtMs) return;
    const { gatewayId } = held;
    const isFirst = care.lookAtMs === 0;
    try {
      const gateway = await recordOf(gatewayId, this.#signal());
      care.lookAtMs = nowMs + ACTIVE_MS;
      if (gateway?.state !== 'active' || gateway.accountId !== held.accountId) {
        held.close(CONTROL_CLOSE.refused);
        return;
      }
      if (isFirst) await this.#configure(held, gateway);
      if (isDue) await this.#renew(held, gateway, care);
    } catch (error) {
      log.warn({ gatewayId, err: toSgwError(error) }, 'a gateway could not be looked after');
    }
  }

  /** One that has the newest version says so by coming. */
  async #configure(held: HeldConnection, gateway: GatewayRecord): Promise<void> {
    const { configurationVersion: appliedVersion } = held.hello;
    const configuration = configurationOf(gateway);
    const { version } = configuration;
    const receipt =
      appliedVersion < version
        ? ((await this.#ask(held, { kind: 'configuration', configuration })) as ConfigurationReceipt)
        : { version: appliedVersion, appliedVersion, failure: null };
    if (gateway.receipt?.version === receipt.version && gateway.receipt.appliedVersion === receipt.appliedVersion)
      return;
    await this.#parts.onReceipt?.(held.gatewayId, receipt, this.#signal());
  }

  async #renew(held: HeldConnection, gateway: GatewayRecord, care: Care): Promise<void> {
    const { certificates, clock, log } = this.#parts;
    if (certificates === undefined) return;
    care.renewAtMs = clock.nowMs() + RENEW_AGAIN_MS;
    const { csr } = (await this.#ask(held, { kind: 'renew' })) as { csr?: unknown };
    const { certificate, caCertificate, expiresAt } = await certificates.issueGateway(gateway, csr);
    await this.#ask(held, { kind: 'certificate', certificate, caCertificate, expiresAt });
    const nowMs = clock.nowMs();
    care.renewAtMs = nowMs + (Date.parse(expiresAt) - nowMs) / 2;
    log.info({ gatewayId: held.gatewayId, expiresAt }, 'the certificate of a gateway was renewed');
  }

  async #ask(held: HeldConnection, request: Parameters<HeldConnection['ask']>[0]): Promise<unknown> {
    return await held.ask(request, { id: randomUUID(), deadlineMs: ASK_MS, signal: this.#end.signal });
  }

  #signal(): AbortSignal {
    return AbortSignal.any([this.#end.signal, AbortSignal.timeout(ASK_MS)]);
  }
}
