/**
 * The service key: the one secret of the service that is not in the store. It seals the secrets that are, and other keys are
 * made of it, one for each purpose, so that all servers over one store have the same ones.
 */
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import { inspect } from 'node:util';
import { assert, SgwError, type Random } from '../../kit/index.ts';

export const SERVICE_KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const CIPHER = 'aes-256-gcm';
const SEALING = 'sgw-service-seal-1';

/** A key that shows itself to nobody: not when printed, not as JSON. */
export class ServiceKey {
  readonly #secret: Buffer;
  readonly #random: Random;
  readonly #sealing: Buffer;

  /** @throws internal `assertion` unless it is 32 bytes */
  constructor(secret: Uint8Array, random: Random) {
    assert(secret.length === SERVICE_KEY_BYTES, 'a service key has 32 bytes');
    this.#secret = Buffer.from(secret);
    this.#random = random;
    this.#sealing = this.derive(SEALING);
  }

  /** 32 bytes for one purpose, by HKDF-SHA-256; the same on every server that has the key. */
  derive(purpose: string): Buffer {
    return Buffer.from(hkdfSync('sha256', this.#secret, Buffer.alloc(0), purpose, SERVICE_KEY_BYTES));
  }

  /** Seals a secret for one place; `place` is the key of its document. @see docs/formats/service.md */
  seal(secret: Uint8Array, place: string): string {
    const nonce = this.#random.bytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.#sealing, nonce).setAAD(Buffer.from(place, 'utf8'));
    return Buffer.concat([nonce, cipher.update(secret), cipher.final(), cipher.getAuthTag()]).toString('base64');
  }

  /** @throws denied `service-key-wrong` when it was sealed by another key, for another place, or changed since */
  unseal(sealed: string, place: string): Buffer {
    const bytes = Buffer.from(sealed, 'base64');
    if (bytes.length < NONCE_BYTES + TAG_BYTES) throw wrongKey(place);
    const decipher = createDecipheriv(CIPHER, this.#sealing, bytes.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(Buffer.from(place, 'utf8')).setAuthTag(bytes.subarray(-TAG_BYTES));
    try {
      return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
    } catch {
      throw wrongKey(place);
    }
  }

  toJSON(): string {
    return 'ServiceKey';
  }

  [inspect.custom](): string {
    return 'ServiceKey';
  }
}

function wrongKey(place: string): SgwError {
  return new SgwError('denied', 'service-key-wrong', `the service key does not open ${place}`, {
    hint: 'Every server over one store needs the key that the first one made: give it by --service-key-file.',
    details: { key: place },
  });
}
