/** One run: a store, its programs, their faults, and the auditor; decided by a seed alone. */
import { createSecretKey } from 'node:crypto';
import { Catalog, createStore, type BlockStoreOptions, type KeyRing } from '../../src/core/blockstore/index.ts';
import { beginStoreKey } from '../../src/core/blockstore/sealing/index.ts';
import { memoryStore, withRetry, type ObjectStore } from '../../src/core/objectstore/index.ts';
import { unlock } from '../reader/independent-sealing.ts';
import type { Actor, SimSettings } from './actors/actor.ts';
import { clonerProcess, snapshotterProcess } from './actors/catalog-actors.ts';
import { deleterProcess } from './actors/deleter.ts';
import { collectOnce, gcProcess } from './actors/gc.ts';
import { closeAll, readAll } from './actors/last.ts';
import { exporterProcess, readerProcess } from './actors/reader.ts';
import { SIZES, writerProcess } from './actors/writer.ts';
import { checkEnd } from './check-end.ts';
import { Auditor } from './auditor.ts';
import { ACCOUNTS } from './disk-state.ts';
import { FaultPlan, drawPlan, type FaultRates } from './fault-plan.ts';
import { observed, type StoreChange } from './observed-store.ts';
import { Choices } from './random.ts';
import { SimStore } from './sim-store.ts';
import type { MakeStores, Stores, StoresParts } from './stores.ts';
import { Tally } from './tally.ts';
import { Violation } from './volume-ledger.ts';
import { World, type Process } from './world.ts';

export interface SimulationOptions {
  readonly seed: number;
  readonly steps: number;
  /** Default drawn from the seed. */
  readonly faults?: FaultRates;
  /** Default a store in memory. */
  readonly base?: ObjectStore;
  /** Instead of stores over a base: a server of some dialect. Over it all calls are retried, as in the product. */
  readonly stores?: MakeStores;
  /** Breaks the store of a process on purpose, to show that the auditor notices. */
  readonly sabotage?: (base: ObjectStore, process: string) => ObjectStore;
  /** What gc is told that the grace period is; default what is promised. */
  readonly gcGraceMs?: number;
  /** Whether the store has a key; default drawn from the seed. */
  readonly sealed?: boolean;
  /** Lines of the trace to keep; default 80. */
  readonly traceLines?: number;
}

export interface SimulationResult {
  readonly seed: number;
  readonly steps: number;
  readonly traceHash: string;
  readonly tally: Tally;
  readonly failure: Error | undefined;
  readonly trace: readonly string[];
}

const FILE_KEY = Buffer.alloc(32, 7);
const HOUR_MS = 3_600_000;
/** Steps that the end of a run may take, beyond those asked for. */
const SETTLING_STEPS = 20_000;
/** Longer than a pin holds without being renewed. */
const PIN_HOLD_MS = 2 * HOUR_MS;
/** Runs of gc, a grace period apart, within which everything dead has to be gone. */
const ROUNDS_MAX = 12;

/** A program that runs again after it crashed. */
interface Role {
  readonly name: string;
  readonly main: (actor: Actor) => Promise<void>;
}

export class Simulation {
  readonly world: World;
  readonly auditor: Auditor;
  readonly tally = new Tally();
  readonly choices: Choices;
  readonly #options: SimulationOptions;
  readonly #stores: Stores;
  readonly #settings: SimSettings;
  readonly #retries: boolean;
  readonly #sealed: boolean;
  #keys: KeyRing | undefined;
  readonly #roles = new Map<Process, Role>();
  #incarnations = 0;
  #stamps = 0;
  #running = 0;
  #closing = false;
  #failure: Error | undefined;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.choices = Choices.named(options.seed, 'simulation');
    const plan = new FaultPlan(options.faults ?? drawPlan(Choices.named(options.seed, 'faults')));
    this.world = new World({
      choices: Choices.named(options.seed, 'world'),
      plan,
      tally: this.tally,
      onCrash: (process) => {
        this.#restart(process);
      },
    });
    if (options.traceLines !== undefined) this.world.traceLines = options.traceLines;
    this.#retries = this.choices.chance(0.6) || options.stores !== undefined;
    this.#sealed = options.sealed ?? this.choices.chance(0.15);
    const listPage = this.choices.pick([5, 20, 1000]);
    const graceMs = this.choices.pick([2, 10, 60, 360]) * 60_000;
    this.#settings = {
      graceMs,
      gcGraceMs: options.gcGraceMs ?? graceMs,
      undeleteMs: this.choices.pick([4, 10, 50]) * graceMs,
      idle: this.choices.pick([0.3, 0.6, 0.9]),
      volumesMax: this.choices.integer(2, 5),
      snapshotsMax: this.choices.integer(1, 6),
    };
    this.auditor = new Auditor(this.tally, () => this.world.nowMs, this.#settings);
    const observe = (change: StoreChange): void => {
      this.#guard(() => {
        this.auditor.observe(change);
      });
    };
    const makeStores = options.stores ?? ((parts) => this.#storesOverBase(parts));
    this.#stores = makeStores({ world: this.world, seed: options.seed, observe, listPage });
  }

  #storesOverBase({ world, observe, listPage }: StoresParts): Stores {
    const { sabotage } = this.#options;
    const base = observed(this.#options.base ?? memoryStore(), observe);
    const of = (process: Process): ObjectStore =>
      new SimStore({ world, process, base: sabotage?.(base, process.name) ?? base, listPage });
    return { base, of };
  }

  /** Components of a process: its store, its clock, its randomness. */
  optionsOf(process: Process): BlockStoreOptions {
    const { world } = this;
    const { seed } = this.#options;
    const clock = world.clockOf(process);
    const random = Choices.named(seed, process.name).random;
    const bare = this.#stores.of(process);
    const objects = this.#retries
      ? withRetry(bare, { clock, random: Choices.named(seed, `${process.name} retry`).random })
      : bare;
    return { objects, clock, random, ...(this.#keys === undefined ? {} : { keys: this.#keys }) };
  }

  /** What is wrong in an observer must end the run, not one call. */
  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new Error(String(error));
  }

  actorOf(name: string): Actor {
    const process = this.world.newProcess(name);
    const options = this.optionsOf(process);
    return {
      process,
      options,
      catalog: new Catalog(options),
      clock: options.clock,
      choices: Choices.named(this.#options.seed, `${name} choices`),
      auditor: this.auditor,
      tally: this.tally,
      settings: this.#settings,
      closing: () => this.#closing,
      note: (text) => {
        this.world.note(`${process.name} ${text}`);
      },
      stamp: () => (this.#stamps += 1),
    };
  }

  #start(role: Role): void {
    const actor = this.actorOf(`${role.name}#${String((this.#incarnations += 1))}`);
    this.#roles.set(actor.process, role);
    this.#running += 1;
    role.main(actor).then(
      () => {
        this.#running -= 1;
      },
      (error: unknown) => {
        this.#fail(error);
      },
    );
  }

  #restart(process: Process): void {
    const role = this.#roles.get(process);
    this.#running -= 1;
    if (role === undefined) return;
    const delayMs = this.choices.durationMs(100, 4 * this.#settings.graceMs);
    this.world.later(delayMs, `restart of ${role.name}`, () => {
      if (!this.#closing) this.#start(role);
    });
  }

  /** Runs it; what it finds is in the result. */
  async run(): Promise<SimulationResult> {
    try {
      await this.#setUp();
      for (const role of this.#cast()) this.#start(role);
      await this.#stepUntil(() => this.world.steps >= this.#options.steps || !this.world.busy);
      await this.#settle();
    } catch (error) {
      this.#fail(error);
    }
    const { steps, traceHash, trace } = this.world;
    const { seed } = this.#options;
    return { seed, steps, traceHash, trace, tally: this.tally, failure: this.#failure };
  }

  async #stepUntil(done: () => boolean): Promise<void> {
    while (!done()) {
      await this.world.step();
      if (this.#failure !== undefined) throw this.#failure;
    }
  }

  /** Runs work alone and without faults: nothing else is under way. */
  async alone<T>(name: string, work: (actor: Actor) => Promise<T>): Promise<T> {
    const actor = this.actorOf(name);
    let result: { readonly value: T } | undefined;
    work(actor).then(
      (value) => {
        result = { value };
      },
      (error: unknown) => {
        this.#fail(error);
      },
    );
    const limit = this.world.steps + SETTLING_STEPS;
    await this.#stepUntil(() => {
      if (this.world.steps > limit) throw new Violation(`${name} does not come to an end`);
      return result !== undefined || this.#failure !== undefined;
    });
    if (result === undefined) throw this.#failure ?? new Error(`${name} gave nothing`);
    return result.value;
  }

  async #setUp(): Promise<void> {
    const process = this.world.newProcess('setup');
    const bare = { ...this.optionsOf(process), objects: this.#stores.base };
    if (this.#sealed) await this.#beginKey(bare);
    else await createStore(bare);
    const options = this.#keys === undefined ? bare : { ...bare, keys: this.#keys };
    const catalog = new Catalog(options);
    for (let i = 0; i < 2; i++) {
      const sizeBytes = this.choices.pick(SIZES);
      const made = await catalog.createVolume({ name: `v${String(i)}`, sizeBytes, accountId: ACCOUNTS[0] });
      this.auditor.created(made.volumeId, { sizeBytes, pages: new Map(), consistent: true });
    }
  }

  async #beginKey(options: BlockStoreOptions): Promise<void> {
    this.tally.event('sealed stores');
    const info = await createStore(options, { keyId: ACCOUNTS[0] });
    const begun = await beginStoreKey(options, info, { kind: 'keyFile', key: createSecretKey(FILE_KEY) });
    this.#keys = begun?.keys;
    const { reader } = this.auditor;
    const get = async (key: string): Promise<Buffer | undefined> => Promise.resolve(reader.bytesOf(key));
    reader.opens = await unlock(get, { kind: 'keyFile', bytes: FILE_KEY });
  }

  #cast(): Role[] {
    const { choices } = this;
    const writers = Array.from({ length: choices.integer(2, 4) }, (_, i) => {
      const number = i % 3;
      const role = {
        holder: { gatewayId: `sgw-0000000${String(number)}`, name: `gateway ${String(number)}` },
        account: number,
      };
      return { name: `writer-${String(i)}`, main: async (actor: Actor) => writerProcess(actor, role) };
    });
    return [
      ...writers,
      { name: 'snapshotter', main: snapshotterProcess },
      { name: 'cloner', main: clonerProcess },
      { name: 'reader', main: readerProcess },
      { name: 'exporter', main: exporterProcess },
      { name: 'deleter', main: deleterProcess },
      ...Array.from({ length: choices.pick([1, 1, 2]) }, (_, i) => ({ name: `gc-${String(i)}`, main: gcProcess })),
    ];
  }

  async #settle(): Promise<void> {
    this.#closing = true;
    this.tally.event('virtual hours', Math.round(this.world.elapsedMs / HOUR_MS));
    this.tally.event('objects removed under way', this.tally.checks().get('what is removed is not reachable') ?? 0);
    this.world.calm();
    const limit = this.world.steps + SETTLING_STEPS;
    await this.#stepUntil(() => {
      if (this.world.steps > limit) throw new Violation('the run does not come to an end');
      return !this.world.busy;
    });
    if (this.#running !== 0)
      throw new Violation(`${String(this.#running)} processes neither ended nor wait for anything`);
    await this.#end();
  }

  /** Everything is closed, all periods pass, gc runs until it finds nothing: then all that is left is needed, and right. */
  async #end(): Promise<void> {
    await this.alone('closer', closeAll);
    const { graceMs, undeleteMs } = this.#settings;
    this.world.pass(Math.max(undeleteMs, PIN_HOLD_MS) + 1000);
    let keysBefore = '';
    for (let round = 1; ; round++) {
      if (round > ROUNDS_MAX) throw new Violation('gc does not come to an end');
      await this.alone(`last-gc-${String(round)}`, collectOnce);
      this.world.pass(graceMs + 1000);
      const names = this.auditor.reader
        .keys()
        .map((key) => `${key} ${this.auditor.reader.segment(key)?.segment.footer.kind ?? ''}`)
        .join();
      if (round > 3 && names === keysBefore) break;
      keysBefore = names;
    }
    await this.alone('last-reader', readAll);
    checkEnd(this.auditor, this.tally);
    const there = await Array.fromAsync(this.#stores.base.list(''));
    const known = this.auditor.reader.keys();
    if (there.map(({ key }) => key).join() !== known.join())
      throw new Violation('the store has other objects than were put');
  }
}
