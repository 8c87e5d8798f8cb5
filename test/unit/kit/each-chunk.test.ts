/** Bodies chunk by chunk: their order, their ends, and whose memory is freed. */
import { createServer, request, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough, Readable } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { eachChunk } from '../../../src/core/kit/index.ts';

const BODY = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251));

describe('a stream, chunk by chunk', () => {
  let server: Server | undefined;
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
  });

  /** Sends the body to a server that does `work` with it, and gives what the server answers. */
  const sent = async (work: (body: IncomingMessage) => Promise<string>): Promise<string> => {
    const started = createServer((incoming, answer) => {
      work(incoming).then(
        (text) => answer.end(text),
        (error: unknown) => answer.writeHead(500).end(String(error)),
      );
    });
    server = started;
    await new Promise<void>((resolve) => {
      started.listen(0, '127.0.0.1', resolve);
    });
    const { port } = started.address() as AddressInfo;
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      request({ port, method: 'PUT', headers: { 'content-length': BODY.length } }, resolve)
        .on('error', reject)
        .end(BODY);
    });
    return Buffer.concat(await Array.fromAsync(answer as AsyncIterable<Buffer>)).toString();
  };

  it('of HTTP is given whole, and its memory is freed', async () => {
    const copies: Buffer[] = [];
    const chunks: Buffer[] = [];
    await sent(async (body) => {
      await eachChunk(body, (chunk) => {
        copies.push(Buffer.from(chunk));
        chunks.push(chunk);
      });
      return 'read';
    });
    expect(Buffer.concat(copies).equals(BODY)).toBe(true);
    expect(chunks.map(({ length }) => length)).toEqual(chunks.map(() => 0));
  });

  it('of HTTP that is refused half-way leaves the rest, and the answer arrives', async () => {
    const answer = await sent(async (body) => {
      const refused = eachChunk(body, () => {
        throw new Error('too long');
      });
      await expect(refused).rejects.toThrow('too long');
      let left = 0;
      for await (const chunk of body as AsyncIterable<Buffer>) left += chunk.length;
      return left > 0 ? 'refused' : 'nothing was left';
    });
    expect(answer).toBe('refused');
  });

  it('of others keeps its memory', async () => {
    const chunk = Buffer.alloc(100_000, 7);
    await eachChunk(Readable.from([chunk]), () => undefined);
    expect(chunk.every((byte) => byte === 7)).toBe(true);
  });

  it('that ends before its end is a failure', async () => {
    const cut = new PassThrough();
    const read = eachChunk(cut, () => undefined);
    cut.write('a');
    cut.destroy();
    await expect(read).rejects.toMatchObject({ code: 'ERR_STREAM_PREMATURE_CLOSE' });
    await expect(eachChunk(cut, () => undefined)).rejects.toMatchObject({ code: 'ERR_STREAM_PREMATURE_CLOSE' });
    const broken = new PassThrough();
    const reading = eachChunk(broken, () => undefined);
    broken.destroy(new Error('reset'));
    await expect(reading).rejects.toThrow('reset');
  });
});
