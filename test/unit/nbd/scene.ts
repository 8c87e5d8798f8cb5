/** A server over devices in memory on a unix socket, and clients that speak in bytes. */
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { MemoryDevice, type BlockDevice } from '../../../src/core/blockdevice/index.ts';
import { SgwError, systemClock } from '../../../src/core/kit/index.ts';
import {
  NbdServer,
  type ExportDirectory,
  type MetaContext,
  type NbdServerOptions,
  type OpenedExport,
  type Writer,
} from '../../../src/core/nbd/index.ts';
import { clientFlags, goData, GREETING, option } from './wire-builder.ts';
import { ByteClient } from '../sockets/byte-client.ts';

export const SIZE = 1 << 20;

export interface SceneOptions extends Partial<Omit<NbdServerOptions, 'directory' | 'clock'>> {
  readonly device?: BlockDevice;
  readonly contexts?: readonly MetaContext[];
  readonly isListed?: boolean;
  readonly isReadOnly?: boolean;
  readonly writer?: Writer;
  readonly findContexts?: OpenedExport['findContexts'];
  /** What opening waits for. */
  readonly opening?: Promise<void>;
}

/** Exports `mem`, also as the default; counts what is open. */
export class MemoryExports implements ExportDirectory {
  readonly device: BlockDevice;
  readonly isListed: boolean;
  readonly #options: SceneOptions;
  opened = 0;
  released = 0;

  constructor(options: SceneOptions) {
    this.#options = options;
    this.device = options.device ?? new MemoryDevice(SIZE);
    this.isListed = options.isListed ?? true;
  }

  list: ExportDirectory['list'] = async () => Promise.resolve([{ name: 'mem', description: 'in memory' }]);

  open: ExportDirectory['open'] = async (name) => {
    if (name !== '' && name !== 'mem') throw new SgwError('notFound', 'no-export', `there is no export ${name}`);
    this.opened += 1;
    const { contexts = [], isReadOnly = false, findContexts, opening, writer } = this.#options;
    await opening;
    return {
      device: this.device,
      name: 'mem',
      description: 'in memory',
      isReadOnly,
      isMultiConn: true,
      contexts,
      ...(writer === undefined ? {} : { writer }),
      ...(findContexts === undefined ? {} : { findContexts }),
      release: async () => {
        this.released += 1;
        return Promise.resolve();
      },
    };
  };
}

export class Scene {
  readonly exports: MemoryExports;
  readonly server: NbdServer;
  readonly socketPath: string;
  /** Why clients were let go. */
  readonly faults: string[] = [];
  readonly #folder: string;
  readonly #clients: RawClient[] = [];

  private constructor(folder: string, options: SceneOptions) {
    this.#folder = folder;
    this.socketPath = path.join(folder, 'nbd.sock');
    this.exports = new MemoryExports(options);
    this.server = new NbdServer({
      directory: this.exports,
      clock: systemClock,
      onClientFault: (_info, reason) => this.faults.push(reason),
      ...(options.limits === undefined ? {} : { limits: options.limits }),
      ...(options.tls === undefined ? {} : { tls: options.tls }),
    });
  }

  static async open(options: SceneOptions = {}): Promise<Scene> {
    const scene = new Scene(await mkdtemp(path.join(tmpdir(), 'sgw-nbd-')), options);
    await scene.server.listen({ kind: 'unix', path: scene.socketPath });
    return scene;
  }

  /** A client that has read the greeting and sent nothing. */
  async connect(): Promise<RawClient> {
    const client = await RawClient.connect(this.socketPath);
    this.#clients.push(client);
    await client.expect(GREETING);
    return client;
  }

  /** A client in transmission. */
  async client(options: { readonly isStructured?: boolean } = {}): Promise<RawClient> {
    const client = await this.connect();
    client.send(clientFlags());
    if (options.isStructured === true) {
      client.send(option(8));
      await client.take(20);
    }
    client.send(option(7, goData('mem')));
    await client.skipOptionReplies();
    return client;
  }

  /** Resolves when all that was opened is released and nobody is connected. */
  async settled(): Promise<void> {
    for (let i = 0; i < 500; i++) {
      if (this.exports.opened === this.exports.released && this.server.connections().length === 0) return;
      await delay(10);
    }
    throw new Error(`${String(this.exports.opened)} opened, ${String(this.exports.released)} released`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.socket.destroy();
    await this.server.close({ deadlineMs: 2000 });
    await rm(this.#folder, { recursive: true, force: true });
  }
}

export class RawClient extends ByteClient {
  static async connect(socketPath: string): Promise<RawClient> {
    const socket = connect(socketPath);
    const client = new RawClient(socket);
    await client.connected();
    return client;
  }

  send(...parts: readonly Buffer[]): void {
    for (const part of parts) this.socket.write(part);
  }

  /** Takes as many bytes as `expected` has, and compares. */
  async expect(expected: Buffer): Promise<void> {
    const bytes = await this.take(expected.length);
    if (!bytes.equals(expected)) throw new Error(`got ${bytes.toString('hex')}, not ${expected.toString('hex')}`);
  }

  /** Reads replies to one option up to the last one, whose type is the answer. */
  async skipOptionReplies(): Promise<number> {
    for (;;) {
      const header = await this.take(20);
      await this.take(header.readUInt32BE(16));
      const type = header.readUInt32BE(12);
      if (type === 1 || type >= 0x8000_0000) return type;
    }
  }
}
