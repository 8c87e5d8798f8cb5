/**
 * The one cipher of format 1: AES-256-GCM, under keys that HKDF-SHA-256 derives with a fresh salt (C16,
 * docs/formats/keys.md). Keys are `KeyObject`s from end to end: those print, serialize and compare without their bytes.
 */
import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto';
import type { Random } from '../../kit/index.ts';

export const TAG_BYTES = 16;
export const SALT_BYTES = 32;
export const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const CIPHER = 'aes-256-gcm';

/** A new random key of 32 bytes. */
export const newKey = (random: Random): KeyObject => createSecretKey(random.bytes(KEY_BYTES));

/** HKDF-SHA-256 of `key`; `info` says what the derived key is for. */
export function deriveKey(key: KeyObject, salt: Uint8Array, info: string): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync('sha256', key, salt, info, KEY_BYTES)));
}

/** What a number under one key is used for: no two uses share a nonce. */
export const NONCES = { frame: 0, pageHashes: 1, creators: 2, unit: 3, chunk: 4 } as const;
type NonceUse = (typeof NONCES)[keyof typeof NONCES];

/** 12 bytes: `number` in the first four, the use in the last. */
function nonceOf(use: NonceUse, number: number): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce.writeUInt32LE(number);
  nonce.writeUInt8(use, NONCE_BYTES - 1);
  return nonce;
}

/** The ciphertext, as long as `plain`, and the tag of 16 bytes that belongs behind it. */
export function encrypt(
  key: KeyObject,
  use: NonceUse,
  number: number,
  associated: Uint8Array,
  plain: Uint8Array,
): readonly [ciphertext: Buffer, tag: Buffer] {
  const cipher = createCipheriv(CIPHER, key, nonceOf(use, number));
  cipher.setAAD(associated);
  const ciphertext = cipher.update(plain);
  cipher.final();
  return [ciphertext, cipher.getAuthTag()];
}

/** The plain bytes of ciphertext and tag; undefined unless both are just what `encrypt` made under this key for this. */
export function decrypt(
  key: KeyObject,
  use: NonceUse,
  number: number,
  associated: Uint8Array,
  sealed: Uint8Array,
): Buffer | undefined {
  const end = sealed.length - TAG_BYTES;
  if (end < 0) return undefined;
  const decipher = createDecipheriv(CIPHER, key, nonceOf(use, number));
  decipher.setAAD(associated);
  decipher.setAuthTag(sealed.subarray(end));
  const plain = decipher.update(sealed.subarray(0, end));
  try {
    decipher.final();
    return plain;
  } catch {
    return undefined;
  }
}

/** Seals one thing under a key of its own: salt, ciphertext, tag. `info` is what it is, `associated` where it belongs. */
export function sealUnit(key: KeyObject, random: Random, info: string, associated: string, plain: Uint8Array): Buffer {
  const salt = random.bytes(SALT_BYTES);
  const own = deriveKey(key, salt, info);
  return Buffer.concat([salt, ...encrypt(own, NONCES.unit, 0, Buffer.from(associated, 'utf8'), plain)]);
}

/** Opens what `sealUnit` made; undefined unless key, info, place and every byte are the same. */
export function openUnit(key: KeyObject, info: string, associated: string, sealed: Uint8Array): Buffer | undefined {
  if (sealed.length < SALT_BYTES + TAG_BYTES) return undefined;
  const own = deriveKey(key, sealed.subarray(0, SALT_BYTES), info);
  return decrypt(own, NONCES.unit, 0, Buffer.from(associated, 'utf8'), sealed.subarray(SALT_BYTES));
}
