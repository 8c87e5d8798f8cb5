/**
 * S3 at size: several control servers over one NATS, hundreds of gateways as real connections, servers killed at random, and
 * requests through whichever server. The oracle: a request is answered once, with what its own gateway says, or fails by name
 * within its deadline; no request is run twice; and once all is quiet, every server reaches every gateway.
 */
import { randomBytes } from 'node:crypto';
import type { ControlLink } from '../../../src/core/gateway/remote/index.ts';
import { systemClock, type Random } from '../../../src/core/kit/index.ts';
import type { ControlRequest } from '../../../src/core/protocol/index.ts';
import { LoopLag } from '../../support/control/loop-lag.ts';
import { ANNA, ControlNetwork, openLink } from '../../support/control/network.ts';
import { NatsServer } from '../../support/control/nats-server.ts';
import { freePort } from '../../support/free-port.ts';
import { ServerProcess, type CallAnswer } from './servers.ts';

export interface ControlCounts {
  servers: number;
  gateways: number;
  kills: number;
  drains: number;
  natsKills: number;
  requests: number;
  answered: number;
  /** By name. */
  failed: Record<string, number>;
  connections: number;
  /** The most connections that stood up in one second, once all were there. */
  connectsPerSecondMax: number;
  /** The most tries that began in one second. */
  triesPerSecondMax: number;
  p50Ms: number;
  p99Ms: number;
  /** Of a server, for each connection that it holds. */
  rssKibPerConnection: number;
  heapKibPerConnection: number;
}

export const controlCounts = (): ControlCounts => ({
  ...{ servers: 0, gateways: 0, kills: 0, drains: 0, natsKills: 0, requests: 0, answered: 0, failed: {} },
  ...{ connections: 0, connectsPerSecondMax: 0, triesPerSecondMax: 0, p50Ms: 0, p99Ms: 0 },
  ...{ rssKibPerConnection: 0, heapKibPerConnection: 0 },
});

export interface ControlSoakOptions {
  readonly folder: string;
  readonly random: Random;
  readonly counts: ControlCounts;
  readonly servers: number;
  readonly gateways: number;
  /** How many requests are under way at a time. */
  readonly lanes: number;
  readonly goesOn: () => boolean;
  readonly onEvent: (line: string) => void;
}

const DEADLINE_MS = 8000;
/** Above the deadline, and for how long the processes came too late to what they were to do. */
const SPARE_MS = 1000;
/** Names that a request may fail with. */
const NAMES: ReadonlySet<string> = new Set([
  ...['gateway-not-connected', 'gateway-connection-lost', 'gateway-timed-out', 'gateway-busy'],
  ...['control-bus-unavailable', 'service-draining', 'server-killed'],
]);
const ALL_BACK_MS = 240_000;
const LONG_ANSWER = 'x'.repeat(300_000);

/** @throws Error at the first loss */
export async function runControl(options: ControlSoakOptions): Promise<void> {
  await using world = await World.open(options);
  await world.startAll();
  await world.measureMemory();
  const killing = world.killServers();
  const asking = Promise.all(Array.from({ length: options.lanes }, async () => world.ask()));
  try {
    await Promise.all([killing, asking]);
  } finally {
    world.stop();
  }
  await world.everyServerReachesEveryGateway();
  world.summarize();
}

class World implements AsyncDisposable {
  readonly #options: ControlSoakOptions;
  readonly #nats: NatsServer;
  readonly #servers: ServerProcess[];
  readonly #links: ControlLink[];
  readonly #ids: string[];
  /** Requests that gateways ran, by what was asked. */
  readonly #ran = new Map<string, number>();
  readonly #latencies: number[] = [];
  readonly #connectsBySecond = new Map<number, number>();
  readonly #triesBySecond = new Map<number, number>();
  readonly #lag = new LoopLag();
  #isCounting = false;
  #isOver = false;
  #nonces = 0;

  private constructor(
    options: ControlSoakOptions,
    nats: NatsServer,
    servers: ServerProcess[],
    network: ControlNetwork,
    gateways: Awaited<ReturnType<ControlNetwork['gateway']>>[],
  ) {
    this.#options = options;
    this.#nats = nats;
    this.#servers = servers;
    this.#ids = [...network.records.keys()];
    const urls = servers.map(({ port }) => `https://127.0.0.1:${String(port)}`);
    this.#links = gateways.map((gateway) =>
      openLink(gateway, urls, async (request, { signal }) => this.#run(gateway.record.gatewayId, request, signal), {
        onWelcome: () => {
          this.#welcomed();
        },
        identity: async () => {
          this.#count(this.#triesBySecond);
          return Promise.resolve(gateway.identity);
        },
      }),
    );
  }

  static async open(options: ControlSoakOptions): Promise<World> {
    const nats = await NatsServer.start();
    const network = await ControlNetwork.make();
    const gateways: Awaited<ReturnType<ControlNetwork['gateway']>>[] = [];
    for (let at = 0; at < options.gateways; at++)
      gateways.push(await network.gateway(`sgw-${at.toString(16).padStart(8, '0')}`));
    const { certificate: cert, privateKey: key } = await network.ca.issueServer(['127.0.0.1']);
    const plan = {
      ...{ nats: nats.url, busKey: randomBytes(32).toString('hex'), cert, key, ca: network.ca.certificate },
      records: [...network.records.values()],
    };
    const servers: ServerProcess[] = [];
    for (let at = 0; at < options.servers; at++)
      servers.push(new ServerProcess(options.folder, await freePort(), plan));
    return new World(options, nats, servers, network, gateways);
  }

  async startAll(): Promise<void> {
    const { counts, onEvent } = this.#options;
    counts.servers = this.#servers.length;
    counts.gateways = this.#links.length;
    for (const server of this.#servers) await server.start();
    this.#empty = await this.#memory();
    const startedMs = performance.now();
    for (const link of this.#links) link.start(Math.max(1000, this.#links.length * 15));
    await this.#allConnected();
    onEvent(`${String(this.#links.length)} gateways connected after ${seconds(performance.now() - startedMs)}`);
    this.#isCounting = true;
  }

  #empty = { rssBytes: 0, heapBytes: 0, connections: 0 };

  /** What a held connection costs a server. */
  async measureMemory(): Promise<void> {
    const { counts, onEvent } = this.#options;
    const full = await this.#memory();
    const perConnection = (now: number, before: number): number =>
      Math.round((now - before) / 1024 / Math.max(1, full.connections));
    counts.rssKibPerConnection = perConnection(full.rssBytes, this.#empty.rssBytes);
    counts.heapKibPerConnection = perConnection(full.heapBytes, this.#empty.heapBytes);
    onEvent(
      `memory per connection: ${String(counts.rssKibPerConnection)} KiB resident, ${String(counts.heapKibPerConnection)} KiB of heap and buffers`,
    );
  }

  async killServers(): Promise<void> {
    const { random, counts, onEvent } = this.#options;
    while (this.#goesOn()) {
      await this.#pause(4000 + random.float() * 8000);
      if (!this.#goesOn()) return;
      const luck = random.float();
      if (luck < 0.12) {
        counts.natsKills += 1;
        onEvent('NATS is killed');
        await this.#nats.down({ loses: random.float() < 0.5 });
        await this.#pause(random.float() * 3000);
        await this.#nats.up();
        continue;
      }
      const server = this.#servers[Math.floor(random.float() * this.#servers.length)];
      if (server?.isUp !== true) continue;
      const isOrderly = luck < 0.3;
      if (isOrderly) counts.drains += 1;
      else counts.kills += 1;
      onEvent(`server ${String(server.port)} ${isOrderly ? 'drains' : 'is killed'}`);
      await (isOrderly ? server.drain() : server.kill());
      await this.#pause(500 + random.float() * 3000);
      await server.start();
    }
  }

  /** One request after the other, through random servers to random gateways. */
  async ask(): Promise<void> {
    const { random, counts } = this.#options;
    while (this.#goesOn()) {
      const server = this.#servers[Math.floor(random.float() * this.#servers.length)];
      const gatewayId = this.#ids[Math.floor(random.float() * this.#ids.length)];
      if (server === undefined || gatewayId === undefined || !server.isUp) {
        await this.#pause(50);
        continue;
      }
      const luck = random.float();
      const kind = luck < 0.03 ? 'slow' : luck < 0.05 ? 'long' : 'quick';
      const nonce = `${kind} ${String(++this.#nonces)}`;
      counts.requests += 1;
      const startedMs = performance.now();
      const answer = await server.call(gatewayId, ANNA, { volume: nonce }, DEADLINE_MS);
      this.#judge(gatewayId, nonce, answer, performance.now() - startedMs);
      await this.#pause(random.float() * 40);
    }
  }

  stop(): void {
    this.#isOver = true;
  }

  async everyServerReachesEveryGateway(): Promise<void> {
    const { onEvent } = this.#options;
    for (const server of this.#servers) if (!server.isUp) await server.start();
    const startedMs = performance.now();
    await this.#allConnected();
    onEvent(`all are back ${seconds(performance.now() - startedMs)} after the last kill`);
    for (const server of this.#servers) {
      for (const gatewayId of this.#ids) {
        const nonce = `quick last ${String(++this.#nonces)}`;
        let answer = await server.call(gatewayId, ANNA, { volume: nonce }, DEADLINE_MS);
        // One that has just moved may be found a moment later.
        if (answer.code !== 'ok') answer = await this.#again(server, gatewayId, nonce);
        if (answer.code !== 'ok')
          throw new Error(`server ${String(server.port)} does not reach ${gatewayId}: ${answer.code}`);
      }
    }
  }

  summarize(): void {
    const { counts } = this.#options;
    const sorted = [...this.#latencies].sort((a, b) => a - b);
    const at = (part: number): number => Math.round((sorted[Math.floor(sorted.length * part)] ?? 0) * 10) / 10;
    counts.p50Ms = at(0.5);
    counts.p99Ms = at(0.99);
    counts.connectsPerSecondMax = Math.max(0, ...this.#connectsBySecond.values());
    counts.triesPerSecondMax = Math.max(0, ...this.#triesBySecond.values());
    for (const [nonce, times] of this.#ran)
      if (times > 1) throw new Error(`request ${nonce} was run ${String(times)} times`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    this.#lag[Symbol.dispose]();
    await Promise.all(this.#links.map(async (link) => link.close(0)));
    await Promise.all(this.#servers.map(async (server) => server.kill()));
    await this.#nats[Symbol.asyncDispose]();
  }

  #goesOn(): boolean {
    return !this.#isOver && this.#options.goesOn();
  }

  #judge(gatewayId: string, nonce: string, answer: CallAnswer, tookMs: number): void {
    const { counts } = this.#options;
    const { code, result, durationMs, lateMs } = answer;
    const allMs = DEADLINE_MS + SPARE_MS + lateMs;
    if (durationMs > allMs || tookMs > allMs + this.#lag.lateMs)
      throw new Error(
        `request ${nonce} took ${seconds(durationMs)} of ${seconds(allMs)}, here ${seconds(tookMs)}: ${code}`,
      );
    if (code === 'ok') {
      const { by, said } = result as { by: string; said: string };
      if (by !== gatewayId || said !== nonce) throw new Error(`request ${nonce} to ${gatewayId} got ${said} of ${by}`);
      counts.answered += 1;
      if (nonce.startsWith('quick')) this.#latencies.push(tookMs);
      return;
    }
    if (!NAMES.has(code)) throw new Error(`request ${nonce} failed with ${code}`);
    counts.failed[code] = (counts.failed[code] ?? 0) + 1;
  }

  /** A gateway answers. */
  async #run(gatewayId: string, request: ControlRequest, signal: AbortSignal): Promise<unknown> {
    if (request.kind !== 'call') return {};
    const { volume: nonce } = request.input as { volume: string };
    this.#ran.set(nonce, (this.#ran.get(nonce) ?? 0) + 1);
    if (nonce.startsWith('slow')) await systemClock.sleep(1500, signal);
    return { by: gatewayId, said: nonce, ...(nonce.startsWith('long') ? { more: LONG_ANSWER } : {}) };
  }

  async #again(server: ServerProcess, gatewayId: string, nonce: string): Promise<CallAnswer> {
    await systemClock.sleep(2000);
    return await server.call(gatewayId, ANNA, { volume: `${nonce} again` }, DEADLINE_MS);
  }

  #welcomed(): void {
    this.#options.counts.connections += 1;
    this.#count(this.#connectsBySecond);
  }

  #count(bySecond: Map<number, number>): void {
    if (!this.#isCounting) return;
    const second = Math.floor(performance.now() / 1000);
    bySecond.set(second, (bySecond.get(second) ?? 0) + 1);
  }

  async #allConnected(): Promise<void> {
    const endMs = performance.now() + ALL_BACK_MS;
    for (;;) {
      const missing = this.#links.filter(({ status }) => status.state !== 'connected');
      if (missing.length === 0) return;
      if (performance.now() > endMs) {
        const [first] = missing;
        throw new Error(`${String(missing.length)} gateways do not connect: ${JSON.stringify(first?.status)}`);
      }
      await systemClock.sleep(100);
    }
  }

  /** Summed over the servers. */
  async #memory(): Promise<{ rssBytes: number; heapBytes: number; connections: number }> {
    const sum = { rssBytes: 0, heapBytes: 0, connections: 0 };
    for (const server of this.#servers) {
      const figures = await server.figures();
      sum.rssBytes += figures?.rssBytes ?? 0;
      sum.heapBytes += figures?.heapBytes ?? 0;
      sum.connections += figures?.connections ?? 0;
    }
    return sum;
  }

  async #pause(durationMs: number): Promise<void> {
    const endMs = performance.now() + durationMs;
    while (performance.now() < endMs && !this.#isOver)
      await systemClock.sleep(Math.min(100, Math.max(1, endMs - performance.now())));
  }
}

const seconds = (durationMs: number): string => `${(durationMs / 1000).toFixed(1)} s`;
