/**
 * Members of a group, with the real engine, real logs and real cached volumes, over a simulated network, disks that forget, clocks
 * that differ, and a store that fails: killed, stopped, without power, cut off from each other and from the store, and failed over as
 * planned, at random. Clients read and write registers (pages) at whoever serves the volume, also at one that should not any more.
 *
 * Held: what clients saw of each register is linearizable, the end included, where everybody is up and the volume is served again;
 * and no two members hold a valid lease at one time. No power is cut that would take the last whole copy of what was not flushed.
 */
import {
  Catalog,
  createStore,
  readHead,
  type BlockStoreOptions,
  type VolumeEntry,
} from '../../../src/core/blockstore/index.ts';
import { SgwError } from '../../../src/core/kit/index.ts';
import {
  memoryStore,
  type GetOptions,
  type ObjectBody,
  type ObjectStore,
  type PutBody,
  type PutOptions,
  type PutResult,
} from '../../../src/core/objectstore/index.ts';
import { StoreLayer } from '../../../src/core/objectstore/layer.ts';
import type { GroupDocument } from '../../../src/core/protocol/index.ts';
import { notLinearizable, type RegisterCall } from '../../support/linear.ts';
import { ACCOUNTS } from '../disk-state.ts';
import { FaultPlan } from '../fault-plan.ts';
import { Choices } from '../random.ts';
import { SimStore } from '../sim-store.ts';
import { Tally } from '../tally.ts';
import { Violation } from '../volume-ledger.ts';
import { World, type Process } from '../world.ts';
import { newMachine, SimMember, type Machine } from './sim-member.ts';
import { SimNetwork } from './sim-network.ts';

/** A store that is out of reach at times. */
class AwayStore extends StoreLayer {
  readonly #reach: () => Promise<void>;

  constructor(below: ObjectStore, reach: () => Promise<void>) {
    super(below);
    this.#reach = reach;
  }

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    await this.#reach();
    return await super.put(key, body, options);
  }

  override async get(key: string, options?: GetOptions): Promise<ObjectBody | undefined> {
    await this.#reach();
    return await super.get(key, options);
  }
}

const PAGE_BYTES = 4096;
const REGISTERS = 5;
const CLIENTS = 4;
/** A client gives a call up, which may have happened all the same. */
const PATIENCE_MS = 4000;
/** After the last fault, until the volume is served again. */
const RECOVERY_MS = 60_000;
const TIMES = { termMs: 4000, renewMs: 1000, marginMs: 500 };

export interface GroupsOptions {
  readonly seed: number;
  /** Of virtual time, with faults. */
  readonly busyMs: number;
  readonly traceLines?: number;
}

export interface GroupsResult {
  readonly seed: number;
  readonly traceHash: string;
  readonly trace: readonly string[];
  readonly tally: Tally;
  readonly failure: Error | undefined;
}

/** A request of a client, until it has ended. */
interface Request {
  readonly process: Process;
  readonly what: string;
}

type Call = { -readonly [K in keyof RegisterCall]: RegisterCall[K] };

export class GroupsSimulation {
  readonly choices: Choices;
  readonly world: World;
  readonly tally = new Tally();
  readonly #options: GroupsOptions;
  readonly #network: SimNetwork;
  readonly #base: ObjectStore = memoryStore();
  readonly #machines: Machine[];
  readonly #members = new Map<string, SimMember>();
  readonly #away = new Set<string>();
  readonly #histories: Call[][] = Array.from({ length: REGISTERS }, () => []);
  readonly #clients: Process;
  readonly #waiting = new Set<Request>();
  /** How often a client flushes after a call, by the seed: many flushes wait at one time, or hardly one. */
  readonly #flushChance: number;
  #entry!: VolumeEntry;
  #group!: GroupDocument;
  #moment = 0;
  #lastValue = 0;
  #starts = 0;
  #closing = false;
  #failure: Error | undefined;

  constructor(options: GroupsOptions) {
    const { seed } = options;
    this.#options = options;
    this.choices = Choices.named(seed, 'groups');
    const { choices } = this;
    const rate = (...of: readonly number[]): number => choices.pick(of);
    this.world = new World({
      choices: Choices.named(seed, 'world'),
      plan: new FaultPlan({
        rates: {
          error500: rate(0, 0.01, 0.05),
          lostReply: rate(0, 0.02, 0.1),
          lateApply: rate(0, 0.01, 0.05),
          delay: rate(0, 0.02),
          crash: rate(0, 0, 0.003),
        },
        delayMaxMs: 3000,
        lateMaxMs: 20_000,
      }),
      tally: this.tally,
      onCrash: (process) => {
        this.#crashed(process);
      },
    });
    this.world.stepMsMax = 1;
    this.world.turns = 2;
    if (options.traceLines !== undefined) this.world.traceLines = options.traceLines;
    this.#network = new SimNetwork(this.world, Choices.named(seed, 'network'));
    this.#network.delayMsMax = choices.pick([2, 10, 60]);
    const count = choices.pick([2, 3, 3]);
    this.#machines = Array.from({ length: count }, (_, i) => newMachine(`sgw-0000000${String(i + 1)}`, choices));
    this.#clients = this.world.newProcess('clients');
    this.#flushChance = Choices.named(seed, 'flushes').pick([0.05, 0.1, 0.5]);
  }

  readonly #fail = (error: unknown): void => {
    this.#failure ??= error instanceof Error ? error : new Error(String(error));
  };

  /** What it finds is in the result. */
  async run(): Promise<GroupsResult> {
    try {
      await this.#setUp();
      const endMs = this.world.nowMs + this.#options.busyMs;
      await this.#stepUntil(() => this.world.nowMs >= endMs, 'the busy part does not end');
      await this.#settle();
      this.#check();
    } catch (error) {
      this.#fail(error);
    }
    const { traceHash, trace } = this.world;
    return { seed: this.#options.seed, traceHash, trace, tally: this.tally, failure: this.#failure };
  }

  async #setUp(): Promise<void> {
    const setUp = this.world.newProcess('setup');
    const options = { ...this.#blocksOf(setUp, 'setup'), objects: this.#base };
    await createStore(options);
    const sizeBytes = 16 * PAGE_BYTES;
    this.#entry = await new Catalog(options).createVolume({ name: 'v', sizeBytes, accountId: ACCOUNTS[0] });
    this.#group = this.#groupDocument();
    for (const machine of this.#machines) this.#start(machine);
    for (let i = 0; i < CLIENTS; i++)
      this.#client(Choices.named(this.#options.seed, `client ${String(i)}`)).catch(this.#fail);
    this.#chaos().catch(this.#fail);
  }

  #groupDocument(): GroupDocument {
    return {
      ...{ groupId: 'grp-00000001', name: 'g', accountId: ACCOUNTS[0], version: 1, createdAt: '2026-01-01T00:00:00Z' },
      members: this.#machines.map(({ id }) => ({ gatewayId: id, name: id, keyFingerprint: '', address: null })),
      volumes: [
        {
          ...{ volumeId: this.#entry.volumeId, exportName: 'v', preferredHolder: null, allowLoss: false },
          ack: this.choices.integer(1, 8) === 1 ? 'store' : 'peer',
          replicas: this.choices.integer(1, this.#machines.length - 1),
          whenDegraded: 'continue',
        },
      ],
    };
  }

  #blocksOf(process: Process, id: string): BlockStoreOptions {
    const { world, choices } = this;
    const simulated = new SimStore({ world, process, base: this.#base, listPage: 20 });
    const away = this.#away;
    const objects = new AwayStore(simulated, async () => {
      if (!away.has(id)) return;
      await world.sleep(process, choices.integer(1, 500));
      throw new SgwError('unavailable', 'store-away', 'the store is out of reach');
    });
    return {
      objects,
      clock: world.clockOf(process),
      random: Choices.named(this.#options.seed, process.name).random,
    };
  }

  #start(machine: Machine): void {
    const { world } = this;
    const process = world.newProcess(`${machine.id.slice(-1)}#${String((this.#starts += 1))}`);
    process.weight = 1;
    const member = new SimMember({
      ...{ world, process, machine, entry: this.#entry, group: this.#group, times: TIMES },
      choices: Choices.named(this.#options.seed, `${process.name} choices`),
      blocks: this.#blocksOf(process, machine.id),
      network: this.#network.of(machine.id, process),
      crashRate: this.#closing ? 0 : 0.0005,
    });
    this.#members.set(machine.id, member);
    world.note(`${process.name} starts`);
    member.replication.start().catch((error: unknown) => {
      if (process.alive) this.#fail(error);
    });
  }

  #crashed(process: Process): void {
    const member = [...this.#members.values()].find((one) => one.parts.process === process);
    if (member === undefined) return;
    const { machine } = member.parts;
    this.#members.delete(machine.id);
    machine.own = machine.own.afterKill();
    machine.replica = machine.replica.afterKill();
    this.#network.died(machine.id);
    this.tally.event('processes ended');
    const awayMs = this.#closing ? 100 : this.choices.durationMs(50, 12_000);
    this.world.later(awayMs, `restart of ${machine.id}`, () => {
      this.#start(machine);
    });
  }

  /** A power cut that leaves a whole copy elsewhere, of everything that was acknowledged. */
  async #cutPower(member: SimMember): Promise<void> {
    const { machine, process } = member.parts;
    const { inSync } = (
      await readHead({ ...this.#blocksOf(process, 'god'), objects: this.#base }, this.#entry.volumeId)
    ).value;
    const isCopy = (other: SimMember): boolean =>
      other !== member &&
      other.parts.process.alive &&
      inSync.includes(other.id) &&
      (other.holds || (other.replicaLog?.failure === undefined && other.replicaLog?.position.isWhole === true));
    if (!process.alive || ![...this.#members.values()].some(isCopy)) return;
    this.tally.event('power cuts');
    this.world.note(`${process.name} loses its power`);
    this.world.crash(process);
    const { random } = this.choices;
    machine.bootId = random.bytes(16).toString('hex');
    for (const which of ['own', 'replica'] as const) {
      machine[which] = machine[which].afterCut(random, this.choices.pick([512, 4096]));
      machine[which].bootId = machine.bootId;
    }
  }

  async #chaos(): Promise<void> {
    const clock = this.world.clockOf(this.#clients);
    for (;;) {
      await clock.sleep(this.choices.durationMs(300, 8000));
      if (this.#closing) return;
      const member = this.#members.get(this.choices.pick(this.#machines).id);
      if (member !== undefined) await this.#harm(member);
    }
  }

  async #harm(member: SimMember): Promise<void> {
    const { choices, world } = this;
    const { process, machine } = member.parts;
    const dice = choices.integer(0, 99);
    if (dice < 20) world.crash(process);
    else if (dice < 32) await this.#cutPower(member);
    else if (dice < 47) {
      process.stalledUntilMs = world.nowMs + choices.durationMs(200, 12_000);
      world.note(`${process.name} is stopped for ${String(process.stalledUntilMs - world.nowMs)} ms`);
      this.tally.event('stops');
    } else if (dice < 67) this.#cutLinks(machine.id);
    else if (dice < 80) this.#takeStoreAway();
    else if (dice < 92) this.#failOver([...this.#members.values()].find((one) => one.holds) ?? member);
    else this.#network.mend();
  }

  #cutLinks(id: string): void {
    const others = this.#machines.filter((other) => other.id !== id).map((other) => other.id);
    const cut = this.choices.chance(0.5) ? others : [this.choices.pick(others)];
    const ways = this.choices.integer(1, 3);
    this.world.note(`links of ${id} to ${cut.join(', ')} are cut, ways ${String(ways)}`);
    for (const other of cut) {
      if ((ways & 1) !== 0) this.#network.cut(id, other);
      if ((ways & 2) !== 0) this.#network.cut(other, id);
    }
    this.tally.event('cuts');
    this.world.later(this.choices.durationMs(200, 12_000), 'mended', () => {
      this.#network.mend();
    });
  }

  #takeStoreAway(): void {
    const ids = this.#machines.map(({ id }) => id);
    const away = this.choices.chance(0.5) ? ids : [this.choices.pick(ids)];
    for (const id of away) this.#away.add(id);
    this.world.note(`the store is away for ${away.join(', ')}`);
    this.tally.event('store away');
    this.world.later(this.choices.durationMs(500, 15_000), 'store', () => {
      for (const id of away) this.#away.delete(id);
    });
  }

  #failOver(member: SimMember): void {
    const others = this.#machines.filter(({ id }) => id !== member.id);
    const to = this.choices.chance(0.7) ? undefined : this.choices.pick(others).id;
    this.world.note(`${member.parts.process.name} is asked to fail over to ${to ?? 'anybody'}`);
    void this.world.sleep(member.parts.process, 0).then(async () => {
      try {
        await member.replication.failOver(this.#entry.volumeId, to, false, new AbortController().signal);
        this.tally.event('planned fail-overs');
      } catch (error) {
        if (!(error instanceof SgwError) || error.kind === 'internal') this.#fail(error);
        this.world.note(`the fail-over was refused: ${String(error)}`);
        this.tally.event(`fail-over refused: ${error instanceof SgwError ? error.code : 'bug'}`);
      }
    });
  }

  // Clients.

  #now(): number {
    return (this.#moment += 1);
  }

  async #client(choices: Choices): Promise<void> {
    const clock = this.world.clockOf(this.#clients);
    while (!this.#closing) {
      await clock.sleep(choices.integer(0, 60));
      const serving = [...this.#members.values()].filter((member) => member.serving !== undefined);
      if (serving.length === 0) continue;
      const target = choices.pick(serving);
      const done = this.#call(target, choices.integer(0, REGISTERS - 1), choices.integer(0, 9), choices);
      await Promise.race([done, clock.sleep(PATIENCE_MS)]);
    }
  }

  async #call(target: SimMember, register: number, dice: number, choices: Choices): Promise<void> {
    const { process } = target.parts;
    const isWrite = dice < 5;
    const value = isWrite ? (this.#lastValue += 1) : 0;
    const call: Call = { kind: isWrite ? 'write' : 'read', value, calledAt: this.#now(), answeredAt: null };
    this.#histories[register]?.push(call);
    await this.world.sleep(process, choices.integer(0, 5));
    const volume = target.serving;
    if (volume === undefined) return;
    const page = Buffer.alloc(PAGE_BYTES);
    try {
      if (isWrite) {
        page.writeUInt32LE(value, 0);
        const fua = choices.chance(0.15);
        await this.#request(process, 'write', volume.write(register * PAGE_BYTES, page, { fua }));
      } else await this.#request(process, 'read', volume.read(register * PAGE_BYTES, page));
      if (choices.chance(this.#flushChance)) this.#request(process, 'flush', volume.flush()).catch(() => undefined);
    } catch (error) {
      if (!(error instanceof SgwError) || error.kind === 'internal' || error.kind === 'corrupt') this.#fail(error);
      this.tally.event(`call failed: ${error instanceof SgwError ? error.code : 'bug'}`);
      return;
    }
    if (!process.alive) return;
    call.value = isWrite ? value : page.readUInt32LE(0);
    call.answeredAt = this.#now();
    this.world.note(
      `${process.name} answered ${call.kind} ${String(register)} = ${String(call.value)} (${String(call.calledAt)}-${String(call.answeredAt)})`,
    );
    this.tally.event(isWrite ? 'writes' : 'reads');
  }

  async #request(process: Process, what: string, work: Promise<void> | void): Promise<void> {
    const request = { process, what };
    this.#waiting.add(request);
    try {
      await work;
    } finally {
      this.#waiting.delete(request);
    }
  }

  /** What waits at members that live. */
  #waits(): string[] {
    return [...this.#waiting]
      .filter(({ process }) => process.alive)
      .map(({ process, what }) => `${process.name} ${what}`);
  }

  // The end.

  async #stepUntil(done: () => boolean, problem: string, withinMs = 600_000): Promise<void> {
    const limitMs = this.world.nowMs + withinMs;
    while (!done()) {
      if (this.world.nowMs > limitMs) throw new Violation(problem);
      await this.world.step();
      if (this.#failure !== undefined) throw this.#failure;
      const holding = [...this.#members.values()]
        .filter((member) => member.holds)
        .map(({ parts }) => parts.process.name);
      if (holding.length > 1) throw new Violation(`C27 ${holding.join(' and ')} both hold a lease`);
    }
  }

  async #settle(): Promise<void> {
    this.#closing = true;
    this.world.calm();
    this.#away.clear();
    this.#network.mend();
    for (const { parts } of this.#members.values()) parts.process.stalledUntilMs = 0;
    this.world.note('nothing fails any more');
    const fromMs = this.world.nowMs;
    await this.#allEnd();
    let left = REGISTERS;
    const read = async (register: number): Promise<void> => {
      const clock = this.world.clockOf(this.#clients);
      for (;;) {
        const target = [...this.#members.values()].find((member) => member.holds);
        const before = this.#histories[register]?.length ?? 0;
        if (target !== undefined)
          await Promise.race([this.#call(target, register, 9, this.choices), clock.sleep(PATIENCE_MS)]);
        const call = this.#histories[register]?.[before];
        if (typeof call?.answeredAt === 'number') break;
        await clock.sleep(200);
      }
      left -= 1;
    };
    for (let register = 0; register < REGISTERS; register++) read(register).catch(this.#fail);
    try {
      await this.#stepUntil(() => left === 0, 'nobody serves the volume when nothing fails any more', RECOVERY_MS);
    } catch (error) {
      for (const member of this.#members.values())
        this.world.note(`${member.parts.process.name}: ${JSON.stringify(await member.replication.report())}`);
      throw error;
    }
    this.tally.event('ms until served again, in the end', this.world.nowMs - fromMs);
  }

  /** Without a new request that would wake up those that wait. */
  async #allEnd(): Promise<void> {
    try {
      await this.#stepUntil(() => this.#waits().length === 0, 'requests of clients do not end', RECOVERY_MS);
    } catch (error) {
      this.world.note(`these wait: ${this.#waits().join(', ')}`);
      throw error;
    }
    this.tally.check('every request of a client ends');
  }

  #check(): void {
    this.#histories.forEach((calls, register) => {
      const problem = notLinearizable(calls, 0);
      if (problem !== undefined) throw new Violation(`C26 register ${String(register)}: ${problem}`);
      this.tally.check('a register is linearizable');
    });
  }
}
