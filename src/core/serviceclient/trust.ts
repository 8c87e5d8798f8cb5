/** From what a user says of whom to believe to the certificates that are. */
import { SgwError } from '../kit/index.ts';
import { Channel } from './channel.ts';
import {
  readCertificate,
  readFingerprint,
  readServiceUrl,
  requireFingerprint,
  type ServicePlace,
  type Trust,
} from './place.ts';

const CA_BYTES_MAX = 64 * 1024;

/**
 * Where the service is, with the certificates to believe. With a fingerprint the service's certificate is fetched from
 * `/ca.pem`, and believed once it has that fingerprint: nothing else is asked before.
 * @throws invalid `bad-service-url`, `bad-fingerprint`, `bad-certificate`, `one-of`; denied `service-untrusted`; what `Channel` throws
 */
export async function placeOfService(url: string, trust: Trust, signal: AbortSignal): Promise<ServicePlace> {
  const origin = readServiceUrl(url);
  if (trust.ca !== undefined && trust.fingerprint !== undefined) {
    throw new SgwError('invalid', 'one-of', 'more than one of --service-ca and --service-fingerprint was given', {
      hint: 'Give exactly one of them.',
    });
  }
  if (trust.ca !== undefined) {
    readCertificate(trust.ca);
    return { url: origin, ca: trust.ca };
  }
  if (trust.fingerprint === undefined) return { url: origin, ca: null };
  const fingerprint = readFingerprint(trust.fingerprint);
  const channel = new Channel({ url: origin, ca: null }, { isTrusting: true });
  try {
    const { status, body } = await channel.exchange({ method: 'GET', path: '/ca.pem', headers: {}, signal });
    if (status !== 200 || body.length > CA_BYTES_MAX) {
      throw new SgwError('unsupported', 'not-a-service', `${origin} does not tell the certificate of its CA`, {
        hint: 'Check the address, or give the certificate itself: --service-ca FILE.',
        details: { url: origin, status },
      });
    }
    return { url: origin, ca: requireFingerprint(body.toString('utf8'), fingerprint, origin) };
  } finally {
    await channel.close();
  }
}
