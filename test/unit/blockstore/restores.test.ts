/** Restores as the store knows them: what they keep from gc, how they end, and that they need no snapshot any more (C10, C24). */
import { beforeEach, describe, expect, it } from 'vitest';
import {
  createRestore,
  endRestore,
  getRestore,
  listRestores,
  newRestoreId,
  noteFinishing,
  noteKnown,
  openRestoreView,
  pruneRestores,
  type RestoreEntry,
  type SnapshotEntry,
} from '../../../src/core/blockstore/index.ts';
import { DAY, GcRig, type Model } from './gc-rig.ts';
import { ACCOUNT, readAll } from './volume-model.ts';

let rig: GcRig;
let golden: Model;
let snapshot: SnapshotEntry;
let atSnapshot: Buffer;

beforeEach(async () => {
  rig = await GcRig.start();
  golden = await rig.volume('golden');
  await rig.write(golden, 1, [0, 1, 2]);
  snapshot = await rig.snapshot(golden, 'v1');
  atSnapshot = Buffer.from(golden.image);
  await rig.write(golden, 2, [0, 1, 2]);
});

function restoreOf(of: SnapshotEntry): RestoreEntry {
  const { name, volumeName, seq, createdAt, root, snapshotId, sizeBytes } = of;
  return {
    restoreId: newRestoreId(rig.options.random, snapshotId),
    snapshotId,
    state: 'restoring',
    accountId: ACCOUNT,
    sizeBytes,
    createdAt: new Date(rig.clock.nowMs()).toISOString(),
    endedAt: null,
    secret: '00'.repeat(32),
    blockBytes: 262_144,
    isFinishing: false,
    image: { path: '/images/a.img', device: '1', inode: '2', bornAtNs: '0' },
    gatewayId: 'sgw-01234567',
    snapshot: { name, volumeName, seq, createdAt, root },
    profile: [],
  };
}

async function begin(): Promise<RestoreEntry> {
  const entry = restoreOf(snapshot);
  await createRestore(rig.options, entry);
  return entry;
}

const reads = async (entry: RestoreEntry): Promise<boolean> =>
  (await readAll(openRestoreView(rig.options, entry))).equals(atSnapshot);

describe('C24 a restore under way', () => {
  it('C10 keeps what the snapshot reaches, also when that is deleted, and its volume', async () => {
    const entry = await begin();
    await rig.deleteSnapshot(snapshot);
    await rig.deleteVolume(golden);
    rig.clock.move(30 * DAY);
    const report = await rig.gc();
    expect(report.roots.restores).toBe(1);
    expect(await reads(await getRestore(rig.options, entry.restoreId))).toBe(true);
  });

  it('keeps nothing once it has ended', async () => {
    const { restoreId } = await begin();
    await rig.deleteSnapshot(snapshot);
    await endRestore(rig.options, restoreId, 'completed');
    const report = await rig.gc();
    expect(report.roots.restores).toBe(0);
    expect(await rig.garbage()).toEqual([]);
    expect(await listRestores(rig.options)).toEqual([]);
  });

  it('is refused when its snapshot was deleted just before, and keeps nothing', async () => {
    await rig.deleteSnapshot(snapshot);
    await expect(begin()).rejects.toMatchObject({ code: 'snapshot-not-found' });
    expect((await rig.gc()).roots.restores).toBe(0);
  });

  it('is found by the id of its snapshot alone, the newest first', async () => {
    const first = await begin();
    rig.clock.move(1000);
    const second = await begin();
    const other = await rig.snapshot(golden, 'v2');
    await createRestore(rig.options, restoreOf(other));
    const found = (await listRestores(rig.options, snapshot.snapshotId)).map(({ restoreId }) => restoreId);
    expect(found).toEqual([second.restoreId, first.restoreId]);
  });

  it('ends once, and keeps how it ended', async () => {
    const { restoreId } = await begin();
    await noteFinishing(rig.options, restoreId);
    await endRestore(rig.options, restoreId, 'completed', [3, 1]);
    await endRestore(rig.options, restoreId, 'abandoned');
    expect(await getRestore(rig.options, restoreId)).toMatchObject({
      state: 'completed',
      isFinishing: true,
      profile: [3, 1],
    });
  });

  it('ended ones go but for the newest with a profile; one under way stays', async () => {
    const ids: string[] = [];
    for (const profile of [[1], [2], []]) {
      const { restoreId } = await begin();
      ids.push(restoreId);
      await endRestore(rig.options, restoreId, 'completed', profile);
      rig.clock.move(1000);
    }
    const running = await begin();
    await pruneRestores(rig.options, snapshot.snapshotId);
    const left = (await listRestores(rig.options)).map(({ restoreId }) => restoreId);
    expect(left).toEqual([running.restoreId, ids[1]]);
  });

  it('one that its gateway has not noted yet stays, also when others end and the snapshot goes, but not for ever', async () => {
    const { restoreId } = await begin();
    const forgotten = await begin();
    for (const id of [restoreId, forgotten.restoreId]) await endRestore(rig.options, id, 'completed', [], true);
    rig.clock.move(1000);
    const newer = await begin();
    await endRestore(rig.options, newer.restoreId, 'completed', [1]);
    const left = async (): Promise<string[]> =>
      (await listRestores(rig.options)).map((entry) => entry.restoreId).sort();
    const awaited = [restoreId, forgotten.restoreId].sort();
    await pruneRestores(rig.options, snapshot.snapshotId);
    expect(await left()).toEqual([...awaited, newer.restoreId].sort());
    await rig.deleteSnapshot(snapshot);
    await rig.gc();
    expect(await left()).toEqual(awaited);
    await noteKnown(rig.options, restoreId);
    await rig.gc();
    expect(await left()).toEqual([forgotten.restoreId]);
    rig.clock.move(91 * DAY);
    await rig.gc();
    expect(await left()).toEqual([]);
  });
});
