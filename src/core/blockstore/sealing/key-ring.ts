/**
 * The unlocked key of a store's account, and the volumes' data keys that it has opened. Does no I/O. Nothing of it can be
 * printed or serialized: keys are private fields and `KeyObject`s.
 */
import { createSecretKey, type KeyObject } from 'node:crypto';
import type { Random, VolumeId } from '../../kit/index.ts';
import { KEY_BYTES, newKey, openUnit, sealUnit } from './aead.ts';

const DOCUMENT = 'sgw document';
const DATA_KEY = 'sgw data key';
/** Data keys kept: 4096 are some hundreds of kilobytes. */
const DATA_KEYS_MAX = 4096;

export class KeyRing {
  readonly storeId: string;
  /** The account that the key belongs to. */
  readonly keyId: string;
  readonly #accountKey: KeyObject;
  readonly #dataKeys = new Map<VolumeId, KeyObject>();

  /** @param accountKey 32 bytes; the ring keeps a copy */
  constructor(storeId: string, keyId: string, accountKey: Uint8Array) {
    this.storeId = storeId;
    this.keyId = keyId;
    this.#accountKey = createSecretKey(accountKey);
  }

  /** Seals the account key itself by `seal`, which gets its bytes: only for wrapping it anew. */
  wrapAccountKey(seal: (accountKey: Uint8Array) => Buffer): Buffer {
    const bytes = this.#accountKey.export();
    try {
      return seal(bytes);
    } finally {
      bytes.fill(0);
    }
  }

  /** Salt, ciphertext and tag of a document's sealed fields. */
  sealDocument(random: Random, associated: string, plain: Uint8Array): Buffer {
    return sealUnit(this.#accountKey, random, DOCUMENT, associated, plain);
  }

  /** Undefined when it is not authentic. */
  openDocument(associated: string, sealed: Uint8Array): Buffer | undefined {
    return openUnit(this.#accountKey, DOCUMENT, associated, sealed);
  }

  /** A new data key for a volume, kept, and as `key.json` holds it. */
  newDataKey(random: Random, volumeId: VolumeId): Buffer {
    const key = newKey(random);
    const bytes = key.export();
    const wrapped = sealUnit(this.#accountKey, random, DATA_KEY, `${this.storeId} ${volumeId}`, bytes);
    bytes.fill(0);
    this.#keep(volumeId, key);
    return wrapped;
  }

  /** The data key that was opened before. */
  knownDataKey(volumeId: VolumeId): KeyObject | undefined {
    return this.#dataKeys.get(volumeId);
  }

  /** Opens a volume's data key and keeps it; undefined when it is not authentic. */
  openDataKey(volumeId: VolumeId, wrapped: Uint8Array): KeyObject | undefined {
    const bytes = openUnit(this.#accountKey, DATA_KEY, `${this.storeId} ${volumeId}`, wrapped);
    if (bytes?.length !== KEY_BYTES) return undefined;
    const key = createSecretKey(bytes);
    bytes.fill(0);
    this.#keep(volumeId, key);
    return key;
  }

  #keep(volumeId: VolumeId, key: KeyObject): void {
    this.#dataKeys.set(volumeId, key);
    for (const oldest of this.#dataKeys.keys()) {
      if (this.#dataKeys.size <= DATA_KEYS_MAX) break;
      this.#dataKeys.delete(oldest);
    }
  }
}
