/** A home over a directory store whose gateway serves volumes for real, in this process; and the same home as a command sees it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHandlers } from '../../src/core/control/index.ts';
import { partsOf } from '../../src/core/daemon/parts.ts';
import { Gateway, type Serving } from '../../src/core/gateway/index.ts';
import type { ScheduleRunner } from '../../src/core/gateway/schedules/runner.ts';
import type { Clock } from '../../src/core/kit/index.ts';
import type { CallContext, Handlers, Input, OperationName, Result } from '../../src/core/localapi/index.ts';

const CALL: CallContext = {
  signal: new AbortController().signal,
  onProgress: () => undefined,
  lockTimeoutMs: 10_000,
};
export const PAGE = 4096;

/** One process of a home. */
export class LiveProcess implements AsyncDisposable {
  readonly #gateway: Gateway;
  readonly #handlers: Handlers;
  #serving: Serving | undefined;

  private constructor(gateway: Gateway) {
    this.#gateway = gateway;
    this.#handlers = createHandlers(gateway);
  }

  static async open(home: string, clock?: Clock): Promise<LiveProcess> {
    const parts = await partsOf(home);
    return new LiveProcess(new Gateway(clock === undefined ? parts : { ...parts, clock }));
  }

  async call<N extends OperationName>(
    name: N,
    input: Input<N>,
    context: Partial<CallContext> = {},
  ): Promise<Result<N>> {
    return await this.#handlers[name](input, { ...CALL, ...context });
  }

  /** Serves what is attached, from now on. */
  async serve(): Promise<Serving> {
    this.#serving = await this.#gateway.serve(CALL);
    return this.#serving;
  }

  /** Runs the schedules, from now on. */
  async runSchedules(): Promise<ScheduleRunner> {
    return await this.#gateway.runSchedules(() => undefined, CALL);
  }

  /** Fills a page of an export with a byte, acknowledged. */
  async write(exportName: string, page: number, byte: number): Promise<void> {
    const opened = await this.serving.open(exportName);
    await opened.device.write(page * PAGE, Buffer.alloc(PAGE, byte));
    await opened.release();
  }

  async read(exportName: string, page: number): Promise<number> {
    const opened = await this.serving.open(exportName);
    const target = Buffer.alloc(PAGE);
    await opened.device.read(page * PAGE, target);
    await opened.release();
    return target[0] ?? 0;
  }

  /** What is served. */
  get serving(): Serving {
    if (this.#serving === undefined) throw new Error('nothing is served');
    return this.#serving;
  }

  /** As a process ends that has no time: what is not in the store stays in the write logs. */
  async stopUndrained(): Promise<void> {
    await this.#serving?.stop({ drain: false, signal: CALL.signal });
    this.#serving = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#serving?.stop({ drain: true, signal: CALL.signal });
    await this.#gateway.close();
  }
}

export class LiveHome implements AsyncDisposable {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** With volume `db` of 4 MiB, in a home whose intervals are so long that nothing is uploaded by itself. */
  static async start(store?: string): Promise<LiveHome> {
    const live = new LiveHome(await mkdtemp(join(tmpdir(), 'sgw-live-')));
    await using first = await live.process();
    await first.call('activate', { name: 'lab', mode: 'cached', ...(store === undefined ? {} : { store }) });
    if (store !== undefined) return live;
    const { name } = await first.call('volume.create', { name: 'db', sizeBytes: 4 << 20 });
    await first.call('volume.configure', { volume: name, sealIntervalMs: 3_600_000, bufferBytes: 64 << 20 });
    return live;
  }

  get home(): string {
    return join(this.directory, 'home');
  }

  async process(): Promise<LiveProcess> {
    return await LiveProcess.open(this.home);
  }

  /** As a command without a daemon does. */
  async alone<N extends OperationName>(name: N, input: Input<N>): Promise<Result<N>> {
    await using process = await this.process();
    return await process.call(name, input);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}
