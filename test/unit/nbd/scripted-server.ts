/** An NBD server that says what a test tells it to, in bytes that were written from the specification alone. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { NbdClient } from '../../../src/core/nbd/client/index.ts';
import type { ListenAddress } from '../../../src/core/sockets/index.ts';
import { ByteClient } from '../sockets/byte-client.ts';
import { bytesOf, GREETING, optionReply } from './wire-builder.ts';

export interface Offer {
  readonly sizeBytes?: number;
  readonly flags?: number;
  readonly isStructured?: boolean;
  /** Names that are told of when contexts are listed or chosen. */
  readonly contexts?: readonly string[];
  /** Refuses the export with this reply type. */
  readonly refusal?: number;
  readonly greeting?: Buffer;
}

/** All that a writable export can do. */
const CAN_ALL = 0x0d6d;

export class ScriptedPeer extends ByteClient {
  /** Options as they came. */
  readonly options: { readonly code: number; readonly data: Buffer }[] = [];

  static of(socket: Socket): ScriptedPeer {
    return new ScriptedPeer(socket);
  }

  send(...parts: readonly Buffer[]): void {
    for (const part of parts) this.socket.write(part);
  }

  async negotiate(offer: Offer): Promise<void> {
    const { isStructured = true, contexts = [], sizeBytes = 1 << 20, flags = CAN_ALL } = offer;
    this.send(offer.greeting ?? GREETING);
    await this.take(4);
    for (;;) {
      const header = await this.take(16);
      const code = header.readUInt32BE(8);
      const data = await this.take(header.readUInt32BE(12));
      this.options.push({ code, data });
      if (code === 8) this.send(optionReply(8, isStructured ? 1 : 0x8000_0001));
      else if (code === 9 || code === 10) {
        const asked = contexts.filter((name) => data.includes(name.split(':').slice(0, 2).join(':')));
        asked.forEach((name, i) => {
          this.send(optionReply(code, 4, bytesOf([32, i + 1], name)));
        });
        this.send(optionReply(code, 1));
      } else if (offer.refusal !== undefined) this.send(optionReply(code, offer.refusal, Buffer.from('not today')));
      else {
        this.send(
          optionReply(code, 3, bytesOf([16, 0], [64, sizeBytes], [16, flags])),
          optionReply(code, 3, bytesOf([16, 3], [32, 1], [32, 4096], [32, 1 << 25])),
          optionReply(code, 1),
        );
        return;
      }
    }
  }

  /** The next request; a write's data follow it. */
  async request(): Promise<{
    type: number;
    flags: number;
    cookie: bigint;
    offset: bigint;
    length: number;
    data: Buffer;
  }> {
    const header = await this.take(28);
    const type = header.readUInt16BE(6);
    const length = header.readUInt32BE(24);
    return {
      type,
      flags: header.readUInt16BE(4),
      cookie: header.readBigUInt64BE(8),
      offset: header.readBigUInt64BE(16),
      length,
      data: type === 1 ? await this.take(length) : Buffer.alloc(0),
    };
  }
}

export class ScriptedServer implements AsyncDisposable {
  readonly address: ListenAddress & { readonly kind: 'unix' };
  readonly #folder: string;
  readonly #server: Server;
  readonly #waiting: ((peer: ScriptedPeer) => void)[] = [];
  readonly #peers: ScriptedPeer[] = [];
  readonly #sockets: Socket[] = [];

  private constructor(folder: string) {
    this.#folder = folder;
    this.address = { kind: 'unix', path: path.join(folder, 's') };
    this.#server = createServer((socket) => {
      this.#sockets.push(socket);
      const peer = ScriptedPeer.of(socket);
      const take = this.#waiting.shift();
      if (take === undefined) this.#peers.push(peer);
      else take(peer);
    });
  }

  static async listen(): Promise<ScriptedServer> {
    const server = new ScriptedServer(await mkdtemp(path.join(tmpdir(), 'sgw-scripted-')));
    await new Promise<void>((resolve) => server.#server.listen(server.address.path, resolve));
    return server;
  }

  /** The next that connects. */
  async peer(): Promise<ScriptedPeer> {
    return this.#peers.shift() ?? (await new Promise((resolve) => this.#waiting.push(resolve)));
  }

  /** A client in transmission, and its server's side. */
  async open(offer: Offer = {}): Promise<{ readonly client: NbdClient; readonly peer: ScriptedPeer }> {
    const opening = NbdClient.open({
      address: this.address,
      exportName: 'disk',
      clientId: 'ab'.repeat(16),
      signal: AbortSignal.timeout(20_000),
    });
    const peer = await this.peer();
    const [client] = await Promise.all([opening, peer.negotiate(offer)]);
    return { client, peer };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
    await rm(this.#folder, { recursive: true, force: true });
  }
}
