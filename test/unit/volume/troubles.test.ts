/** What a volume says, and how it goes on, when uploading fails in one way or another. */
import { expect, it, onTestFinished } from 'vitest';
import { createPendingSnapshot, type SnapshotEntry } from '../../../src/core/blockstore/index.ts';
import { SgwError, type ErrorKind } from '../../../src/core/kit/index.ts';
import { memoryStore, type ObjectStore } from '../../../src/core/objectstore/index.ts';
import { StoreLayer } from '../../../src/core/objectstore/layer.ts';
import type { PutBody, PutOptions, PutResult } from '../../../src/core/objectstore/index.ts';
import { ACCOUNT, MIB, readBytes, VolumeRig } from './rig.ts';

const PAGE = 4096;
/** More than fit into the smallest log. */
const SNAPSHOTS = 1500;

/** Refuses what is written to the log of volumes, while it has a kind of error. */
class Refusing extends StoreLayer {
  kind: ErrorKind | undefined;

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    if (this.kind !== undefined && key.includes('/log/')) throw new SgwError(this.kind, 'store-refuses', 'it refuses');
    return await this.below.put(key, body, options);
  }
}

async function start(sizeBytes = MIB): Promise<{ rig: VolumeRig; store: Refusing; base: ObjectStore }> {
  const base = memoryStore();
  const store = new Refusing(base);
  const rig = await VolumeRig.start(sizeBytes, store);
  onTestFinished(async () => rig[Symbol.asyncDispose]());
  return { rig, store, base };
}

it.each(['unavailable', 'exhausted', 'denied'] as const)(
  'a store that answers %s is tried again for as long as it takes; the state says so, and since when',
  async (kind) => {
    const { rig, store } = await start();
    const volume = await rig.open({ sealIntervalMs: 20 });
    store.kind = kind;
    await volume.write(0, Buffer.alloc(PAGE, 1));
    const drained = volume.drain();
    const times = new Set<string>();
    await expect
      .poll(
        () => {
          const { state, reason } = volume.stats;
          const [, time] =
            /^uploading has failed since (\S+), and is tried again: it refuses$/.exec(reason ?? '') ?? [];
          if (time !== undefined) times.add(time);
          return state === 'degraded' && volume.stats.uploadErrors >= 3;
        },
        { timeout: 10_000 },
      )
      .toBe(true);
    expect(times.size).toBe(1);
    expect(volume.failure).toBeUndefined();
    store.kind = undefined;
    await drained;
    expect(volume.stats).toMatchObject({ state: 'available', reason: null, dirtyBytes: 0 });
    await volume.close({ drain: true });
  },
  30_000,
);

it('a full buffer is told, and since when, also while the store only hangs', async () => {
  const { rig, store } = await start(64 * MIB);
  const volume = await rig.open({ bufferBytes: 8 * MIB, sealIntervalMs: 20 });
  const gate = Promise.withResolvers<undefined>();
  const put = store.put.bind(store);
  store.put = async (...args) => {
    await gate.promise;
    return await put(...args);
  };
  const writes = Array.from({ length: 40 }, async (_, i) => volume.write(i * 256 * 1024, Buffer.alloc(256 * 1024, 1)));
  await expect
    .poll(() => volume.stats.reason, { timeout: 20_000 })
    .toMatch(/^the upload buffer is full, so that writes wait; the oldest write that is not in the store is of \d{4}-/);
  expect(volume.stats.state).toBe('degraded');
  gate.resolve(undefined);
  await Promise.all(writes);
  await volume.drain();
  expect(volume.stats).toMatchObject({ state: 'available', reason: null });
  await volume.close({ drain: true });
}, 60_000);

it('an error of the program stops the uploading, says how to go on, and loses nothing', async () => {
  const { rig } = await start();
  const volume = await rig.open();
  await volume.write(0, Buffer.alloc(PAGE, 7));
  const encode = rig.pool.encodePages.bind(rig.pool);
  rig.pool.encodePages = async () => Promise.reject(new TypeError('undefined is not a page'));
  await expect(volume.drain()).rejects.toMatchObject({ kind: 'internal' });
  expect(volume.failure?.hint).toContain(`sgw volume attach ${rig.entry.volumeId}`);
  expect(volume.stats.reason).toContain('undefined is not a page');
  expect(() => volume.write(0, Buffer.alloc(PAGE))).toThrow(/error of this program/);
  await volume.close();
  rig.pool.encodePages = encode;
  const again = await rig.open();
  expect((await readBytes(again, 0, PAGE)).equals(Buffer.alloc(PAGE, 7))).toBe(true);
  await again.drain();
  expect(again.stats).toMatchObject({ state: 'available', dirtyBytes: 0 });
  await again.close({ drain: true });
});

it('C8 a snapshot that waits for room is refused when the volume is fenced meanwhile', async () => {
  const { rig, store, base } = await start(64 * MIB);
  const volume = await rig.open({ bufferBytes: 8 * MIB });
  store.kind = 'unavailable';
  const written = Array.from({ length: 40 }, async (_, i) =>
    Promise.resolve(volume.write(i * 256 * 1024, Buffer.alloc(256 * 1024, 1))).catch(() => undefined),
  );
  await expect.poll(() => volume.stats.reason ?? '', { timeout: 20_000 }).toContain('buffer is full');
  let asked = 0;
  const create = async (
    place: { barrier: { incarnation: string; sequence: number } } | { reason: string },
  ): Promise<SnapshotEntry> => {
    asked += 1;
    return await createPendingSnapshot(rig.blocks, { volume: rig.entry, name: 's', accountId: ACCOUNT, ...place });
  };
  // The first of them take what room there is.
  const snapshots = Array.from({ length: SNAPSHOTS }, async () => {
    try {
      const { completed } = await volume.snapshot(create);
      completed.catch(() => undefined);
      return 'made';
    } catch (error) {
      return (error as SgwError).kind;
    }
  });
  await rig.blocks.clock.sleep(500);
  expect(asked).toBeLessThan(SNAPSHOTS);
  // Nothing of the first volume arrives before it is fenced.
  const other = await rig.open({}, { gateway: 'sgw-00000002', takeOver: true, log: 'other', objects: base });
  store.kind = undefined;
  const ends = await Promise.all(snapshots);
  expect(ends.at(-1)).toBe('fenced');
  expect(ends.filter((end) => end === 'made')).toHaveLength(asked);
  await Promise.all(written);
  await volume.close();
  await other.close({ drain: true });
}, 60_000);
