/** What a served volume asks of the store: positions in its write log, and snapshots whose state is in that log (C4, C8). */
import { beforeEach, describe, expect, it } from 'vitest';
import {
  Catalog,
  completeBarrier,
  completeSnapshot,
  createPendingSnapshot,
  createSnapshot,
  createStore,
  failSnapshot,
  openSnapshotView,
  openVolumeWriter,
  type BlockStoreOptions,
  type Checkpoint,
  type RecordSpan,
  type VolumeEntry,
  type VolumeWriter,
} from '../../../src/core/blockstore/index.ts';
import { changeDocument } from '../../../src/core/blockstore/documents.ts';
import { parseMapObject } from '../../../src/core/blockstore/map-object.ts';
import { collectGarbage, rewriteVolume } from '../../../src/core/blockstore/gc/index.ts';
import { MIB, type SnapshotId } from '../../../src/core/kit/index.ts';
import { readSnapshot, readVolume } from '../../reader/independent-reader.ts';
import { HookedStore } from './gc-rig.ts';
import { sealedStore } from './sealed-store.ts';
import { ACCOUNT, encodeBlocks, holder, optionsOver, readAll, stamp } from './volume-model.ts';

const INCARNATION = '00112233445566778899aabbccddeeff';
const records = (last: number): RecordSpan => ({ incarnation: INCARNATION, first: last - 9, last });

let options: BlockStoreOptions;
let image: Buffer;
let volume: VolumeEntry;

async function start(over: BlockStoreOptions): Promise<void> {
  options = over;
  image = Buffer.alloc(MIB);
  volume = await new Catalog(options).createVolume({ name: 'v', sizeBytes: MIB, accountId: ACCOUNT });
}

beforeEach(async () => {
  const over = optionsOver();
  await createStore(over);
  await start(over);
});

const open = (): Promise<VolumeWriter> =>
  openVolumeWriter(options, volume.volumeId, { holder, accountId: ACCOUNT, takeOver: true });

/** Commits block 0 filled with `value` as records up to `last`. Returns what the volume reads as then. */
async function commit(
  writer: VolumeWriter,
  value: number,
  last: number | null,
  onApplied?: () => Promise<void>,
): Promise<Buffer> {
  for (let page = 0; page < 16; page++) stamp(value).copy(image, page * 4096);
  const after = Buffer.from(image);
  await writer.commit({
    encoded: [encodeBlocks(image, [0])],
    consistent: true,
    ...(last === null ? {} : { records: records(last) }),
    ...(onApplied === undefined ? {} : { onApplied }),
  });
  return after;
}

describe('the position of the store in a write log', () => {
  it('is that of the newest data segment, through commits, fences, checkpoints and openings', async () => {
    const writer = await open();
    expect(writer.logPosition).toMatchObject({ dataSeq: 0, records: null });
    await commit(writer, 1, 10);
    await commit(writer, 2, 20);
    expect(writer.logPosition).toMatchObject({ dataSeq: 2, records: records(20) });
    await writer.abandon();
    const second = await open();
    expect(second.seq).toBeGreaterThan(2);
    expect(second.logPosition).toMatchObject({ dataSeq: 2, records: records(20) });
    await second.close();
    const { checkpoint } = await new Catalog(options).headOf(volume.volumeId);
    expect(checkpoint).toMatchObject({ seq: second.seq, dataSeq: 2, records: records(20) });
    const key = checkpoint.root?.key ?? '';
    const footer = parseMapObject(key, (await options.objects.get(key))?.bytes ?? Buffer.alloc(0));
    expect(footer).toMatchObject({ dataSeq: 2, records: records(20) });
    const third = await open();
    expect(third.logPosition).toMatchObject({ dataSeq: 2, records: records(20) });
    await commit(third, 3, null);
    expect(third.logPosition).toMatchObject({ dataSeq: third.seq, records: null });
    await third.close();
    const read = await readVolume(async (name) => (await options.objects.get(name))?.bytes, volume.volumeId);
    expect(read.seq).toBe(third.seq);
  });

  it('is the seq of the checkpoint where an older sgw wrote that', async () => {
    const writer = await open();
    await commit(writer, 1, 10);
    await writer.close();
    await changeDocument<{ checkpoint: Checkpoint }>(options, `volumes/${volume.volumeId}/head.json`, (head) => {
      const { dataSeq: _dataSeq, records: _records, ...older } = head.checkpoint;
      return { ...head, checkpoint: older };
    });
    expect((await open()).logPosition).toMatchObject({ dataSeq: 1, records: null });
  });

  it('begins anew in a clone', async () => {
    const writer = await open();
    await commit(writer, 1, 10);
    await writer.close();
    const from = await createSnapshot(options, { volume, name: 's', accountId: ACCOUNT });
    const clone = await new Catalog(options).createVolume({ name: 'c', sizeBytes: MIB, accountId: ACCOUNT, from });
    const other = await openVolumeWriter(options, clone.volumeId, { holder, accountId: ACCOUNT });
    expect(other.logPosition).toMatchObject({ dataSeq: 0, records: null });
    await other.close();
  });

  it('C4 stays what it is when gc rewrites segments, so that a log which is behind goes on', async () => {
    const writer = await open();
    image.fill(7, 0, 4 * 65536);
    await writer.commit({ encoded: [encodeBlocks(image, [0, 1, 2, 3])], consistent: true, records: records(10) });
    for (const block of [0, 1, 2]) {
      image.fill(block + 1, block * 65536, (block + 1) * 65536);
      await writer.commit({ encoded: [encodeBlocks(image, [block])], consistent: true, records: records(20 + block) });
    }
    await writer.close();
    const report = await collectGarbage(options, { graceMs: 0 });
    const rewritten = await rewriteVolume(options, volume.volumeId, {
      candidates: report.ownSegments.get(volume.volumeId) ?? [],
      snapshotIds: report.snapshotIds,
      holder,
      accountId: ACCOUNT,
    });
    expect(rewritten.segments).toBe(1);
    const after = await open();
    expect(after.seq).toBe(5);
    expect(after.logPosition).toMatchObject({ dataSeq: 4, records: records(22) });
    expect((await readAll(after)).equals(image)).toBe(true);
    await after.close();
  });
});

describe('a commit with something to do behind it', () => {
  it('runs it with this commit applied and the next one not, and makes a checkpoint of just that', async () => {
    const writer = await open();
    const seen: [number, number][] = [];
    const made: Checkpoint[] = [];
    const watch = async (): Promise<void> => {
      made.push(await writer.checkpointHere());
      seen.push([writer.seq, writer.logPosition.records?.last ?? 0]);
    };
    const all = [commit(writer, 1, 10, watch), commit(writer, 2, 20, watch), commit(writer, 3, 30)];
    await Promise.all(all);
    expect(seen).toEqual([
      [1, 10],
      [2, 20],
    ]);
    expect(made.map(({ seq, records: span }) => [seq, span?.last])).toEqual([
      [1, 10],
      [2, 20],
    ]);
    expect(writer.seq).toBe(3);
    await writer.close();
  });

  it('fails the writer when that fails', async () => {
    const writer = await open();
    const failing = commit(writer, 1, 10, () => Promise.reject(new Error('not done')));
    await expect(failing).rejects.toThrow('not done');
    await expect(commit(writer, 2, 20)).rejects.toThrow('not done');
    await writer.abandon();
  });
});

describe.each(['plain', 'sealed'])('C8 a snapshot with a barrier, in a %s store', (kind) => {
  beforeEach(async () => {
    if (kind === 'sealed') await start((await sealedStore()).options);
  });
  const pendingAt = (sequence: number): ReturnType<typeof createPendingSnapshot> =>
    createPendingSnapshot(options, {
      volume,
      name: `s${String(sequence)}`,
      accountId: ACCOUNT,
      barrier: { incarnation: INCARNATION, sequence },
    });
  const reads = async (id: { readonly snapshotId: SnapshotId }, expected: Buffer): Promise<boolean> => {
    const entry = await new Catalog(options).getSnapshot(id.snapshotId);
    if (kind === 'plain') await readSnapshot(async (key) => (await options.objects.get(key))?.bytes, entry.snapshotId);
    return (await readAll(openSnapshotView(options, entry))).equals(expected);
  };

  it('is completed from the checkpoint at its commit, and keeps that although the volume goes on and gc runs', async () => {
    const writer = await open();
    await commit(writer, 1, 10);
    const pending = await pendingAt(20);
    expect(pending).toMatchObject({ state: 'pending', barrier: { incarnation: INCARNATION, sequence: 20 } });
    const state = await commit(writer, 2, 20, async () => {
      await completeSnapshot(options, pending, await writer.checkpointHere());
    });
    await commit(writer, 3, 30);
    await writer.checkpoint();
    await commit(writer, 4, 40);
    await writer.close();
    await collectGarbage(options, { graceMs: 0 });
    expect(await reads(pending, state)).toBe(true);
  });

  it('is completed from the log after a crash, also when an earlier try got no further than its map', async () => {
    const writer = await open();
    const pending = await pendingAt(20);
    expect(await completeBarrier(options, pending)).toBe('notYet');
    await commit(writer, 1, 10);
    const state = await commit(writer, 2, 20);
    await commit(writer, 3, 30);
    await writer.abandon();
    const { objects } = options;
    const dying = new HookedStore(objects, ({ operation, key }) => {
      if (operation === 'put' && key.endsWith('/snapshot.json')) throw new Error('killed here');
    });
    await expect(completeBarrier({ ...options, objects: dying }, pending)).rejects.toThrow('killed here');
    expect(await objects.head(`snapshots/${pending.snapshotId}/map`)).toBeDefined();
    expect(await completeBarrier(options, pending)).toMatchObject({ state: 'completed', seq: 2 });
    expect(await reads(pending, state)).toBe(true);
    await expect(completeBarrier(options, pending)).rejects.toMatchObject({ code: 'snapshot-not-pending' });
  });

  it('is completed after a crash between the checkpoint at its commit and its completion', async () => {
    const writer = await open();
    const pending = await pendingAt(10);
    const state = await commit(writer, 1, 10, async () => {
      await writer.checkpointHere();
    });
    await writer.abandon();
    expect(await completeBarrier(options, pending)).toMatchObject({ state: 'completed', seq: 1 });
    expect(await reads(pending, state)).toBe(true);
  });

  it('is given up for a reason, once, and never when it is completed', async () => {
    const pending = await pendingAt(10);
    expect(await failSnapshot(options, pending.snapshotId, 'its log was lost')).toMatchObject({
      state: 'failed',
      reason: 'its log was lost',
    });
    const writer = await open();
    const late = commit(writer, 1, 10, async () => {
      await completeSnapshot(options, pending, await writer.checkpointHere());
    });
    await expect(late).rejects.toMatchObject({ code: 'snapshot-not-pending' });
    await writer.abandon();
  });
});
