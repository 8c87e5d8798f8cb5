import { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';

/**
 * Calls `take` with each chunk of a stream, to its end. `take` copies what it wants: of a body that came by HTTP the memory of the
 * chunk is freed then. Node.js makes memory of its own for each, and V8 begins a collection for each 64 MiB of it.
 * @throws what `take` throws, and then leaves the rest in the stream; what the stream ends with before its end
 */
export async function eachChunk(stream: Readable, take: (chunk: Buffer) => void): Promise<void> {
  const isOurs = stream instanceof IncomingMessage;
  await new Promise<void>((resolve, reject) => {
    const cut = (): void => {
      reject(Object.assign(new Error('the stream was closed before its end'), { code: 'ERR_STREAM_PREMATURE_CLOSE' }));
    };
    const onData = (chunk: Buffer): void => {
      try {
        take(chunk);
      } catch (error) {
        stream.off('data', onData);
        stream.pause();
        reject(toError(error));
        return;
      }
      if (isOurs) freeMemory(chunk);
    };
    stream.once('end', resolve);
    stream.once('error', reject);
    stream.once('close', cut);
    if (stream.destroyed) cut();
    else stream.on('data', onData);
  });
}

const toError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));

/** Frees the memory that `bytes` are of, unless it is what Node.js cuts small buffers from. Whoever has a view of it finds it empty. */
export function freeMemory({ buffer, byteLength }: Buffer): void {
  const isOwn = byteLength === buffer.byteLength || buffer.byteLength > Buffer.poolSize;
  if (isOwn && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
