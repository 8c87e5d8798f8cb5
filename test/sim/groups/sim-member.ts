/**
 * A gateway of the simulation: files that outlive its processes, and one process with the engine of its group and, where it holds the
 * volume, the volume itself. Clients come in by `serving`.
 */
import type { BlockStoreOptions, VolumeEntry } from '../../../src/core/blockstore/index.ts';
import { openFrameCache } from '../../../src/core/cache/index.ts';
import type { Logger, VolumeId } from '../../../src/core/kit/index.ts';
import type { GroupDocument, GroupVolume } from '../../../src/core/protocol/index.ts';
import {
  openReplication,
  type GroupTimes,
  type HeadCondition,
  type PeerNetwork,
  type Replication,
  type ReplicaLogs,
  type VolumeHost,
} from '../../../src/core/replication/index.ts';
import { gatedVolume, openCachedVolume, type GatedVolume } from '../../../src/core/volume/index.ts';
import {
  findLog,
  openLog,
  openReplicaLog,
  positionFound,
  type FoundPosition,
  type ReplicaLog,
} from '../../../src/core/writelog/index.ts';
import { ForgetfulLogDisk } from '../../fault/forgetful-log-disk.ts';
import { ACCOUNTS } from '../disk-state.ts';
import type { Choices } from '../random.ts';
import { ForgetfulCacheDisk, simCacheDisk } from '../served/forgetful-cache-disk.ts';
import { InlinePool } from '../served/inline-pool.ts';
import { DiskSteps, SimLogDisk } from '../served/sim-log-disk.ts';
import type { Process, World } from '../world.ts';

const FILE_BYTES = 32 * 4096;
const BUFFER_BYTES = 16 * FILE_BYTES;

/** What outlives the processes of a member. */
export interface Machine {
  readonly id: string;
  bootId: string;
  own: ForgetfulLogDisk;
  replica: ForgetfulLogDisk;
  /** Durable. */
  keptEpoch: number;
  /** Its clock against the world's. */
  readonly rate: number;
}

export function newMachine(id: string, choices: Choices): Machine {
  const bootId = choices.random.bytes(16).toString('hex');
  const empty = (): ForgetfulLogDisk => new ForgetfulLogDisk(new Map(), bootId);
  return { id, bootId, own: empty(), replica: empty(), keptEpoch: 0, rate: 1 + (choices.random.float() - 0.5) * 0.1 };
}

export interface MemberParts {
  readonly world: World;
  readonly process: Process;
  readonly machine: Machine;
  readonly choices: Choices;
  readonly blocks: BlockStoreOptions;
  readonly network: PeerNetwork;
  readonly entry: VolumeEntry;
  readonly group: GroupDocument;
  readonly times: GroupTimes;
  readonly crashRate: number;
  /** Called before the engine has its host do something; what it throws is what that fails with. */
  readonly onHost?: (call: HostCall) => void;
}

export type HostCall = 'promote' | 'demote' | 'own' | 'open' | 'adopt' | 'release';

export class SimMember {
  readonly parts: MemberParts;
  readonly replication: Replication;
  readonly #steps: DiskSteps;
  #served: GatedVolume | undefined;
  #replicaLog: ReplicaLog | undefined;

  constructor(parts: MemberParts) {
    this.parts = parts;
    const { world, process, machine, choices, blocks, network, group, times } = parts;
    this.#steps = new DiskSteps(parts);
    const note = (level: string) => (fields: object, message: string) => {
      world.note(`${process.name} ${level}: ${message} ${JSON.stringify(fields, plainErrors)}`);
    };
    const log: Logger = { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') };
    this.replication = openReplication({
      self: { gatewayId: machine.id, name: machine.id },
      clock: blocks.clock,
      leaseClock: () => world.nowMs * machine.rate,
      random: choices.random,
      log,
      times,
      blocks,
      network,
      exportsAt: () => [],
      book: {
        mine: async () => Promise.resolve(group),
        announce: async () => Promise.resolve(),
        permit: async () => Promise.resolve(),
      },
      host: this.#host(),
    });
  }

  get id(): string {
    return this.parts.machine.id;
  }

  /** What clients reach. */
  get serving(): GatedVolume | undefined {
    return this.#served;
  }

  /** Its replica log, while it is one and that is open. */
  get replicaLog(): ReplicaLog | undefined {
    return this.#served === undefined ? this.#replicaLog : undefined;
  }

  get holds(): boolean {
    return this.parts.process.alive && this.replication.holds(this.parts.entry.volumeId);
  }

  #disk(which: 'own' | 'replica'): SimLogDisk {
    return new SimLogDisk(this.parts.machine[which], this.#steps, () => {
      this.parts.world.tally.event(`${which} log set aside`);
    });
  }

  #host(): VolumeHost {
    const { machine } = this.parts;
    return {
      promote: async (volume, condition, _from, signal) => {
        await this.#promote(volume, condition, signal);
      },
      demote: async (volumeId, reason) => {
        const served = this.#served;
        if (served === undefined) return;
        served.fence(reason);
        await served.close({ drain: false }).catch(() => undefined);
        this.#served = undefined;
        this.parts.onHost?.('demote');
        this.replication.closed(volumeId);
        this.parts.world.tally.event('demotions');
      },
      gate: async (_volumeId, signal) => {
        const served = this.#served;
        if (served === undefined) throw new Error('not served');
        await served.closeGate(signal);
        return () => {
          served.openGate();
        };
      },
      failure: () => this.#served?.failure,
      drain: async (_volumeId, signal) => {
        await this.#served?.drain({ signal });
      },
      exportedAs: () => `as ${machine.id} serves it`,
      keepExport: async () => {
        await this.#steps.step('export kept');
      },
      keepEpoch: async (_volumeId, epoch) => {
        await this.#steps.step('epoch kept');
        machine.keptEpoch = epoch;
      },
      keptEpoch: async () => Promise.resolve(machine.keptEpoch),
      logs: this.#logs(),
    };
  }

  async #promote(volume: GroupVolume, condition: HeadCondition, signal: AbortSignal): Promise<void> {
    const { blocks, machine, choices, world, process } = this.parts;
    const { volumeId } = volume;
    this.parts.onHost?.('promote');
    if (this.#served?.failure !== undefined) await this.#served.close({ drain: false });
    else if (this.#served !== undefined) throw new Error(`${process.name} serves the volume already`);
    const sink = this.replication.sinkOf(volumeId, volume.ack);
    if (sink === undefined) throw new Error('no sink');
    await this.#beginLog(blocks, choices);
    const disk = this.#disk('own');
    const cache = await openFrameCache({
      directory: '',
      limits: { fileBytes: 40 * 16 * 4096, ramBytes: 12 * 16 * 4096 },
      clock: blocks.clock,
      random: blocks.random,
      disk: simCacheDisk(new ForgetfulCacheDisk(), this.#steps),
    });
    const served = await openCachedVolume({
      blocks,
      volumeId,
      holder: { gatewayId: machine.id, name: machine.id },
      accountId: ACCOUNTS[0],
      ...{ disk, cache, pool: new InlinePool(disk, this.#steps), sink, condition, signal },
      settings: { ack: volume.ack, bufferBytes: BUFFER_BYTES, sealIntervalMs: 5000, readAheadBytes: 0 },
      onWriter: (writer) => {
        this.replication.opened(volumeId, writer);
      },
      onEvent: (event) => {
        world.note(`${process.name} volume ${event.kind}`);
      },
    });
    this.#served = gatedVolume(served);
    world.tally.event('promotions');
    world.note(`${process.name} serves, epoch ${String(served.stats.epoch)}`);
  }

  /** A log keeps the size of the files that it was begun with. */
  async #beginLog(blocks: BlockStoreOptions, choices: Choices): Promise<void> {
    const { own } = this.parts.machine;
    if (own.files.size > 0) return;
    const incarnation = {
      incarnation: choices.random.bytes(8).toString('hex'),
      epoch: 0,
      baseSeq: 0,
      uploadedSequence: 0,
    };
    const found = await findLog(own);
    const log = await openLog({
      disk: own,
      found,
      capacityBytes: BUFFER_BYTES,
      fileBytes: FILE_BYTES,
      clock: blocks.clock,
      incarnation,
    });
    await log.close();
  }

  #logs(): ReplicaLogs {
    const { machine, blocks, world } = this.parts;
    const move = async (from: 'own' | 'replica', to: 'own' | 'replica'): Promise<{ setAside: string | null }> => {
      await this.#steps.step(`log.move to ${to}`);
      if (machine[from].files.size === 0) return { setAside: null };
      const isFull = machine[to].files.size > 0;
      if (isFull) world.tally.event(`${to} log replaced`);
      machine[to] = machine[from];
      machine[from] = new ForgetfulLogDisk(new Map(), machine.bootId);
      await this.#steps.step(`log.moved to ${to}`);
      return { setAside: isFull ? '/aside/replaced' : null };
    };
    return {
      own: async (): Promise<FoundPosition | null> => {
        this.parts.onHost?.('own');
        if (machine.own.files.size === 0) return null;
        const disk = this.#disk('own');
        const position = positionFound(await findLog(disk), disk);
        for (const name of await disk.list()) await (await disk.open(name, 0)).sync();
        return position === null ? null : { ...position, synced: position.received };
      },
      open: async (_volumeId: VolumeId) => {
        this.parts.onHost?.('open');
        const disk = this.#disk('replica');
        const found = await findLog(disk);
        const { clock, random } = blocks;
        const opened = await openReplicaLog({
          ...{ disk, found, capacityBytes: BUFFER_BYTES, fileBytes: FILE_BYTES, clock, random },
        });
        this.#replicaLog = opened;
        return opened;
      },
      adopt: async () => {
        this.parts.onHost?.('adopt');
        return await move('replica', 'own');
      },
      release: async () => {
        this.parts.onHost?.('release');
        await move('own', 'replica');
      },
    };
  }
}

function plainErrors(_key: string, value: unknown): unknown {
  return value instanceof Error ? `${value.name}: ${value.message}` : value;
}
