/**
 * What says that a block is not restored (C23): 512 bytes that nobody can make without the secret of the restore. Mark i is the
 * keystream of AES-256 in counter mode from counter i * 2^64, under HMAC-SHA-256(secret, "sgw restore mark 1 <restoreId>").
 */
import { createCipheriv, createHmac } from 'node:crypto';
import { MARK_BYTES } from './geometry.ts';

const ZEROES = Buffer.alloc(MARK_BYTES);
/** What a disk writes as a whole; less of a mark than this can't be left over. */
const GRAIN_BYTES = 8;

export interface MarkSecret {
  readonly restoreId: string;
  /** 32 random bytes. */
  readonly secret: Buffer;
}

export class Marks {
  readonly #key: Buffer;

  constructor({ restoreId, secret }: MarkSecret) {
    this.#key = createHmac('sha256', secret).update(`sgw restore mark 1 ${restoreId}`).digest();
  }

  /** The mark of a block, in memory of its own. */
  of(block: number): Buffer {
    const counter = Buffer.alloc(16);
    counter.writeBigUInt64BE(BigInt(block));
    return createCipheriv('aes-256-ctr', this.#key, counter).update(ZEROES);
  }

  /** Whether a sector is the block's mark, or has a part of it, as an overwrite that was torn leaves one. */
  isIn(block: number, sector: Buffer): boolean {
    const mark = this.of(block);
    for (let at = 0; at < MARK_BYTES; at += GRAIN_BYTES)
      if (mark.compare(sector, at, at + GRAIN_BYTES, at, at + GRAIN_BYTES) === 0) return true;
    return false;
  }
}
