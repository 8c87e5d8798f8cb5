/** The key pair of a gateway: Ed25519, kept as the 32 bytes that it is made from. */
import { createHash, createPrivateKey, createPublicKey, sign, verify, webcrypto, type KeyObject } from 'node:crypto';
import { inspect } from 'node:util';
import { assert, type Random } from '../kit/index.ts';

const SEED_BYTES = 32;
/** What comes before the 32 bytes in PKCS #8 and in a SubjectPublicKeyInfo (RFC 8410). */
const PRIVATE_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const PUBLIC_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** A private key that shows itself to nobody: not when printed, not as JSON. */
export class PrivateKey {
  readonly #seed: Buffer;
  readonly #key: KeyObject;
  /** 32 bytes, base64url. */
  readonly publicKey: string;

  private constructor(seed: Buffer) {
    assert(seed.length === SEED_BYTES, 'an Ed25519 seed has 32 bytes');
    this.#seed = seed;
    this.#key = createPrivateKey({ key: Buffer.concat([PRIVATE_PREFIX, seed]), format: 'der', type: 'pkcs8' });
    const spki = createPublicKey(this.#key).export({ format: 'der', type: 'spki' });
    this.publicKey = spki.subarray(PUBLIC_PREFIX.length).toString('base64url');
  }

  static make(random: Random): PrivateKey {
    return new PrivateKey(Buffer.from(random.bytes(SEED_BYTES)));
  }

  /** Of what `secret` gave. @throws internal `assertion` unless it is 32 bytes */
  static of(seed: Buffer): PrivateKey {
    return new PrivateKey(Buffer.from(seed));
  }

  /** PKCS #8 in PEM, for a TLS connection and a certificate request. As secret as `secret()`, and in no file. */
  pem(): string {
    return this.#key.export({ format: 'pem', type: 'pkcs8' }).toString();
  }

  /** The bytes to keep in a file that only its owner can read; nowhere else. */
  secret(): Buffer {
    return Buffer.from(this.#seed);
  }

  /** The signature of `text`, base64url. */
  sign(text: string): string {
    return sign(null, Buffer.from(text, 'utf8'), this.#key).toString('base64url');
  }

  toJSON(): { publicKey: string } {
    return { publicKey: this.publicKey };
  }

  [inspect.custom](): string {
    return `PrivateKey of ${this.publicKey}`;
  }
}

/** Whether `text` is an Ed25519 public key: 32 bytes, base64url. */
export function isPublicKey(text: unknown): text is string {
  return typeof text === 'string' && /^[\w-]{43}$/.test(text) && Buffer.from(text, 'base64url').length === SEED_BYTES;
}

/** Whether `signature` is that of `text` by the holder of the private key. */
export function isSignedBy(publicKey: string, text: string, signature: string): boolean {
  const spki = Buffer.concat([PUBLIC_PREFIX, Buffer.from(publicKey, 'base64url')]);
  const key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  return verify(null, Buffer.from(text, 'utf8'), key, Buffer.from(signature, 'base64url'));
}

/** The activation of a key pair: nobody else's can have its name, and its device knows it before the service says it. */
export const activationIdOf = (publicKey: string): string => `act-${fingerprintOf(publicKey).slice(0, 32)}`;

/** The public key that a key of Node.js is: 32 bytes, base64url; undefined when it is no Ed25519 key. */
export function publicKeyOf(key: KeyObject): string | undefined {
  return key.asymmetricKeyType === 'ed25519' ? key.export({ format: 'jwk' }).x : undefined;
}

/** The pair for WebCrypto, which makes certificates and requests for them. The private key can be read from it. */
export async function webKeysOf(key: PrivateKey): Promise<webcrypto.CryptoKeyPair> {
  const own = createPrivateKey(key.pem());
  const imported = async (
    format: 'pkcs8' | 'spki',
    der: Buffer,
    use: 'sign' | 'verify',
  ): Promise<webcrypto.CryptoKey> => await webcrypto.subtle.importKey(format, der, { name: 'Ed25519' }, true, [use]);
  return {
    privateKey: await imported('pkcs8', own.export({ format: 'der', type: 'pkcs8' }), 'sign'),
    publicKey: await imported('spki', createPublicKey(own).export({ format: 'der', type: 'spki' }), 'verify'),
  };
}

/** SHA-256 of a public key, hex: its name where people compare it. */
export function fingerprintOf(publicKey: string): string {
  return createHash('sha256').update(Buffer.from(publicKey, 'base64url')).digest('hex');
}
