/** Where a service is, and whose certificate is believed there. */
import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto';
import { SgwError } from '../kit/index.ts';

export interface ServicePlace {
  /** `https://HOST:PORT`, without a path. */
  readonly url: string;
  /** PEM: the server's certificate must come from one of these; null: from one that the system trusts. */
  readonly ca: string | null;
}

/** What a user says of whom to believe: nothing, certificates (PEM), or the fingerprint of the service's own. */
export interface Trust {
  readonly ca?: string | undefined;
  /** `sha256:` and 64 hex digits, of the certificate in DER. */
  readonly fingerprint?: string | undefined;
}

/**
 * The URL of a service as it is kept: `HOST:PORT` is enough.
 * @throws invalid `bad-service-url`
 */
export function readServiceUrl(text: string): string {
  const url = URL.parse(text.includes('://') ? text : `https://${text}`);
  const isPlain = url !== null && url.pathname === '/' && url.search === '' && url.hash === '' && url.hostname !== '';
  // What comes before an @ is not shown: it may be a password.
  if (!isPlain || url.username !== '' || url.password !== '') {
    const shown = text.slice(0, 200).replace(/\/\/[^/@]*@/, '//');
    throw new SgwError('invalid', 'bad-service-url', `"${shown}" does not name a service`, {
      hint: 'Give https://HOST:PORT, and nothing after it.',
    });
  }
  if (url.protocol !== 'https:') {
    throw new SgwError('invalid', 'bad-service-url', `a service is reached by https, not by ${url.protocol}//`, {
      hint: `Give https://${url.host}`,
    });
  }
  return url.origin;
}

const FINGERPRINT = /^(?:sha256:)?((?:[0-9a-f]{2}:?){31}[0-9a-f]{2})$/i;

/**
 * A fingerprint as it was typed, as it is compared: `sha256:` and 64 lower-case hex digits. Colons between them are as other tools print them.
 * @throws invalid `bad-fingerprint`
 */
export function readFingerprint(text: string): string {
  const digits = FINGERPRINT.exec(text.trim())?.[1];
  if (digits === undefined) {
    throw new SgwError(
      'invalid',
      'bad-fingerprint',
      `"${text.slice(0, 120)}" is not the fingerprint of a certificate`,
      {
        hint: 'It is sha256: and 64 hexadecimal digits, as `sgw service run` prints it.',
      },
    );
  }
  return `sha256:${digits.replaceAll(':', '').toLowerCase()}`;
}

/** Of the first certificate in `pem`. @throws invalid `bad-certificate` */
export function certificateFingerprint(pem: string): string {
  return `sha256:${createHash('sha256').update(readCertificate(pem).raw).digest('hex')}`;
}

/** The first certificate in `pem`. @throws invalid `bad-certificate` */
export function readCertificate(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw new SgwError('invalid', 'bad-certificate', 'this is no certificate in PEM', { cause: error });
  }
}

/** The certificate alone, without what else came with it: only it was compared. @throws denied `service-untrusted` */
export function requireFingerprint(pem: string, wanted: string, url: string): string {
  const certificate = readCertificate(pem);
  const found = createHash('sha256').update(certificate.raw).digest();
  if (timingSafeEqual(found, Buffer.from(wanted.slice('sha256:'.length), 'hex'))) return certificate.toString();
  throw new SgwError('denied', 'service-untrusted', `${url} has another certificate than the one with ${wanted}`, {
    hint: 'Compare the fingerprint with the one that the service printed. If it is right, somebody stands between.',
    details: { url, fingerprint: `sha256:${found.toString('hex')}` },
  });
}
