/**
 * A month of snapshot schedules on several volumes in virtual time: the gateway's own code of schedules, snapshots, deletion and
 * gc, over a store in memory, through outages of the store, daemons that end and start, clocks that are set, snapshots made,
 * renamed, shared and deleted by hand, clones, volumes deleted and undeleted. Each day, what the catalog has is held against a
 * `ScheduleLedger`, and what is kept is read; in the end all of it, by other code than the product's.
 */
import { existsSync } from 'node:fs';
import { Catalog, openSnapshotView, openVolumeWriter } from '../../../src/core/blockstore/index.ts';
import { MIB, systemRandom, type SnapshotId, type VolumeId } from '../../../src/core/kit/index.ts';
import type { RetentionRule } from '../../../src/core/state/index.ts';
import { readSnapshot, toBuffer } from '../../reader/independent-reader.ts';
import { findOrphans } from '../../soak/orphans.ts';
import { encodeBlocks, holder, readAll, stamp } from '../../unit/blockstore/volume-model.ts';
import { DAY, HOUR, MINUTE, ScheduleScene } from '../../unit/gateway/schedules/scene.ts';
import { Choices } from '../random.ts';
import { ScheduleLedger, type Made } from './ledger.ts';

const PARTNER = '000000000042';
const BLOCKS = 16;
/** Files that need no disk. */
const MEMORY = '/dev/shm';
const START = Date.UTC(2026, 1, 10, 7, 11);

export interface MonthOptions {
  readonly seed: number;
  readonly days: number;
}

/** What happened, so that a run in which nothing did shows. */
export type MonthCounts = Record<
  | 'runs'
  | 'thinned'
  | 'outages'
  | 'downs'
  | 'clockSteps'
  | 'manual'
  | 'renamed'
  | 'shared'
  | 'deleted'
  | 'clones'
  | 'undeleted'
  | 'writes'
  | 'reads'
  | 'gcRemoved'
  | 'kept',
  number
>;

interface Live {
  readonly ledger: ScheduleLedger;
  readonly volumeId: string;
  image: Buffer;
  isDeleted: boolean;
}

interface Clone {
  readonly volumeId: string;
  readonly name: string;
  deletedAtMs: number | undefined;
}

const rule = (count: number, unit: RetentionRule['unit']): RetentionRule => ({ count, unit });

export class Month {
  readonly counts: MonthCounts = {
    ...{ runs: 0, thinned: 0, outages: 0, downs: 0, clockSteps: 0, manual: 0, renamed: 0, shared: 0, deleted: 0 },
    ...{ clones: 0, undeleted: 0, writes: 0, reads: 0, gcRemoved: 0, kept: 0 },
  };
  readonly #options: MonthOptions;
  readonly #choices: Choices;
  readonly #live: Live[] = [];
  readonly #manual = new Map<string, Made>();
  readonly #clones: Clone[] = [];
  #scene: ScheduleScene | undefined;
  #isAway = false;
  #value = 0;
  #seen = 0;

  constructor(options: MonthOptions) {
    this.#options = options;
    this.#choices = Choices.named(options.seed, 'month');
  }

  /** @throws what was found wrong, naming the seed */
  async run(): Promise<MonthCounts> {
    // What a home promises of loss of power is tried elsewhere.
    if (existsSync(MEMORY)) process.env['TMPDIR'] = MEMORY;
    await using scene = await ScheduleScene.start({}, START);
    this.#scene = scene;
    try {
      await this.#begin(scene);
      for (let day = 1; day <= this.#options.days; day++) await this.#day(scene);
      await this.#end(scene);
    } catch (error) {
      const at = new Date(scene.clock.nowMs()).toISOString();
      throw new Error(`seed ${String(this.#options.seed)}, at ${at}: ${String(error)}`, { cause: error });
    }
    return this.counts;
  }

  async #begin(scene: ScheduleScene): Promise<void> {
    const plans: [string, number, number, RetentionRule[] | null][] = [
      ['db', 4 * HOUR, 0, [rule(7, 'day'), rule(4, 'week'), rule(12, 'month')]],
      ['mail', 6 * HOUR, 0, [rule(24, 'hour'), rule(10, 'day')]],
      ['logs', DAY, 150, [rule(5, 'day'), rule(2, 'week'), rule(1, 'year')]],
      ['web', 12 * HOUR, 0, null],
    ];
    await scene.rig.call('service.account.create', { name: 'partner', accountId: PARTNER });
    for (const [name, everyMs, atMinute, keep] of plans) {
      const volumeId = await scene.addVolume(name);
      const at = atMinute === 0 ? {} : { at: '02:30' };
      await scene.rig.call('schedule.set', { volume: name, everyMs, keep, ...at });
      const ledger = new ScheduleLedger(name, everyMs, atMinute, keep);
      this.#live.push({ ledger, volumeId, image: Buffer.alloc(MIB), isDeleted: false });
    }
    await scene.run();
  }

  async #day(scene: ScheduleScene): Promise<void> {
    const dayStart = scene.clock.monotonicMs();
    while (scene.clock.monotonicMs() - dayStart < 23 * HOUR) {
      await this.#pass(scene, this.#choices.durationMs(5 * MINUTE, 5 * HOUR));
      await this.#happen(scene);
    }
    // The day ends with all there, for long enough that everything that is owed was done.
    this.#setAway(scene, false);
    if (scene.runner === undefined) await scene.run();
    for (const live of this.#live.filter(({ isDeleted }) => isDeleted)) await this.#undelete(scene, live);
    await this.#pass(scene, 25 * MINUTE);
    await this.#check(scene);
    const { removed } = await scene.rig.call('store.gc', { graceMs: DAY });
    this.counts.gcRemoved += removed.objects;
  }

  /** Lets time pass in small steps, so that what is made can be told from what is written after it. */
  async #pass(scene: ScheduleScene, durationMs: number): Promise<void> {
    const untilMs = scene.clock.monotonicMs() + durationMs;
    while (scene.clock.monotonicMs() < untilMs) {
      const from = scene.clock.nowMs();
      const isUp = scene.runner !== undefined && !this.#isAway;
      await scene.pass(Math.min(untilMs - scene.clock.monotonicMs(), HOUR));
      if (isUp) for (const { ledger, isDeleted } of this.#live) if (!isDeleted) ledger.wasUp(from, scene.clock.nowMs());
      await this.#takeEvents(scene);
    }
  }

  /** Nothing is written while time passes: what was made shows what is written now. */
  async #takeEvents(scene: ScheduleScene): Promise<void> {
    for (; this.#seen < scene.events.length; this.#seen++) {
      const event = scene.events[this.#seen];
      const live = this.#live.find(({ volumeId }) => volumeId === event?.volumeId);
      if (event === undefined || live === undefined || event.kind === 'failed') continue;
      if (event.kind === 'made') {
        const made = await this.#entryOf(live.volumeId, event.name);
        live.ledger.made({ ...made, image: live.image }, Date.parse(event.dueAt));
        this.counts.runs += 1;
      } else {
        const before = live.ledger.left.length;
        live.ledger.thinned(event.atMs);
        this.counts.thinned += before - live.ledger.left.length;
      }
    }
  }

  /** Read past the store's outage: to look is no part of what is tried. */
  async #entryOf(volumeId: string, name: string): Promise<Omit<Made, 'image'>> {
    const listed = await this.#catalog.listSnapshots({ includeDeleted: true });
    const found = listed.find((entry) => entry.volumeId === volumeId && entry.name === name);
    if (found === undefined) throw new Error(`snapshot ${name} was made, and is not there`);
    return { id: found.snapshotId, name, atMs: Date.parse(found.createdAt) };
  }

  get #blocks(): { objects: ScheduleScene['below']; clock: ScheduleScene['clock']; random: typeof systemRandom } {
    const scene = this.#scene;
    if (scene === undefined) throw new Error('it has not begun');
    return { objects: scene.below, clock: scene.clock, random: systemRandom };
  }

  get #catalog(): Catalog {
    return new Catalog(this.#blocks);
  }

  #setAway(scene: ScheduleScene, isAway: boolean): void {
    this.#isAway = isAway;
    scene.setStoreAway(isAway);
  }

  async #happen(scene: ScheduleScene): Promise<void> {
    const choice = this.#choices.random.float();
    if (choice < 0.07) {
      this.#outage(scene);
      return;
    }
    if (choice < 0.17) {
      await this.#down(scene);
      return;
    }
    if (choice < 0.2) {
      await this.#clock(scene);
      return;
    }
    if (this.#isAway) return;
    if (choice < 0.5) {
      await this.#write();
      return;
    }
    const live = this.#choices.pick(this.#live);
    if (live.isDeleted) {
      await this.#undelete(scene, live);
      return;
    }
    if (choice < 0.6) {
      await this.#byHand(scene, live);
      return;
    }
    if (choice < 0.66) {
      await this.#rename(scene, live);
      return;
    }
    if (choice < 0.72) {
      await this.#share(scene, live);
      return;
    }
    if (choice < 0.8) {
      await this.#deleteOne(scene, live);
      return;
    }
    if (choice < 0.9) {
      await this.#clone(scene, live);
      return;
    }
    if (choice < 0.94) {
      await this.#deleteVolume(scene, live);
      return;
    }
    if (choice < 0.97) await this.#other(scene, live);
  }

  #outage(scene: ScheduleScene): void {
    this.#setAway(scene, !this.#isAway);
    this.counts.outages += 1;
  }

  async #down(scene: ScheduleScene): Promise<void> {
    this.counts.downs += 1;
    if (scene.runner === undefined) {
      await scene.run();
      return;
    }
    await scene.end();
    // Sometimes it is there again at once, as after a crash.
    if (this.#choices.chance(0.4)) await scene.run();
  }

  async #clock(scene: ScheduleScene): Promise<void> {
    const now = scene.clock.nowMs();
    const isFar = this.#choices.chance(0.4);
    const step = isFar ? this.#choices.integer(1, 400) * DAY : this.#choices.integer(-3, 3) * MINUTE;
    this.counts.clockSteps += 1;
    for (const { ledger } of this.#live)
      ledger.excuse(Math.min(now, now + step), isFar ? now + 10 * MINUTE : now + step);
    scene.clock.set(now + step);
    if (!isFar) return;
    for (const { ledger } of this.#live) ledger.excuse(now + step, now + step);
    await scene.pass(this.#choices.integer(1, 8) * MINUTE);
    await this.#takeEvents(scene);
    scene.clock.set(scene.clock.nowMs() - step);
    for (const { ledger } of this.#live) ledger.setBack(scene.clock.nowMs());
  }

  async #write(): Promise<void> {
    const live = this.#choices.pick(this.#live.filter(({ isDeleted }) => !isDeleted));
    const blocks = [...new Set([this.#choices.integer(0, BLOCKS - 1), this.#choices.integer(0, BLOCKS - 1)])];
    this.#value += 1;
    const image = Buffer.from(live.image);
    for (const block of blocks)
      for (let page = 0; page < 16; page++) stamp(this.#value).copy(image, block * 65_536 + page * 4096);
    const writer = await openVolumeWriter(this.#blocks, live.volumeId as VolumeId, {
      holder,
      accountId: '000000000001',
    });
    await writer.commit({ encoded: [encodeBlocks(image, blocks)], consistent: true });
    await writer.close();
    live.image = image;
    this.counts.writes += 1;
  }

  async #byHand(scene: ScheduleScene, { ledger, volumeId, image }: Live): Promise<void> {
    this.counts.manual += 1;
    const name = `by-hand-${String(this.counts.manual)}`;
    await scene.rig.call('snapshot.create', { volume: ledger.name, name });
    this.#manual.set(name, { ...(await this.#entryOf(volumeId, name)), image });
  }

  /** From then on it is nobody's but the user's. */
  async #rename(scene: ScheduleScene, { ledger }: Live): Promise<void> {
    if (ledger.left.length === 0) return;
    const { id, image, atMs } = this.#choices.pick(ledger.left);
    this.counts.renamed += 1;
    const name = `renamed-${String(this.counts.renamed)}`;
    await scene.rig.call('snapshot.rename', { snapshot: id, name });
    ledger.forget(id);
    this.#manual.set(name, { id, name, image, atMs });
  }

  async #share(scene: ScheduleScene, { ledger }: Live): Promise<void> {
    if (ledger.left.length === 0) return;
    const [shared] = ledger.held;
    if (shared !== undefined) {
      await scene.rig.call('snapshot.unshare', { snapshot: shared, accountId: PARTNER });
      ledger.held.delete(shared);
      return;
    }
    const { id } = this.#choices.pick(ledger.left);
    await scene.rig.call('snapshot.share', { snapshot: id, accountId: PARTNER });
    ledger.held.add(id);
    this.counts.shared += 1;
  }

  async #deleteOne(scene: ScheduleScene, { ledger }: Live): Promise<void> {
    const candidates = [...ledger.left, ...this.#manual.values()];
    if (candidates.length === 0) return;
    const { id, name } = this.#choices.pick(candidates);
    await scene.rig.call('snapshot.delete', { snapshot: id });
    for (const live of this.#live) live.ledger.forget(id);
    this.#manual.delete(name);
    this.counts.deleted += 1;
  }

  async #clone(scene: ScheduleScene, { ledger }: Live): Promise<void> {
    const old = this.#clones.find(({ deletedAtMs }) => deletedAtMs === undefined);
    if (old !== undefined && this.#choices.chance(0.6)) {
      await scene.rig.call('volume.delete', { volume: old.name });
      old.deletedAtMs = scene.clock.nowMs();
      return;
    }
    if (ledger.left.length === 0) return;
    this.counts.clones += 1;
    const name = `clone-${String(this.counts.clones)}`;
    const { id } = this.#choices.pick(ledger.left);
    const { volumeId } = await scene.rig.call('volume.create', { name, fromSnapshot: id });
    this.#clones.push({ volumeId, name, deletedAtMs: undefined });
  }

  async #deleteVolume(scene: ScheduleScene, live: Live): Promise<void> {
    await scene.rig.call('volume.delete', { volume: live.ledger.name });
    live.isDeleted = true;
  }

  async #undelete(scene: ScheduleScene, live: Live): Promise<void> {
    await scene.rig.call('volume.undelete', { volume: live.ledger.name });
    live.isDeleted = false;
    this.counts.undeleted += 1;
    await scene.settle();
  }

  /** Other rules: what they keep more, is gone already; what they keep less, goes. */
  async #other(scene: ScheduleScene, { ledger }: Live): Promise<void> {
    if (ledger.keep === null) return;
    const keep = ledger.keep.map(({ count, unit }) => ({
      unit,
      count: Math.max(1, count + this.#choices.integer(-2, 2)),
    }));
    await scene.rig.call('schedule.set', { volume: ledger.name, keep });
    ledger.keep = keep;
    await scene.settle();
    await this.#takeEvents(scene);
  }

  /** What is there is what should be there, and reads as it should. */
  async #check(scene: ScheduleScene): Promise<void> {
    const now = scene.clock.nowMs();
    const listed = await this.#catalog.listSnapshots();
    const names = listed.map(({ name }) => name).sort();
    const wanted = [...this.#live.flatMap(({ ledger }) => ledger.left), ...this.#manual.values()];
    const missing = wanted.filter(({ name }) => !names.includes(name));
    const surplus = names.filter((name) => !wanted.some((one) => one.name === name));
    if (missing.length > 0 || surplus.length > 0)
      throw new Error(`missing: ${missing.map(({ name }) => name).join(', ')}; not to be there: ${surplus.join(', ')}`);
    for (const { ledger } of this.#live) ledger.checkRuns(START, now - 25 * MINUTE);
    const { schedules } = await scene.rig.call('schedule.show', {});
    const failing = schedules.filter(({ failure, state }) => failure !== null || state !== 'waiting');
    if (failing.length > 0) throw new Error(`not well: ${JSON.stringify(failing[0])}`);
    for (let i = 0; i < 3 && wanted.length > 0; i++) await this.#read(this.#choices.pick(wanted));
    this.counts.kept = wanted.length;
  }

  async #read({ id, name, image }: Made): Promise<void> {
    const entry = await this.#catalog.getSnapshot(id as SnapshotId);
    if (!(await readAll(openSnapshotView(this.#blocks, entry))).equals(image)) throw new Error(`${name} reads wrong`);
    this.counts.reads += 1;
  }

  /** Nothing is left but what is kept, and all of that is whole, as the independent reader sees it. */
  async #end(scene: ScheduleScene): Promise<void> {
    const { below } = scene;
    await scene.end();
    for (const { name, deletedAtMs } of this.#clones)
      if (deletedAtMs === undefined) await scene.rig.call('volume.delete', { volume: name });
    // Until no deleted volume can be undeleted, and no grace period lasts.
    for (let day = 0; day < 10; day++) {
      scene.clock.pass(DAY);
      await scene.rig.call('store.gc', { graceMs: DAY });
    }
    const orphans = await findOrphans(below);
    if (orphans.length > 0) throw new Error(`left in the store: ${orphans.slice(0, 5).join(', ')}`);
    const volumes = await this.#catalog.listVolumes({ includeDeleted: true });
    if (volumes.length !== this.#live.length) throw new Error(`${String(volumes.length)} volumes are left`);
    const get = async (key: string): Promise<Buffer | undefined> => (await below.get(key))?.bytes;
    for (const { id, name, image } of [...this.#live.flatMap(({ ledger }) => ledger.left), ...this.#manual.values()])
      if (!(await toBuffer(await readSnapshot(get, id))).equals(image))
        throw new Error(`${name} reads wrong in the end`);
  }
}
