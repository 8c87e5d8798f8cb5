/** What benchmarks over S3 share: a RADOS gateway behind a proxy, and programs that go that way, each as a whole process. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { Radosgw, S3_ENVIRONMENT } from '../test/support/radosgw.ts';
import { S3Proxy } from '../test/support/s3-proxy.ts';

/** Large enough that opening and closing a volume, a dozen requests one after the other, count little. */
export const IMAGE_BYTES = 1024 ** 3;

const ROOT = path.dirname(import.meta.dirname);

export interface Program {
  readonly argv: readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** A server of its own, so that what others stored is not in the way. */
export class S3Way implements AsyncDisposable {
  readonly server: Radosgw;
  readonly proxy: S3Proxy;
  readonly #folder: string;

  private constructor(server: Radosgw, proxy: S3Proxy, folder: string) {
    this.server = server;
    this.proxy = proxy;
    this.#folder = folder;
  }

  /** `folder`: of homes and configuration. */
  static async open(folder: string, latencyMs = 0): Promise<S3Way> {
    Object.assign(process.env, S3_ENVIRONMENT);
    const server = await Radosgw.start();
    return new S3Way(server, await S3Proxy.start({ port: server.port, latencyMs }), folder);
  }

  get endpoint(): string {
    return `http://127.0.0.1:${String(this.proxy.port)}`;
  }

  homeOf(name: string): string {
    return path.join(this.#folder, `home-${name}`);
  }

  /** A command of the gateway `name`, whose store is behind the proxy. */
  sgw(name: string, ...words: readonly string[]): Program {
    return {
      argv: [process.execPath, path.join(ROOT, 'bin/run.js'), ...words, '--home', this.homeOf(name), '--quiet'],
    };
  }

  async activate(name: string): Promise<void> {
    const store = this.server.storeUrl(`sgw-${name}`, this.proxy.port);
    await this.run(this.sgw(name, 'activate', '--name', 'bench', '--store', store));
  }

  /** @throws Error with what it printed, when it fails */
  async run({ argv: [program, ...args], env, cwd }: Program): Promise<string> {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, SGW_CONFIG_DIR: path.join(this.#folder, 'config'), SGW_NO_INPUT: '1', ...env },
      ...(cwd === undefined ? {} : { cwd }),
    });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject).once('close', resolve);
    });
    if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${String(code)}: ${text}`);
    return text;
  }

  async secondsOf(program: Program): Promise<number> {
    const beganMs = performance.now();
    await this.run(program);
    return (performance.now() - beganMs) / 1000;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
  }
}
