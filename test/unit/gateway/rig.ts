/** A gateway over a memory store and a temporary home, behind its handlers. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FramePool } from '../../../src/core/blockstore/index.ts';
import { createHandlers } from '../../../src/core/control/index.ts';
import { Gateway } from '../../../src/core/gateway/index.ts';
import { systemClock, systemRandom } from '../../../src/core/kit/index.ts';
import type { CallContext, Handlers, Input, OperationName, Result } from '../../../src/core/localapi/index.ts';
import { memoryStore, type ObjectStore } from '../../../src/core/objectstore/index.ts';

const CALL: CallContext = {
  signal: new AbortController().signal,
  onProgress: () => undefined,
  lockTimeoutMs: 10_000,
};

export class GatewayRig implements AsyncDisposable {
  readonly directory: string;
  readonly objects: ObjectStore;
  readonly #gateway: Gateway;
  readonly #handlers: Handlers;
  #opens = 0;

  private constructor(directory: string, objects: ObjectStore) {
    this.directory = directory;
    this.objects = objects;
    this.#gateway = new Gateway({
      home: join(directory, 'home'),
      version: '0.0.0',
      clock: systemClock,
      random: systemRandom,
      openPool: () => new FramePool({ threads: 1 }),
      openStore: async () => {
        this.#opens += 1;
        return Promise.resolve(objects);
      },
    });
    this.#handlers = createHandlers(this.#gateway);
  }

  /** Several may share a store, as gateways do. */
  static async start(objects: ObjectStore = memoryStore(), name = 'lab'): Promise<GatewayRig> {
    const rig = await GatewayRig.fresh(objects);
    await rig.call('activate', { name, mode: 'cached' });
    return rig;
  }

  /** A home that is not activated. */
  static async fresh(objects: ObjectStore = memoryStore()): Promise<GatewayRig> {
    return new GatewayRig(await mkdtemp(join(tmpdir(), 'sgw-gateway-')), objects);
  }

  get storeOpens(): number {
    return this.#opens;
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  async call<N extends OperationName>(
    name: N,
    input: Input<N>,
    context: Partial<CallContext> = {},
  ): Promise<Result<N>> {
    return await this.#handlers[name](input, { ...CALL, ...context });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#gateway.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}
