/**
 * BLAKE3, the hash of format 1: natively where the addon loads, else in JavaScript. Both pass the same vectors.
 */
import { createRequire } from 'node:module';
import { blake3 as portable } from '@noble/hashes/blake3.js';

type Hash = (data: Uint8Array) => Uint8Array;

function loadNative(): Hash | undefined {
  try {
    const addon = createRequire(import.meta.url)('@napi-rs/blake-hash') as { blake3(data: Uint8Array): Buffer };
    addon.blake3(new Uint8Array(1));
    return (data) => addon.blake3(data);
  } catch {
    return undefined;
  }
}

/** BLAKE3-256 by the pure-JavaScript implementation. */
export const portableHash: Hash = (data) => portable(data);

const hash256: Hash = loadNative() ?? portableHash;

/** BLAKE3 with 32 bytes of output. */
export const blake3 = (data: Uint8Array): Buffer => asBuffer(hash256(data));

/** BLAKE3 cut to its first 16 bytes: page hashes and node hashes. */
export const blake3Short = (data: Uint8Array): Buffer => blake3(data).subarray(0, 16);

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
