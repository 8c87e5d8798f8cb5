/** What is left of an outage in the connections of a store in a bucket: ones that died in it without a word. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { seededRandom, systemClock } from '../../../src/core/kit/index.ts';
import { parseS3Place, withRetry, type ObjectStore } from '../../../src/core/objectstore/index.ts';
import { S3Store } from '../../../src/core/objectstore/s3/index.ts';
import { ManualClock } from './manual-clock.ts';

const CONNECTIONS = 20;
const IDLE_TIMEOUT_MS = 300;
const EMPTY = '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>';

/** A server whose connections can die as those of a way that was gone: the next request on one is reset, or never answered. */
class ForgetfulServer {
  readonly server: Server;
  readonly #dead = new WeakSet<Socket>();
  readonly #sockets = new Set<Socket>();
  readonly #held: (() => void)[] = [];
  how: 'reset' | 'silent' = 'reset';
  /** Requests that came on dead connections. */
  lost = 0;

  constructor() {
    this.server = createServer((request, response) => {
      if (this.#dead.has(request.socket)) {
        this.lost += 1;
        if (this.how === 'reset') request.socket.resetAndDestroy();
        return;
      }
      if (request.url?.includes('list-type') === true) {
        response.writeHead(200, { 'content-type': 'application/xml' }).end(EMPTY);
        return;
      }
      // All are answered once all are there: each has a connection.
      this.#held.push(() => response.writeHead(200, { etag: '"e"', 'content-length': '5' }).end('hello'));
      if (this.#held.length === CONNECTIONS) for (const answer of this.#held.splice(0)) answer();
    });
    this.server.keepAliveTimeout = 0;
    this.server.on('connection', (socket: Socket) => this.#sockets.add(socket));
  }

  kill(): void {
    for (const socket of this.#sockets) this.#dead.add(socket);
  }
}

describe('connections of a store in a bucket', () => {
  let forgetful: ForgetfulServer;
  let store: ObjectStore | undefined;

  const open = async (): Promise<ObjectStore> => {
    process.env['AWS_ACCESS_KEY_ID'] = 'key';
    process.env['AWS_SECRET_ACCESS_KEY'] = 'secret';
    forgetful = new ForgetfulServer();
    await new Promise<void>((resolve) => {
      forgetful.server.listen(0, '127.0.0.1', resolve);
    });
    const { port } = forgetful.server.address() as AddressInfo;
    const place = parseS3Place(`s3://bucket/p?endpoint=http://127.0.0.1:${String(port)}&path-style`);
    const below = new S3Store({ place, hedges: false, clock: systemClock, idleTimeoutMs: IDLE_TIMEOUT_MS });
    store = withRetry(below, { clock: new ManualClock(), random: seededRandom(1) });
    return store;
  };
  afterEach(async () => {
    await store?.close();
    forgetful.server.closeAllConnections();
    forgetful.server.close();
  });

  it.each(['reset', 'silent'] as const)(
    'a call after an outage loses one try to connections that died in it, however many there are: %s',
    async (how) => {
      const opened = await open();
      await Promise.all(Array.from({ length: CONNECTIONS }, async (_, i) => opened.get(`k${String(i)}`)));
      forgetful.how = how;
      forgetful.kill();
      expect(await Array.fromAsync(opened.list(''))).toEqual([]);
      expect(forgetful.lost).toBe(1);
    },
  );

  it('a read that is stopped leaves the others their connections', async () => {
    const opened = await open();
    await Promise.all(Array.from({ length: CONNECTIONS }, async (_, i) => opened.get(`k${String(i)}`)));
    let connections = 0;
    forgetful.server.on('connection', () => (connections += 1));
    const stop = new AbortController();
    const stopped = opened.get('k', { signal: stop.signal });
    await new Promise((resolve) => forgetful.server.once('request', resolve));
    stop.abort();
    await expect(stopped).rejects.toMatchObject({ kind: 'aborted' });
    expect(await Array.fromAsync(opened.list(''))).toEqual([]);
    expect(connections).toBe(0);
  });
});
