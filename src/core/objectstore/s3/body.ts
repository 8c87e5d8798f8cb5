/** Bodies on their way: what is sent with its checksums, and what is received in one buffer. */
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { SgwError } from '../../kit/index.ts';
import { bodyPieces, type PutBody } from '../contract.ts';

/** Hashed in one go; between two of them other work gets its turn. */
const HASH_STEP_BYTES = 1024 * 1024;

export interface OutgoingBody {
  readonly bytes: Uint8Array;
  /** Hex; signed with the request, and compared by every server with what it received. */
  readonly sha256: string;
  /** 8 hex digits; kept beside the object. */
  readonly crc32: string;
}

/** One buffer of `body`, copied only when it is in pieces, and its checksums. */
export async function outgoing(body: PutBody): Promise<OutgoingBody> {
  const pieces = bodyPieces(body);
  const bytes = pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces);
  const hash = createHash('sha256');
  let check = 0;
  for (let at = 0; at < bytes.length; at += HASH_STEP_BYTES) {
    if (at > 0) await turn();
    const step = bytes.subarray(at, at + HASH_STEP_BYTES);
    hash.update(step);
    check = crc32(step, check);
  }
  return { bytes, sha256: hash.digest('hex'), crc32: checkText(check) };
}

const checkText = (check: number): string => check.toString(16).padStart(8, '0');

/** Whether `bytes` have the checksum that was kept beside them; true when none was. */
export const matchesCheck = (bytes: Uint8Array, expected: string | undefined): boolean =>
  expected === undefined || expected === checkText(crc32(bytes));

/**
 * Reads `sizeBytes` from `body`. A signal that fires ends it.
 * @throws unavailable `short-reply` when it ends early or goes on too long; what the stream fails with
 */
export async function collect(body: Readable, sizeBytes: number, key: string, signal: AbortSignal): Promise<Buffer> {
  const onAbort = (): void => {
    body.destroy();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    if (signal.aborted) onAbort();
    const bytes = Buffer.allocUnsafeSlow(sizeBytes);
    let at = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      if (at + chunk.length > sizeBytes) throw cut(key, at + chunk.length, sizeBytes);
      at += chunk.copy(bytes, at);
    }
    if (at !== sizeBytes) throw cut(key, at, sizeBytes);
    return bytes;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function cut(key: string, gotBytes: number, sizeBytes: number): SgwError {
  const message = `the store sent ${String(gotBytes)} of ${String(sizeBytes)} bytes of ${key}`;
  return new SgwError('unavailable', 'short-reply', message, { details: { key } });
}
