/** A small NBD client for tests, written from the specification alone: simple replies, many requests in flight, no retries. */
import { connect, type Socket } from 'node:net';

const OPTION_MAGIC = 0x49484156454f5054n;
const REQUEST_MAGIC = 0x25609513;
const SIMPLE_REPLY_MAGIC = 0x67446698;
const GO = 7;
const COMMANDS = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4 } as const;

interface Waiting {
  readonly readBytes: number;
  readonly resolve: (data: Buffer) => void;
  readonly reject: (error: Error) => void;
}

export class NbdClient {
  readonly #socket: Socket;
  readonly #waiting = new Map<bigint, Waiting>();
  #received: Buffer = Buffer.alloc(0);
  #cookie = 1n;
  #failure: Error | undefined;
  sizeBytes = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Connects to an export over a unix socket. */
  static async connect(path: string, exportName: string): Promise<NbdClient> {
    const socket = connect(path);
    const client = new NbdClient(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    let buffered: Buffer = Buffer.alloc(0);
    const take = async (count: number): Promise<Buffer> => {
      while (buffered.length < count) {
        const next = await chunks.next();
        if (next.done === true) throw new Error('the server closed the connection');
        buffered = Buffer.concat([buffered, next.value]);
      }
      const taken = buffered.subarray(0, count);
      buffered = buffered.subarray(count);
      return taken;
    };
    await take(18);
    const name = Buffer.from(exportName);
    const data = Buffer.alloc(4 + name.length + 2);
    data.writeUInt32BE(name.length, 0);
    name.copy(data, 4);
    const option = Buffer.alloc(20);
    option.writeUInt32BE(3, 0);
    option.writeBigUInt64BE(OPTION_MAGIC, 4);
    option.writeUInt32BE(GO, 12);
    option.writeUInt32BE(data.length, 16);
    socket.write(Buffer.concat([option, data]));
    for (;;) {
      const header = await take(20);
      const type = header.readUInt32BE(12);
      const body = await take(header.readUInt32BE(16));
      if (type === 1) break;
      if (type >= 0x80000000) throw new Error(`the server refuses: ${body.toString()}`);
      if (body.readUInt16BE(0) === 0) client.sizeBytes = Number(body.readBigUInt64BE(2));
    }
    client.#received = buffered;
    const read = async (): Promise<void> => {
      for (;;) {
        const next = await chunks.next();
        if (next.done === true) throw new Error('the server closed the connection');
        client.#take(next.value);
      }
    };
    read().catch((error: unknown) => {
      client.#fail(error instanceof Error ? error : new Error(String(error)));
    });
    return client;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    return await this.#request(COMMANDS.read, offset, length);
  }

  async write(offset: number, data: Buffer, fua = false): Promise<void> {
    await this.#request(COMMANDS.write, offset, data.length, data, fua ? 1 : 0);
  }

  async flush(): Promise<void> {
    await this.#request(COMMANDS.flush, 0, 0);
  }

  async trim(offset: number, length: number): Promise<void> {
    await this.#request(COMMANDS.trim, offset, length);
  }

  close(): void {
    this.#socket.destroy();
  }

  async #request(type: number, offset: number, length: number, data?: Buffer, flags = 0): Promise<Buffer> {
    if (this.#failure !== undefined) throw this.#failure;
    const cookie = this.#cookie++;
    const header = Buffer.alloc(28);
    header.writeUInt32BE(REQUEST_MAGIC, 0);
    header.writeUInt16BE(flags, 4);
    header.writeUInt16BE(type, 6);
    header.writeBigUInt64BE(cookie, 8);
    header.writeBigUInt64BE(BigInt(offset), 16);
    header.writeUInt32BE(length, 24);
    return await new Promise<Buffer>((resolve, reject) => {
      this.#waiting.set(cookie, { readBytes: type === COMMANDS.read ? length : 0, resolve, reject });
      this.#socket.write(data === undefined ? header : Buffer.concat([header, data]));
    });
  }

  #take(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    for (;;) {
      const bytes = this.#received;
      if (bytes.length < 16) return;
      if (bytes.readUInt32BE(0) !== SIMPLE_REPLY_MAGIC) throw new Error('a reply does not begin as one');
      const cookie = bytes.readBigUInt64BE(8);
      const waiting = this.#waiting.get(cookie);
      if (waiting === undefined) throw new Error('a reply to nothing');
      const errno = bytes.readUInt32BE(4);
      const length = errno === 0 ? waiting.readBytes : 0;
      if (bytes.length < 16 + length) return;
      this.#waiting.delete(cookie);
      this.#received = bytes.subarray(16 + length);
      if (errno === 0) waiting.resolve(Buffer.from(bytes.subarray(16, 16 + length)));
      else waiting.reject(new Error(`error ${errno}`));
    }
  }

  #fail(error: Error): void {
    this.#failure = error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
