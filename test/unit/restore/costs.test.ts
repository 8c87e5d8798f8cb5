/** What a restore costs: syncs and fetches of a demand, memory under way, what the background does first, and its pace. */
import { describe, expect, it } from 'vitest';
import { MemoryDevice, type Completion } from '../../../src/core/blockdevice/index.ts';
import { KIB, MIB, SgwError, type Clock } from '../../../src/core/kit/index.ts';
import { beginImage, geometryFor, Restore } from '../../../src/core/restore/index.ts';
import { Blocks, parentOf } from '../../../src/core/restore/geometry.ts';
import { ForgetfulImage } from '../../fault/forgetful-image.ts';

const BLOCK = 4 * KIB;
const COUNT = 1000;
const SIZE = BLOCK * COUNT;

class CountingSource extends MemoryDevice {
  readonly reads: { readonly offset: number; readonly length: number }[] = [];
  failure: SgwError | undefined;
  /** Blocks that are damaged. */
  readonly damaged = new Set<number>();

  override read(offset: number, target: Buffer): Completion {
    this.reads.push({ offset, length: target.length });
    if (this.failure !== undefined) return Promise.reject(this.failure);
    for (let at = offset; at < offset + target.length; at += BLOCK)
      if (this.damaged.has(Math.floor(at / BLOCK))) return Promise.reject(damage(Math.floor(at / BLOCK)));
    return super.read(offset, target);
  }
}

const damage = (block: number): SgwError =>
  new SgwError('corrupt', 'object-damaged', `block ${String(block)} is damaged`);

class SteppingClock implements Clock {
  ms = 0;
  readonly slept: number[] = [];

  nowMs(): number {
    return this.ms;
  }

  monotonicMs(): number {
    return this.ms;
  }

  async sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.slept.push(durationMs);
    this.ms += durationMs;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

interface Wishes {
  readonly profile?: readonly number[];
  readonly rateBytes?: number;
  readonly isServed?: boolean;
}

async function begin(wishes: Wishes = {}): Promise<{
  restore: Restore;
  image: ForgetfulImage;
  source: CountingSource;
  clock: SteppingClock;
  profiles: (readonly number[])[];
}> {
  const source = new CountingSource(SIZE);
  source.bytes.fill(7);
  const image = new ForgetfulImage(Buffer.alloc(SIZE));
  const clock = new SteppingClock();
  const profiles: (readonly number[])[] = [];
  const parts = {
    image,
    source,
    clock,
    geometry: { sizeBytes: SIZE, blockBytes: BLOCK },
    secret: { restoreId: 'r', secret: Buffer.alloc(32, 9) },
    isServed: false,
    onFinishing: async () => Promise.resolve(),
    onCompleted: async (profile: readonly number[]) => {
      profiles.push(profile);
      return Promise.resolve();
    },
    ...wishes,
  };
  await beginImage(parts, new AbortController().signal);
  image.syncs = 0;
  return { restore: new Restore(parts), image, source, clock, profiles };
}

const depthOf = (block: number): number => (block === 0 ? 1 : 1 + depthOf(parentOf(block)));

describe('a demand', () => {
  it('read is answered from the snapshot, and waits for no sync and no write', async () => {
    const { restore, image, source } = await begin();
    const calls = image.calls;
    await restore.device.read(900 * BLOCK, Buffer.alloc(BLOCK));
    expect(source.reads).toEqual([{ offset: 900 * BLOCK, length: BLOCK }]);
    expect(image.syncs).toBe(0);
    expect(image.calls - calls).toBeLessThanOrEqual(2);
    await restore.close();
  });

  it('write costs one sync, and one fetch of each block of its path, however deep', async () => {
    const { restore, image, source } = await begin();
    await restore.device.write(900 * BLOCK + 10, Buffer.alloc(100, 1));
    expect(image.syncs).toBe(1);
    expect(source.reads.length).toBeLessThanOrEqual(depthOf(900));
    source.reads.length = 0;
    await restore.device.write(900 * BLOCK + 500, Buffer.alloc(100, 1));
    expect(image.syncs).toBe(1);
    expect(source.reads).toEqual([]);
    await restore.close();
  });

  it('write of a whole block does not fetch it', async () => {
    const { restore, source } = await begin();
    await restore.device.write(900 * BLOCK, Buffer.alloc(BLOCK, 1));
    expect(source.reads.some(({ offset }) => offset === 900 * BLOCK)).toBe(false);
    const target = Buffer.alloc(BLOCK);
    await restore.device.read(900 * BLOCK, target);
    expect(target.every((byte) => byte === 1)).toBe(true);
    await restore.close();
  });

  it('writes that come together share syncs', async () => {
    const { restore, image } = await begin();
    await Promise.all(
      Array.from({ length: 64 }, async (_, i) => restore.device.write((900 + i) * BLOCK, Buffer.alloc(100, 1))),
    );
    expect(image.syncs).toBeLessThan(20);
    await restore.close();
  });
});

describe('the background', () => {
  it('restores in few rounds, one sync each, and is complete on the disk when it ends', async () => {
    const { restore, image } = await begin();
    await restore.run();
    expect(image.bytes.every((byte) => byte === 7)).toBe(true);
    expect(image.syncs).toBeLessThan(6);
    expect(restore.progress).toMatchObject({ isCompleted: true, doneBytes: SIZE, leftMs: 0 });
    await restore.close();
  });

  it('begins with the blocks of a profile, in its order, and records another', async () => {
    const { restore, source, profiles } = await begin({ profile: [800, 3, 5000], rateBytes: BLOCK });
    const target = Buffer.alloc(1);
    await restore.device.read(12 * BLOCK, target);
    await restore.device.read(7 * BLOCK, target);
    source.reads.length = 0;
    await restore.run();
    const order = source.reads.map(({ offset }) => offset / BLOCK);
    // Block 30 is above none of them.
    expect(order).toContain(30);
    expect(order.indexOf(800)).toBeLessThan(order.indexOf(30));
    expect(profiles).toEqual([[12, 7]]);
    await restore.close();
  });

  it('keeps its rate', async () => {
    const { restore, clock } = await begin({ rateBytes: 100 * BLOCK });
    await restore.run();
    expect(clock.ms).toBeGreaterThanOrEqual(8900);
    expect(clock.ms).toBeLessThan(11_000);
    await restore.close();
  });

  it('waits out a store that is out of reach when the image is served, and says so meanwhile', async () => {
    const { restore, source, clock } = await begin({ isServed: true });
    source.failure = new SgwError('unavailable', 'store-away', 'the store is away');
    const running = restore.run();
    while (clock.slept.length < 3) await new Promise((resolve) => setImmediate(resolve));
    expect(restore.progress.failure?.code).toBe('store-away');
    source.failure = undefined;
    await running;
    expect(restore.progress.failure).toBeUndefined();
    await restore.close();
  });

  /** Of block 100, and of those below it in the tree. */
  const BELOW = [201, 202, 403, 404, 405, 406, 807, 808, 809, 810, 811, 812, 813, 814];
  const bytesOf = (image: ForgetfulImage, block: number): Buffer =>
    image.bytes.subarray(block * BLOCK, (block + 1) * BLOCK);

  it('goes on behind what is damaged, and tells in the end what it could not restore', async () => {
    const { restore, image, source } = await begin({ profile: [900, 405] });
    source.damaged.add(100).add(900).add(901);
    await expect(restore.run()).rejects.toMatchObject({
      kind: 'corrupt',
      code: 'restore-damaged',
      details: {
        damagedBytes: 3 * BLOCK,
        damaged: [
          { offset: 100 * BLOCK, length: BLOCK },
          { offset: 900 * BLOCK, length: 2 * BLOCK },
        ],
        waitingBytes: BELOW.length * BLOCK,
      },
    });
    expect(restore.progress).toMatchObject({ isCompleted: false, failure: { code: 'restore-damaged' } });
    const left = new Set([100, 900, 901, ...BELOW]);
    // What is below a damaged block may be there, and counts for nothing.
    for (let block = 0; block < COUNT; block++)
      if (!left.has(block)) expect(bytesOf(image, block).every((byte) => byte === 7)).toBe(true);
    const target = Buffer.alloc(BLOCK);
    await restore.device.read(405 * BLOCK, target);
    expect(target.every((byte) => byte === 7)).toBe(true);
    await expect(restore.device.read(100 * BLOCK, target)).rejects.toMatchObject({ kind: 'corrupt' });
    await restore.close();
  });

  it('what had no mark is restored with what is above it, also when the round fails then', async () => {
    const { restore, image, source } = await begin({ rateBytes: 3 * BLOCK });
    source.bytes.fill(0, 7 * BLOCK);
    // Of the second round, the mark of its second block can not be overwritten.
    let [hasFailed, again] = [false, 0];
    image.failsWrite = (position, length) => {
      // It has no mark that could be seen, so it must not be taken for unrestored.
      if (hasFailed && [7, 8, 15].some((block) => position === block * BLOCK)) again += 1;
      const fails = position === 4 * BLOCK && length === 512;
      hasFailed ||= fails;
      return fails;
    };
    await expect(restore.run()).rejects.toMatchObject({ code: 'system-enospc' });
    const isReady = (block: number): boolean => restore.device.isReady(block * BLOCK, BLOCK);
    expect([3, 7, 8, 15, 16].map(isReady)).toEqual([true, true, true, true, true]);
    expect([4, 9, 10].map(isReady)).toEqual([false, false, false]);
    expect(again).toBe(0);
    await restore.close();
  });

  it('does not wait for ever behind a damaged root', async () => {
    const { restore, source } = await begin();
    source.damaged.add(0);
    const failure = { code: 'restore-damaged', details: { damagedBytes: BLOCK, waitingBytes: SIZE - BLOCK } };
    await expect(restore.run()).rejects.toMatchObject(failure);
    await restore.close();
  });

  it('ends well when guests overwrite what is damaged, or the store has it again', async () => {
    const { restore, image, source } = await begin({ isServed: true });
    source.damaged.add(100).add(900);
    const running = restore.run();
    while (restore.progress.failure === undefined) await new Promise((resolve) => setImmediate(resolve));
    expect(restore.progress.failure.code).toBe('restore-damaged');
    await restore.device.write(100 * BLOCK, Buffer.alloc(BLOCK, 9));
    source.damaged.clear();
    await running;
    expect(restore.progress).toMatchObject({ isCompleted: true, failure: undefined });
    for (let block = 0; block < COUNT; block++)
      expect(bytesOf(image, block).every((byte) => byte === (block === 100 ? 9 : 7))).toBe(true);
    await restore.close();
  });
});

it('C23 the rest behind the last whole block belongs to it; large images have larger blocks', () => {
  const blocks = new Blocks({ sizeBytes: 3 * MIB + 1000, blockBytes: 256 * KIB });
  expect(blocks.count).toBe(12);
  expect(blocks.lengthOf(11)).toBe(256 * KIB + 1000);
  expect(blocks.at(3 * MIB + 999)).toBe(11);
  expect(blocks.childrenOf(5)).toEqual([11]);
  expect(new Blocks({ sizeBytes: 1000, blockBytes: 256 * KIB }).count).toBe(0);
  expect(geometryFor(4096 * MIB).blockBytes).toBe(256 * KIB);
  expect(geometryFor(2 ** 44).blockBytes).toBe(MIB);
});
