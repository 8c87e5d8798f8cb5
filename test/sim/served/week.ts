/**
 * A week, or a day, of a served volume's life in virtual time: bursts of writes and idle hours, snapshots that are deleted again,
 * daily runs of gc. What grows is sampled every hour, and has to stay within the configuration.
 */
import {
  Catalog,
  createPendingSnapshot,
  createStore,
  PAGE_BYTES,
  type BlockStoreOptions,
  type VolumeEntry,
} from '../../../src/core/blockstore/index.ts';
import { collectGarbage } from '../../../src/core/blockstore/gc/index.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import type { ServedVolume, VolumeSettings } from '../../../src/core/volume/index.ts';
import { ACCOUNTS } from '../disk-state.ts';
import { FaultPlan } from '../fault-plan.ts';
import { Choices } from '../random.ts';
import { SimStore } from '../sim-store.ts';
import { isSegment } from '../store-reader.ts';
import { Tally } from '../tally.ts';
import { hold, Violation } from '../volume-ledger.ts';
import { World, type Process } from '../world.ts';
import { CACHE_LIMITS, newHome, OpenHome, type Home } from './home.ts';
import { foundOf, SECTOR_BYTES, stamped } from './history.ts';
import { Oracle } from './oracle.ts';

const HOUR_MS = 3_600_000;
const DAY_HOURS = 24;
const PAGES = 200;
const SETTINGS: VolumeSettings = {
  ack: 'log',
  bufferBytes: 20 * 16 * PAGE_BYTES,
  sealIntervalMs: 60_000,
  readAheadBytes: 0,
};
const GRACE_MS = 2 * HOUR_MS;
const SNAPSHOTS_KEPT = 3;
/** Objects that nothing needs and whose grace period is not over, at the end of a day. */
const WAITING_MAX = 20;

export interface WeekReport {
  readonly hours: number;
  readonly writes: number;
  readonly commits: number;
  readonly removed: number;
  readonly tombstones: number;
  /** The most at any hour. */
  readonly logBytesMax: number;
  readonly cacheBytesMax: number;
  readonly storeBytesByDay: readonly number[];
  readonly idleRequests: number;
}

export class Week {
  readonly #hours: number;
  readonly #tally = new Tally();
  readonly #world: World;
  readonly #base = memoryStore();
  readonly #choices: Choices;
  readonly #oracle: Oracle;
  readonly #process: Process;
  readonly #options: BlockStoreOptions;
  #entry!: VolumeEntry;
  #home!: Home;
  #opened!: OpenHome;
  #volume!: ServedVolume;
  #writes = 0;
  #removed = 0;
  #tombstones = 0;
  #logBytesMax = 0;
  #cacheBytesMax = 0;
  #idleRequests = 0;
  readonly #storeBytes: number[] = [];
  readonly #snapshots: string[] = [];

  constructor(options: { readonly seed: number; readonly days: number }) {
    this.#hours = options.days * DAY_HOURS;
    this.#choices = Choices.named(options.seed, 'week');
    const rates = { error500: 0.01, lostReply: 0.005, delay: 0.01 };
    this.#world = new World({
      choices: Choices.named(options.seed, 'world'),
      plan: new FaultPlan({ rates, delayMaxMs: 30_000 }),
      tally: this.#tally,
    });
    this.#oracle = new Oracle(this.#tally, PAGES * PAGE_BYTES);
    this.#process = this.#world.newProcess('gateway');
    this.#options = {
      objects: new SimStore({ world: this.#world, process: this.#process, base: this.#base, listPage: 100 }),
      clock: this.#world.clockOf(this.#process),
      random: Choices.named(options.seed, 'gateway').random,
    };
  }

  async run(): Promise<WeekReport> {
    const bare = { ...this.#options, objects: this.#base };
    await createStore(bare);
    const request = { name: 'v', sizeBytes: PAGES * PAGE_BYTES, accountId: ACCOUNTS[0] };
    this.#entry = await new Catalog(bare).createVolume(request);
    this.#home = await newHome(this.#oracle.newHome('home'), 'sgw-00000001', bare);
    let report: WeekReport | undefined;
    let failure: unknown;
    this.#live().then(
      (value) => {
        report = value;
      },
      (error: unknown) => {
        failure = error;
      },
    );
    for (let idle = 0; report === undefined && failure === undefined;) {
      idle = this.#world.busy ? 0 : idle + 1;
      if (idle > 10) throw new Violation('the week stands still');
      await this.#world.step();
      if (idle > 0) await new Promise(setImmediate);
    }
    if (failure !== undefined) throw failure as Error;
    return report as WeekReport;
  }

  async #live(): Promise<WeekReport> {
    const parts = {
      world: this.#world,
      process: this.#process,
      options: this.#options,
      choices: this.#choices,
      crashRate: 0,
    };
    this.#opened = await OpenHome.open(this.#home, parts);
    const how = { takeOver: false };
    this.#volume = await this.#retried(async () =>
      this.#opened.openVolume(this.#entry, SETTINGS, how, () => {
        throw new Violation('the volume failed');
      }),
    );
    for (let hour = 1; hour <= this.#hours; hour++) await this.#hour(hour);
    await this.#volume.drain();
    const found = Buffer.alloc(PAGES * PAGE_BYTES);
    await this.#volume.read(0, found);
    hold(
      this.#oracle.history.stateOf(foundOf(found)) === this.#home.view.branch.last,
      () => `C5 after all that: ${this.#home.view.branch.difference(foundOf(found))}`,
    );
    const { commits } = this.#volume.stats;
    return {
      hours: this.#hours,
      writes: this.#writes,
      commits,
      removed: this.#removed,
      tombstones: this.#tombstones,
      logBytesMax: this.#logBytesMax,
      cacheBytesMax: this.#cacheBytesMax,
      storeBytesByDay: this.#storeBytes,
      idleRequests: this.#idleRequests,
    };
  }

  /** A store that fails is asked again. */
  async #retried<T>(work: () => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      try {
        return await work();
      } catch (error) {
        if (tries > 20) throw error;
        await this.#options.clock.sleep(1000);
      }
    }
  }

  async #hour(hour: number): Promise<void> {
    const { clock } = this.#options;
    const endMs = clock.nowMs() + HOUR_MS;
    if (hour % 4 !== 0) await this.#busy();
    else await this.#idle();
    if (hour % 6 === 1) await this.#snapshot();
    if (hour % DAY_HOURS === 0) await this.#endOfDay();
    await clock.sleep(Math.max(1, endMs - clock.nowMs()));
    this.#check(hour);
  }

  /** Some bursts; a few pages are written again and again, others seldom. */
  async #busy(): Promise<void> {
    for (let bursts = this.#choices.integer(1, 4); bursts > 0; bursts--) {
      const all: Promise<void>[] = [];
      for (let left = this.#choices.integer(2, 10); left > 0; left--) all.push(this.#write());
      await Promise.all(all);
      if (this.#choices.chance(0.5)) await this.#volume.flush();
      const bytes = Buffer.alloc(16 * PAGE_BYTES);
      await this.#volume.read(this.#choices.integer(0, PAGES - 16) * PAGE_BYTES, bytes);
      await this.#options.clock.sleep(this.#choices.durationMs(1000, HOUR_MS / 8));
    }
  }

  async #write(): Promise<void> {
    const { history } = this.#oracle;
    const count = this.#choices.integer(1, 8);
    const page = this.#choices.integer(0, this.#choices.chance(0.7) ? 16 : PAGES - count);
    const number = history.nextNumber();
    const bytes = stamped((page * PAGE_BYTES) / SECTOR_BYTES, (count * PAGE_BYTES) / SECTOR_BYTES, number);
    this.#home.view.branch.write(number, page * PAGE_BYTES, bytes);
    this.#writes += 1;
    await this.#volume.write(page * PAGE_BYTES, bytes);
  }

  /** Nothing to do, and so no requests. */
  async #idle(): Promise<void> {
    const { clock } = this.#options;
    await this.#retried(async () => this.#volume.drain());
    await clock.sleep(60_000);
    const before = this.#world.steps;
    await clock.sleep(HOUR_MS / 2);
    this.#idleRequests += this.#world.steps - before;
  }

  async #snapshot(): Promise<void> {
    const served = await this.#retried(async () =>
      this.#volume.snapshot(async (place) =>
        this.#retried(async () =>
          createPendingSnapshot(this.#options, { volume: this.#entry, name: 's', accountId: ACCOUNTS[0], ...place }),
        ),
      ),
    );
    const { snapshotId } = await served.completed;
    this.#snapshots.push(snapshotId);
    const catalog = new Catalog(this.#options);
    while (this.#snapshots.length > SNAPSHOTS_KEPT) {
      const id = this.#snapshots.shift() as typeof snapshotId;
      await this.#retried(async () => catalog.updateSnapshot(id, (now) => ({ ...now, state: 'deleted' })));
    }
  }

  /** gc, twice: what was dead for the grace period goes. */
  async #endOfDay(): Promise<void> {
    // The runs are whole, so that what they report is all that they did.
    const options = { ...this.#options, objects: this.#base };
    let needed = 0;
    let waitingObjects = 0;
    for (let run = 0; run < 2; run++) {
      const { removed, tombstones, live, waiting } = await this.#retried(async () =>
        collectGarbage(options, { graceMs: GRACE_MS }),
      );
      this.#removed += removed.objects;
      this.#tombstones += tombstones;
      needed = live.objects + waiting.objects;
      waitingObjects = waiting.objects;
      await this.#options.clock.sleep(GRACE_MS + 1000);
    }
    hold(waitingObjects <= WAITING_MAX, () => `C10 ${String(waitingObjects)} objects wait for the end of their grace`);
    let bytes = 0;
    let segments = -this.#tombstones;
    for await (const { key, sizeBytes } of this.#base.list('')) {
      bytes += sizeBytes;
      if (isSegment(key)) segments += 1;
    }
    this.#storeBytes.push(bytes);
    hold(
      segments <= needed,
      () => `C10 ${String(segments)} segments are there, and ${String(needed)} objects are needed`,
    );
    const snapshots = await new Catalog({ ...this.#options, objects: this.#base }).listSnapshots();
    const pending = snapshots.filter(({ state }) => state === 'pending').length;
    hold(pending === 0, () => `C8 ${String(pending)} snapshots are pending at the end of a day`);
  }

  #check(hour: number): void {
    const { log, cache } = this.#home;
    const logBytes = [...log.files.values()].reduce((sum, { live }) => sum + live.length, 0);
    const { ramUsedBytes, fileUsedBytes, writingBytes } = this.#opened.cache.stats;
    const { waitingWrites, dirtyBytes, dirtyMs, state } = this.#volume.stats;
    const at = `after ${String(hour)} hours`;
    this.#logBytesMax = Math.max(this.#logBytesMax, logBytes);
    this.#cacheBytesMax = Math.max(this.#cacheBytesMax, cache.live.length);
    hold(logBytes <= SETTINGS.bufferBytes, () => `the log has ${String(logBytes)} bytes ${at}`);
    hold(
      cache.live.length <= CACHE_LIMITS.fileBytes,
      () => `the cache's file has ${String(cache.live.length)} bytes ${at}`,
    );
    hold(
      fileUsedBytes <= CACHE_LIMITS.fileBytes,
      () => `the cache uses ${String(fileUsedBytes)} bytes of its file ${at}`,
    );
    hold(ramUsedBytes <= CACHE_LIMITS.ramBytes, () => `the cache has ${String(ramUsedBytes)} bytes in memory ${at}`);
    hold(writingBytes === 0, () => `${String(writingBytes)} bytes are still being written to the cache ${at}`);
    hold(waitingWrites === 0, () => `${String(waitingWrites)} writes wait ${at}`);
    hold(
      dirtyBytes === 0 || dirtyMs < 2 * SETTINGS.sealIntervalMs + HOUR_MS / 6,
      () => `${String(dirtyBytes)} bytes are not uploaded for ${String(dirtyMs)} ms ${at}, ${state}`,
    );
  }
}
