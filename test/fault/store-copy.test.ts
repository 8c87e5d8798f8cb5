/**
 * Copying a store that is killed anywhere and goes on, that is written and collected meanwhile, and that is damaged. What is
 * in the copy is read by the product and by the independent reader.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { collectGarbage } from '../../src/core/blockstore/gc/index.ts';
import { compareStores, copyStore, type CopyReport } from '../../src/core/blockstore/copy/index.ts';
import {
  Catalog,
  openSnapshotView,
  openVolumeView,
  openVolumeWriter,
  type BlockStoreOptions,
  type SnapshotEntry,
} from '../../src/core/blockstore/index.ts';
import { seededRandom, SgwError, systemClock, systemRandom, type Random } from '../../src/core/kit/index.ts';
import {
  memoryStore,
  StoreLayer,
  type ListOptions,
  type ObjectInfo,
  type ObjectStore,
} from '../../src/core/objectstore/index.ts';
import { readSnapshot, readVolume, toBuffer, type GetObject } from '../reader/independent-reader.ts';
import { unlock } from '../reader/independent-sealing.ts';
import { findOrphans } from '../soak/orphans.ts';
import { Crowd } from '../unit/blockstore/gc-crowd.ts';
import { fillBlock, GcRig, HookedStore, type Model } from '../unit/blockstore/gc-rig.ts';
import { PASSPHRASE, sealedStore } from '../unit/blockstore/sealed-store.ts';
import { ACCOUNT, encodeBlocks, holder, optionsOver, readAll } from '../unit/blockstore/volume-model.ts';

const SEED = Number(process.env['SGW_SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));
const RUNS = Number(process.env['SGW_COPY_RUNS'] ?? 12);
const MANY_RUNS = 50;
const LEFT_OUT = /^(?:gc\/condemned\.json|gc\/tombstones\/|pins\/|copy\.json)/;

interface Copying {
  readonly from: ObjectStore;
  readonly to: ObjectStore;
  readonly decide?: () => Promise<'finish' | 'leave'>;
}

const copy = async ({ from, to, decide }: Copying): Promise<CopyReport> =>
  copyStore({
    from,
    to,
    clock: systemClock,
    random: systemRandom,
    beforeFinish: decide ?? (async () => Promise.resolve('finish')),
  });

async function contents(store: ObjectStore): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  for await (const { key } of store.list(''))
    if (!LEFT_OUT.test(key)) all.set(key, (await store.get(key))?.bytes.toString('base64') ?? '');
  return all;
}

/** All of the store but volumes that are not there yet: those without an entry. */
async function expectedOf(store: ObjectStore): Promise<Map<string, string>> {
  const all = await contents(store);
  for (const key of all.keys()) {
    const [folder = '', id = ''] = key.split('/');
    const entry = { volumes: 'volume.json', snapshots: 'snapshot.json' }[folder];
    if (entry !== undefined && !all.has(`${folder}/${id}/${entry}`)) all.delete(key);
  }
  return all;
}

const getterOf =
  (store: ObjectStore): GetObject =>
  async (key) =>
    (await store.get(key))?.bytes;

/** Dies at a call: it, and every call after it, fails. Every other death comes after the call was done. */
class Mortal {
  readonly #dies: number;
  readonly #isAfter: boolean;
  calls = 0;

  constructor(dies: number) {
    this.#dies = dies >> 1;
    this.#isAfter = dies % 2 === 1;
  }

  over(below: ObjectStore): ObjectStore {
    return new MortalStore(below, this);
  }

  before(): void {
    const isDead = this.calls > this.#dies || (this.calls === this.#dies && !this.#isAfter);
    if (isDead) throw new Error('killed');
  }

  after(): void {
    this.calls += 1;
    if (this.calls > this.#dies) throw new Error('killed');
  }
}

class MortalStore extends StoreLayer {
  readonly #life: Mortal;

  constructor(below: ObjectStore, life: Mortal) {
    super(below);
    this.#life = life;
  }

  async #live<T>(call: () => Promise<T>): Promise<T> {
    this.#life.before();
    const result = await call();
    this.#life.after();
    return result;
  }

  override async put(...args: Parameters<ObjectStore['put']>): ReturnType<ObjectStore['put']> {
    return await this.#live(async () => super.put(...args));
  }

  override async get(...args: Parameters<ObjectStore['get']>): ReturnType<ObjectStore['get']> {
    return await this.#live(async () => super.get(...args));
  }

  override async head(...args: Parameters<ObjectStore['head']>): ReturnType<ObjectStore['head']> {
    return await this.#live(async () => super.head(...args));
  }

  override async delete(...args: Parameters<ObjectStore['delete']>): ReturnType<ObjectStore['delete']> {
    return await this.#live(async () => super.delete(...args));
  }
}

describe('a copy that is killed', () => {
  it('goes on from any call, and ends as the store, byte for byte', async () => {
    const crowd = await Crowd.gather();
    await crowd.rig.gc();
    const from = crowd.rig.below;
    const expected = await expectedOf(from);
    expect([...expected.keys()].some((key) => key.startsWith('gc/purged/'))).toBe(true);
    const life = new Mortal(1e9);
    await copy({ from: life.over(from), to: life.over(memoryStore()) });
    expect(life.calls).toBeGreaterThan(60);
    for (let dies = 0; dies < 2 * life.calls; dies++) {
      const to = memoryStore();
      const mortal = new Mortal(dies);
      await expect(copy({ from: mortal.over(from), to: mortal.over(to) })).rejects.toThrow('killed');
      const isFinished = (await to.head('sgw.json')) !== undefined;
      if (isFinished) await expect(copy({ from, to })).rejects.toMatchObject({ code: 'copy-finished' });
      else expect(await copy({ from, to })).toMatchObject({ state: 'finished', damage: [] });
      expect(await contents(to), `killed at ${String(dies)}`).toEqual(expected);
    }
  }, 120_000);

  it('reads as the store does, by the product and by the independent reader, and gc finds it well', async () => {
    const crowd = await Crowd.gather();
    await crowd.rig.gc();
    const to = memoryStore();
    await copy({ from: crowd.rig.below, to });
    const get = getterOf(to);
    for (const { entry, image } of crowd.snapshots)
      expect((await toBuffer(await readSnapshot(get, entry.snapshotId))).equals(image)).toBe(true);
    for (const { entry, image } of crowd.volumes)
      expect((await toBuffer(await readVolume(get, entry.volumeId))).equals(image)).toBe(true);
    const options = { ...crowd.rig.options, objects: to };
    await collectGarbage(options, { graceMs: 0 });
    expect((await findOrphans(to)).filter((key) => key !== 'copy.json')).toEqual([]);
    // C2: every seq that was taken is taken in the copy.
    const tombstones = (await crowd.rig.keys('volumes/')).filter((key) => key.includes('/log/'));
    for (const key of tombstones)
      expect(await to.put(key, Buffer.of(1), { condition: { ifAbsent: true } })).toEqual({
        outcome: 'preconditionFailed',
      });
  });

  it('copies only what changed when it goes on, and takes away what the store has no more', async () => {
    const crowd = await Crowd.gather();
    const [golden] = crowd.volumes;
    if (golden === undefined) throw new Error('the crowd has volumes');
    const { rig } = crowd;
    const to = memoryStore();
    const first = await copy({ from: rig.below, to, decide: async () => Promise.resolve('leave') });
    expect(first).toMatchObject({ state: 'unfinished', resumed: false });
    expect(await to.head('sgw.json')).toBeUndefined();
    expect(await copy({ from: rig.below, to, decide: async () => Promise.resolve('leave') })).toMatchObject({
      resumed: true,
      copiedObjects: 0,
      removedObjects: 0,
    });
    await rig.write(golden, 8, [0, 1, 2]);
    await rig.gc();
    const second = await copy({ from: rig.below, to });
    expect(second.state).toBe('finished');
    expect(second.copiedObjects).toBeLessThan(first.copiedObjects);
    expect(second.removedObjects).toBeGreaterThan(0);
    expect(await contents(to)).toEqual(await expectedOf(rig.below));
    expect(await compareStores({ from: rig.below, to })).toMatchObject({ differenceCount: 0 });
  });

  it('gives way to another attempt', async () => {
    const { rig } = await Crowd.gather();
    const to = memoryStore();
    let isFirst = true;
    const slow = new HookedStore(to, async ({ operation, key }) => {
      if (operation !== 'put' || !key.includes('/map/') || !isFirst) return;
      isFirst = false;
      await copy({ from: rig.below, to });
    });
    await expect(copy({ from: rig.below, to: slow })).rejects.toMatchObject({ code: 'copy-taken-over' });
    expect(await contents(to)).toEqual(await expectedOf(rig.below));
  });
});

/** Volumes that are written, snapshotted, cloned, deleted and collected, each state of theirs remembered. */
class Living {
  readonly rig: GcRig;
  readonly #random: Random;
  readonly states = new Map<string, Buffer[]>();
  readonly #models: Model[] = [];
  readonly #snapshots: SnapshotEntry[] = [];
  /** By snapshot, also of those that are deleted. */
  readonly images = new Map<string, Buffer>();
  #names = 0;
  #isBusy = false;
  done = 0;

  constructor(rig: GcRig, random: Random) {
    this.rig = rig;
    this.#random = random;
  }

  async begin(): Promise<void> {
    await this.#newVolume(undefined);
    for (let i = 0; i < 12; i++) await this.step();
  }

  /** One thing at a time, at a random call of the copy. */
  async maybe(): Promise<void> {
    if (this.#isBusy || this.#random.float() > 0.08) return;
    this.#isBusy = true;
    await this.step();
    this.done += 1;
    this.#isBusy = false;
  }

  async step(): Promise<void> {
    const model = this.#pick(this.#models);
    const what = this.#random.float();
    if (what < 0.4) await this.#write(model);
    else if (what < 0.6) await this.#snapshot(model);
    else if (what < 0.7) await this.#newVolume(this.#snapshots.length === 0 ? undefined : this.#pick(this.#snapshots));
    else if (what < 0.8 && this.#snapshots.length > 1) await this.#deleteSnapshot();
    else if (what < 0.85 && this.#models.length > 1) await this.#deleteVolume(model);
    else await this.rig.gc();
  }

  async #write(model: Model): Promise<void> {
    const writer = await openVolumeWriter(this.rig.options, model.entry.volumeId, {
      holder,
      accountId: ACCOUNT,
      takeOver: true,
    });
    const commits = 1 + Math.floor(this.#random.float() * 3);
    for (let i = 0; i < commits; i++) {
      const block = Math.floor(this.#random.float() * 16);
      fillBlock(model.image, block, Math.floor(this.#random.float() * 1e9));
      this.states.get(model.entry.volumeId)?.push(Buffer.from(model.image));
      await writer.commit({ encoded: [encodeBlocks(model.image, [block])], consistent: true });
    }
    if (this.#random.float() < 0.7) await writer.close();
    else await writer.abandon();
  }

  async #snapshot(model: Model): Promise<void> {
    const entry = await this.rig.snapshot(model, `s${String(this.#names++)}`);
    this.images.set(entry.snapshotId, Buffer.from(model.image));
    this.#snapshots.push(entry);
  }

  async #newVolume(from: SnapshotEntry | undefined): Promise<void> {
    const image = from === undefined ? undefined : this.images.get(from.snapshotId);
    const model = await this.rig.volume(`v${String(this.#names++)}`, from, image);
    this.states.set(model.entry.volumeId, [Buffer.from(model.image)]);
    this.#models.push(model);
  }

  async #deleteSnapshot(): Promise<void> {
    const entry = this.#pick(this.#snapshots);
    this.#snapshots.splice(this.#snapshots.indexOf(entry), 1);
    await this.rig.deleteSnapshot(entry);
  }

  async #deleteVolume(model: Model): Promise<void> {
    this.#models.splice(this.#models.indexOf(model), 1);
    await this.rig.deleteVolume(model);
    this.rig.clock.move(8 * 24 * 3_600_000);
  }

  #pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.#random.float() * items.length)];
    if (item === undefined) throw new Error('there is nothing to pick');
    return item;
  }
}

/** Which of the states of a volume it is, from 0; -1: none. */
const stateOf = (states: readonly Buffer[], image: Buffer): number =>
  states.findLastIndex((state) => state.equals(image));

async function requireSound(living: Living, to: ObjectStore, from: ReadonlyMap<string, number>): Promise<void> {
  const options: BlockStoreOptions = { ...living.rig.options, objects: to };
  const catalog = new Catalog(options);
  const get = getterOf(to);
  const volumes = await catalog.surveyVolumes({ includeDeleted: true });
  const snapshots = await catalog.surveySnapshots();
  expect([...volumes.damaged, ...snapshots.damaged]).toEqual([]);
  for (const { volumeId } of volumes.entries) {
    const image = await readAll(await openVolumeView(options, volumeId));
    const state = stateOf(living.states.get(volumeId) ?? [], image);
    expect(state, volumeId).toBeGreaterThanOrEqual(from.get(volumeId) ?? 0);
    expect((await toBuffer(await readVolume(get, volumeId))).equals(image), volumeId).toBe(true);
  }
  for (const entry of snapshots.entries) {
    if (entry.state !== 'completed') continue;
    const image = living.images.get(entry.snapshotId) ?? Buffer.alloc(0);
    expect((await readAll(openSnapshotView(options, entry))).equals(image), entry.name).toBe(true);
    expect((await toBuffer(await readSnapshot(get, entry.snapshotId))).equals(image), entry.name).toBe(true);
  }
  await collectGarbage(options, { graceMs: 0 });
  await collectGarbage(options, { graceMs: 0 });
}

describe('beside a living store', () => {
  it(
    `C10 C11 the copy is a state that the store had, whatever writers and gc do (seed ${String(SEED)})`,
    async () => {
      let changes = 0;
      let rounds = 0;
      for (let run = 0; run < RUNS; run++) {
        const random = seededRandom(SEED + run);
        const living = new Living(await GcRig.start(SEED + run), random);
        await living.begin();
        const before = new Map([...living.states].map(([id, states]) => [id, states.length - 1]));
        const to = memoryStore();
        const hooked = new HookedStore(living.rig.below, async () => living.maybe());
        // At times the copy is killed, and goes on while all goes on.
        const report = await copy({
          from: hooked,
          to: random.float() < 0.5 ? new Mortal(Math.floor(random.float() * 200)).over(to) : to,
        }).catch(async (error: unknown) => {
          if (!(error instanceof Error) || error.message !== 'killed') throw error;
          return await copy({ from: hooked, to }).catch((again: unknown) => {
            if (again instanceof SgwError && again.code === 'copy-finished') return undefined;
            throw again;
          });
        });
        changes += living.done;
        rounds += report?.rounds ?? 0;
        await requireSound(living, to, before);
      }
      expect(changes).toBeGreaterThan(RUNS);
      // In a few runs it may be that gc never comes between; the test behind this one has that by itself.
      if (RUNS >= MANY_RUNS) expect(rounds).toBeGreaterThan(RUNS);
    },
    60_000 + RUNS * 5000,
  );
});

it('C11 what gc takes between the documents and the data is copied anew, as of later documents', async () => {
  const rig = await GcRig.start();
  const model = await rig.volume('golden');
  for (const value of [1, 2]) await rig.write(model, value, [0, 1]);
  const to = memoryStore();
  let isRead = false;
  const from = new HookedStore(rig.below, async ({ operation, key }) => {
    isRead ||= operation === 'get' && key.endsWith('head.json');
    // The list of the data, after the head was read.
    if (!isRead || operation !== 'list' || key !== 'snapshots/') return;
    isRead = false;
    if (rig.clock.nowMs() > Date.UTC(2026, 0, 2)) return;
    rig.clock.move(2 * 24 * 3_600_000);
    await rig.write(model, 3, [0, 1]);
    await rig.gc();
  });
  expect(await copy({ from, to })).toMatchObject({ rounds: 2, state: 'finished' });
  expect((await toBuffer(await readVolume(getterOf(to), model.entry.volumeId))).equals(model.image)).toBe(true);
});

/** Lists as long lists are in truth: each key when it is asked for. */
class SlowListStore extends HookedStore {
  override async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
    for (let last = ''; ;) {
      let next: ObjectInfo | undefined;
      for await (const info of super.list(prefix, options)) if (info.key > last) next ??= info;
      if (next === undefined) return;
      yield next;
      last = next.key;
    }
  }
}

/** The copy of a store with a volume that is written, and shown by a snapshot, when that is asked of the store first. */
async function copyBeside(moment: RegExp): Promise<{ rig: GcRig; model: Model; before: Buffer; to: ObjectStore }> {
  const rig = await GcRig.start();
  const model = await rig.volume('golden');
  for (const value of [1, 2]) await rig.write(model, value, [0, 1]);
  const before = Buffer.from(model.image);
  const to = memoryStore();
  let isOver = false;
  const from = new SlowListStore(rig.below, async ({ operation, key }) => {
    if (isOver || operation !== 'get' || !moment.test(key)) return;
    isOver = true;
    await rig.write(model, 3, [0, 1]);
    await rig.snapshot(model, 'later');
  });
  expect(await copy({ from, to })).toMatchObject({ rounds: 1, state: 'finished' });
  expect(isOver).toBe(true);
  return { rig, model, before, to };
}

describe('a volume that is opened while it is copied', () => {
  it.each([
    ['its documents', /\/key\.json$/],
    ['its maps', /\/map\/0/],
    ['its log', /\/log\/0/],
  ])('goes on in the copy, past what was written while %s were read', async (_, moment) => {
    const { rig, model, to } = await copyBeside(moment);
    const options = { ...rig.options, objects: to };
    const { volumeId } = model.entry;
    const image = await readAll(await openVolumeView(options, volumeId));
    for (let value = 10; value < 16; value++) {
      const writer = await openVolumeWriter(options, volumeId, { holder, accountId: ACCOUNT, takeOver: true });
      fillBlock(image, value, value);
      await writer.commit({ encoded: [encodeBlocks(image, [value])], consistent: true });
      await writer.close();
    }
    expect((await readAll(await openVolumeView(options, volumeId))).equals(image)).toBe(true);
  });

  it('has its snapshots whole, also one that was made after its entry was read', async () => {
    const { rig, model, to } = await copyBeside(/\/key\.json$/);
    const options = { ...rig.options, objects: to };
    const [later] = await new Catalog(options).listSnapshots();
    if (later === undefined) throw new Error('there is no snapshot');
    expect((await readAll(openSnapshotView(options, later))).equals(model.image)).toBe(true);
  });
});

it('a copy that takes long is of what the store is in the end', async () => {
  const rig = await GcRig.start();
  const model = await rig.volume('golden');
  await rig.write(model, 1, [0, 1]);
  const to = memoryStore();
  let isOver = false;
  const from = new HookedStore(rig.below, async ({ operation, key }) => {
    if (isOver || operation !== 'get' || !key.includes('/log/')) return;
    isOver = true;
    rig.clock.move(3_600_000);
    await rig.write(model, 2, [0, 1]);
  });
  const { clock } = rig;
  const finish = async (): Promise<'finish'> => Promise.resolve('finish');
  const report = await copyStore({ from, to, clock, random: systemRandom, beforeFinish: finish });
  expect(report).toMatchObject({ rounds: 2, asOfMs: clock.nowMs() });
  expect((await toBuffer(await readVolume(getterOf(to), model.entry.volumeId))).equals(model.image)).toBe(true);
});

it('C1 an attempt that finishes a copy which another one has taken over makes no store of it', async () => {
  const { rig } = await Crowd.gather();
  const to = memoryStore();
  let isFirst = true;
  const slow = new HookedStore(to, async ({ operation, key }) => {
    if (operation !== 'put' || key !== 'sgw.json' || !isFirst) return;
    isFirst = false;
    await copy({ from: rig.below, to, decide: async () => Promise.resolve('leave') });
  });
  await expect(copy({ from: rig.below, to: slow })).rejects.toMatchObject({ code: 'copy-taken-over' });
  expect(await to.head('sgw.json')).toBeUndefined();
  expect(await copy({ from: rig.below, to })).toMatchObject({ state: 'finished' });
});

describe('what it meets', () => {
  let rig: GcRig;
  let model: Model;
  beforeEach(async () => {
    rig = await GcRig.start();
    model = await rig.volume('golden');
    await rig.write(model, 1, [0, 1]);
    await rig.snapshot(model, 'v1');
  });

  it.each([
    ['another store', async (to: ObjectStore) => GcRig.start(5, to)],
    ['any other object', async (to: ObjectStore) => to.put('photos/1.jpg', Buffer.of(1))],
    [
      'an unfinished copy of another store',
      async (to: ObjectStore) => {
        const other = await GcRig.start(7);
        await copy({ from: other.below, to, decide: async () => Promise.resolve('leave') });
      },
    ],
  ])('refuses a place with %s, and changes nothing', async (_what, fill) => {
    const to = memoryStore();
    await fill(to);
    const before = await contents(to);
    await expect(copy({ from: rig.below, to })).rejects.toMatchObject({ kind: 'conflict', code: 'store-not-empty' });
    expect(await contents(to)).toEqual(before);
  });

  it('copies a damaged object as it is, and says so', async () => {
    const [key = ''] = (await rig.keys('volumes/')).filter((name) => name.includes('/log/'));
    const whole = await rig.below.get(key);
    const bytes = Buffer.from(whole?.bytes ?? []);
    bytes[70] = (bytes[70] ?? 0) ^ 1;
    await rig.below.put(key, bytes);
    const to = memoryStore();
    const report = await copy({ from: rig.below, to });
    expect(report).toMatchObject({
      state: 'finished',
      damage: [{ key, message: expect.stringContaining('damaged') as string }],
    });
    expect((await to.get(key))?.bytes.equals(bytes)).toBe(true);
    expect((await compareStores({ from: rig.below, to })).differences).toMatchObject([{ key }]);
  });

  it('leaves the copy unfinished where the store can not give an object, and goes on once it can', async () => {
    const [key = ''] = (await rig.keys('volumes/')).filter((name) => name.includes('/map/'));
    let isCut = true;
    const cut = new HookedStore(rig.below, (call) => {
      if (isCut && call.operation === 'get' && call.key === key)
        throw new SgwError('corrupt', 'object-damaged', `object ${key} is damaged: its file is cut short`);
    });
    const to = memoryStore();
    await expect(copy({ from: cut, to })).rejects.toMatchObject({
      kind: 'corrupt',
      code: 'copy-incomplete',
      details: { keys: [key] },
    });
    expect(await to.head('sgw.json')).toBeUndefined();
    isCut = false;
    expect(await copy({ from: cut, to })).toMatchObject({ state: 'finished', resumed: true, copiedObjects: 1 });
    expect(await contents(to)).toEqual(await contents(rig.below));
  });

  it('compares: what differs, is missing, or is too much in the copy is named', async () => {
    const to = memoryStore();
    await copy({ from: rig.below, to });
    expect(await compareStores({ from: rig.below, to })).toMatchObject({ differenceCount: 0, differences: [] });
    const keys = await rig.keys('volumes/');
    const [log = '', map = '', head = ''] = ['/log/', '/map/', '/head.json'].map(
      (part) => keys.find((key) => key.includes(part)) ?? '',
    );
    const bytes = Buffer.from((await to.get(log))?.bytes ?? []);
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    await to.put(log, bytes);
    await to.delete(map);
    await rig.below.delete(head);
    const { differences } = await compareStores({ from: rig.below, to });
    expect(new Map(differences.map(({ key, message }) => [key, message]))).toEqual(
      new Map([
        [log, 'its bytes differ'],
        [map, 'it is not in the copy'],
        [head, 'it is only in the copy'],
      ]),
    );
    await expect(compareStores({ from: rig.below, to: memoryStore() })).rejects.toMatchObject({ code: 'other-store' });
  });

  it('needs no key, and what it copied is opened by it', async () => {
    const { options, info } = await sealedStore(optionsOver());
    const catalog = new Catalog(options);
    const entry = await catalog.createVolume({ name: 'secret', sizeBytes: 1 << 20, accountId: ACCOUNT });
    const image = Buffer.alloc(1 << 20);
    const writer = await openVolumeWriter(options, entry.volumeId, { holder, accountId: ACCOUNT });
    fillBlock(image, 3, 42);
    await writer.commit({ encoded: [encodeBlocks(image, [3])], consistent: true });
    await writer.close();
    const to = memoryStore();
    expect(await copy({ from: options.objects, to })).toMatchObject({ storeId: info.storeId, damage: [] });
    expect((await readAll(await openVolumeView({ ...options, objects: to }, entry.volumeId))).equals(image)).toBe(true);
    const keys = await unlock(getterOf(to), { kind: 'passphrase', passphrase: PASSPHRASE });
    expect((await toBuffer(await readVolume(getterOf(to), entry.volumeId, 'newest', keys))).equals(image)).toBe(true);
    expect(await compareStores({ from: options.objects, to })).toMatchObject({ differenceCount: 0 });
  });
});
