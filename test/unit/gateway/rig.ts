/** A gateway over a memory store and a temporary home, behind its handlers. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FramePool } from '../../../src/core/blockstore/index.ts';
import { createHandlers } from '../../../src/core/control/index.ts';
import { Gateway, type GatewayParts, type Serving, type ServingParts } from '../../../src/core/gateway/index.ts';
import type { ScheduleEvent, ScheduleRunner } from '../../../src/core/gateway/schedules/runner.ts';
import { systemClock, systemRandom, type Clock } from '../../../src/core/kit/index.ts';
import type { CallContext, Handlers, Input, OperationName, Result } from '../../../src/core/localapi/index.ts';
import { memoryStore, type ObjectStore } from '../../../src/core/objectstore/index.ts';
import type { ServiceConnections } from '../../../src/core/protocol/index.ts';
import { openService } from '../../../src/core/service/index.ts';

const CALL: CallContext = {
  signal: new AbortController().signal,
  onProgress: () => undefined,
  lockTimeoutMs: 10_000,
};

export interface RigOptions {
  /** Acted for; the home's own when absent. */
  readonly accountId?: string;
  readonly clock?: Clock;
  /** The store at a place; the rig's own, whatever the place, when absent. */
  readonly storeAt?: (place: string) => ObjectStore | Promise<ObjectStore>;
  /** Told the limits of the traffic by each call, before it takes the store. */
  readonly limitStores?: () => void;
  /** What volumes are served with. */
  readonly serving?: ServingParts;
  /** Stands between the gateway and the service. */
  readonly between?: (connections: ServiceConnections) => ServiceConnections;
  /** The way to a service over the network; HTTPS when absent. */
  readonly reachService?: GatewayParts['reachService'];
}

export class GatewayRig implements AsyncDisposable {
  readonly directory: string;
  readonly objects: ObjectStore;
  readonly #gateway: Gateway;
  readonly #handlers: Handlers;
  readonly #isGuest: boolean;
  #opens = 0;

  private constructor(directory: string, objects: ObjectStore, options: RigOptions, isGuest = false) {
    this.directory = directory;
    this.objects = objects;
    this.#isGuest = isGuest;
    const {
      accountId,
      serving,
      clock = systemClock,
      between = (connections: ServiceConnections) => connections,
    } = options;
    this.#gateway = new Gateway({
      home: join(directory, 'home'),
      version: '0.0.0',
      clock,
      random: systemRandom,
      openPool: () => new FramePool({ threads: 1 }),
      openStore: async (place) => {
        this.#opens += 1;
        return Promise.resolve(options.storeAt?.(place) ?? objects);
      },
      openService: async (blocks, serviceId) =>
        Promise.resolve(between(openService({ blocks, serviceId, isEmbedded: true }))),
      ...(options.reachService === undefined ? {} : { reachService: options.reachService }),
      ...(accountId === undefined ? {} : { accountId }),
      ...(options.limitStores === undefined ? {} : { limitStores: options.limitStores }),
      ...(serving === undefined ? {} : { serving: async () => Promise.resolve(serving) }),
    });
    this.#handlers = createHandlers(this.#gateway);
  }

  /** Several may share a store, as gateways do. */
  static async start(
    objects: ObjectStore = memoryStore(),
    name = 'lab',
    options: RigOptions = {},
  ): Promise<GatewayRig> {
    const rig = await GatewayRig.fresh(objects, options);
    await rig.call('activate', { name, mode: 'cached' });
    return rig;
  }

  /** A home that is not activated. */
  static async fresh(objects: ObjectStore = memoryStore(), options: RigOptions = {}): Promise<GatewayRig> {
    return new GatewayRig(await mkdtemp(join(tmpdir(), 'sgw-gateway-')), objects, options);
  }

  /** The same home in another process, for another account perhaps. */
  again(options: RigOptions = {}): GatewayRig {
    return new GatewayRig(this.directory, this.objects, options, true);
  }

  get storeOpens(): number {
    return this.#opens;
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** Serves what is attached, as a daemon does. */
  async serve(context: Partial<CallContext> = {}): Promise<Serving> {
    return await this.#gateway.serve({ ...CALL, ...context });
  }

  /** Runs the schedules, as a daemon does. */
  async runSchedules(onEvent: (event: ScheduleEvent) => void = () => undefined): Promise<ScheduleRunner> {
    return await this.#gateway.runSchedules(onEvent, CALL);
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
    if (!this.#isGuest) await rm(this.directory, { recursive: true, force: true });
  }
}
