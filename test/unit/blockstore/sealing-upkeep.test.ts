/** gc, rewriting and scrub over a sealed store: what is reachable stays readable, and what is damaged is named. */
import { describe, expect, it } from 'vitest';
import {
  Catalog,
  FramePool,
  PAGE_BYTES,
  createSnapshot,
  openSnapshotView,
  openVolumeView,
  openVolumeWriter,
  type BlockStoreOptions,
} from '../../../src/core/blockstore/index.ts';
import { collectGarbage, rewriteVolume } from '../../../src/core/blockstore/gc/index.ts';
import { MIB } from '../../../src/core/kit/index.ts';
import { scrubStore } from '../../../src/core/transfer/index.ts';
import { readVolume, toBuffer } from '../../reader/independent-reader.ts';
import { unlock } from '../../reader/independent-sealing.ts';
import { FILE_KEY, fileSecret, sealedStore } from './sealed-store.ts';
import { ACCOUNT, encodeBlocks, holder, optionsOver, readAll, stamp } from './volume-model.ts';

/** A volume of four commits, each over all or most of the one before, with a snapshot after the first. */
async function begin(options: BlockStoreOptions): Promise<{ volumeId: `vol-${string}`; image: Buffer; first: Buffer }> {
  const catalog = new Catalog(options);
  const volume = await catalog.createVolume({ name: 'golden', sizeBytes: MIB, accountId: ACCOUNT });
  const writer = await openVolumeWriter(options, volume.volumeId, { holder, accountId: ACCOUNT });
  const image = Buffer.alloc(MIB);
  let first = image;
  for (const round of [1, 2, 3, 4]) {
    const blocks = round === 4 ? [0, 1, 2, 3, 4, 5] : [0, 1, 2, 3, 4, 5, 6];
    for (let page = round; page < blocks.length * 16; page++) stamp(round * 1000 + page).copy(image, page * PAGE_BYTES);
    await writer.commit({ encoded: [encodeBlocks(image, blocks)], consistent: true });
    await writer.checkpoint();
    if (round > 1) continue;
    first = Buffer.from(image);
    await createSnapshot(options, { volume, name: 'first', accountId: ACCOUNT });
  }
  await writer.close();
  return { volumeId: volume.volumeId, image, first };
}

const collect = (options: BlockStoreOptions): ReturnType<typeof collectGarbage> =>
  collectGarbage(options, { graceMs: 0, undeleteMs: 0 });

describe('C16 the upkeep of a sealed store', () => {
  it('gc leaves what is reachable readable, tombstones among it, and keeps the key of a purged volume for its clones', async () => {
    const { options } = await sealedStore(optionsOver(), fileSecret);
    const catalog = new Catalog(options);
    const { volumeId, first } = await begin(options);
    const [from] = await catalog.listSnapshots();
    if (from === undefined) throw new Error('there is a snapshot');
    const clone = await catalog.createVolume({ name: 'clone', sizeBytes: MIB, accountId: ACCOUNT, from });
    const report = await collect(options);
    expect(report.tombstones).toBeGreaterThan(0);
    expect((await readAll(openSnapshotView(options, from))).equals(first)).toBe(true);
    const at = new Date(options.clock.nowMs()).toISOString();
    await catalog.updateVolume(volumeId, (entry) => ({ ...entry, state: 'deleted', deletedAt: at }));
    await catalog.updateSnapshot(from.snapshotId, (entry) => ({ ...entry, state: 'deleted' }));
    await collect(options);
    await collect(options);
    expect(await options.objects.head(`volumes/${volumeId}/key.json`)).toBeDefined();
    expect((await readAll(await openVolumeView(options, clone.volumeId))).equals(first)).toBe(true);
    const get = async (key: string): Promise<Buffer | undefined> => (await options.objects.get(key))?.bytes;
    const keys = await unlock(get, { kind: 'keyFile', bytes: FILE_KEY });
    expect((await toBuffer(await readVolume(get, clone.volumeId, 'newest', keys))).equals(first)).toBe(true);
    await catalog.updateVolume(clone.volumeId, (entry) => ({ ...entry, state: 'deleted', deletedAt: at }));
    for (let again = 0; again < 3; again++) await collect(options);
    expect(await Array.fromAsync(options.objects.list('volumes/'))).toEqual([]);
  });

  it('rewriting reads and seals anew', async () => {
    const { options } = await sealedStore();
    const { volumeId, image } = await begin(options);
    const [snapshot] = await new Catalog(options).listSnapshots();
    if (snapshot === undefined) throw new Error('there is a snapshot');
    await new Catalog(options).updateSnapshot(snapshot.snapshotId, (entry) => ({ ...entry, state: 'deleted' }));
    const { ownSegments, snapshotIds } = await collect(options);
    const request = { holder, accountId: ACCOUNT, candidates: ownSegments.get(volumeId) ?? [], snapshotIds };
    expect((await rewriteVolume(options, volumeId, request)).segments).toBeGreaterThan(0);
    await collect(options);
    expect((await readAll(await openVolumeView(options, volumeId))).equals(image)).toBe(true);
  });

  it('scrub finds nothing in a whole one, and names an object that was put in the place of another', async () => {
    const { options } = await sealedStore();
    const { volumeId } = await begin(options);
    await using pool = new FramePool({ threads: 1 });
    expect((await scrubStore(options, { pool })).damage).toEqual([]);
    const keyOf = (seq: number): string => `volumes/${volumeId}/log/${String(seq).padStart(16, '0')}`;
    const older = await options.objects.get(keyOf(1));
    if (older === undefined) throw new Error('there is a log');
    await options.objects.put(keyOf(3), older.bytes);
    const { damage } = await scrubStore(options, { pool });
    expect(damage.map(({ key }) => key)).toContain(keyOf(3));
  });

  it('needs the key: without it nothing is removed', async () => {
    const { options } = await sealedStore();
    await begin(options);
    const { keys: _keys, ...shut } = options;
    const before = (await Array.fromAsync(options.objects.list(''))).length;
    await expect(collect(shut)).rejects.toMatchObject({ kind: 'denied', code: 'key-needed' });
    await using pool = new FramePool({ threads: 1 });
    await expect(scrubStore(shut, { pool })).rejects.toMatchObject({ kind: 'denied', code: 'key-needed' });
    expect((await Array.fromAsync(options.objects.list(''))).length).toBe(before);
  });
});
