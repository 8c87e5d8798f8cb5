/** Bodies of requests, read within a bound in bytes and in time. */
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { API_BLOCK_BYTES } from '../../blockstore/index.ts';
import { eachChunk, SgwError } from '../../kit/index.ts';
import { badParameter, invalid } from './refusals.ts';

/** For a block of 512 KiB, which holds a slot meanwhile: 140 Kbit/s is enough. */
const BODY_MS = 30_000;

export interface ReadBody {
  readonly bytes: Buffer;
  /** Hex. */
  readonly sha256: string;
}

/**
 * Reads a body to its end, into `memory` as far as that goes.
 * @throws invalid `bad-parameter` when it is longer; timeout `body-late`; aborted when the client went away
 */
export async function readBody(body: unknown, bytesMax: number, memory: Buffer = Buffer.alloc(0)): Promise<ReadBody> {
  const hash = createHash('sha256');
  if (!isReadable(body)) return { bytes: Buffer.alloc(0), sha256: hash.digest('hex') };
  let bytes: Buffer = memory;
  let length = 0;
  const late = setTimeout(() => body.destroy(tooLate()), BODY_MS);
  try {
    await eachChunk(body, (chunk) => {
      if (length + chunk.length > bytesMax) throw badParameter(`the body is longer than ${String(bytesMax)} bytes`);
      if (length + chunk.length > bytes.length) {
        const larger = Buffer.allocUnsafe(Math.min(bytesMax, 2 * (length + chunk.length)));
        bytes.copy(larger, 0, 0, length);
        bytes = larger;
      }
      hash.update(chunk);
      length += chunk.copy(bytes, length);
    });
  } catch (error) {
    if (error instanceof SgwError) throw error;
    throw new SgwError('aborted', 'client-gone', 'the client went away while it sent the request', { cause: error });
  } finally {
    clearTimeout(late);
  }
  return { bytes: bytes.subarray(0, length), sha256: hash.digest('hex') };
}

/** Reads what is to be a block, no longer than one, into memory for one. @throws as `readBody` */
export const readBlockBody = async (body: unknown, memory: Buffer): Promise<ReadBody> =>
  await readBody(body, API_BLOCK_BYTES, memory);

/**
 * `sha256` is what the client says that the block has, `payloadSha256` what it signed the body with; null: it did not.
 * @throws invalid `bad-parameter` unless it is a whole block, `block-checksum-wrong`
 */
export function requireBlock(body: ReadBody, sha256: string, payloadSha256: string | null): void {
  if (body.bytes.length !== API_BLOCK_BYTES)
    throw badParameter(`the block has ${String(body.bytes.length)} bytes, and not ${String(API_BLOCK_BYTES)}`);
  if (body.sha256 !== sha256 || (payloadSha256 ?? sha256) !== sha256)
    throw invalid('block-checksum-wrong', 'the block does not match its checksum');
}

const isReadable = (body: unknown): body is Readable =>
  typeof body === 'object' && body !== null && Symbol.asyncIterator in body;

const tooLate = (): SgwError =>
  new SgwError('timeout', 'body-late', `the body did not come within ${String(BODY_MS / 1000)} seconds`);

const DRAIN_BYTES_MAX = 2 << 20;
const DRAIN_MS = 5000;

/** Reads and forgets what is left of a request, since many clients read no answer before all of it is sent. False when it is much. */
export async function drained(request: Readable): Promise<boolean> {
  let left = DRAIN_BYTES_MAX;
  const late = setTimeout(() => request.destroy(), DRAIN_MS);
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      left -= chunk.length;
      if (left < 0) return false;
    }
    return true;
  } catch {
    // Gone, or too slow.
    return false;
  } finally {
    clearTimeout(late);
  }
}
