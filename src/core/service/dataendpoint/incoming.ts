/**
 * The body of a put on its way in: counted and hashed as it comes, and let through to its last piece only when it is what
 * the sender said. So whoever stores the pieces stores all of what was meant, or nothing.
 */
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import { SgwError, type Clock } from '../../kit/index.ts';
import type { StreamedBody } from '../../objectstore/index.ts';
import { crcText, HEADERS } from '../../objectstore/service/index.ts';

/** A body of which nothing comes for so long is given up. */
const IDLE_MS = 30_000;
/** So is one that is slower than this, after a while: it holds memory that others wait for. */
const LEAST_BYTES_PER_MS = 64;
const SLOW_MS = 60_000;

/** @throws invalid `bad-request` without length and hashes; exhausted `object-too-large` */
export function incomingBody(
  headers: IncomingHttpHeaders,
  raw: Readable,
  bytesMax: number,
  clock: Pick<Clock, 'sleep' | 'monotonicMs'>,
): StreamedBody {
  const sizeBytes = Number(headers['content-length'] ?? Number.NaN);
  const sha256 = headers[HEADERS.sha256];
  const check = headers[HEADERS.crc32];
  const isFormed =
    Number.isSafeInteger(sizeBytes) &&
    sizeBytes >= 0 &&
    typeof sha256 === 'string' &&
    /^[0-9a-f]{64}$/.test(sha256) &&
    typeof check === 'string' &&
    /^[0-9a-f]{8}$/.test(check);
  if (!isFormed)
    throw new SgwError('invalid', 'bad-request', 'a put says how long its body is, and what its hashes are');
  if (sizeBytes > bytesMax) {
    const message = `an object of ${String(sizeBytes)} bytes is more than ${String(bytesMax)}`;
    throw new SgwError('exhausted', 'object-too-large', message, { details: { sizeBytes } });
  }
  return { sizeBytes, sha256, crc32: check, pieces: checked(withIdle(raw, clock), { sizeBytes, sha256, check }) };
}

async function* checked(
  chunks: AsyncIterable<Buffer>,
  { sizeBytes, sha256, check }: { readonly sizeBytes: number; readonly sha256: string; readonly check: string },
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  let crc = 0;
  let left = sizeBytes;
  let held: Buffer | undefined;
  for await (const chunk of chunks) {
    if (chunk.length > left) throw damaged('it is longer than it says');
    left -= chunk.length;
    hash.update(chunk);
    crc = crc32(chunk, crc);
    if (held !== undefined) yield held;
    held = chunk;
  }
  if (left > 0) throw damaged(`its last ${String(left)} bytes did not come`);
  if (hash.digest('hex') !== sha256 || crcText(crc) !== check) throw damaged('it does not match its hashes');
  if (held !== undefined) yield held;
}

/** The sender has the bytes still, and sends them again. */
const damaged = (how: string): SgwError =>
  new SgwError('unavailable', 'body-damaged', `the body of the put was damaged on its way: ${how}`);

/** The chunks of a stream, as long as they come. The stream is left as it is: what it still has is for its owner to end. */
async function* withIdle(raw: Readable, clock: Pick<Clock, 'sleep' | 'monotonicMs'>): AsyncGenerator<Buffer> {
  const chunks = (raw as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  const beganMs = clock.monotonicMs();
  let bytes = 0;
  for (;;) {
    const done = new AbortController();
    const over = clock.sleep(IDLE_MS, done.signal).then(() => 'over' as const);
    over.catch(() => undefined);
    try {
      const next = await Promise.race([chunks.next(), over]);
      if (next === 'over') throw new SgwError('timeout', 'body-stalled', 'the body of the put does not go on');
      if (next.done === true) return;
      bytes += next.value.length;
      if (clock.monotonicMs() - beganMs > SLOW_MS + bytes / LEAST_BYTES_PER_MS)
        throw new SgwError('timeout', 'body-stalled', 'the body of the put is too slow');
      yield next.value;
    } finally {
      done.abort();
    }
  }
}
