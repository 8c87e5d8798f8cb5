/** One request and its answer on an HTTP/2 session: sent piece by piece, received into one buffer or line by line. */
import { once } from 'node:events';
import { constants, type ClientHttp2Session, type ClientHttp2Stream, type OutgoingHttpHeaders } from 'node:http2';
import { SgwError } from '../../kit/index.ts';

export interface Question {
  readonly headers: OutgoingHttpHeaders;
  /** Sent with the request, in order. */
  readonly pieces?: readonly Uint8Array[];
}

export interface Answer {
  readonly status: number;
  readonly header: (name: string) => string | undefined;
  readonly stream: ClientHttp2Stream;
}

/** A document that says what is wrong is no longer than that. */
const ERROR_BYTES_MAX = 256 * 1024;

/**
 * Sends a request, and waits until its answer begins. The stream must be read or destroyed.
 * @throws what the session or the stream fails with
 */
export async function ask(session: ClientHttp2Session, question: Question, signal: AbortSignal): Promise<Answer> {
  const { headers, pieces } = question;
  const stream = session.request(headers, { endStream: pieces === undefined });
  const onAbort = (): void => {
    stream.close(constants.NGHTTP2_CANCEL);
    stream.destroy();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  stream.once('close', () => {
    signal.removeEventListener('abort', onAbort);
  });
  try {
    const answered = beginningOf(stream);
    // An answer may come before the whole body was sent: then what else happens to the body is of no interest.
    const sent = pieces === undefined ? Promise.resolve() : send(stream, pieces);
    sent.catch(() => undefined);
    const received = await answered;
    return {
      status: Number(received[constants.HTTP2_HEADER_STATUS]),
      header: (name) => textOf(received[name]),
      stream,
    };
  } catch (error) {
    stream.destroy();
    throw error;
  }
}

const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

async function beginningOf(stream: ClientHttp2Stream): Promise<Record<string, unknown>> {
  return await new Promise((resolve, reject) => {
    stream.once('response', (headers) => {
      resolve(headers);
    });
    stream.on('error', reject);
    stream.once('close', () => {
      reject(Object.assign(new Error('closed'), { code: 'ERR_STREAM_PREMATURE_CLOSE' }));
    });
  });
}

async function send(stream: ClientHttp2Stream, pieces: readonly Uint8Array[]): Promise<void> {
  for (const piece of pieces) {
    if (stream.destroyed || stream.closed) return;
    if (piece.length > 0 && !stream.write(piece)) await Promise.race([once(stream, 'drain'), once(stream, 'close')]);
  }
  if (!stream.destroyed) stream.end();
}

/**
 * Reads the answer's body into `target` from `at` on. Returns how many bytes there were.
 * @throws RangeError when they are more than there is room for; what the stream fails with
 */
export async function receiveInto(
  { stream }: Answer,
  target: Buffer,
  at: number,
  onBytes: () => void,
): Promise<number> {
  let end = at;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    onBytes();
    if (end + chunk.length > target.length) throw new RangeError('the answer is longer than it says');
    end += chunk.copy(target, end);
  }
  requireWhole(stream);
  return end - at;
}

/** A stream that was reset may end without an error. */
function requireWhole(stream: ClientHttp2Stream): void {
  if (stream.rstCode === constants.NGHTTP2_NO_ERROR && !stream.aborted) return;
  throw Object.assign(new Error('reset'), { code: 'ERR_STREAM_PREMATURE_CLOSE' });
}

/** Reads a short body as text; what is too long is cut. */
export async function receiveText({ stream }: Answer): Promise<string> {
  const chunks: Buffer[] = [];
  let left = ERROR_BYTES_MAX;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    left -= chunk.length;
    if (left <= 0) break;
  }
  return Buffer.concat(chunks).toString('utf8');
}

const LINE_BYTES_MAX = 64 * 1024;

/** Yields the lines of the answer's body. @throws unavailable `short-reply` for a line that does not end */
export async function* receiveLines({ stream }: Answer, onBytes: () => void): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    onBytes();
    // Keys, sizes and etags are ASCII, so that no character is in two chunks.
    const lines = (rest + chunk.toString('latin1')).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > LINE_BYTES_MAX) throw new SgwError('unavailable', 'short-reply', 'the list has an endless line');
    yield* lines;
  }
  requireWhole(stream);
}
