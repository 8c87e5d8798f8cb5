/**
 * BLAKE3, the hash of format 1: natively where the addon loads, else in JavaScript. Both pass the same vectors.
 */
import { createRequire } from 'node:module';

type Hash = (data: Uint8Array) => Uint8Array;
type HashInto = (data: Uint8Array, target: Buffer, at: number) => void;

interface Addon {
  blake3(data: Uint8Array): Buffer;
  blake3UrlSafeBase64(data: Uint8Array): string;
}

interface Implementation {
  readonly whole: Hash;
  readonly shortInto: HashInto;
}

function loadNative(): Implementation | undefined {
  try {
    const addon = createRequire(import.meta.url)('@napi-rs/blake-hash') as Addon;
    addon.blake3(new Uint8Array(1));
    return {
      whole: (data) => addon.blake3(data),
      // A string costs the addon 3 microseconds less than a Buffer with a finalizer, as much as hashing a page does.
      shortInto: (data, target, at) => {
        target.write(addon.blake3UrlSafeBase64(data), at, SHORT_BYTES, 'base64url');
      },
    };
  } catch {
    return undefined;
  }
}

const SHORT_BYTES = 16;

let loaded: Hash | undefined;

/** Loaded when it is used: where the addon works, never. */
function portable(data: Uint8Array): Uint8Array {
  loaded ??= (createRequire(import.meta.url)('@noble/hashes/blake3.js') as { blake3: Hash }).blake3;
  return loaded(data);
}

/** The pure-JavaScript implementation. */
export const portableHash: Implementation = {
  whole: portable,
  shortInto: (data, target, at) => {
    target.set(portable(data).subarray(0, SHORT_BYTES), at);
  },
};

const implementation = loadNative() ?? portableHash;

/** Writes the first 16 bytes of BLAKE3 to `target` at `at`: for the many page hashes, which `blake3Short` is slow for. */
export const blake3ShortInto: HashInto = implementation.shortInto;

/** BLAKE3 with 32 bytes of output. */
export const blake3 = (data: Uint8Array): Buffer => asBuffer(implementation.whole(data));

/** BLAKE3 cut to its first 16 bytes: page hashes and node hashes. */
export const blake3Short = (data: Uint8Array): Buffer => blake3(data).subarray(0, SHORT_BYTES);

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
