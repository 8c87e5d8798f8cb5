/** A group of gateways on this machine, each a daemon with a home of its own over one store, and its clients. */
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { daemonFirst } from '../../src/core/client/index.ts';
import { openInProcess } from '../../src/core/daemon/index.ts';
import { seededRandom, toSgwError } from '../../src/core/kit/index.ts';
import type { GroupShown, Input, LocalApi, OperationName, Result } from '../../src/core/localapi/index.ts';
import { HomeRig, isAlive, until } from '../cli/gateway-rig.ts';
import { History } from '../soak/groups/history.ts';
import { FollowedLoad, type LoadParts } from '../soak/groups/load.ts';
import { NbdClient } from '../soak/served/nbd-client.ts';
import { PAGE, stampOf } from '../soak/served/stamps.ts';
import { Connected } from './connected.ts';

const WITHIN_MS = 90_000;
const VOLUME = 'disk';
const GROUP = 'rack';
/** One read of those that look at all pages. */
const AT_ONCE = 64;
const open = daemonFirst(openInProcess);

type ShownVolume = GroupShown['volumes'][number];

export class GroupMember {
  readonly name: string;
  readonly rig: HomeRig;

  constructor(name: string, within: readonly string[] = []) {
    this.name = name;
    this.rig = new HomeRig(name, within);
  }

  get socket(): string {
    return path.join(this.rig.home, 'nbd.sock');
  }

  get isRunning(): boolean {
    const pid = this.rig.daemonPid();
    return pid !== undefined && isAlive(pid);
  }

  /** A call as a command makes it: to the daemon, or without one. */
  async call<N extends OperationName>(name: N, input: Input<N>): Promise<Result<N>> {
    const api: LocalApi = await open({ home: this.rig.home, lockTimeoutMs: 30_000 });
    try {
      const { signal } = new AbortController();
      return await api.call(name, input, { signal, onProgress: () => undefined, lockTimeoutMs: 30_000 });
    } finally {
      await api[Symbol.asyncDispose]();
    }
  }

  /** The code that a call fails with; `done` when it does not. */
  async codeOf<N extends OperationName>(name: N, input: Input<N>): Promise<string> {
    return await this.call(name, input).then(
      () => 'done',
      (error: unknown) => toSgwError(error).code,
    );
  }

  async start(): Promise<void> {
    await this.rig.ok('gateway', 'start');
  }

  signal(signal: NodeJS.Signals): void {
    const pid = this.rig.daemonPid();
    if (pid === undefined) throw new Error(`${this.name} does not run`);
    process.kill(pid, signal);
  }

  async kill(): Promise<void> {
    const pid = this.rig.daemonPid();
    if (pid === undefined || !isAlive(pid)) return;
    process.kill(pid, 'SIGKILL');
    await until(`${this.name} is dead`, () => !isAlive(pid));
  }
}

interface GroupWishes {
  readonly sizeBytes: number;
  readonly replicas: number;
  /** What is put before the commands of the nth member, from 0 on. */
  readonly within?: (index: number) => readonly string[];
  /** Otherwise than over a store that they share. */
  readonly activate?: (member: GroupMember, index: number) => Promise<void>;
  /** Has the first member make the volume and serve it, otherwise than as an empty one in mode cached. */
  readonly attach?: (first: GroupMember) => Promise<void>;
  /** Otherwise than by the first member. */
  readonly assign?: (group: GroupRig) => Promise<void>;
}

export class GroupRig implements AsyncDisposable {
  readonly members: readonly GroupMember[];

  private constructor(names: readonly string[], within: GroupWishes['within']) {
    this.members = names.map((name, index) => new GroupMember(name, within?.(index)));
  }

  /** A group of `names` over the store of the first, and volume `disk`, which the first holds, with all replicas in sync. */
  static async start(names: readonly string[], wishes: GroupWishes): Promise<GroupRig> {
    const group = new GroupRig(names, wishes.within);
    try {
      await group.#begin(wishes);
    } catch (error) {
      await group[Symbol.asyncDispose]();
      throw error;
    }
    return group;
  }

  async #begin({ sizeBytes, replicas, activate, attach, assign }: GroupWishes): Promise<void> {
    const [first] = this.members;
    if (first === undefined) throw new Error('a group has members');
    for (const [index, member] of this.members.entries())
      await (activate === undefined ? this.#activate(member) : activate(member, index));
    await first.call('group.create', { name: GROUP });
    for (const { name } of this.members) await first.call('group.add', { group: GROUP, gateway: name });
    await Promise.all(this.members.map(async (member) => member.start()));
    if (attach === undefined) {
      await first.call('volume.create', { name: VOLUME, sizeBytes });
      await first.call('volume.attach', { volume: VOLUME });
    } else await attach(first);
    if (assign === undefined) await first.call('group.assign', { group: GROUP, volume: VOLUME, replicas });
    else await assign(this);
    await this.inSync(replicas);
  }

  async #activate(member: GroupMember): Promise<void> {
    const [first] = this.members;
    const store = member === first ? {} : { store: path.join(first?.rig.home ?? '', 'store') };
    await member.call('activate', { name: member.name, mode: 'cached', ...store });
  }

  get store(): string {
    return path.join(this.members[0]?.rig.home ?? '', 'store');
  }

  /** As a member tells of the volume. */
  async shownBy(member: GroupMember): Promise<ShownVolume> {
    const [volume] = (await member.call('group.show', { group: GROUP })).volumes;
    if (volume === undefined) throw new Error('the group looks after no volume');
    return volume;
  }

  async assign(wish: Omit<Input<'group.assign'>, 'group' | 'volume'>): Promise<void> {
    await (await this.holder()).call('group.assign', { group: GROUP, volume: VOLUME, ...wish });
  }

  /** The member that holds the volume, by its own word. */
  async holder(): Promise<GroupMember> {
    return await this.waitFor('a running member holds the volume', async () => {
      for (const member of this.members) {
        if (!member.isRunning) continue;
        const { holder, replicaStates } = await this.shownBy(member);
        if (holder?.name === member.name && replicaStates !== null) return member;
      }
      return undefined;
    });
  }

  async others(): Promise<GroupMember[]> {
    const holder = await this.holder();
    return this.members.filter((member) => member !== holder);
  }

  /** Waits until so many replicas are in sync. */
  async inSync(replicas: number): Promise<ShownVolume> {
    return await this.waitFor(`${String(replicas)} replicas are in sync`, async () => {
      const shown = await this.shownBy(await this.holder());
      const inSync = shown.replicaStates?.filter(({ state }) => state === 'in-sync').length ?? 0;
      return inSync >= replicas ? shown : undefined;
    });
  }

  /** What `look` finds, once it finds something; a look that fails is one in vain. */
  async waitFor<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
    let last: unknown;
    for (const endMs = Date.now() + WITHIN_MS; Date.now() < endMs;) {
      try {
        const found = await look();
        if (found !== undefined) return found;
      } catch (error) {
        last = error;
      }
      await delay(100);
    }
    throw new Error(`waited in vain until ${what}`, { cause: last });
  }

  /** Starts who does not run, and waits for the replicas. */
  async settle(replicas: number): Promise<ShownVolume> {
    await Promise.all(this.members.filter(({ isRunning }) => !isRunning).map(async (member) => member.start()));
    return await this.inSync(replicas);
  }

  /** Follows the volume; ready when it resolves. */
  async connect(): Promise<Connected> {
    const [first] = this.members;
    if (first === undefined) throw new Error('a group has members');
    const from = this.members.map(({ socket }) => `unix:${socket}`).join(',');
    const connected = new Connected(first.rig, VOLUME, '--from', from);
    await connected.ready();
    return connected;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const member of this.members) if (member.isRunning) member.signal('SIGCONT');
    // The store is in the first.
    for (const member of this.members.toReversed()) await member.rig[Symbol.asyncDispose]();
  }
}

/** A load through `volume connect`, whose history must be that of one disk, and which sees no error. */
export class FollowingClient implements Disposable {
  readonly #client: NbdClient;
  readonly #parts: LoadParts;
  #load: FollowedLoad;
  #nextNumber = 1;

  private constructor(client: NbdClient, pages: number, seed: number) {
    this.#client = client;
    const startedMs = performance.now();
    const nowMs = (): number => performance.now() - startedMs;
    this.#parts = { random: seededRandom(seed), history: new History(pages), pages, nowMs };
    this.#load = new FollowedLoad(this.#parts, this.#nextNumber);
  }

  static async of(socket: string, pages: number, seed = 1): Promise<FollowingClient> {
    return new FollowingClient(await NbdClient.connect(socket, VOLUME), pages, seed);
  }

  get writes(): number {
    return this.#parts.history.writes;
  }

  /**
   * Runs `during` under load, and for a moment before and after.
   * @returns the longest time in which nothing was answered, from the begin of `during` on, milliseconds
   * @throws Error when a request fails, or a read shows what it may not
   */
  async under(during: () => Promise<void>): Promise<number> {
    this.#load = new FollowedLoad(this.#parts, this.#nextNumber);
    const load = this.#load;
    load.start(this.#client);
    try {
      await load.answered(WITHIN_MS);
      await delay(500);
      load.beginPause();
      await during();
      await load.answered(WITHIN_MS);
      await delay(500);
      return load.longestMs;
    } finally {
      await load.stop();
      this.#nextNumber = load.nextNumber;
    }
  }

  /** Reads every page. @throws Error when one shows what it may not */
  async checkAll(): Promise<void> {
    const { pages, nowMs, history } = this.#parts;
    for (let page = 0; page < pages; page += AT_ONCE) {
      const beganMs = nowMs();
      const bytes = await this.#client.read(page * PAGE, AT_ONCE * PAGE);
      const endedMs = nowMs();
      for (let i = 0; i < AT_ONCE; i++) {
        const number = stampOf(page + i, bytes.subarray(i * PAGE, (i + 1) * PAGE));
        history.read(page + i, number, beganMs, endedMs, 'the reader of all');
      }
    }
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}
