/**
 * A group of three gateways under faults: `npm run soak -- --groups`. Clients write and read numbered pages through `sgw volume connect`
 * with `ack=peer`, and ask each member directly all the while; whatever they see must be linearizable, page by page, and nobody above
 * `volume connect` may see an error. What is measured is how long nothing was answered.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../../src/core/kit/index.ts';
import { NbdClient } from '../served/nbd-client.ts';
import { PAGE, stampOf } from '../served/stamps.ts';
import { placeIn, RUN } from '../verb.ts';
import { FAULTS, type FaultName, type Scene } from './faults.ts';
import { History } from './history.ts';
import { FollowedLoad, Probe, type LoadParts } from './load.ts';
import { Member } from './member.ts';
import { makeNetwork, type Network } from './net.ts';

const MEMBERS = 3;
const PAGES = 2048;
const VOLUME = 'disk';
/** How long nothing may be answered after a fault that others go on from, and at all. */
const RESUME_MS = 30_000;
const AT_LAST_MS = 120_000;
const IN_SYNC_MS = 120_000;

export interface GroupCounts {
  rounds: number;
  readonly faults: Partial<Record<FaultName, number>>;
  takeOvers: number;
  writes: number;
  reads: number;
  flushes: number;
  /** Answers that members gave to who asked them directly. */
  probed: number;
  /** How long nothing was answered after each fault that hit the holder, milliseconds. */
  readonly pausesMs: Partial<Record<FaultName, number[]>>;
}

export const groupCounts = (): GroupCounts => ({
  rounds: 0,
  faults: {},
  takeOvers: 0,
  writes: 0,
  reads: 0,
  flushes: 0,
  probed: 0,
  pausesMs: {},
});

const HITS_THE_HOLDER = ['holder killed', 'holder stopped', 'holder cut off', 'holder cut off one way'] as const;

/** Of rounds in which the holder was killed, stopped or cut off, however shortly. */
export const pausesOfHolders = (pausesMs: GroupCounts['pausesMs']): readonly number[] =>
  HITS_THE_HOLDER.flatMap((name) => pausesMs[name] ?? []);

export interface GroupOptions {
  readonly folder: string;
  readonly random: Random;
  readonly counts: GroupCounts;
  readonly goesOn: () => boolean;
  readonly onRound?: (line: string) => void;
  /** These faults alone. */
  readonly only?: readonly FaultName[];
}

/** Runs rounds until `goesOn` says no. @throws Error at the first thing that is lost, stale, or stuck */
export async function runGroups(options: GroupOptions): Promise<void> {
  const network = makeNetwork(MEMBERS);
  const era = new GroupEra(options, network);
  try {
    await era.begin();
    while (options.goesOn()) await era.round();
    await era.end();
    await era.destroy();
    await era.removeDisks();
  } catch (error) {
    await era.tell();
    throw error;
  } finally {
    await era.destroy();
    network.remove();
  }
}

interface Shown {
  readonly volumes: readonly {
    readonly holder: { readonly name: string } | null;
    readonly epoch: number | null;
    readonly replicaStates: readonly { readonly state: string }[] | null;
  }[];
}

class GroupEra implements Scene {
  readonly members: readonly Member[];
  readonly network: Network;
  readonly random: Random;
  readonly store: string;
  readonly volume = VOLUME;
  readonly #options: GroupOptions;
  readonly #history = new History(PAGES);
  readonly #socket: string;
  readonly #startedMs = performance.now();
  #connect: ChildProcess | undefined;
  #connectSaid = '';
  #client: NbdClient | undefined;
  #nextNumber = 1;
  #epoch = 0;

  constructor(options: GroupOptions, network: Network) {
    this.#options = options;
    this.network = network;
    this.random = options.random;
    this.store = join(options.folder, 'store');
    this.#socket = join(options.folder, 'connect.sock');
    this.members = Array.from({ length: MEMBERS }, (_, i) => new Member(options.folder, i + 1, network));
  }

  async begin(): Promise<void> {
    mkdirSync(this.store, { recursive: true });
    const [first] = this.members;
    if (first === undefined) throw new Error('there are members');
    for (const member of this.members) {
      await member.sgw('activate', '--name', member.name, '--store', this.store);
      await member.sgw('configure', '--peer-listen', `${this.network.addressOf(member.number)}:0`);
    }
    await first.sgw('volume', 'create', VOLUME, '--size', String(PAGES * PAGE));
    await first.sgw('volume', 'configure', VOLUME, '--buffer', '64MiB', '--seal-interval', '1s');
    await first.sgw('group', 'create', 'rack');
    for (const member of this.members) await first.sgw('group', 'add', 'rack', member.name);
    for (const member of this.members) await member.start();
    await first.sgw('volume', 'attach', VOLUME);
    await first.sgw('group', 'assign', 'rack', VOLUME, '--replicas', String(MEMBERS - 1));
    await this.#inSync();
    await this.#startConnect();
  }

  async #startConnect(): Promise<void> {
    const from = this.members.map(({ socket }) => `unix:${socket}`).join(',');
    const { env } = placeIn(this.#options.folder, 'client');
    const words = ['volume', 'connect', VOLUME, '--listen', `unix:${this.#socket}`, '--from', from];
    const child = spawn(process.execPath, [RUN, ...words], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#connect = child;
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        this.#connectSaid = (this.#connectSaid + chunk.toString()).slice(-50_000);
      });
    for (const deadline = Date.now() + 30_000; ;) {
      try {
        this.#client = await NbdClient.connect(this.#socket, VOLUME);
        return;
      } catch (error) {
        if (child.exitCode !== null || Date.now() > deadline)
          throw new Error(`volume connect does not serve: ${this.#connectSaid}`, { cause: error });
        await delay(100);
      }
    }
  }

  async round(): Promise<void> {
    const { counts, onRound } = this.#options;
    const client = this.#client;
    if (client === undefined) throw new Error('it has begun');
    const name = this.#choose();
    counts.rounds += 1;
    counts.faults[name] = (counts.faults[name] ?? 0) + 1;
    const parts = this.#parts();
    const load = new FollowedLoad(parts, this.#nextNumber);
    const probes = this.members.map(({ name: who, socket }) => new Probe(parts, { who, socket, exportName: VOLUME }));
    load.start(client);
    for (const probe of probes) probe.start();
    await delay(300 + this.random.float() * 1200);
    const fault = { answered: Promise.resolve(0), goesOnAlone: false };
    load.beginPause();
    await FAULTS[name].run(this, (goesOn) => {
      fault.goesOnAlone = goesOn;
      fault.answered = load.answered(goesOn ? RESUME_MS : AT_LAST_MS);
      fault.answered.catch(() => undefined);
    });
    await fault.answered;
    const pauseMs = load.longestMs;
    if (fault.goesOnAlone) (counts.pausesMs[name] ??= []).push(pauseMs);
    await delay(this.random.float() * 1500);
    await load.answered(AT_LAST_MS);
    await load.stop();
    for (const probe of probes) await probe.stop();
    this.#nextNumber = load.nextNumber;
    counts.flushes += load.flushes;
    counts.probed += probes.reduce((sum, { answers }) => sum + answers, 0);
    await this.#inSync();
    await this.#readAll(client);
    counts.writes = this.#history.writes;
    counts.reads = this.#history.reads;
    onRound?.(
      `round ${String(counts.rounds)}: ${name}, nothing was answered for ${pauseMs.toFixed(0)} ms; epoch ${String(this.#epoch)}`,
    );
  }

  #choose(): FaultName {
    const names = (Object.keys(FAULTS) as FaultName[]).filter(
      (name) => FAULTS[name].isPossible(this) && this.#options.only?.includes(name) !== false,
    );
    const name = names[Math.floor(this.random.float() * names.length)];
    if (name === undefined) throw new Error('none of these faults can be done here');
    return name;
  }

  #parts(): LoadParts {
    const startedMs = this.#startedMs;
    return { random: this.random, history: this.#history, pages: PAGES, nowMs: () => performance.now() - startedMs };
  }

  /** Every page, as `volume connect` shows it when all is well again. */
  async #readAll(client: NbdClient): Promise<void> {
    const { nowMs } = this.#parts();
    for (let page = 0; page < PAGES; page += 64) {
      const beganMs = nowMs();
      const bytes = await client.read(page * PAGE, 64 * PAGE);
      const endedMs = nowMs();
      for (let i = 0; i < 64; i++) {
        const number = stampOf(page + i, bytes.subarray(i * PAGE, (i + 1) * PAGE));
        this.#history.read(page + i, number, beganMs, endedMs, 'the reader of all');
      }
    }
  }

  async holder(): Promise<Member> {
    for (const deadline = Date.now() + AT_LAST_MS; ;) {
      const shown = await this.#shown();
      const name = shown?.holder?.name;
      const member = this.members.find((one) => one.name === name);
      if (member?.isRunning === true) return member;
      if (Date.now() > deadline) throw new Error(`nobody holds the volume: ${JSON.stringify(shown)}`);
      await delay(100);
    }
  }

  /** As any member tells of it that runs. */
  async #shown(): Promise<Shown['volumes'][number] | undefined> {
    for (const member of this.members) {
      if (!member.isRunning) continue;
      const { exitCode, stdout } = await member.run('group', 'show', 'rack', '--json');
      if (exitCode !== 0) continue;
      const [volume] = (JSON.parse(stdout) as Shown).volumes;
      if (volume !== undefined) return volume;
    }
    return undefined;
  }

  /** Waits until all replicas are in sync. */
  async #inSync(): Promise<void> {
    for (const deadline = Date.now() + IN_SYNC_MS; ;) {
      const holder = await this.holder();
      const { stdout } = await holder.run('group', 'show', 'rack', '--json');
      const shown = stdout === '' ? undefined : (JSON.parse(stdout) as Shown).volumes[0];
      const inSync = shown?.replicaStates?.filter(({ state }) => state === 'in-sync').length ?? 0;
      if (shown !== undefined && inSync >= MEMBERS - 1) {
        const epoch = shown.epoch ?? 0;
        if (epoch > this.#epoch) this.#options.counts.takeOvers += this.#epoch === 0 ? 0 : 1;
        this.#epoch = epoch;
        return;
      }
      if (Date.now() > deadline) throw new Error(`not all replicas are in sync: ${JSON.stringify(shown)}`);
      await delay(200);
    }
  }

  async end(): Promise<void> {
    const { counts } = this.#options;
    counts.writes = this.#history.writes;
    counts.reads = this.#history.reads;
    const [first] = this.members;
    await first?.sgw('store', 'scrub');
  }

  /** What the members said last, and how they see the group now, for who looks into a failure. */
  async tell(): Promise<void> {
    const { folder } = this.#options;
    for (const member of this.members) {
      writeFileSync(join(folder, `${member.name}.log`), member.said);
      if (!member.isRunning) continue;
      const { stdout } = await member.run('group', 'show', 'rack', '--json');
      writeFileSync(join(folder, `${member.name}.group.json`), stdout);
    }
    writeFileSync(join(folder, 'connect.log'), this.#connectSaid);
    process.stderr.write(`what the members and volume connect said last: ${folder}/*.log, *.group.json\n`);
  }

  async destroy(): Promise<void> {
    this.#client?.close();
    this.#connect?.kill('SIGKILL');
    this.network.heal();
    for (const member of this.members) {
      if (member.disk.canPause) member.disk.goOn();
      member.signal('SIGCONT');
      await member.kill();
    }
  }

  /** Lets go of the disks: when nothing in them is to be looked at any more. */
  async removeDisks(): Promise<void> {
    for (const { disk } of this.members) await disk.remove();
  }
}
