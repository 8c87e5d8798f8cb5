/** Recovery points of a volume (C7): which there are, what they read as, and what keeps them. */
import { beforeEach, describe, expect, it } from 'vitest';
import {
  Catalog,
  createSnapshot,
  listRecoveryPoints,
  openRecoveryPoint,
  openSnapshotView,
  openVolumeWriter,
  type BlockStoreOptions,
  type RecoveryPolicy,
  type RecoveryTime,
  type VolumeWriter,
} from '../../../src/core/blockstore/index.ts';
import { previewFree, rewriteVolume } from '../../../src/core/blockstore/gc/index.ts';
import { MIB } from '../../../src/core/kit/index.ts';
import { DAY, GcRig, HOUR, fillBlock, type Model } from './gc-rig.ts';
import { sealedStore } from './sealed-store.ts';
import { ACCOUNT, encodeBlocks, holder, otherHolder, readAll } from './volume-model.ts';

const POLICY: RecoveryPolicy = { allForMs: HOUR, allMax: 8, tiers: [{ periodMs: HOUR, forMs: DAY }] };
const MINUTE = 60_000;

let rig: GcRig;
let model: Model;

beforeEach(async () => {
  rig = await GcRig.start();
  model = await rig.volume('v');
});

const open = (recovery: RecoveryPolicy | null = POLICY): Promise<VolumeWriter> =>
  openVolumeWriter(rig.options, model.entry.volumeId, {
    holder,
    accountId: ACCOUNT,
    takeOver: true,
    ...(recovery === null ? {} : { recovery }),
  });

/** Fills blocks 0 and 1 with `value` as one commit, a minute after the one before. Returns what the volume reads as then. */
async function commit(writer: VolumeWriter, value: number, consistent = true): Promise<Buffer> {
  rig.clock.move(MINUTE);
  for (const block of [0, 1]) fillBlock(model.image, block, value);
  await writer.commit({ encoded: [encodeBlocks(model.image, [0, 1])], consistent });
  return Buffer.from(model.image);
}

/** Commits and makes a checkpoint. */
async function keep(writer: VolumeWriter, value: number): Promise<Buffer> {
  const state = await commit(writer, value);
  await writer.checkpoint();
  return state;
}

const seqs = async (): Promise<[number, boolean][]> =>
  (await listRecoveryPoints(rig.options, model.entry.volumeId)).map(({ seq, kept }) => [seq, kept]);

const readsAs = async (at: RecoveryTime, image: Buffer, options: BlockStoreOptions = rig.options): Promise<boolean> =>
  (await readAll(await openRecoveryPoint(options, model.entry.volumeId, at))).equals(image);

/** Runs gc until what is dead is gone. */
async function collect(): Promise<void> {
  await rig.gc();
  await rig.gc();
}

describe('C7 recovery points', () => {
  it('are the kept checkpoints and the consistent commits behind the newest one, with what they are', async () => {
    const writer = await open();
    await keep(writer, 1);
    await commit(writer, 2);
    await keep(writer, 3);
    await commit(writer, 4);
    await commit(writer, 5, false);
    await commit(writer, 6);
    const points = await listRecoveryPoints(rig.options, model.entry.volumeId);
    // The inconsistent commit has made a checkpoint of the state before it.
    expect(points.map(({ seq, kept }) => [seq, kept])).toEqual([
      [1, true],
      [3, true],
      [4, true],
      [6, false],
    ]);
    for (const { sizeBytes, mappedPages } of points)
      expect({ sizeBytes, mappedPages }).toEqual({ sizeBytes: MIB, mappedPages: 32 });
    const [first, second] = points.map(({ timeMs }) => timeMs);
    expect((second ?? 0) - (first ?? 0)).toBe(2 * MINUTE);
    await writer.abandon();
  });

  it('are opened by seq, or as the newest that is not after a time', async () => {
    const writer = await open();
    const states = [await keep(writer, 1), await keep(writer, 2), await commit(writer, 3), await commit(writer, 4)];
    const points = await listRecoveryPoints(rig.options, model.entry.volumeId);
    expect(points.map(({ seq }) => seq)).toEqual([1, 2, 3, 4]);
    for (const [i, { seq, timeMs }] of points.entries()) {
      expect(await readsAs({ seq }, states[i] ?? Buffer.alloc(0))).toBe(true);
      expect(await readsAs({ timeMs }, states[i] ?? Buffer.alloc(0))).toBe(true);
      expect(await readsAs({ timeMs: timeMs + MINUTE - 1 }, states[i] ?? Buffer.alloc(0))).toBe(true);
    }
    for (const at of [{ seq: 5 }, { seq: 0 }, { timeMs: (points[0]?.timeMs ?? 0) - 1 }]) {
      await expect(openRecoveryPoint(rig.options, model.entry.volumeId, at)).rejects.toMatchObject({
        kind: 'notFound',
        code: 'recovery-point-not-found',
      });
    }
    await writer.abandon();
  });

  it('do not open when the log from their root on was altered', async () => {
    const writer = await open();
    await keep(writer, 1);
    await commit(writer, 2);
    await commit(writer, 3);
    await writer.abandon();
    const key = `volumes/${model.entry.volumeId}/log/${'2'.padStart(16, '0')}`;
    const object = await rig.below.get(key);
    const other = Buffer.from(object?.bytes ?? Buffer.alloc(0));
    const at = other.length - 8;
    other[at] = (other[at] ?? 0) ^ 1;
    await rig.below.put(key, other);
    await expect(openRecoveryPoint(rig.options, model.entry.volumeId, { seq: 3 })).rejects.toMatchObject({
      kind: 'corrupt',
    });
  });

  it('are none of a volume whose writers keep none, but its newest state', async () => {
    const writer = await open(null);
    await keep(writer, 1);
    await keep(writer, 2);
    await writer.close();
    expect(await seqs()).toEqual([[2, false]]);
    expect((await rig.catalog.headOf(model.entry.volumeId)).recovery).toBeUndefined();
  });

  it('stay when another gateway that keeps none writes on, and are no way back for a writer that was taken over', async () => {
    const writer = await open();
    const first = await keep(writer, 1);
    const other = await openVolumeWriter(rig.options, model.entry.volumeId, {
      holder: otherHolder,
      accountId: ACCOUNT,
      takeOver: true,
    });
    await keep(other, 2);
    await keep(other, 3);
    await collect();
    await expect(keep(writer, 4)).rejects.toMatchObject({ kind: 'fenced' });
    await other.close();
    expect((await rig.catalog.headOf(model.entry.volumeId)).recovery?.points.map(({ seq }) => seq)).toEqual([1]);
    expect(await readsAs({ seq: 1 }, first)).toBe(true);
  });
});

describe('C10 gc', () => {
  it('keeps what recovery points reach, and takes what only thinned ones did', async () => {
    const writer = await open();
    const states: Buffer[] = [];
    for (const value of [1, 2, 3]) states.push(await keep(writer, value));
    rig.clock.move(3 * HOUR);
    states.push(await keep(writer, 4));
    await writer.close();
    expect(await seqs()).toEqual([
      [3, true],
      [4, true],
    ]);
    await collect();
    expect(await readsAs({ seq: 3 }, states[2] ?? Buffer.alloc(0))).toBe(true);
    expect(await readsAs({ seq: 4 }, states[3] ?? Buffer.alloc(0))).toBe(true);
    const log = (seq: number): string => `volumes/${model.entry.volumeId}/log/${String(seq).padStart(16, '0')}`;
    expect([await rig.isTombstone(log(1)), await rig.isTombstone(log(2)), await rig.isTombstone(log(3))]).toEqual([
      true,
      true,
      false,
    ]);
  });

  it('thins the points of a volume that nobody writes to, and its writer goes on', async () => {
    const writer = await open();
    await keep(writer, 1);
    await keep(writer, 2);
    rig.clock.move(2 * DAY);
    await collect();
    expect((await rig.catalog.headOf(model.entry.volumeId)).recovery?.points).toEqual([]);
    expect(await rig.isTombstone(`volumes/${model.entry.volumeId}/log/${'1'.padStart(16, '0')}`)).toBe(true);
    await keep(writer, 3);
    await writer.close();
    expect(await rig.readsAs(model)).toBe(true);
    expect(await seqs()).toEqual([[3, true]]);
    expect((await rig.gc(0)).waiting.objects).toBe(0);
  });

  it('C12 rewrites nothing that a recovery point needs, and counts it as what deleting the volume frees', async () => {
    const writer = await open();
    for (const block of [0, 1, 2, 3]) fillBlock(model.image, block, block + 1);
    await writer.commit({ encoded: [encodeBlocks(model.image, [0, 1, 2, 3])], consistent: true });
    await writer.checkpoint();
    for (const block of [0, 1, 2]) fillBlock(model.image, block, 9);
    await writer.commit({ encoded: [encodeBlocks(model.image, [0, 1, 2])], consistent: true });
    await writer.close();
    const report = await rig.gc();
    const rewrite = async (found: typeof report): Promise<number> => {
      const rewritten = await rewriteVolume(rig.options, model.entry.volumeId, {
        candidates: found.ownSegments.get(model.entry.volumeId) ?? [],
        snapshotIds: found.snapshotIds,
        holder,
        accountId: ACCOUNT,
      });
      return rewritten.segments;
    };
    expect(await rewrite(report)).toBe(0);
    const free = await previewFree(rig.options, { kind: 'volume', id: model.entry.volumeId });
    let bytes = 0;
    for await (const { sizeBytes } of rig.below.list(`volumes/${model.entry.volumeId}/`)) bytes += sizeBytes;
    expect(free).toBe(bytes);
    rig.clock.move(2 * DAY);
    expect(await rewrite(await rig.gc())).toBe(1);
    expect(await rig.readsAs(model)).toBe(true);
  });

  it('takes the points of a volume that is purged', async () => {
    const writer = await open();
    await keep(writer, 1);
    await keep(writer, 2);
    await writer.close();
    await rig.deleteVolume(model);
    await collect();
    expect((await rig.keys(`volumes/${model.entry.volumeId}/map/`)).length).toBeGreaterThan(1);
    rig.clock.move(8 * DAY);
    await collect();
    expect(await rig.keys(`volumes/${model.entry.volumeId}/`)).toEqual([]);
  });
});

describe('C8 a snapshot of a recovery point', () => {
  it('shows that state, also when the point goes, and so does a clone of it', async () => {
    const writer = await open();
    const states = [await keep(writer, 1), await keep(writer, 2), await commit(writer, 3), await commit(writer, 4)];
    const made = await Promise.all(
      [1, 3].map((seq) =>
        createSnapshot(rig.options, {
          volume: model.entry,
          name: `s${String(seq)}`,
          accountId: ACCOUNT,
          recoveryPoint: { seq },
        }),
      ),
    );
    expect(made.map(({ seq }) => seq)).toEqual([1, 3]);
    await keep(writer, 5);
    await writer.close();
    rig.clock.move(2 * DAY);
    await collect();
    await collect();
    for (const [i, entry] of made.entries()) {
      const state = states[i * 2] ?? Buffer.alloc(0);
      expect((await readAll(openSnapshotView(rig.options, entry))).equals(state)).toBe(true);
      expect(await rig.readsAs(await rig.volume(`c${String(i)}`, entry, state))).toBe(true);
    }
  });

  it('is not left behind, failed or pending, where there is no such point', async () => {
    const writer = await open();
    await keep(writer, 1);
    await writer.close();
    const request = { volume: model.entry, name: 's', accountId: ACCOUNT, recoveryPoint: { seq: 7 } };
    await expect(createSnapshot(rig.options, request)).rejects.toMatchObject({ code: 'recovery-point-not-found' });
    expect(await rig.catalog.listSnapshots()).toEqual([]);
  });
});

it('C16 recovery points of a sealed store can be had again', async () => {
  const { options } = await sealedStore();
  const entry = await new Catalog(options).createVolume({ name: 'v', sizeBytes: MIB, accountId: ACCOUNT });
  const writer = await openVolumeWriter(options, entry.volumeId, { holder, accountId: ACCOUNT, recovery: POLICY });
  const image = Buffer.alloc(MIB);
  const states: Buffer[] = [];
  for (const value of [1, 2, 3]) {
    fillBlock(image, 0, value);
    await writer.commit({ encoded: [encodeBlocks(image, [0])], consistent: true });
    if (value < 3) await writer.checkpoint();
    states.push(Buffer.from(image));
  }
  const points = await listRecoveryPoints(options, entry.volumeId);
  expect(points.map(({ seq }) => seq)).toEqual([1, 2, 3]);
  for (const [i, { seq }] of points.entries())
    expect((await readAll(await openRecoveryPoint(options, entry.volumeId, { seq }))).equals(states[i] ?? image)).toBe(
      true,
    );
  await writer.abandon();
});
