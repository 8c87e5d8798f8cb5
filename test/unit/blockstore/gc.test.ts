/** gc over one store: what it removes, what each kind of root keeps, and what stops it (C2, C10, C11). */
import { beforeEach, describe, expect, it } from 'vitest';
import { Catalog, createSnapshot, openVolumeView, openVolumeWriter } from '../../../src/core/blockstore/index.ts';
import { previewFree, withPin } from '../../../src/core/blockstore/gc/index.ts';
import { MIB } from '../../../src/core/kit/index.ts';
import type { GetOptions, ObjectBody, ObjectStore } from '../../../src/core/objectstore/index.ts';
import { StoreLayer } from '../../../src/core/objectstore/layer.ts';
import { DAY, Gate, GcRig, HOUR, HookedStore, fillBlock, type Model } from './gc-rig.ts';
import { ACCOUNT, encodeBlocks, holder, otherHolder, readAll } from './volume-model.ts';

let rig: GcRig;
let golden: Model;

beforeEach(async () => {
  rig = await GcRig.start();
  golden = await rig.volume('golden');
});

describe('gc of a volume that was overwritten', () => {
  beforeEach(async () => {
    await rig.write(golden, 1, [0, 1, 2]);
    await rig.write(golden, 2, [0, 1, 2]);
  });

  it('removes what nothing reaches, and leaves tombstones in the log', async () => {
    const report = await rig.gc();
    expect(report.tombstones).toBe(1);
    expect(report.removed.objects).toBeGreaterThanOrEqual(2);
    expect(report.waiting.objects).toBe(0);
    expect(await rig.isTombstone(`volumes/${golden.entry.volumeId}/log/0000000000000001`)).toBe(true);
    expect(await rig.garbage()).toEqual([]);
    expect(await rig.readsAs(golden)).toBe(true);
  });

  it('finds nothing more to do when it runs again', async () => {
    await rig.gc();
    const before = await rig.keys();
    const report = await rig.gc();
    expect(report.removed.objects).toBe(0);
    expect(await rig.keys()).toEqual(before);
  });

  it('C11 keeps for the grace period what it finds, counted from the first mark that found it', async () => {
    const first = await rig.gc(DAY);
    expect(first.removed.objects).toBe(0);
    expect(first.waiting.objects).toBeGreaterThan(0);
    expect(first.removableAtMs).toBe(rig.clock.nowMs() + DAY);
    rig.clock.move(DAY - 1);
    expect((await rig.gc(DAY)).removed.objects).toBe(0);
    rig.clock.move(1);
    expect((await rig.gc(DAY)).removed.objects).toBe(first.waiting.objects);
    expect(await rig.garbage()).toEqual([]);
  });

  it('changes nothing in a preview, and tells what a run would remove', async () => {
    const before = await rig.keys();
    const { collectGarbage } = await import('../../../src/core/blockstore/gc/index.ts');
    const preview = await collectGarbage(rig.options, { graceMs: 0, preview: true });
    expect(await rig.keys()).toEqual(before);
    const report = await rig.gc();
    expect(preview.removed).toEqual(report.removed);
    expect(preview.tombstones).toBe(1);
  });

  it('C2 keeps the seq of a removed segment taken: a writer that stalled before it is told that it is fenced', async () => {
    const stalled = await openVolumeWriter(rig.options, golden.entry.volumeId, { holder, accountId: ACCOUNT });
    const next = await openVolumeWriter(rig.options, golden.entry.volumeId, {
      holder: otherHolder,
      accountId: ACCOUNT,
      takeOver: true,
    });
    for (const value of [3, 4]) {
      for (const block of [0, 1, 2]) fillBlock(golden.image, block, value);
      await next.commit({ encoded: [encodeBlocks(golden.image, [0, 1, 2])], consistent: true });
    }
    await next.close();
    rig.clock.move(365 * DAY);
    await rig.gc();
    const late = stalled.commit({ encoded: [encodeBlocks(golden.image, [5])], consistent: true });
    await expect(late).rejects.toMatchObject({ kind: 'fenced' });
    expect(await rig.readsAs(golden)).toBe(true);
    expect(await rig.garbage()).toEqual([]);
  });

  it('C2 a writer that stalled until its volume was purged, fences and all, is fenced, and what it left goes', async () => {
    const stalled = await openVolumeWriter(rig.options, golden.entry.volumeId, { holder, accountId: ACCOUNT });
    const last = await openVolumeWriter(rig.options, golden.entry.volumeId, {
      holder: otherHolder,
      accountId: ACCOUNT,
      takeOver: true,
    });
    await rig.deleteVolume(golden);
    await last.close();
    rig.clock.move(8 * DAY);
    await rig.gc();
    await rig.gc();
    expect(await rig.keys('volumes/')).toEqual([]);
    const late = stalled.commit({ encoded: [encodeBlocks(golden.image, [5])], consistent: true });
    await expect(late).rejects.toMatchObject({ kind: 'fenced' });
    expect(await rig.keys('volumes/')).toHaveLength(1);
    await rig.gc();
    expect(await rig.keys('volumes/')).toEqual([]);
  });
});

describe('C10 each kind of root alone keeps what it reaches', () => {
  it('a head with commits above its checkpoint', async () => {
    const writer = await openVolumeWriter(rig.options, golden.entry.volumeId, { holder, accountId: ACCOUNT });
    fillBlock(golden.image, 3, 7);
    await writer.commit({ encoded: [encodeBlocks(golden.image, [3])], consistent: true });
    await rig.gc();
    expect(await rig.readsAs(golden)).toBe(true);
    await writer.close();
    await rig.gc();
    expect(await rig.readsAs(golden)).toBe(true);
  });

  it('the last consistent state, while inconsistent commits go on', async () => {
    await rig.write(golden, 1, [0, 1]);
    const kept = Buffer.from(golden.image);
    const writer = await openVolumeWriter(rig.options, golden.entry.volumeId, { holder, accountId: ACCOUNT });
    for (const block of [0, 1]) fillBlock(golden.image, block, 9);
    await writer.commit({ encoded: [encodeBlocks(golden.image, [0, 1])], consistent: false });
    await writer.close();
    await rig.gc();
    const snapshot = await rig.snapshot(golden, 's');
    expect(await rig.snapshotReadsAs(snapshot, kept)).toBe(true);
    expect(await rig.readsAs(golden)).toBe(true);
  });

  it('a snapshot, of a volume that was purged', async () => {
    await rig.write(golden, 1, [0, 1]);
    const snapshot = await rig.snapshot(golden, 's');
    const then = Buffer.from(golden.image);
    await rig.write(golden, 2, [0, 1]);
    await rig.deleteVolume(golden);
    rig.clock.move(8 * DAY);
    const report = await rig.gc();
    expect(report.purgedVolumes).toEqual([golden.entry.volumeId]);
    expect(await rig.snapshotReadsAs(snapshot, then)).toBe(true);
  });

  it('a deleted volume, until its time for undelete is over', async () => {
    await rig.write(golden, 1, [0, 1]);
    await rig.deleteVolume(golden);
    rig.clock.move(7 * DAY - 1);
    const report = await rig.gc();
    expect(report.roots).toMatchObject({ volumes: 0, deletedVolumes: 1 });
    await rig.catalog.updateVolume(golden.entry.volumeId, (now) => ({ ...now, state: 'available', deletedAt: null }));
    expect(await rig.readsAs(golden)).toBe(true);
  });

  it('a clone, of a snapshot and a volume that are gone', async () => {
    await rig.write(golden, 1, [0, 1]);
    const snapshot = await rig.snapshot(golden, 's');
    const clone = await rig.volume('clone', snapshot, golden.image);
    await rig.deleteSnapshot(snapshot);
    await rig.deleteVolume(golden);
    rig.clock.move(8 * DAY);
    await rig.gc();
    expect(await rig.keys('snapshots/')).toEqual([]);
    expect(await rig.readsAs(clone)).toBe(true);
    await rig.write(clone, 3, [0, 1]);
    await rig.gc();
    expect(await rig.readsAs(clone)).toBe(true);
    expect(await rig.keys(`volumes/${golden.entry.volumeId}/`)).toEqual([]);
  });

  it('a clone that is being created, of a snapshot that was deleted since', async () => {
    await rig.write(golden, 1, [0, 1]);
    const from = await rig.snapshot(golden, 's');
    const then = Buffer.from(golden.image);
    await rig.write(golden, 2, [0, 1]);
    const gate = new Gate();
    const store = new HookedStore(rig.below, async ({ operation, key }) => {
      if (operation === 'put' && key.endsWith('volume.json')) await gate.pass();
    });
    const creating = new Catalog(rig.over(store)).createVolume({
      name: 'clone',
      sizeBytes: MIB,
      accountId: ACCOUNT,
      from,
    });
    await gate.reached;
    await rig.deleteSnapshot(from);
    await rig.gc(HOUR);
    rig.clock.move(HOUR - 1);
    await rig.gc(HOUR);
    gate.open();
    expect(await rig.readsAs({ entry: await creating, image: then })).toBe(true);
    await rig.gc();
    expect(await rig.readsAs({ entry: await creating, image: then })).toBe(true);
    expect(await rig.garbage()).toEqual([]);
  });

  it('a pin, until its work is done', async () => {
    await rig.write(golden, 1, [0, 1]);
    const snapshot = await rig.snapshot(golden, 's');
    const then = Buffer.from(golden.image);
    await rig.write(golden, 2, [0, 1]);
    const pinned = { purpose: 'test', holder: 'lab', roots: [snapshot.root], check: () => Promise.resolve() };
    const sleepless = {
      ...rig.options,
      clock: { nowMs: rig.clock.nowMs, monotonicMs: rig.clock.monotonicMs, sleep: forever },
    };
    await withPin(sleepless, pinned, async () => {
      await rig.deleteSnapshot(snapshot);
      const report = await rig.gc();
      expect(report.roots.pins).toBe(1);
      expect(await rig.snapshotReadsAs(snapshot, then)).toBe(true);
    });
    expect(await rig.keys('pins/')).toEqual([]);
    await rig.gc();
    await expect(rig.snapshotReadsAs(snapshot, then)).rejects.toMatchObject({ kind: 'corrupt' });
    expect(await rig.garbage()).toEqual([]);
  });
});

/** Sleeps until it is stopped. */
const forever = (_ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((_resolve, reject) => {
    signal?.addEventListener('abort', () => {
      reject(new Error('stopped'));
    });
  });

describe('gc of what was deleted', () => {
  it('a snapshot goes with its map and what only it reached', async () => {
    await rig.write(golden, 1, [0, 1]);
    const writer = await openVolumeWriter(rig.options, golden.entry.volumeId, { holder, accountId: ACCOUNT });
    fillBlock(golden.image, 4, 4);
    await writer.commit({ encoded: [encodeBlocks(golden.image, [4])], consistent: true });
    const snapshot = await rig.snapshot(golden, 's');
    expect(await rig.keys(`snapshots/${snapshot.snapshotId}/`)).toHaveLength(2);
    await writer.close();
    await rig.deleteSnapshot(snapshot);
    await rig.gc();
    expect(await rig.keys('snapshots/')).toEqual([]);
    expect(await rig.garbage()).toEqual([]);
    expect(await rig.readsAs(golden)).toBe(true);
  });

  it('a volume goes wholly, and its id is noted', async () => {
    await rig.write(golden, 1, [0, 1]);
    await rig.write(golden, 2, [0, 1]);
    await rig.gc();
    await rig.deleteVolume(golden);
    rig.clock.move(8 * DAY);
    await rig.gc();
    expect(await rig.keys('volumes/')).toEqual([]);
    expect(await rig.keys('gc/tombstones/')).toEqual([]);
    const { readPurged } = await import('../../../src/core/blockstore/gc/purged.ts');
    expect([...(await readPurged(rig.options)).volumes]).toEqual([golden.entry.volumeId]);
    await expect(rig.catalog.getVolume(golden.entry.volumeId)).rejects.toMatchObject({ code: 'volume-not-found' });
  });

  it('what comes late to a purged volume or snapshot goes too', async () => {
    await rig.write(golden, 1, [0, 1]);
    const snapshot = await rig.snapshot(golden, 's');
    await rig.deleteSnapshot(snapshot);
    await rig.deleteVolume(golden);
    rig.clock.move(8 * DAY);
    await rig.gc();
    await rig.below.put(`volumes/${golden.entry.volumeId}/log/0000000000000009`, Buffer.from('late'));
    await rig.below.put(`snapshots/${snapshot.snapshotId}/map`, Buffer.from('late'));
    await rig.gc();
    expect(await rig.keys('volumes/')).toEqual([]);
    expect(await rig.keys('snapshots/')).toEqual([]);
  });

  it('a preview of deleting tells what only that needs', async () => {
    await rig.write(golden, 1, [0, 1, 2, 3]);
    const snapshot = await rig.snapshot(golden, 's');
    const shared = await previewFree(rig.options, { kind: 'snapshot', id: snapshot.snapshotId });
    await rig.write(golden, 2, [0, 1, 2, 3]);
    const alone = await previewFree(rig.options, { kind: 'snapshot', id: snapshot.snapshotId });
    expect(alone).toBeGreaterThan(shared);
    await rig.deleteSnapshot(snapshot);
    const { removed } = await rig.gc();
    // The entry is a few bytes shorter once it says `deleted`.
    expect(Math.abs(removed.bytes - alone)).toBeLessThan(16);
  });
});

describe('C10 gc stops at a root that it can not read, and removes nothing', () => {
  const damages: readonly (readonly [what: string, harm: (volumeId: string) => Promise<void>])[] = [
    ['a damaged head', (id) => overwrite(`volumes/${id}/head.json`)],
    ['a damaged entry', (id) => overwrite(`volumes/${id}/volume.json`)],
    ['a missing head', (id) => remove(`volumes/${id}/head.json`)],
    ['a missing entry', (id) => remove(`volumes/${id}/volume.json`)],
    ['a missing map', async (id) => remove((await rig.keys(`volumes/${id}/map/`)).at(-1) ?? '')],
    ['a damaged map', async (id) => overwrite((await rig.keys(`volumes/${id}/map/`)).at(-1) ?? '')],
    [
      'a damaged snapshot',
      async () => overwrite((await rig.keys('snapshots/')).find((key) => key.endsWith('.json')) ?? ''),
    ],
    [
      'a missing snapshot',
      async () => remove((await rig.keys('snapshots/')).find((key) => key.endsWith('.json')) ?? ''),
    ],
    ['a damaged pin', () => overwrite('pins/x.json')],
  ];
  const overwrite = async (key: string): Promise<void> => {
    await rig.below.put(key, Buffer.from('damaged'));
  };
  const remove = async (key: string): Promise<void> => {
    await rig.below.delete(key);
  };

  it.each(damages)('%s', async (_what, harm) => {
    await rig.write(golden, 1, [0, 1]);
    const writer = await openVolumeWriter(rig.options, golden.entry.volumeId, { holder, accountId: ACCOUNT });
    fillBlock(golden.image, 4, 4);
    await writer.commit({ encoded: [encodeBlocks(golden.image, [4])], consistent: true });
    await rig.snapshot(golden, 's');
    await writer.close();
    await rig.write(golden, 2, [0, 1]);
    const other = await rig.volume('other');
    await rig.write(other, 1, [0]);
    await rig.write(other, 2, [0]);
    await rig.gc(HOUR);
    rig.clock.move(HOUR);
    await harm(golden.entry.volumeId);
    const before = await rig.keys();
    await expect(rig.gc(HOUR)).rejects.toMatchObject({ kind: 'corrupt' });
    expect(await rig.keys()).toEqual(before);
    expect(await rig.isTombstone(`volumes/${other.entry.volumeId}/log/0000000000000001`)).toBe(false);
    expect(await rig.readsAs(other)).toBe(true);
  });

  it('roots of a kind that it does not know', async () => {
    await rig.below.put('uploads/x.json', Buffer.from('{}'));
    await expect(rig.gc()).rejects.toMatchObject({ code: 'unknown-roots' });
  });
});

/** Answers the first read of a head with an older version of it. */
class StaleOnce extends StoreLayer {
  reads = 0;
  readonly #old: ObjectBody | undefined;

  constructor(below: ObjectStore, old: ObjectBody | undefined) {
    super(below);
    this.#old = old;
  }

  override async get(key: string, options?: GetOptions): Promise<ObjectBody | undefined> {
    if (!key.endsWith('head.json')) return super.get(key, options);
    this.reads += 1;
    return this.reads === 1 ? this.#old : super.get(key, options);
  }
}

describe('a reader', () => {
  it('begins again when what it is reading was removed because the head moved on', async () => {
    await rig.write(golden, 1, [0]);
    const head = await rig.below.get(`volumes/${golden.entry.volumeId}/head.json`);
    await rig.write(golden, 2, [0]);
    await rig.gc();
    const objects = new StaleOnce(rig.below, head);
    const view = await openVolumeView(rig.over(objects), golden.entry.volumeId);
    expect((await readAll(view)).equals(golden.image)).toBe(true);
    expect(objects.reads).toBeGreaterThan(1);
  });
});

describe('C11 a snapshot that is being made', () => {
  it('is given up after a grace period, and its maker is told', async () => {
    const gate = new Gate();
    const objects = new HookedStore(rig.below, async ({ operation, key, replaces }) => {
      if (operation === 'put' && (key.endsWith('/map') || (key.endsWith('snapshot.json') && replaces)))
        await gate.pass();
    });
    await rig.write(golden, 1, [0]);
    const making = createSnapshot(rig.over(objects), { volume: golden.entry, name: 's', accountId: ACCOUNT });
    await gate.reached;
    await rig.write(golden, 2, [0]);
    expect((await rig.gc(HOUR)).removed.objects).toBe(0);
    rig.clock.move(HOUR);
    expect((await rig.gc(HOUR)).removed.objects).toBeGreaterThan(0);
    gate.open();
    await expect(making).rejects.toMatchObject({ code: 'snapshot-not-pending' });
    rig.clock.move(HOUR);
    await rig.gc(HOUR);
    rig.clock.move(HOUR);
    await rig.gc(HOUR);
    expect(await rig.keys('snapshots/')).toEqual([]);
    expect(await rig.garbage()).toEqual([]);
  });
});
