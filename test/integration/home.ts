/** A temporary home over a directory store, used in this process or by child processes, as a user's commands would. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openInProcess } from '../../src/core/daemon/index.ts';
import type { Input, LocalApi, OperationName, Progress, Result } from '../../src/core/localapi/index.ts';

const CALL = fileURLToPath(new URL('./call.ts', import.meta.url));

export interface ChildOutcome {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The result, or `{ error }`; undefined when the child was killed. */
  readonly document: Readonly<Record<string, unknown>> | undefined;
}

export class TestHome implements AsyncDisposable {
  readonly directory: string;
  readonly #api: LocalApi;

  private constructor(directory: string, api: LocalApi) {
    this.directory = directory;
    this.#api = api;
  }

  /** With `store`, over the store in that directory, as a second gateway. */
  static async start(name = 'lab', store?: string): Promise<TestHome> {
    const directory = await mkdtemp(join(tmpdir(), 'sgw-home-'));
    const home = new TestHome(directory, await openInProcess({ home: join(directory, 'home') }));
    await home.call('activate', { name, mode: 'cached', ...(store === undefined ? {} : { store }) });
    return home;
  }

  get home(): string {
    return this.path('home');
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  async call<N extends OperationName>(
    name: N,
    input: Input<N>,
    options: { signal?: AbortSignal; lockTimeoutMs?: number; onProgress?: (progress: Progress) => void } = {},
  ): Promise<Result<N>> {
    return await this.#api.call(name, input, {
      signal: options.signal ?? new AbortController().signal,
      onProgress: options.onProgress ?? (() => undefined),
      lockTimeoutMs: options.lockTimeoutMs ?? 30_000,
    });
  }

  /** Starts a process that makes one call. It writes a line on its standard output at each report of progress. */
  spawn<N extends OperationName>(name: N, input: Input<N>): { process: ChildProcess; ended: Promise<ChildOutcome> } {
    const child = spawn(process.execPath, [CALL, this.home, name, JSON.stringify(input)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    const ended = new Promise<ChildOutcome>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (exitCode, signal) => {
        const last = text.trimEnd().split('\n').at(-1) ?? '';
        const document = last.startsWith('{') ? (JSON.parse(last) as Record<string, unknown>) : undefined;
        resolve({ exitCode, signal, document });
      });
    });
    return { process: child, ended };
  }

  /** Starts a call in a process of its own and kills that with `signal` at the `reports`th report of progress. */
  async killed<N extends OperationName>(
    name: N,
    input: Input<N>,
    reports: number,
    signal: NodeJS.Signals,
  ): Promise<ChildOutcome> {
    const { process: child, ended } = this.spawn(name, input);
    let seen = 0;
    let isSent = false;
    child.stdout?.on('data', (chunk: Buffer) => {
      seen += chunk.toString().split('progress').length - 1;
      if (seen >= reports && !isSent) isSent = child.kill(signal);
    });
    return await ended;
  }

  /** True when an export of the snapshot has the bytes of the file at `path`. */
  async exportsAs(snapshot: string, path: string): Promise<boolean> {
    const out = this.path(`out-${snapshot}`);
    await this.call('snapshot.export', { snapshot, path: out, force: true });
    return (await readFile(out)).equals(await readFile(path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#api[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }
}
