/**
 * Stands before an S3 server on loopback, and makes the way to it slow and unreliable: a delay for each request, and faults
 * by script or by a seeded chance. What a client signed stays valid, since the Host header is passed on.
 */
import { once } from 'node:events';
import { Agent, createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../src/core/kit/index.ts';

/**
 * - `busy`: answered 503 SlowDown, not passed on. - `conflict`: 409 ConditionalRequestConflict, not passed on.
 * - `cut`: the connection ends, not passed on.
 * - `lost`: passed on and answered, and then the connection ends instead of the reply.
 * - `half`: the connection ends in the middle of the reply's body. - `stall`: the same, but it stays open and silent.
 * - `silent`: passed on, and never answered. - `sent-damaged`, `got-damaged`: a byte of the body is another one.
 */
export type WayFault =
  'busy' | 'conflict' | 'cut' | 'lost' | 'half' | 'stall' | 'silent' | 'sent-damaged' | 'got-damaged';

/** What a request is, to those who choose its fault. */
export interface Passing {
  readonly method: string;
  readonly path: string;
  /** From 0. */
  readonly index: number;
}

/** A PUT as it is seen on the way: once when it comes, once when it is answered or over. */
export interface SeenPut {
  /** The User-Agent header. */
  readonly agent: string;
  readonly path: string;
  /** The same both times. */
  readonly index: number;
}

export interface WayOptions {
  /** Port of the server, on 127.0.0.1. */
  readonly port: number;
  /** Added before a request is passed on. */
  readonly latencyMs?: number;
  readonly fault?: (passing: Passing) => WayFault | undefined;
}

export interface PassedCounts {
  readonly requests: number;
  readonly puts: number;
  readonly upBytes: number;
  readonly downBytes: number;
}

export class S3Proxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 256 });
  readonly #sockets = new Set<Socket>();
  readonly #upstreamPort: number;
  #count = 0;
  /** May be changed at any time. */
  latencyMs: number;
  fault: ((passing: Passing) => WayFault | undefined) | undefined;
  onPut: ((put: SeenPut) => void) | undefined;
  /** Requests by method, and faults by kind, so far. */
  readonly seen = new Map<string, number>();
  #upBytes = 0;
  #downBytes = 0;

  private constructor(options: WayOptions) {
    this.#upstreamPort = options.port;
    this.latencyMs = options.latencyMs ?? 0;
    this.fault = options.fault;
    this.#server = createServer((incoming, outgoing) => {
      this.#pass(incoming, outgoing).catch(() => {
        incoming.socket.destroy();
      });
    });
    this.#server.on('connection', (socket) => {
      socket.setNoDelay(true);
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(options: WayOptions): Promise<S3Proxy> {
    const proxy = new S3Proxy(options);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    // Who fails leaves it as it is, and ends all the same.
    proxy.#server.unref();
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** What has passed so far: requests, those of them that put something, and bytes of bodies. */
  counts(): PassedCounts {
    const of = (method: string): number => this.seen.get(method) ?? 0;
    const puts = of('PUT') + of('POST');
    return { requests: this.#count, puts, upBytes: this.#upBytes, downBytes: this.#downBytes };
  }

  async #pass(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { method = '', url: path = '' } = incoming;
    const index = this.#count++;
    const fault = this.fault?.({ method, path, index });
    if (method === 'PUT') this.#tell({ agent: incoming.headers['user-agent'] ?? '', path, index }, outgoing);
    this.#tally(method);
    if (fault !== undefined) this.#tally(fault);
    // A client that stops waiting breaks the connection.
    outgoing.on('error', () => undefined);
    if (this.latencyMs > 0) await delay(this.latencyMs);
    if (fault === 'busy' || fault === 'conflict') await refuse(incoming, outgoing, fault);
    else if (fault === 'cut') incoming.socket.destroy();
    else await this.#forward(incoming, outgoing, fault);
  }

  #tell(put: SeenPut, outgoing: ServerResponse): void {
    this.onPut?.(put);
    outgoing.once('close', () => this.onPut?.(put));
  }

  async #forward(incoming: IncomingMessage, outgoing: ServerResponse, fault: WayFault | undefined): Promise<void> {
    const { method, url: path, headers } = incoming;
    const to = request({ host: '127.0.0.1', port: this.#upstreamPort, method, path, headers, agent: this.#agent });
    to.setNoDelay(true);
    const answered = once(to, 'response') as Promise<[IncomingMessage]>;
    if (fault === 'sent-damaged') to.end(damaged(await whole(incoming)));
    else incoming.pipe(to);
    incoming.on('data', (chunk: Buffer) => (this.#upBytes += chunk.length));
    incoming.on('close', () => {
      if (!incoming.complete) to.destroy();
    });
    const [answer] = await answered;
    if (fault === 'silent') return;
    answer.on('data', (chunk: Buffer) => (this.#downBytes += chunk.length));
    if (fault === undefined) {
      outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.pipe(outgoing);
      answer.on('error', () => outgoing.destroy());
      return;
    }
    const body = await whole(answer);
    if (fault === 'lost') {
      incoming.socket.destroy();
      return;
    }
    outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
    if (fault === 'half' || fault === 'stall') {
      outgoing.write(body.subarray(0, body.length >> 1));
      outgoing.flushHeaders();
      await delay(20);
      if (fault === 'half') incoming.socket.destroy();
    } else outgoing.end(fault === 'got-damaged' ? damaged(body) : body);
  }

  #tally(what: string): void {
    this.seen.set(what, (this.seen.get(what) ?? 0) + 1);
  }

  /** Ends every connection, and listens no more. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    this.#agent.destroy();
    await closed;
  }
}

/** A chance of each of `faults` alike, `share` of all requests; replies to removals are not lost, since nothing tells what became of them. */
export function byChance(random: Random, share: number, faults: readonly WayFault[]): NonNullable<WayOptions['fault']> {
  return ({ method }) => {
    if (random.float() >= share) return undefined;
    const fault = faults[Math.floor(random.float() * faults.length)];
    return method === 'DELETE' && fault === 'lost' ? 'cut' : fault;
  };
}

async function refuse(incoming: IncomingMessage, outgoing: ServerResponse, fault: 'busy' | 'conflict'): Promise<void> {
  await whole(incoming);
  const [status, code] = fault === 'busy' ? [503, 'SlowDown'] : [409, 'ConditionalRequestConflict'];
  outgoing.writeHead(status, { 'content-type': 'application/xml' });
  outgoing.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>later</Message></Error>`);
}

async function whole(message: IncomingMessage): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(message as AsyncIterable<Buffer>));
}

function damaged(body: Buffer): Buffer {
  const at = body.length >> 1;
  if (body.length > 0) body.writeUInt8(body.readUInt8(at) ^ 1, at);
  return body;
}
