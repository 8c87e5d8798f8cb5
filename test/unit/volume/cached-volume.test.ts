import { mkdirSync, renameSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  Catalog,
  createPendingSnapshot,
  openSnapshotView,
  openVolumeView,
  type SnapshotEntry,
} from '../../../src/core/blockstore/index.ts';
import { SgwError } from '../../../src/core/kit/index.ts';
import { memoryStore, type ObjectStore } from '../../../src/core/objectstore/index.ts';
import { openViewDevice, type ServedVolume } from '../../../src/core/volume/index.ts';
import { ACCOUNT, MIB, readBytes, VolumeRig } from './rig.ts';

const PAGE = 4096;
const page = (fill: number): Buffer => Buffer.alloc(PAGE, fill);

/** A store that can be out of reach, and counts its requests. */
class Outage {
  isOut = false;
  requests = 0;
  readonly store: ObjectStore;

  constructor() {
    const below = memoryStore();
    const check = (): void => {
      this.requests += 1;
      if (this.isOut) throw new SgwError('unavailable', 'store-out-of-reach', 'the store is out of reach');
    };
    this.store = {
      description: 'outage',
      put: async (...args) => (check(), await below.put(...args)),
      get: async (...args) => (check(), await below.get(...args)),
      head: async (...args) => (check(), await below.head(...args)),
      delete: async (...args) => (check(), await below.delete(...args)),
      list: (...args) => (check(), below.list(...args)),
      listFolders: (...args) => (check(), below.listFolders(...args)),
      close: async () => below.close(),
    };
  }
}

const snapshotOf = async (rig: VolumeRig, volume: ServedVolume, name: string) =>
  await volume.snapshot(
    async (place) => await createPendingSnapshot(rig.blocks, { volume: rig.entry, name, accountId: ACCOUNT, ...place }),
  );

async function readSnapshot(rig: VolumeRig, entry: SnapshotEntry, at: number): Promise<number> {
  const view = openSnapshotView(rig.blocks, entry);
  const device = openViewDevice({ view, cache: rig.cache, pool: rig.pool, clock: rig.blocks.clock, readAheadBytes: 0 });
  const bytes = Buffer.alloc(PAGE);
  await device.read(at * PAGE, bytes);
  expect(bytes.equals(page(bytes[0] ?? 0))).toBe(true);
  return bytes[0] ?? 0;
}

describe('a cached volume', () => {
  it('C6 that was taken over acknowledges nothing any more once it knows, and keeps its log', async () => {
    await using rig = await VolumeRig.start(MIB);
    const first = await rig.open({}, { gateway: 'sgw-00000001', log: 'one' });
    await first.write(0, page(1));
    await first.drain();
    await first.write(PAGE, page(2));
    const second = await rig.open({}, { gateway: 'sgw-00000002', takeOver: true, log: 'two' });
    await second.write(2 * PAGE, page(3));
    await second.drain();
    await expect(first.drain()).rejects.toMatchObject({ kind: 'fenced' });
    expect(() => first.write(0, page(9))).toThrow(SgwError);
    expect(() => first.flush()).toThrow(SgwError);
    expect(first.stats).toMatchObject({ state: 'fenced' });
    await first.close();
    expect((await readBytes(second, 0, PAGE)).equals(page(1))).toBe(true);
    expect((await readBytes(second, PAGE, PAGE)).equals(page(0))).toBe(true);
    await second.close({ drain: true });
  });

  it('C6 that was taken over is not drained by closing it, and says so', async () => {
    await using rig = await VolumeRig.start(MIB);
    const first = await rig.open({}, { gateway: 'sgw-00000001', log: 'one' });
    await first.write(0, page(1));
    const second = await rig.open({}, { gateway: 'sgw-00000002', takeOver: true, log: 'two' });
    await expect(first.drain()).rejects.toMatchObject({ kind: 'fenced' });
    await expect(first.close({ drain: true })).rejects.toMatchObject({ kind: 'fenced' });
    expect(first.stats).toMatchObject({ state: 'closed', dirtyBytes: 3 * PAGE });
    await second.close({ drain: true });
  });

  it('C4 a log that another gateway has overtaken is set aside, and never replayed', async () => {
    await using rig = await VolumeRig.start(MIB);
    const first = await rig.open({}, { gateway: 'sgw-00000001', log: 'one' });
    await first.write(0, page(1));
    await first.close();
    const second = await rig.open({}, { gateway: 'sgw-00000002', takeOver: true, log: 'two' });
    await second.write(0, page(2));
    await second.close({ drain: true });
    const again = await rig.open({}, { gateway: 'sgw-00000001', log: 'one' });
    expect(rig.events).toContainEqual(expect.objectContaining({ kind: 'setAside', lostRecords: 1 }));
    expect((await readBytes(again, 0, PAGE)).equals(page(2))).toBe(true);
    await again.close({ drain: true });
  });

  it('goes on while the store is out of reach, and uploads everything when it is back', async () => {
    const outage = new Outage();
    await using rig = await VolumeRig.start(MIB, outage.store);
    const volume = await rig.open({ sealIntervalMs: 50 });
    await volume.write(0, page(1));
    await volume.drain();
    outage.isOut = true;
    for (let i = 1; i < 50; i++) await volume.write(i * PAGE, page(i + 1));
    await volume.flush();
    const drained = volume.drain();
    while (volume.stats.state !== 'degraded') await rig.blocks.clock.sleep(20);
    expect(volume.stats.reason).toContain('out of reach');
    expect((await readBytes(volume, 7 * PAGE, PAGE)).equals(page(8))).toBe(true);
    outage.isOut = false;
    await drained;
    expect(volume.stats).toMatchObject({ state: 'available', dirtyBytes: 0 });
    await volume.close({ drain: true });
    const view = await openVolumeView(rig.blocks, rig.entry.volumeId);
    expect(view.map.mappedPages).toBe(50);
  });

  it('whose buffer is full has its writers wait, and fails none of them', async () => {
    const outage = new Outage();
    await using rig = await VolumeRig.start(64 * MIB, outage.store);
    const volume = await rig.open({ bufferBytes: 8 * MIB, sealIntervalMs: 50 });
    outage.isOut = true;
    let acknowledged = 0;
    const writes = Array.from({ length: 48 }, async (_, i) => {
      await volume.write(i * 256 * 1024, Buffer.alloc(256 * 1024, i + 1));
      acknowledged += 1;
    });
    while (volume.stats.waitingWrites === 0) await rig.blocks.clock.sleep(20);
    expect(acknowledged).toBeLessThan(48);
    outage.isOut = false;
    await Promise.all(writes);
    await volume.drain();
    await rig.freshCache();
    for (const i of [0, 20, 47]) expect((await readBytes(volume, i * 256 * 1024, PAGE)).equals(page(i + 1))).toBe(true);
    await volume.close({ drain: true });
  }, 60_000);

  it('C8 a snapshot shows what was acknowledged before it, and nothing later', async () => {
    await using rig = await VolumeRig.start(MIB);
    const volume = await rig.open();
    await volume.write(0, page(1));
    const taken = await snapshotOf(rig, volume, 's');
    expect(taken.entry.state).toBe('pending');
    await volume.write(0, page(2));
    await volume.write(PAGE, page(3));
    const entry = await taken.completed;
    expect(entry.state).toBe('completed');
    expect(await readSnapshot(rig, entry, 0)).toBe(1);
    expect(await readSnapshot(rig, entry, 1)).toBe(0);
    await volume.close({ drain: true });
  });

  it('C8 a crash neither moves the barrier nor loses the request', async () => {
    const outage = new Outage();
    await using rig = await VolumeRig.start(MIB, outage.store);
    const volume = await rig.open();
    await volume.write(0, page(1));
    const { entry, completed } = await snapshotOf(rig, volume, 's');
    completed.catch(() => undefined);
    outage.isOut = true;
    await volume.write(0, page(2));
    await volume.close();
    outage.isOut = false;
    const catalog = new Catalog(rig.blocks);
    const again = await rig.open();
    await again.drain();
    const after = await catalog.getSnapshot(entry.snapshotId);
    expect(after.state).toBe('completed');
    expect(await readSnapshot(rig, after, 0)).toBe(1);
    expect((await readBytes(again, 0, PAGE)).equals(page(2))).toBe(true);
    await again.close({ drain: true });
  });

  it('C9 tells its new size in the head as soon as a resize is done', async () => {
    await using rig = await VolumeRig.start(MIB);
    const volume = await rig.open();
    await volume.write(MIB - PAGE, page(1));
    await volume.resize(2 * MIB);
    expect(volume.sizeBytes).toBe(2 * MIB);
    const head = await new Catalog(rig.blocks).headOf(rig.entry.volumeId);
    expect(head.checkpoint.sizeBytes).toBe(2 * MIB);
    await volume.resize(MIB - 100);
    await volume.resize(MIB);
    const tail = await readBytes(volume, MIB - PAGE, PAGE);
    expect(tail.subarray(PAGE - 100).equals(Buffer.alloc(100))).toBe(true);
    expect(tail.subarray(0, PAGE - 100).equals(page(1).subarray(100))).toBe(true);
    await volume.close({ drain: true });
  });

  it('makes no requests while it is idle', async () => {
    const outage = new Outage();
    await using rig = await VolumeRig.start(MIB, outage.store);
    const volume = await rig.open({ sealIntervalMs: 20 });
    await volume.write(0, page(1));
    await volume.drain();
    const before = outage.requests;
    await rig.blocks.clock.sleep(300);
    await readBytes(volume, 0, PAGE);
    expect(outage.requests).toBe(before);
    await volume.close({ drain: true });
  });

  it('keeps sectors written over pages that only the store has, without fetching them first', async () => {
    const outage = new Outage();
    await using rig = await VolumeRig.start(MIB, outage.store);
    let volume = await rig.open();
    await volume.write(0, page(1));
    await volume.close({ drain: true });
    await rig.freshCache();
    volume = await rig.open();
    outage.isOut = true;
    await volume.write(512, Buffer.alloc(1024, 2));
    await volume.flush();
    outage.isOut = false;
    const wanted = page(1);
    wanted.fill(2, 512, 1536);
    expect((await readBytes(volume, 0, PAGE)).equals(wanted)).toBe(true);
    await volume.close({ drain: true });
    await rig.freshCache();
    volume = await rig.open();
    expect((await readBytes(volume, 0, PAGE)).equals(wanted)).toBe(true);
    await volume.close({ drain: true });
  });

  it('acknowledges with ack=store only what the store has', async () => {
    await using rig = await VolumeRig.start(MIB);
    const volume = await rig.open({ ack: 'store' });
    await volume.write(0, page(1));
    expect(volume.stats.dirtyBytes).toBe(0);
    await volume.close();
    // The log is gone, and with it nothing that was acknowledged.
    mkdirSync(path.join(rig.folder, 'gone'));
    renameSync(path.join(rig.folder, 'log'), path.join(rig.folder, 'gone', 'log'));
    const again = await rig.open();
    expect((await readBytes(again, 0, PAGE)).equals(page(1))).toBe(true);
    await again.close({ drain: true });
  });
});
