/**
 * What the clients of a served volume do between its opening and its end: bursts of writes, zeroes and trims that do not wait for
 * each other, flushes, FUA, reads, resizes, snapshots, uploads. Each call is told to the oracle before it is made, and its
 * acknowledgement when it comes.
 *
 * The order of the log is the order of the calls. It is not where a call has to read before it can write (parts of sectors) or
 * makes two changes (resize): those are made while nothing else is under way.
 */
import {
  createPendingSnapshot,
  PAGE_BYTES,
  type SnapshotEntry,
  type VolumeEntry,
} from '../../../src/core/blockstore/index.ts';
import { SgwError, type Clock, type SnapshotId } from '../../../src/core/kit/index.ts';
import type { ServedVolume } from '../../../src/core/volume/index.ts';
import { ACCOUNTS } from '../disk-state.ts';
import type { Choices } from '../random.ts';
import { hold, Violation } from '../volume-ledger.ts';
import type { HomeProcess } from './home.ts';
import { foundOf, SECTOR_BYTES, sectorText, stamped, type Branch, type State } from './history.ts';
import type { HomeView, Mark, Oracle } from './oracle.ts';

export const SIZES = [40, 64, 97].flatMap((pages) => [pages * PAGE_BYTES, pages * PAGE_BYTES + 3 * SECTOR_BYTES]);
const PAGES_OF_A_WRITE_MAX = 20;

/** A snapshot that was asked for, and the states that it may show. */
export interface SnapshotRecord {
  readonly snapshotId: SnapshotId;
  readonly least: State;
  readonly most: State;
  readonly home: HomeView;
  /** The command returned: it has to be completed, unless its home or its log is lost. */
  isPromised: boolean;
}

export interface SessionParts extends HomeProcess {
  readonly oracle: Oracle;
  readonly view: HomeView;
  readonly entry: VolumeEntry;
  readonly volume: ServedVolume;
  readonly snapshots: SnapshotRecord[];
  readonly ackStore: boolean;
  readonly closing: () => boolean;
  readonly fail: (error: unknown) => void;
  /** Told of each acknowledgement, before it counts. */
  readonly acknowledging: (state: State) => void;
}

/** Ends of calls that are part of life. */
const EXPECTED = ['fenced', 'aborted', 'unavailable', 'timeout', 'conflict', 'notFound'] as const;

/** Calls that fail with the store, and leave the volume as it was. */
const PASSING = ['snapshot', 'drain'];

export class Session {
  readonly #parts: SessionParts;
  readonly #choices: Choices;
  readonly #clock: Clock;
  readonly #underWay = new Set<Promise<void>>();
  #isBroken = false;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    this.#choices = parts.choices;
    this.#clock = parts.options.clock;
  }

  get #branch(): Branch {
    return this.#parts.view.branch;
  }

  /** Reads everything, for the oracle; false when the volume failed before. */
  async readAll(mark: Mark): Promise<boolean> {
    const { volume, oracle, view } = this.#parts;
    const bytes = Buffer.alloc(volume.sizeBytes, 0xee);
    if (!(await this.#attempt('read of everything', async () => volume.read(0, bytes)))) return false;
    oracle.opened(view, foundOf(bytes), mark);
    return true;
  }

  async run(): Promise<void> {
    const { closing } = this.#parts;
    for (let left = this.#choices.integer(1, 25); left > 0 && !closing() && !this.#isBroken; left--) {
      await this.#operation();
      await this.#pause();
    }
    await this.#settled();
  }

  /** Everything is in the store afterwards, or only in the log. */
  async close(): Promise<void> {
    const { volume, closing, view, oracle, world, process } = this.#parts;
    const drain = !this.#isBroken && (closing() || this.#choices.chance(0.4));
    const { acknowledged } = view;
    if (this.#choices.chance(0.2)) void this.#attempt('flush', async () => volume.flush());
    const closed = await this.#attempt(drain ? 'drain and close' : 'close', async () => volume.close({ drain }));
    world.note(`${process.name} closed, ${drain ? 'drained' : 'not drained'}: ${String(closed)}`);
    if (!closed || this.#isBroken) return;
    // Closing syncs the log.
    oracle.flush(view, acknowledged);
    if (drain) oracle.store(view, acknowledged);
  }

  async #pause(): Promise<void> {
    const how = this.#choices.integer(0, 9);
    if (how < 4) return;
    await this.#clock.sleep(how < 9 ? this.#choices.integer(0, 500) : this.#choices.durationMs(1000, 600_000));
  }

  async #settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  async #operation(): Promise<void> {
    const dice = this.#choices.integer(0, 99);
    if (dice < 55) this.#burst();
    else if (dice < 66) this.#start(this.#flush());
    else if (dice < 80) this.#start(this.#read());
    else if (dice < 88) await this.#alone(() => this.#unaligned());
    else if (dice < 91) await this.#alone(() => this.#resize());
    else if (dice < 96) this.#start(this.#snapshot());
    else await this.#drain();
  }

  #start(call: Promise<void>): void {
    const { fail } = this.#parts;
    const done = call.catch(fail).finally(() => this.#underWay.delete(done));
    this.#underWay.add(done);
  }

  async #alone(call: () => Promise<void>): Promise<void> {
    await this.#settled();
    if (!this.#isBroken) await call();
  }

  async #attempt(name: string, work: () => Promise<void> | undefined): Promise<boolean> {
    const { world, process } = this.#parts;
    try {
      await work();
      world.tally.event(`${name} done`);
      return true;
    } catch (error) {
      const isPassing = PASSING.includes(name) && this.#parts.volume.failure === undefined;
      if (!isPassing) this.#isBroken = true;
      if (!(error instanceof SgwError)) throw error;
      if (!EXPECTED.some((kind) => kind === error.kind))
        throw new Violation(`${process.name}: ${name} ended with ${error.kind} ${error.code}: ${error.message}`, {
          cause: error,
        });
      world.tally.event(`${name} failed: ${error.kind} ${error.code}`);
      world.note(`${process.name} ${name} failed: ${error.kind} ${error.code}`);
      return false;
    }
  }

  #burst(): void {
    for (let left = this.#choices.pick([1, 1, 2, 3, 8]); left > 0; left--) {
      const { sizeBytes } = this.#parts.volume;
      const sectors = sizeBytes / SECTOR_BYTES;
      const grain = this.#choices.chance(0.7) ? 8 : 1;
      const max = this.#choices.chance(0.85) ? 2 * 8 : PAGES_OF_A_WRITE_MAX * 8;
      const from = this.#choices.integer(0, Math.floor((sectors - 1) / grain)) * grain;
      const count = Math.min(sectors - from, this.#choices.integer(1, max / grain) * grain);
      this.#change(from * SECTOR_BYTES, count * SECTOR_BYTES, this.#choices.chance(0.2));
    }
  }

  #change(offset: number, length: number, isZero: boolean): void {
    const { volume, oracle } = this.#parts;
    const number = oracle.history.nextNumber();
    const fua = this.#choices.chance(0.1);
    const zeroed = isZero ? this.#branch.zero(number, offset, length) : undefined;
    if (zeroed !== undefined) {
      const trim = this.#choices.chance(0.5);
      this.#issue(zeroed, fua, async () =>
        trim ? volume.trim(offset, length, { fua }) : volume.writeZeroes(offset, length, { fua }),
      );
      return;
    }
    const bytes = stamped(offset / SECTOR_BYTES, length / SECTOR_BYTES, number);
    const state = this.#branch.write(number, offset, bytes);
    if (state !== undefined) this.#issue(state, fua, async () => volume.write(offset, bytes, { fua }));
  }

  /** Bytes within sectors: what is around them has to be read first. */
  async #unaligned(): Promise<void> {
    const { volume, oracle } = this.#parts;
    const number = oracle.history.nextNumber();
    const offset = this.#choices.integer(0, volume.sizeBytes - 1);
    const length = Math.min(volume.sizeBytes - offset, this.#choices.pick([1, 7, 300, 512, 1000, 5000]));
    const bytes = Buffer.alloc(length, this.#choices.chance(0.2) ? 0 : (number % 255) + 1);
    const state = this.#branch.write(number, offset, bytes);
    if (state === undefined) return;
    this.#issue(state, false, async () => volume.write(offset, bytes));
    await this.#settled();
  }

  /** Makes the call now, so that calls are in the log in this order; tells the oracle of its acknowledgement. */
  #issue(state: State, fua: boolean, call: () => Promise<void>): void {
    const { view, oracle, ackStore, acknowledging, world } = this.#parts;
    const called = call();
    this.#start(
      this.#attempt('write', async () => {
        await called;
        acknowledging(state);
        world.note(`write ${String(state.number)} acknowledged`);
        oracle.acknowledge(view, state);
        if (ackStore) oracle.store(view, state);
        else if (fua) oracle.flush(view, state);
      }).then(() => undefined),
    );
  }

  async #flush(): Promise<void> {
    const { volume, view, oracle, ackStore } = this.#parts;
    const { acknowledged } = view;
    if (!(await this.#attempt('flush', async () => volume.flush()))) return;
    if (ackStore) oracle.store(view, acknowledged);
    else oracle.flush(view, acknowledged);
  }

  async #read(): Promise<void> {
    const { volume, view, world } = this.#parts;
    const { branch, acknowledged } = view;
    const { sizeBytes } = volume;
    const sectors = sizeBytes / SECTOR_BYTES;
    const from = this.#choices.integer(0, sectors - 1);
    const count = Math.min(sectors - from, this.#choices.pick([1, 8, 9, 64, 300]));
    const bytes = Buffer.alloc(count * SECTOR_BYTES, 0xee);
    const isDone = await this.#attempt('read', async () => volume.read(from * SECTOR_BYTES, bytes));
    // What a smaller volume has beyond its end is nobody's.
    if (!isDone || volume.sizeBytes < sizeBytes) return;
    for (const [i, name] of foundOf(bytes).sectors.entries()) {
      const sector = from + i;
      hold(
        branch.mayRead(sector, name, acknowledged),
        () => `C5 sector ${String(sector)} reads as ${sectorText(name)}, which it may not hold any more, or never did`,
      );
    }
    world.tally.check('a read shows what was acknowledged before, or what was written since');
  }

  async #resize(): Promise<void> {
    const { volume, oracle, view } = this.#parts;
    const sizeBytes = this.#choices.pick(SIZES.filter((size) => size !== volume.sizeBytes));
    const state = this.#branch.resize(oracle.history.nextNumber(), sizeBytes);
    if (state === undefined || !(await this.#attempt('resize', async () => volume.resize(sizeBytes)))) return;
    this.#parts.acknowledging(state);
    oracle.acknowledge(view, state);
    oracle.store(view, state);
  }

  async #snapshot(): Promise<void> {
    const { volume, oracle, view, entry, options, snapshots, world, process } = this.#parts;
    const { branch, acknowledged: least } = view;
    oracle.barrier(view);
    let record: SnapshotRecord | undefined;
    const isPlaced = await this.#attempt('snapshot', async () => {
      const served = await volume.snapshot(async (place) => {
        // What is written from now on is behind the barrier.
        const most = branch.last;
        const request = { volume: entry, name: 's', accountId: ACCOUNTS[0], maker: view.name, ...place };
        const pending = await createPendingSnapshot(options, request);
        record = { snapshotId: pending.snapshotId, least, most, home: view, isPromised: false };
        snapshots.push(record);
        return pending;
      });
      if (record !== undefined) record.isPromised = true;
      oracle.flush(view, least);
      void this.#completion(served.completed, least, record);
    });
    world.tally.event(isPlaced ? 'snapshots placed' : 'snapshots not placed');
    world.note(`${process.name} snapshot ${isPlaced ? 'placed' : 'not placed'}`);
  }

  async #completion(completed: Promise<SnapshotEntry>, least: State, record?: SnapshotRecord): Promise<void> {
    const { oracle, view, world, process, fail } = this.#parts;
    try {
      const { state } = await completed;
      world.tally.event(`snapshot ${state}`);
      hold(state === 'completed' || view.wasAwayLong, () => `C8 a snapshot of ${view.name} is ${state} in the end`);
      if (state === 'completed') oracle.store(view, least);
    } catch (error) {
      if (error instanceof Violation || !(error instanceof SgwError)) fail(error);
      // Taken over before its barrier was committed: its maker may say that it failed (docs/adr/0012-served-volumes.md, Not done).
      else if (error.kind === 'fenced' && record !== undefined) record.isPromised = false;
      world.note(`${process.name} snapshot ended: ${String(error)}`);
    }
  }

  async #drain(): Promise<void> {
    const { volume, view, oracle } = this.#parts;
    const { acknowledged } = view;
    if (await this.#attempt('drain', async () => volume.drain())) oracle.store(view, acknowledged);
  }
}
