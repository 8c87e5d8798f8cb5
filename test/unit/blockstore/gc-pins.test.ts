/** Pins: who reads for long keeps what is read (C10). */
import { beforeEach, describe, expect, it } from 'vitest';
import { openVolumeWriter, type BlockStoreOptions } from '../../../src/core/blockstore/index.ts';
import { withPinnedSnapshot, withPinnedVolume } from '../../../src/core/blockstore/gc/index.ts';
import { SgwError, type Clock } from '../../../src/core/kit/index.ts';
import { DAY, Gate, GcRig, HOUR, HookedStore, fillBlock, type Model } from './gc-rig.ts';
import { ACCOUNT, encodeBlocks, holder, readAll } from './volume-model.ts';

const reading = { purpose: 'test', holder: 'sgw-00000001' };

/** Time that passes when it is told to, waking who sleeps. */
class SteppedClock implements Clock {
  readonly #rig: GcRig;
  readonly #sleepers: (() => void)[] = [];

  constructor(rig: GcRig) {
    this.#rig = rig;
  }

  nowMs = (): number => this.#rig.clock.nowMs();
  monotonicMs = (): number => this.#rig.clock.nowMs();

  sleep = async (_ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      this.#sleepers.push(resolve);
      signal?.addEventListener('abort', () => {
        reject(new Error('stopped'));
      });
    });

  /** Lets whoever sleeps go on, and waits until it sleeps again. */
  async pass(ms: number): Promise<void> {
    this.#rig.clock.move(ms);
    for (const wake of this.#sleepers.splice(0)) wake();
    for (let turn = 0; turn < 100; turn++) await Promise.resolve();
  }
}

let rig: GcRig;
let golden: Model;
let clock: SteppedClock;
let options: BlockStoreOptions;

beforeEach(async () => {
  rig = await GcRig.start();
  golden = await rig.volume('golden');
  await rig.write(golden, 1, [0, 1]);
  clock = new SteppedClock(rig);
  options = { ...rig.options, clock };
});

describe('C10 a pin', () => {
  it('is renewed for as long as the work goes on, and keeps what it reaches', async () => {
    const snapshot = await rig.snapshot(golden, 's');
    const then = Buffer.from(golden.image);
    await withPinnedSnapshot(options, snapshot, reading, async () => {
      await rig.deleteSnapshot(snapshot);
      await rig.write(golden, 2, [0, 1]);
      for (let quarter = 0; quarter < 12; quarter++) await clock.pass(HOUR / 4);
      expect((await rig.gc()).roots.pins).toBe(1);
      expect(await rig.snapshotReadsAs(snapshot, then)).toBe(true);
    });
    expect(await rig.keys('pins/')).toEqual([]);
  });

  it('ends by itself when its maker is gone, and is removed', async () => {
    const snapshot = await rig.snapshot(golden, 's');
    const gate = new Gate();
    const work = withPinnedSnapshot(options, snapshot, reading, () => gate.pass());
    await gate.reached;
    await rig.deleteSnapshot(snapshot);
    rig.clock.move(HOUR - 1);
    expect((await rig.gc()).roots.pins).toBe(1);
    rig.clock.move(1);
    expect((await rig.gc()).roots.pins).toBe(0);
    expect(await rig.keys('pins/')).toEqual([]);
    gate.open();
    await work;
  });

  it('tells the work when it is lost', async () => {
    const snapshot = await rig.snapshot(golden, 's');
    const work = withPinnedSnapshot(options, snapshot, reading, async (signal) => {
      rig.clock.move(DAY);
      await rig.gc();
      await clock.pass(0);
      signal.throwIfAborted();
    });
    await expect(work).rejects.toMatchObject({ code: 'pin-lost' });
  });

  it('is not made of a snapshot that was deleted before it was there', async () => {
    const snapshot = await rig.snapshot(golden, 's');
    await rig.deleteSnapshot(snapshot);
    const work = withPinnedSnapshot(options, snapshot, reading, () => Promise.reject(new Error('worked all the same')));
    await expect(work).rejects.toMatchObject({ code: 'snapshot-not-found' });
    expect(await rig.keys('pins/')).toEqual([]);
  });

  it('of a volume keeps its state as it was opened, commits above the checkpoint with it', async () => {
    const writer = await openVolumeWriter(rig.options, golden.entry.volumeId, { holder, accountId: ACCOUNT });
    fillBlock(golden.image, 2, 2);
    await writer.commit({ encoded: [encodeBlocks(golden.image, [2])], consistent: true });
    const then = Buffer.from(golden.image);
    await withPinnedVolume(options, golden.entry.volumeId, reading, async (view) => {
      await writer.close();
      await rig.write(golden, 3, [0, 1, 2]);
      await rig.write(golden, 4, [0, 1, 2]);
      await rig.gc();
      expect((await readAll(view)).equals(then)).toBe(true);
    });
    await rig.gc();
    expect(await rig.garbage()).toEqual([]);
  });

  it('of a volume is made again when a checkpoint was stored while it was made', async () => {
    let meanwhile = 0;
    const store: HookedStore = new HookedStore(rig.below, async ({ operation, key }) => {
      if (operation !== 'put' || !key.startsWith('pins/') || meanwhile > 1) return;
      meanwhile += 1;
      await rig.write(golden, 5 + meanwhile, [0]);
      await rig.gc();
    });
    const reads = await withPinnedVolume({ ...options, objects: store }, golden.entry.volumeId, reading, readAll);
    expect(reads.equals(golden.image)).toBe(true);
    expect(meanwhile).toBe(2);
    expect(await rig.keys('pins/')).toEqual([]);
  });

  it('is left out where the store takes no writes', async () => {
    const snapshot = await rig.snapshot(golden, 's');
    const store = new HookedStore(rig.below, ({ operation }) => {
      if (operation === 'put') throw new SgwError('denied', 'store-denied', 'read only');
    });
    const done = await withPinnedSnapshot({ ...options, objects: store }, snapshot, reading, () => Promise.resolve(1));
    expect(done).toBe(1);
  });
});
