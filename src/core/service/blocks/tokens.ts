/**
 * Tokens that a listing gives, and that reading a block, or the next page, takes: proofs that the service has decided. Nothing
 * is stored; any server over the store checks what another one gave. What a token is for is not in it but under its mark, so
 * it opens nothing else: not another snapshot, block or account, nor, once its time is over, this one.
 *
 * A token is base64 of: 1 byte kind, 6 bytes of seconds since 1970 until when it is good, 4 bytes number (big-endian: the next
 * block of a page; 0 else), 32 bytes HMAC-SHA-256.
 */
import { createHmac, createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto';
import { SgwError, type Clock } from '../../kit/index.ts';

const BLOCK_TOKEN_MS = 7 * 24 * 60 * 60_000;
const PAGE_TOKEN_MS = 60 * 60_000;
const KINDS = { block: 1, page: 2 } as const;
const HEAD_BYTES = 11;
const MAC_BYTES = 32;
const TOKEN_CHARACTERS = Math.ceil((HEAD_BYTES + MAC_BYTES) / 3) * 4;

/** A block of a snapshot, that an account may read. */
export interface BlockOf {
  readonly accountId: string;
  readonly snapshotId: string;
  readonly block: number;
}

/** A listing that goes on: of the blocks of a snapshot, or of what differs from a first one. */
export interface Listing {
  readonly accountId: string;
  readonly snapshotId: string;
  /** Null: all blocks are listed. */
  readonly firstSnapshotId: string | null;
  readonly kind: 'blocks' | 'changedBlocks';
}

export class BlockTokens {
  readonly #secret: KeyObject;
  readonly #clock: Pick<Clock, 'nowMs'>;

  /** `secret`: 32 bytes, the same on every server. */
  constructor(secret: Uint8Array, clock: Pick<Clock, 'nowMs'>) {
    // An HMAC with one takes a fifth of the time of one with a Buffer, and a listing makes ten thousand.
    this.#secret = createSecretKey(secret);
    this.#clock = clock;
  }

  /** Until when tokens for blocks are good that are given now, milliseconds. */
  blocksGoodUntilMs(): number {
    return Math.floor((this.#clock.nowMs() + BLOCK_TOKEN_MS) / 1000) * 1000;
  }

  forBlock(of: BlockOf, goodUntilMs: number): string {
    return this.#token(head(KINDS.block, goodUntilMs, 0), aboutBlock(of));
  }

  forPage(listing: Listing, nextBlock: number): string {
    return this.#token(head(KINDS.page, this.#clock.nowMs() + PAGE_TOKEN_MS, nextBlock), aboutPage(listing));
  }

  /** @throws denied `block-token-wrong` unless the token is for just this */
  requireBlock(token: string, of: BlockOf): void {
    if (this.#open(token, KINDS.block, aboutBlock(of)) === undefined) throw wrong('block-token-wrong', 'block');
  }

  /** The block that the page begins with. @throws denied `page-token-wrong` */
  nextBlockOf(token: string, listing: Listing): number {
    const bytes = this.#open(token, KINDS.page, aboutPage(listing));
    if (bytes === undefined) throw wrong('page-token-wrong', 'page');
    return bytes.readUInt32BE(7);
  }

  #token(first: Buffer, about: string): string {
    return Buffer.concat([first, this.#mac(first, about)]).toString('base64');
  }

  #mac(first: Buffer, about: string): Buffer {
    return createHmac('sha256', this.#secret).update(first).update(about, 'utf8').digest();
  }

  /** The token's bytes; undefined unless all of it is as it was given, for this, and its time is not over. */
  #open(token: string, kind: number, about: string): Buffer | undefined {
    if (token.length !== TOKEN_CHARACTERS) return undefined;
    const bytes = Buffer.from(token, 'base64');
    // Only the one text that a token has: base64 can be written in several ways.
    if (bytes.length !== HEAD_BYTES + MAC_BYTES || bytes.toString('base64') !== token) return undefined;
    const first = bytes.subarray(0, HEAD_BYTES);
    const isOurs = timingSafeEqual(this.#mac(first, about), bytes.subarray(HEAD_BYTES));
    const isGood = first[0] === kind && first.readUIntBE(1, 6) * 1000 > this.#clock.nowMs();
    return isOurs && isGood ? bytes : undefined;
  }
}

function head(kind: number, goodUntilMs: number, number: number): Buffer {
  const bytes = Buffer.alloc(HEAD_BYTES);
  bytes.writeUInt8(kind, 0);
  bytes.writeUIntBE(Math.floor(goodUntilMs / 1000), 1, 6);
  bytes.writeUInt32BE(number, 7);
  return bytes;
}

const aboutBlock = ({ accountId, snapshotId, block }: BlockOf): string =>
  JSON.stringify(['block', accountId, snapshotId, block]);

const aboutPage = ({ accountId, snapshotId, firstSnapshotId, kind }: Listing): string =>
  JSON.stringify([kind, accountId, snapshotId, firstSnapshotId]);

function wrong(code: string, what: string): SgwError {
  return new SgwError('denied', code, `the ${what} token is not one for this, or its time is over`, {
    hint: 'List the blocks again.',
  });
}
