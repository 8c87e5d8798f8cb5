/**
 * A group with the real engine, logs and volumes, in the simulated world, in which nothing fails but what a test has fail. Time is
 * virtual: `until` lets it pass.
 */
import { Catalog, createStore, readHead, type Head, type VolumeEntry } from '../../../src/core/blockstore/index.ts';
import type { BlockStoreOptions } from '../../../src/core/blockstore/index.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import type { GroupDocument } from '../../../src/core/protocol/index.ts';
import type { GroupVolumeReport } from '../../../src/core/replication/index.ts';
import { ACCOUNTS } from '../../sim/disk-state.ts';
import { FaultPlan } from '../../sim/fault-plan.ts';
import { newMachine, SimMember, type HostCall, type Machine } from '../../sim/groups/sim-member.ts';
import { SimNetwork } from '../../sim/groups/sim-network.ts';
import { Choices } from '../../sim/random.ts';
import { SimStore } from '../../sim/sim-store.ts';
import { Tally } from '../../sim/tally.ts';
import { World, type Process } from '../../sim/world.ts';

export const PAGE = 4096;
const SIZE_BYTES = 16 * PAGE;
const TIMES = { termMs: 4000, renewMs: 1000, marginMs: 500 };
const WITHIN_MS = 60_000;

/** Nothing happens by chance. */
class Calm extends Choices {
  override chance(): boolean {
    return false;
  }
}

export class CalmGroup {
  readonly world = new World({ choices: new Calm(1), plan: new FaultPlan({ rates: {} }), tally: new Tally() });
  readonly network = new SimNetwork(this.world, new Calm(2));
  readonly machines: readonly Machine[];
  /** Calls of the hosts, by the ids of their members. */
  readonly calls: { readonly id: string; readonly call: HostCall; readonly atMs: number }[] = [];
  /** Throws what a call of a host fails with. */
  onHost: (id: string, call: HostCall) => void = () => undefined;
  readonly #base = memoryStore();
  readonly #members = new Map<string, SimMember>();
  readonly #replicas: number;
  #entry!: VolumeEntry;

  private constructor(count: number, replicas: number) {
    this.machines = Array.from({ length: count }, (_, i) => newMachine(`sgw-0000000${String(i + 1)}`, new Calm(i)));
    this.#replicas = replicas;
    this.world.stepMsMax = 1;
    this.world.turns = 2;
    this.network.delayMsMax = 2;
  }

  /** So many members, of which the first holds the volume, with all replicas in sync. */
  static async start(count: number, replicas = count - 1): Promise<CalmGroup> {
    const group = new CalmGroup(count, replicas);
    await group.#begin();
    return group;
  }

  async #begin(): Promise<void> {
    const options = { ...this.#blocksOf(this.world.newProcess('setup')), objects: this.#base };
    await createStore(options);
    this.#entry = await new Catalog(options).createVolume({ name: 'v', sizeBytes: SIZE_BYTES, accountId: ACCOUNTS[0] });
    const [first, ...others] = this.machines;
    this.start(first?.id ?? '');
    await this.until('the first holds it', () => this.member(0).holds);
    for (const { id } of others) this.start(id);
    await this.inSync(this.#replicas);
  }

  #blocksOf(process: Process): BlockStoreOptions {
    const { world } = this;
    const objects = new SimStore({ world, process, base: this.#base, listPage: 20 });
    return { objects, clock: world.clockOf(process), random: new Calm(process.name.length).random };
  }

  get #document(): GroupDocument {
    return {
      ...{ groupId: 'grp-00000001', name: 'g', accountId: ACCOUNTS[0], version: 1, createdAt: '2026-01-01T00:00:00Z' },
      members: this.machines.map(({ id }) => ({ gatewayId: id, name: id, keyFingerprint: '', address: null })),
      volumes: [
        {
          ...{ volumeId: this.#entry.volumeId, exportName: 'v', preferredHolder: null, allowLoss: false },
          ...{ ack: 'peer', replicas: this.#replicas, whenDegraded: 'continue' },
        },
      ],
    };
  }

  start(id: string): void {
    const machine = this.machines.find((one) => one.id === id);
    if (machine === undefined) throw new Error(`there is no machine ${id}`);
    const { world } = this;
    const process = world.newProcess(id);
    process.weight = 1;
    const member = new SimMember({
      ...{ world, process, machine, entry: this.#entry, group: this.#document, times: TIMES, crashRate: 0 },
      choices: new Calm(Number(id.slice(-1))),
      blocks: this.#blocksOf(process),
      network: this.network.of(id, process),
      onHost: (call) => {
        this.calls.push({ id, call, atMs: world.nowMs });
        this.onHost(id, call);
      },
    });
    this.#members.set(id, member);
    void member.replication.start();
  }

  startAgain(index: number): void {
    this.start(this.machine(index).id);
  }

  machine(index: number): Machine {
    const machine = this.machines[index];
    if (machine === undefined) throw new Error(`there is no machine ${String(index)}`);
    return machine;
  }

  /** Where the own log of a member has a page full of `value`. */
  placeOf(
    index: number,
    value: number,
    which: 'own' | 'replica' = 'own',
  ): { readonly name: string; readonly page: number } {
    const disk = this.machine(index)[which];
    for (const name of disk.files.keys()) {
      const at = disk.bytesOf(name).indexOf(Buffer.alloc(PAGE, value));
      if (at >= 0) return { name, page: at / PAGE };
    }
    throw new Error(`no file has a page of ${String(value)}`);
  }

  member(index: number): SimMember {
    const member = this.#members.get(this.machine(index).id);
    if (member === undefined) throw new Error(`member ${String(index)} does not run`);
    return member;
  }

  /** Its process ends. */
  kill(index: number): void {
    const { id, parts } = this.member(index);
    this.world.crash(parts.process);
    this.#members.delete(id);
    const { machine } = parts;
    machine.own = machine.own.afterKill();
    machine.replica = machine.replica.afterKill();
    this.network.died(id);
  }

  /** Lets time pass until `done`. */
  async until(what: string, done: () => boolean, withinMs = WITHIN_MS): Promise<void> {
    const endMs = this.world.nowMs + withinMs;
    while (!done()) {
      if (this.world.nowMs > endMs) throw new Error(`in vain until ${what}\n${this.world.trace.join('\n')}`);
      await this.world.step();
    }
  }

  async pass(durationMs: number): Promise<void> {
    const endMs = this.world.nowMs + durationMs;
    await this.until('time has passed', () => this.world.nowMs >= endMs);
  }

  /** What `promise` resolves with, as time passes. */
  async run<T>(promise: Promise<T>): Promise<T> {
    const seen = { isDone: false };
    const note = (): void => {
      seen.isDone = true;
    };
    promise.then(note, note);
    await this.until('a call has ended', () => seen.isDone);
    return await promise;
  }

  /** Until so many replicas are in the set, as the head has it. */
  async inSync(replicas: number): Promise<void> {
    for (const endMs = this.world.nowMs + WITHIN_MS; ;) {
      const { inSync } = await this.head();
      if (inSync.length === replicas + 1) return;
      if (this.world.nowMs > endMs) throw new Error(`in the set are ${inSync.join(', ')}`);
      await this.pass(50);
    }
  }

  async head(): Promise<Head> {
    const options = { ...this.#blocksOf(this.world.newProcess('reader')), objects: this.#base };
    return (await readHead(options, this.#entry.volumeId)).value;
  }

  async report(index: number): Promise<GroupVolumeReport> {
    const [report] = await this.member(index).replication.report();
    if (report === undefined) throw new Error('the group looks after a volume');
    return report;
  }

  /** The operator has the member take the volume over, whatever it lacks. */
  async acceptLoss(index: number): Promise<void> {
    await this.member(index).replication.failOver(this.#entry.volumeId, undefined, true, new AbortController().signal);
  }

  /** Writes a page full of `value` at the member, and flushes it. */
  async write(index: number, page: number, value: number): Promise<void> {
    const { serving } = this.member(index);
    if (serving === undefined) throw new Error('it serves nothing');
    await this.run(Promise.resolve(serving.write(page * PAGE, Buffer.alloc(PAGE, value))));
    await this.run(Promise.resolve(serving.flush()));
  }

  /** The first byte of a page, read at the member. */
  async read(index: number, page: number): Promise<number | undefined> {
    const bytes = Buffer.alloc(PAGE);
    await this.run(Promise.resolve(this.member(index).serving?.read(page * PAGE, bytes)));
    return bytes[0];
  }
}
