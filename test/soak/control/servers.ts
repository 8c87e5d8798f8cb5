/** The control servers of a soak: processes that are killed and started again at their ports. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FromServer, ServerPlan, ToServer } from './server-child.ts';

const CHILD = fileURLToPath(new URL('server-child.ts', import.meta.url));
const START_MS = 60_000;

export interface CallAnswer {
  /** `ok`, the name of the failure, or `server-killed` when the process ended first. */
  readonly code: string;
  readonly result: unknown;
  /** As the server saw it. */
  readonly durationMs: number;
  readonly lateMs: number;
}

export type Figures = Extract<FromServer, { kind: 'figures' }>;

export class ServerProcess {
  readonly port: number;
  readonly #planFile: string;
  #child: ChildProcess | undefined;
  #isReady = false;
  #ids = 0;
  readonly #waiting = new Map<number, (message: FromServer | undefined) => void>();

  constructor(folder: string, port: number, plan: ServerPlan) {
    this.port = port;
    this.#planFile = path.join(folder, `server-${String(port)}.json`);
    writeFileSync(this.#planFile, JSON.stringify(plan), { mode: 0o600 });
  }

  get isUp(): boolean {
    return this.#isReady;
  }

  async start(): Promise<void> {
    const child = fork(CHILD, [this.#planFile, String(this.port)], {
      execArgv: ['--expose-gc'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.#child = child;
    const ready = Promise.withResolvers<undefined>();
    child.on('message', (message: FromServer) => {
      if (message.kind === 'ready') {
        this.#isReady = true;
        ready.resolve(undefined);
      } else {
        this.#waiting.get(message.id)?.(message);
      }
    });
    child.once('exit', () => {
      this.#isReady = false;
      for (const settle of [...this.#waiting.values()]) settle(undefined);
      ready.reject(new Error(`a control server ended at port ${String(this.port)}`));
    });
    const late = setTimeout(() => {
      ready.reject(new Error('a control server did not start'));
    }, START_MS);
    try {
      await ready.promise;
    } finally {
      clearTimeout(late);
    }
    // What ends it later is no failure of the start.
    ready.promise.catch(() => undefined);
  }

  /** kill -9. */
  async kill(): Promise<void> {
    await this.#end((child) => child.kill('SIGKILL'));
  }

  /** Lets it leave in order. */
  async drain(): Promise<void> {
    await this.#end((child) => child.send({ kind: 'drain' } satisfies ToServer));
  }

  async call(gatewayId: string, accountId: string, input: object, deadlineMs: number): Promise<CallAnswer> {
    const startedMs = performance.now();
    const answer = await this.#ask((id) => ({ kind: 'call', id, gatewayId, accountId, input, deadlineMs }));
    if (answer?.kind === 'answer') return answer;
    return { code: 'server-killed', result: null, durationMs: performance.now() - startedMs, lateMs: 0 };
  }

  /** Undefined when it is not up. */
  async figures(): Promise<Figures | undefined> {
    const answer = await this.#ask((id) => ({ kind: 'figures', id }));
    return answer?.kind === 'figures' ? answer : undefined;
  }

  async #ask(message: (id: number) => ToServer): Promise<FromServer | undefined> {
    if (!this.#isReady) return undefined;
    const id = ++this.#ids;
    return await new Promise<FromServer | undefined>((resolve) => {
      this.#waiting.set(id, (answer) => {
        this.#waiting.delete(id);
        resolve(answer);
      });
      this.#child?.send(message(id), (error) => {
        if (error instanceof Error) this.#waiting.get(id)?.(undefined);
      });
    });
  }

  async #end(end: (child: ChildProcess) => unknown): Promise<void> {
    const child = this.#child;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    end(child);
    await ended;
  }
}
