/**
 * AWS Signature Version 4: from a canonical request to its signature. What the canonical form is, differs by API, and is left
 * to who asks.
 *
 * @see AWS General Reference, "Create a signed AWS API request"
 */
import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto';

export const SIGV4 = 'AWS4-HMAC-SHA256';
export const SIGV4_TERMINATOR = 'aws4_request';

export interface CredentialScope {
  /** `YYYYMMDD`. */
  readonly date: string;
  readonly region: string;
  readonly service: string;
}

export interface SigningCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

const KEYS_MAX = 1024;

/**
 * Signs. The key of a day, which takes four of the five HMACs of a signature, is made once for an access key and scope, and
 * used again; that goes by the id of the access key, so that an unknown one takes the same time as another one does.
 */
export class Sigv4Signer {
  /** Oldest first. */
  readonly #keys = new Map<string, { readonly secret: string; readonly key: KeyObject }>();

  /** In hex. `timestamp`: `YYYYMMDDTHHMMSSZ`. */
  signature(
    { accessKeyId, secretAccessKey }: SigningCredentials,
    scope: CredentialScope,
    timestamp: string,
    canonical: string,
  ): string {
    const text = [SIGV4, timestamp, scopeText(scope), hash('sha256', canonical, 'hex')].join('\n');
    return hmac(this.#key(accessKeyId, secretAccessKey, scope), text).toString('hex');
  }

  #key(accessKeyId: string, secret: string, scope: CredentialScope): KeyObject {
    const name = `${accessKeyId}/${scopeText(scope)}`;
    const known = this.#keys.get(name);
    if (known?.secret === secret) return known.key;
    const { date, region, service } = scope;
    const bytes = [region, service, SIGV4_TERMINATOR].reduce(hmac, hmac(`AWS4${secret}`, date));
    // An HMAC with one takes a fifth of the time of one with a Buffer.
    const key = createSecretKey(bytes);
    this.#keys.delete(name);
    this.#keys.set(name, { secret, key });
    for (const oldest of this.#keys.keys()) {
      if (this.#keys.size <= KEYS_MAX) break;
      this.#keys.delete(oldest);
    }
    return key;
  }
}

export const scopeText = ({ date, region, service }: CredentialScope): string =>
  `${date}/${region}/${service}/${SIGV4_TERMINATOR}`;

/** RFC 3986: all but letters, digits and `-._~` is escaped. */
export const sigv4Escape = (text: string): string =>
  encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );

const hmac = (key: string | Buffer | KeyObject, text: string): Buffer =>
  createHmac('sha256', key).update(text, 'utf8').digest();
