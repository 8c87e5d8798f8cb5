/** CRC32C, the digest of iSCSI (RFC 7143, 13.1). */
import { crc32c } from '@node-rs/crc32';

/** The digest as it is sent: least significant byte first. */
export function digestOf(bytes: Buffer, before?: number): number {
  return crc32c(bytes, before);
}

const ZEROES = Buffer.alloc(3);

/** The digest of a data segment with the zeroes that pad it to a multiple of four. */
export function dataDigest(data: Buffer): number {
  const pad = -data.length & 3;
  const crc = crc32c(data);
  return pad === 0 ? crc : crc32c(ZEROES.subarray(0, pad), crc);
}
