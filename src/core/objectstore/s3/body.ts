/** Bodies on their way: what is sent with its checksums, and what is received in one buffer. */
import type { PutObjectCommand } from '@aws-sdk/client-s3';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { eachChunk, SgwError } from '../../kit/index.ts';
import { bodyPieces, type PutBody, type StreamedBody } from '../contract.ts';

/** Hashed in one go; between two of them other work gets its turn. */
const HASH_STEP_BYTES = 1024 * 1024;
/** Pieces of up to so much are sent as one; of more, the fresh memory for that would cost more than their hashes. */
const JOINED_BYTES_MAX = 256 * 1024;

export interface OutgoingBody {
  readonly sizeBytes: number;
  /** Of what is in memory. */
  readonly pieces?: readonly Uint8Array[];
  /** What is sent; a stream can be sent once, so each try asks anew. */
  readonly content: () => Uint8Array | Readable;
  /** Hex; signed with the request, and compared by every server with what it received. */
  readonly sha256: string;
  /** 8 hex digits; kept beside the object. */
  readonly crc32: string;
  /** Fires with the failure when a stream ends in one: the SDK would wait for more of it. */
  readonly broken?: AbortSignal;
}

/** What is sent of `body`, and its checksums. */
export async function outgoing(body: PutBody): Promise<OutgoingBody> {
  const pieces = bodyPieces(body);
  const sizeBytes = pieces.reduce((sum, { length }) => sum + length, 0);
  const hash = createHash('sha256');
  let check = 0;
  let untilTurn = HASH_STEP_BYTES;
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; at += HASH_STEP_BYTES) {
      if (untilTurn <= 0) {
        await turn();
        untilTurn = HASH_STEP_BYTES;
      }
      const step = piece.subarray(at, at + HASH_STEP_BYTES);
      hash.update(step);
      check = crc32(step, check);
      untilTurn -= step.length;
    }
  }
  const sums = { sha256: hash.digest('hex'), crc32: checkText(check) };
  return { sizeBytes, pieces, content: contentOf(pieces, sizeBytes), ...sums };
}

/** What comes piece by piece, and can be sent once. What its pieces throw breaks the request off before its end. */
export function streamed({ sizeBytes, sha256, crc32: check, pieces }: StreamedBody): OutgoingBody {
  const broken = new AbortController();
  let isSent = false;
  const content = (): Readable => {
    if (isSent) throw new SgwError('unavailable', 'store-error', 'the store asks for a body again that is gone');
    isSent = true;
    const stream = Readable.from(pieces, { objectMode: false });
    stream.on('error', (error) => {
      broken.abort(error);
    });
    return stream;
  };
  return { sizeBytes, sha256, crc32: check, content, broken: broken.signal };
}

function contentOf(pieces: readonly Uint8Array[], sizeBytes: number): OutgoingBody['content'] {
  const [only] = pieces;
  if (pieces.length === 1 && only !== undefined) return () => only;
  if (sizeBytes > JOINED_BYTES_MAX) return () => Readable.from(pieces, { objectMode: false });
  const joined = Buffer.concat(pieces);
  return () => joined;
}

/** Lets the command send the body, and its hash in its signature, as often as it is sent. */
export function carry(command: PutObjectCommand, { content, sha256 }: OutgoingBody): void {
  let isAgain = false;
  command.middlewareStack.add(
    (next) => async (args) => {
      const request = args.request as { headers: Record<string, string>; body: unknown };
      // Found by the signer, which then hashes nothing itself.
      request.headers['x-amz-content-sha256'] = sha256;
      // Sent again, to the region that the bucket is in, it comes by again, and its stream was read before.
      if (isAgain) request.body = content();
      isAgain = true;
      return await next(args);
    },
    { step: 'build', name: 'sgwBodyHash' },
  );
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
    await eachChunk(body, (chunk) => {
      if (at + chunk.length > sizeBytes) throw cut(key, at + chunk.length, sizeBytes);
      at += chunk.copy(bytes, at);
    });
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

/** Ends an answer that nobody reads. */
export const discard = ({ Body }: { readonly Body?: unknown }): void => {
  (Body as Readable | undefined)?.destroy();
};
