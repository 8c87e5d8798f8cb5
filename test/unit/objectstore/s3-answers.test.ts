/** What counts as the store's own word: a 404 of something in between is no absence. And reads do not wait for uploads. */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { toSgwError, type SgwError } from '../../../src/core/kit/index.ts';
import { parseS3Place } from '../../../src/core/objectstore/index.ts';
import { S3Store, type S3StoreOptions } from '../../../src/core/objectstore/s3/index.ts';

const HTML = '<html>\r\n<head><title>404 Not Found</title></head>\r\n<body><hr><center>nginx</center></body></html>';
const PROXY_TEXT = 'default backend - 404';
const REQUEST_ID = { 'x-amz-request-id': 'tx01' };
const xml = (code: string): string =>
  `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>m</Message></Error>`;
const BODY = Buffer.alloc(1000);

describe('answers of a store in a bucket', () => {
  let server: Server | undefined;
  let store: S3Store | undefined;

  const open = async (listener: RequestListener, options: Partial<S3StoreOptions> = {}): Promise<S3Store> => {
    process.env['AWS_ACCESS_KEY_ID'] = 'key';
    process.env['AWS_SECRET_ACCESS_KEY'] = 'secret';
    const started = createServer(listener);
    server = started;
    await new Promise<void>((resolve) => {
      started.listen(0, '127.0.0.1', resolve);
    });
    const { port } = started.address() as AddressInfo;
    const place = parseS3Place(`s3://bucket/p?endpoint=http://127.0.0.1:${String(port)}&path-style`);
    store = new S3Store({ place, hedges: false, ...options });
    return store;
  };
  afterEach(async () => {
    await store?.close();
    server?.closeAllConnections();
    server?.close();
  });
  const answers =
    (body: string, headers: Record<string, string> = {}): RequestListener =>
    (request, response) => {
      request.resume();
      request.on('end', () => {
        response.writeHead(404, headers).end(request.method === 'HEAD' ? undefined : body);
      });
    };
  const failure = async (promise: Promise<unknown>): Promise<SgwError> =>
    await promise.then(
      (value) => {
        throw new Error(`it succeeded: ${JSON.stringify(value)}`);
      },
      (error: unknown) => toSgwError(error),
    );

  it.each([
    ['a page', HTML, 'text/html'],
    ['text', PROXY_TEXT, 'text/plain'],
    ['nothing', '', 'text/plain'],
    ['another document', '<a><b>c</b></a>', 'application/xml'],
  ])('404 with %s is of something in between: no call takes it for absence', async (_, body, type) => {
    const opened = await open(answers(body, { 'content-type': type }));
    const calls = [
      opened.get('k'),
      opened.get('k', { span: { offset: 0, length: 10 } }),
      opened.head('k'),
      opened.put('k', BODY),
      opened.put('k', BODY, { condition: { ifAbsent: true } }),
      opened.put('k', BODY, { condition: { ifMatch: 'e' } }),
      opened.delete('k'),
      opened.delete('k', { ifMatch: 'e' }),
      Array.fromAsync(opened.list('')),
    ];
    for (const error of await Promise.all(calls.map(failure))) expect(error).toMatchObject({ kind: 'unavailable' });
    expect((await failure(opened.head('k'))).hint).toContain('between here and the store');
  });

  it('a removal that is answered so after the object was seen is not done either', async () => {
    const not = answers(HTML);
    const opened = await open((request, response) => {
      if (request.method === 'HEAD') response.writeHead(200, { etag: '"e"', 'content-length': '5' }).end();
      else not(request, response);
    });
    expect(await failure(opened.delete('k'))).toMatchObject({ kind: 'unavailable', code: 'store-unreachable' });
    expect(await failure(opened.delete('k', { ifMatch: 'e' }))).toMatchObject({ kind: 'unavailable' });
  });

  it('where a HEAD does not name its request, a GET tells', async () => {
    const opened = await open(answers(xml('NoSuchKey'), { 'content-type': 'application/xml' }));
    expect(await opened.head('k')).toBeUndefined();
    expect(await opened.delete('k')).toBe(false);
  });

  it('NoSuchKey, and a HEAD with the id of a request, are the word of the store', async () => {
    const opened = await open(answers(xml('NoSuchKey'), { 'content-type': 'application/xml', ...REQUEST_ID }));
    expect(await opened.get('k')).toBeUndefined();
    expect(await opened.head('k')).toBeUndefined();
    expect(await opened.delete('k')).toBe(false);
    expect(await opened.put('k', BODY, { condition: { ifMatch: 'e' } })).toEqual({ outcome: 'preconditionFailed' });
    expect(await failure(opened.put('k', BODY))).toMatchObject({ kind: 'unavailable' });
  });

  it('a body in pieces is sent again, whole, where the bucket is in another region', async () => {
    const sent: { readonly region: string | undefined; readonly body: Buffer }[] = [];
    await open((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const region = /Credential=[^/]+\/\d+\/([^/]+)\//.exec(request.headers.authorization ?? '')?.[1];
        sent.push({ region, body: Buffer.concat(chunks) });
        if (sent.length > 1) response.writeHead(200, { etag: '"e"' }).end();
        else
          response
            .writeHead(301, { 'content-type': 'application/xml', 'x-amz-bucket-region': 'eu-west-1' })
            .end(xml('PermanentRedirect'));
      });
    });
    const { port } = server?.address() as AddressInfo;
    const said = vi.spyOn(console, 'warn');
    process.env['AWS_ENDPOINT_URL_S3'] = `http://127.0.0.1:${String(port)}`;
    try {
      const place = parseS3Place('s3://bucket/p?region=us-east-1&path-style');
      await store?.close();
      store = new S3Store({ place, hedges: false, idleTimeoutMs: 500 });
      const pieces = [Buffer.alloc(400_000, 1), Buffer.alloc(400_000, 2)];
      expect(await store.put('k', pieces)).toMatchObject({ outcome: 'stored' });
      expect(sent.map(({ region }) => region)).toEqual(['us-east-1', 'eu-west-1']);
      expect(sent.every(({ body }) => body.equals(Buffer.concat(pieces)))).toBe(true);
      expect(said).not.toHaveBeenCalled();
    } finally {
      delete process.env['AWS_ENDPOINT_URL_S3'];
      said.mockRestore();
    }
  });

  it('a missing bucket is a failure', async () => {
    const opened = await open(answers(xml('NoSuchBucket'), { 'content-type': 'application/xml', ...REQUEST_ID }));
    const gone = { kind: 'unavailable', code: 'store-gone' };
    expect(await failure(opened.get('k'))).toMatchObject(gone);
    expect(await failure(opened.put('k', BODY, { condition: { ifAbsent: true } }))).toMatchObject(gone);
  });

  it.each([
    ['bytes', { bytesMax: 12 * BODY.length }],
    ['requests', { requestsMax: 12 }],
  ])('reads do not wait for uploads that use up their %s', async (_, bounds) => {
    let puts = 0;
    const reads: (() => void)[] = [];
    const opened = await open((request, response) => {
      if (request.method === 'PUT') {
        puts += 1;
        return;
      }
      // All are answered once all are there: each has a connection.
      reads.push(() => response.writeHead(200, { etag: '"e"', 'content-length': '5' }).end('hello'));
      if (reads.length === 12) for (const answer of reads) answer();
    }, bounds);
    const stop = new AbortController();
    const sent = Array.from({ length: 20 }, async (_unused, i) =>
      failure(opened.put(`k${String(i)}`, BODY, { signal: stop.signal })),
    );
    await expect.poll(() => puts).toBe(12);
    const signal = AbortSignal.timeout(5000);
    for (const read of await Promise.all(Array.from({ length: 12 }, async () => opened.get('k', { signal }))))
      expect(read?.bytes.toString()).toBe('hello');
    expect(puts).toBe(12);
    stop.abort();
    for (const error of await Promise.all(sent)) expect(error.kind).toBe('aborted');
  });
});
