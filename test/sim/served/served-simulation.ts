/**
 * One run: a volume that several gateways serve in turn, over the real write log, cache, uploader and block store, on disks that
 * forget and a store that fails; decided by a seed alone. What is found after each opening is judged by the prefix oracle.
 */
import { Catalog, createStore, type BlockStoreOptions, type VolumeEntry } from '../../../src/core/blockstore/index.ts';
import { collectGarbage } from '../../../src/core/blockstore/gc/index.ts';
import { SgwError } from '../../../src/core/kit/index.ts';
import { memoryStore, withRetry } from '../../../src/core/objectstore/index.ts';
import type { ServedVolume, VolumeSettings } from '../../../src/core/volume/index.ts';
import { readSnapshot, readVolume, toBuffer } from '../../reader/independent-reader.ts';
import { ACCOUNTS } from '../disk-state.ts';
import { FaultPlan, drawPlan, type FaultRates } from '../fault-plan.ts';
import { Choices } from '../random.ts';
import { SimStore } from '../sim-store.ts';
import type { MakeStores, Stores } from '../stores.ts';
import type { SimulationResult } from '../simulation.ts';
import { Tally } from '../tally.ts';
import { hold, Violation } from '../volume-ledger.ts';
import { World, type Process } from '../world.ts';
import { newHome, OpenHome, type Home, type HomeProcess } from './home.ts';
import { foundOf, type State } from './history.ts';
import { Oracle, type HomeView } from './oracle.ts';
import { Session, SIZES, type SnapshotRecord } from './session.ts';

export interface ServedOptions {
  readonly seed: number;
  /** Store calls after which the run is brought to its end. */
  readonly steps: number;
  readonly traceLines?: number;
  /** Default drawn from the seed. */
  readonly faults?: FaultRates;
  /** Default over a store in memory; over others all calls are retried, as in the product. */
  readonly stores?: MakeStores;
}

const overMemory: MakeStores = ({ world, listPage }) => {
  const base = memoryStore();
  return { base, of: (process) => new SimStore({ world, process, base, listPage }) };
};

const SETTLING_STEPS = 20_000;
const GRACE_MS = 3_600_000;
const AWAY_LONG_MS = GRACE_MS / 2;
/** A fenced gateway may acknowledge for its seal interval and so much longer: calls that are held up, retries (C6). */
const LEARNS_WITHIN_MS = 15 * 60_000;
const EXPECTED = ['unavailable', 'timeout', 'conflict', 'fenced', 'notFound', 'aborted'];

interface Role {
  readonly name: string;
  readonly main: (parts: HomeProcess) => Promise<void>;
  readonly onCrash?: () => void;
}

export class ServedSimulation {
  readonly world: World;
  readonly tally = new Tally();
  readonly choices: Choices;
  readonly #options: ServedOptions;
  readonly #stores: Stores;
  readonly #settings: VolumeSettings;
  readonly #crashRate: number;
  readonly #retries: boolean;
  readonly #roles = new Map<Process, Role>();
  readonly #snapshots: SnapshotRecord[] = [];
  readonly #allHomes: Home[] = [];
  readonly #lostHomes = new Set<string>();
  #oracle!: Oracle;
  #entry!: VolumeEntry;
  #incarnations = 0;
  #running = 0;
  #closing = false;
  #failure: Error | undefined;
  /** The last opening that another home's fence stands on. */
  #lastOpening: { readonly home: string; readonly atMs: number } | undefined;

  constructor(options: ServedOptions) {
    const { seed } = options;
    this.#options = options;
    this.choices = Choices.named(seed, 'served');
    const { choices } = this;
    const plan = options.faults ?? drawPlan(Choices.named(seed, 'faults'));
    this.world = new World({
      choices: Choices.named(seed, 'world'),
      plan: new FaultPlan({ ...plan, delayMaxMs: 60_000, stallMaxMs: GRACE_MS / 4 }),
      tally: this.tally,
      onCrash: (process) => {
        this.#crashed(process);
      },
    });
    if (options.traceLines !== undefined) this.world.traceLines = options.traceLines;
    this.#crashRate = choices.pick([0, 0.002, 0.01]);
    this.#retries = choices.chance(0.5) || options.stores !== undefined;
    const makeStores = options.stores ?? overMemory;
    this.#stores = makeStores({ world: this.world, seed, observe: () => undefined, listPage: 20 });
    this.#settings = {
      ack: choices.chance(0.85) ? 'log' : 'store',
      bufferBytes: choices.pick([8, 16, 40]) * 16 * 4096,
      sealIntervalMs: choices.pick([1000, 10_000, 120_000]),
      readAheadBytes: choices.pick([0, 65_536]),
    };
  }

  #optionsOf(process: Process): BlockStoreOptions {
    const { seed } = this.#options;
    const clock = this.world.clockOf(process);
    const bare = this.#stores.of(process);
    const random = Choices.named(seed, `${process.name} retry`).random;
    const objects = this.#retries ? withRetry(bare, { clock, random }) : bare;
    return { objects, clock, random: Choices.named(seed, process.name).random };
  }

  readonly #fail = (error: unknown): void => {
    this.#failure ??= error instanceof Error ? error : new Error(String(error));
  };

  #start(role: Role): void {
    const process = this.world.newProcess(`${role.name}#${String((this.#incarnations += 1))}`);
    this.#roles.set(process, role);
    this.#running += 1;
    const choices = Choices.named(this.#options.seed, `${process.name} choices`);
    const parts = {
      world: this.world,
      process,
      options: this.#optionsOf(process),
      choices,
      crashRate: this.#closing ? 0 : this.#crashRate,
    };
    role.main(parts).then(() => {
      if (process.alive) this.#running -= 1;
    }, this.#fail);
  }

  #crashed(process: Process): void {
    const role = this.#roles.get(process);
    this.#running -= 1;
    if (role === undefined) return;
    role.onCrash?.();
    this.world.later(this.choices.durationMs(10, 600_000), `restart of ${role.name}`, () => {
      this.#start(role);
    });
  }

  /** Runs it; what it finds is in the result. */
  async run(): Promise<SimulationResult> {
    try {
      await this.#setUp();
      await this.#stepUntil(() => this.world.steps >= this.#options.steps);
      await this.#settle();
    } catch (error) {
      this.#fail(error);
    }
    const { steps, traceHash, trace } = this.world;
    return { seed: this.#options.seed, steps, traceHash, trace, tally: this.tally, failure: this.#failure };
  }

  async #stepUntil(done: () => boolean): Promise<void> {
    const limit = this.world.steps + SETTLING_STEPS;
    for (let idle = 0; !done() && idle < 10;) {
      idle = this.world.busy ? 0 : idle + 1;
      await this.world.step();
      if (idle > 0) await new Promise(setImmediate);
      if (this.#failure !== undefined) throw this.#failure;
      if (this.world.steps > limit) throw new Violation('the run does not come to an end');
    }
  }

  async #setUp(): Promise<void> {
    const process = this.world.newProcess('setup');
    const options = { ...this.#optionsOf(process), objects: this.#stores.base };
    await createStore(options);
    const sizeBytes = this.choices.pick(SIZES);
    this.#entry = await new Catalog(options).createVolume({ name: 'v', sizeBytes, accountId: ACCOUNTS[0] });
    this.#oracle = new Oracle(this.tally, sizeBytes);
    for (let i = this.choices.integer(1, 3); i > 0; i--) this.#start(this.#homeRole(await this.#newHome(options)));
    this.#start({ name: 'gc', main: async (parts) => this.#collect(parts) });
  }

  async #newHome(options: BlockStoreOptions): Promise<Home> {
    const number = this.#allHomes.length + 1;
    const view = this.#oracle.newHome(`home-${String(number)}`);
    const home = await newHome(view, `sgw-${String(number).padStart(8, '0')}`, options);
    this.#allHomes.push(home);
    return home;
  }

  #livingHomes(): Home[] {
    return this.#allHomes.filter(({ view }) => !this.#lostHomes.has(view.name));
  }

  /** A gateway; its home may be another one after a crash. */
  #homeRole(first: Home): Role {
    let home = first;
    let isLost = false;
    return {
      name: first.view.name,
      main: async (parts) => {
        if (isLost) home = await this.#newHome(parts.options);
        isLost = false;
        await this.#serve(parts, home);
      },
      onCrash: () => {
        this.#leaves(home.view);
        const dice = this.#closing ? 0 : this.choices.integer(0, 99);
        if (dice < 40) {
          home.log = home.log.afterKill();
          this.tally.event('process crashes');
        } else if (dice < 72) {
          home.log = home.log.afterCut(this.choices.random, this.choices.pick([512, 4096]));
          home.cache.cut(this.choices.random);
          home.view.isCut = true;
          this.tally.event('power cuts');
        } else {
          isLost = true;
          this.#lostHomes.add(home.view.name);
          this.tally.event('homes lost');
        }
      },
    };
  }

  async #serve(parts: HomeProcess, home: Home): Promise<void> {
    const { choices, options, process } = parts;
    const opened = await OpenHome.open(home, parts);
    while (!this.#closing) {
      await this.#serveOnce(parts, opened);
      await options.clock.sleep(choices.durationMs(10, choices.chance(0.3) ? GRACE_MS : 60_000));
    }
    await opened.close();
    this.world.note(`${process.name} ends`);
  }

  /** Opens, and serves until it is closed or fails. */
  async #serveOnce(parts: HomeProcess, opened: OpenHome): Promise<void> {
    const { choices } = parts;
    const { view } = opened.home;
    const takeOver = choices.chance(0.25);
    const fence = { failed: undefined as number | undefined };
    const mark = this.#oracle.mark();
    let volume: ServedVolume | undefined;
    try {
      volume = await opened.openVolume(this.#entry, this.#settings, { takeOver }, () => {
        fence.failed = this.#oracle.history.lastNumber;
        this.#leaves(view);
      });
    } catch (error) {
      this.#expect(parts, 'open', error);
    }
    if (volume === undefined) return;
    this.#returns(view);
    if (this.#lastOpening !== undefined && this.#lastOpening.home !== view.name) this.tally.event('take-overs');
    this.#lastOpening = { home: view.name, atMs: this.world.nowMs };
    this.world.note(`${parts.process.name} opened, epoch ${String(volume.stats.epoch)}`);
    const session = new Session({
      ...parts,
      oracle: this.#oracle,
      view,
      entry: this.#entry,
      volume,
      snapshots: this.#snapshots,
      ackStore: this.#settings.ack === 'store',
      closing: () => this.#closing,
      fail: this.#fail,
      acknowledging: this.#acknowledgements(parts, view.name, fence),
    });
    if (await session.readAll(mark)) await session.run();
    await session.close();
    this.#leaves(view);
  }

  #leaves(view: HomeView): void {
    view.awaySinceMs ??= this.world.nowMs;
  }

  #returns(view: HomeView): void {
    const awayMs = this.world.nowMs - (view.awaySinceMs ?? this.world.nowMs);
    if (awayMs > AWAY_LONG_MS) view.wasAwayLong = true;
    view.awaySinceMs = undefined;
  }

  /** C6: nothing that was asked for after it learned is acknowledged, and it learns within a seal interval. */
  #acknowledgements(
    parts: HomeProcess,
    name: string,
    fence: { readonly failed: number | undefined },
  ): (state: State) => void {
    let exposedSinceMs: number | undefined;
    return (state) => {
      hold(
        fence.failed === undefined || state.number <= fence.failed,
        () => `C6 ${name} acknowledges write ${String(state.number)}, and learned before that it was fenced`,
      );
      const { nowMs } = this.world;
      if (this.#lastOpening?.home === name) return;
      exposedSinceMs ??= nowMs;
      const sinceMs = Math.max(exposedSinceMs, this.#lastOpening?.atMs ?? 0, parts.process.stalledUntilMs);
      hold(
        nowMs - sinceMs <= this.#settings.sealIntervalMs + LEARNS_WITHIN_MS,
        () => `C6 ${name} acknowledges long after it was fenced, at ${new Date(sinceMs).toISOString()}`,
      );
      this.tally.event('acknowledged by one that did not know yet');
    };
  }

  #expect({ process }: HomeProcess, name: string, error: unknown): void {
    if (!(error instanceof SgwError)) throw error;
    if (!EXPECTED.includes(error.kind))
      throw new Violation(`${process.name}: ${name} ended with ${error.kind} ${error.code}: ${error.message}`, {
        cause: error,
      });
    this.tally.event(`${name} failed: ${error.kind} ${error.code}`);
    this.world.note(`${process.name} ${name} failed: ${error.kind} ${error.code}`);
  }

  async #collect(parts: HomeProcess): Promise<void> {
    const { options, choices } = parts;
    while (!this.#closing) {
      await options.clock.sleep(choices.durationMs(60_000, 2 * GRACE_MS));
      try {
        const { removed } = await collectGarbage(options, { graceMs: GRACE_MS });
        this.tally.event('gc done');
        this.tally.event('objects removed by gc', removed.objects);
      } catch (error) {
        this.#expect(parts, 'gc', error);
      }
    }
  }

  async #settle(): Promise<void> {
    this.#closing = true;
    this.world.calm();
    await this.#stepUntil(() => !this.world.busy && this.#running === 0);
    if (this.#running !== 0)
      throw new Violation(`${String(this.#running)} processes neither ended nor wait for anything`);
    await this.#end();
  }

  /** Every home opens once more; then all are lost: a new one finds the volume in the store, and other code reads the same. */
  async #end(): Promise<void> {
    for (const home of this.#livingHomes()) await this.#openLast(home);
    const found = await this.#openLast(await this.#newHome(this.#optionsOf(this.world.newProcess('new home'))));
    const get = async (key: string): Promise<Buffer | undefined> => (await this.#stores.base.get(key))?.bytes;
    const contents = await toBuffer(await readVolume(get, this.#entry.volumeId, 'newest'));
    hold(found.equals(contents), () => 'another reader of the store reads something else');
    this.tally.check('another reader of the store reads the same');
    await this.#checkSnapshots(get);
  }

  async #openLast(home: Home): Promise<Buffer> {
    let found: Buffer | undefined;
    const { view } = home;
    const main = async (parts: HomeProcess): Promise<void> => {
      const opened = await OpenHome.open(home, parts);
      const mark = this.#oracle.mark();
      const volume = await opened.openVolume(this.#entry, this.#settings, { takeOver: true }, () => undefined);
      this.#returns(view);
      found = Buffer.alloc(volume.sizeBytes);
      await volume.read(0, found);
      this.#oracle.opened(view, foundOf(found), mark);
      await volume.close({ drain: true });
      this.#oracle.store(view, view.branch.last);
      await opened.close();
    };
    this.#start({ name: `last-${view.name}`, main });
    await this.#stepUntil(() => this.#running === 0);
    if (found === undefined) throw new Violation(`${view.name} does not open in the end`);
    return found;
  }

  async #checkSnapshots(get: (key: string) => Promise<Buffer | undefined>): Promise<void> {
    const process = this.world.newProcess('snapshot-reader');
    const catalog = new Catalog({ ...this.#optionsOf(process), objects: this.#stores.base });
    const all = await catalog.listSnapshots();
    for (const { snapshotId, least, most, home, isPromised } of this.#snapshots) {
      const entry = all.find((one) => one.snapshotId === snapshotId);
      const state = entry?.state ?? 'gone';
      this.tally.event(`in the end a snapshot is ${state}`);
      if (state !== 'completed') {
        const isLost = this.#lostHomes.has(home.name) || home.wasSetAside || home.wasAwayLong;
        hold(
          !isPromised || isLost,
          () => `C8 snapshot ${snapshotId} of ${home.name} is ${state}: ${String(entry?.reason)}`,
        );
        continue;
      }
      const found = foundOf(await toBuffer(await readSnapshot(get, snapshotId)));
      this.#oracle.snapshot(`snapshot ${snapshotId} of ${home.name}`, found, least, most);
    }
  }
}
