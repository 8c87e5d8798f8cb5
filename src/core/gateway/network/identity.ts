/**
 * What a gateway proves itself with over mutual TLS: its private key, and a certificate for it that the service issues for a
 * few days. It is renewed when half of its time is over, by a message that the key signs, so that a gateway that was off for
 * long comes back by itself.
 */
import { SgwError, toSgwError } from '../../kit/index.ts';
import { certificateRequest, signRequest, type PrivateKey } from '../../protocol/index.ts';
import { readCertificate } from '../../serviceclient/index.ts';
import { openState, type RemoteServiceState } from '../../state/index.ts';
import { readCertificateFile, writeCertificateFile } from '../certificate-file.ts';
import { requirePrivateKey } from '../key-file.ts';
import type { GatewayParts } from '../parts.ts';
import { reachService } from './reach.ts';

/** PEM. `ca`: whom the service's listener of gateways must be from. */
export interface GatewayTls {
  readonly ca: string;
  readonly certificate: string;
  readonly privateKey: string;
  /** Servers that the gateway learned of, besides the one that it was activated at. */
  readonly elsewhere: readonly { readonly host: string; readonly port: number }[];
}

type Parts = Pick<GatewayParts, 'home' | 'clock' | 'random' | 'reachService'>;

interface Own {
  readonly service: RemoteServiceState;
  readonly gatewayId: string;
  readonly credentialId: string;
  readonly key: PrivateKey;
}

/**
 * The home's own, with a certificate that is good now. Reads files; asks the service only to renew.
 * @throws conflict `not-over-network` of a home that was not activated over the network; corrupt `identity-missing`,
 * `identity-damaged`; what the service refuses with when there is no good certificate and no other is given
 */
export async function gatewayTls(parts: Parts, signal: AbortSignal): Promise<GatewayTls> {
  const own = await ownOf(parts.home);
  const present = await readCertificateFile(parts.home);
  if (present !== undefined) {
    const age = ageOf(present, parts.clock.nowMs());
    if (age === 'fresh') return tlsOf(own, present);
    try {
      return await renew(parts, own, signal);
    } catch (error) {
      // There is time until it ends.
      if (age !== 'old' || toSgwError(error).kind === 'denied') throw error;
      return tlsOf(own, present);
    }
  }
  return await renew(parts, own, signal);
}

/** Until when the home's certificate is good, RFC 3339 UTC; null when there is none, or it is damaged. */
export async function certificateEnd(home: string): Promise<string | null> {
  const present = await readCertificateFile(home);
  try {
    return present === undefined ? null : readCertificate(present).validToDate.toISOString();
  } catch {
    return null;
  }
}

async function renew(parts: Parts, own: Own, signal: AbortSignal): Promise<GatewayTls> {
  const { certificate } = await requestCertificate(parts, own, signal);
  await writeCertificateFile(parts.home, certificate);
  return tlsOf(own, certificate);
}

function tlsOf({ service, key }: Own, certificate: string): GatewayTls {
  const elsewhere = (service.controlServers ?? []).flatMap((server) => {
    const url = URL.parse(server);
    const port = url?.port === '' ? 443 : Number(url?.port);
    return url === null ? [] : [{ host: url.hostname.replace(/^\[|\]$/g, ''), port }];
  });
  return { ca: service.gatewayCa, certificate, privateKey: key.pem(), elsewhere };
}

/** A new certificate, and the CA that it is from. PEM. Keeps nothing. @throws what the service refuses with */
export async function requestCertificate(
  parts: Parts,
  { service, key, gatewayId, credentialId }: Own,
  signal: AbortSignal,
): Promise<{ readonly certificate: string; readonly caCertificate: string }> {
  const { clock, random } = parts;
  const csr = await certificateRequest(key, gatewayId);
  await using transport = await reachService(parts, { url: service.url, ca: service.urlCa });
  const signer = { key, signer: gatewayId, credentialId, serviceId: service.serviceId, clock, random };
  const request = signRequest(signer, 'gateway.certificate', { csr });
  const { certificate, caCertificate } = await transport.request('gateway.certificate', request, { signal });
  requireOwnCertificate(certificate, key, caCertificate);
  return { certificate, caCertificate };
}

/** @throws denied `certificate-wrong` unless it is for this key and from this CA */
export function requireOwnCertificate(certificate: string, key: PrivateKey, caCertificate: string): void {
  const given = readCertificate(certificate);
  const { x = '' } = given.publicKey.export({ format: 'jwk' });
  if (x === key.publicKey && given.checkIssued(readCertificate(caCertificate))) return;
  throw new SgwError('denied', 'certificate-wrong', 'the service gave a certificate for another key');
}

/** `fresh`: of no need to be renewed; `old`: still good; `over`: not good now. */
function ageOf(pem: string, nowMs: number): 'fresh' | 'old' | 'over' {
  try {
    const { validFromDate, validToDate } = readCertificate(pem);
    const [fromMs, toMs] = [validFromDate.getTime(), validToDate.getTime()];
    if (nowMs >= toMs) return 'over';
    return nowMs < fromMs + (toMs - fromMs) / 2 ? 'fresh' : 'old';
  } catch {
    // A file that was damaged is replaced.
    return 'over';
  }
}

async function ownOf(home: string): Promise<Own> {
  const { gateway, activation } = await openState(home);
  const record = gateway ?? activation;
  const gatewayId = record?.gatewayId ?? '';
  if (record?.service === undefined || record.credential === null) {
    throw new SgwError('conflict', 'not-over-network', `the home ${home} was not activated over the network`, {
      hint: 'A store of a service is for gateways that were activated there: sgw activate --service URL',
      details: { home },
    });
  }
  const key = await requirePrivateKey(home, gatewayId);
  return { service: record.service, gatewayId, credentialId: record.credential.credentialId, key };
}
