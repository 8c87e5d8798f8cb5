/**
 * Connections to the server, kept open between requests. A request that is not answered drops all that lie idle: what ended
 * it, such as a way that was gone for a while, may have ended them as well without a word, and each would cost the next try.
 * So after an outage a call, tried again, loses one try to it, however many connections there were.
 */
import { Agent as HttpAgent, type ClientRequestArgs } from 'node:http';
import { Agent as HttpsAgent, type RequestOptions } from 'node:https';
import type { OnReadOpts, Socket } from 'node:net';
import type { Duplex } from 'node:stream';

interface Agents {
  readonly httpAgent: HttpAgent;
  readonly httpsAgent: HttpsAgent;
}

/** What is read at once. */
const READ_BYTES = 128 * 1024;

type Opened = (error: Error | null, stream: Duplex) => void;

/**
 * Reads into memory that the connection keeps. Node.js else makes 64 KiB of it for each read, out of which HTTP's parser copies
 * what is of a body: half the processor time of receiving a large object.
 */
const readInto = (): OnReadOpts => ({
  buffer: Buffer.allocUnsafeSlow(READ_BYTES),
  callback(this: Socket, length: number, buffer: Uint8Array): boolean {
    // HTTP's parser has read it when this returns.
    this.emit('data', buffer.subarray(0, length));
    return true;
  },
});

class ReadingHttpAgent extends HttpAgent {
  override createConnection(options: ClientRequestArgs, opened?: Opened): Duplex | null | undefined {
    return super.createConnection({ ...options, onread: readInto() } as ClientRequestArgs, opened);
  }
}

class ReadingHttpsAgent extends HttpsAgent {
  override createConnection(options: RequestOptions, opened?: Opened): Duplex | null | undefined {
    return super.createConnection({ ...options, onread: readInto() } as RequestOptions, opened);
  }
}

export class Connections {
  readonly #http: HttpAgent;
  readonly #https: HttpsAgent;

  constructor(connectionsMax: number) {
    const options = { keepAlive: true, maxSockets: connectionsMax, scheduling: 'lifo' } as const;
    this.#http = new ReadingHttpAgent(options);
    this.#https = new ReadingHttpsAgent(options);
  }

  /** For the SDK's client, which destroys them with itself. */
  get agents(): Agents {
    return { httpAgent: this.#http, httpsAgent: this.#https };
  }

  /** Closes those that no request uses now. */
  dropIdle(): void {
    for (const { freeSockets } of [this.#http, this.#https])
      for (const sockets of Object.values(freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  }
}
