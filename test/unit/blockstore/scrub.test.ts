/** What a scrub makes of logs with holes, of what was begun or purged, and of a store that changes under it. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  Catalog,
  createSnapshot,
  createStore,
  DEFAULT_RECOVERY_POLICY,
  FramePool,
  openVolumeView,
  openVolumeWriter,
  type BlockStoreOptions,
  type VolumeEntry,
  type VolumeWriter,
} from '../../../src/core/blockstore/index.ts';
import { ExtentList, objectName, type DamagedObject } from '../../../src/core/blockstore/scrub/index.ts';
import { MIB } from '../../../src/core/kit/index.ts';
import { memoryStore, StoreLayer, type GetOptions, type ObjectBody } from '../../../src/core/objectstore/index.ts';
import { scrubStore } from '../../../src/core/transfer/index.ts';
import { MemoryWitness } from '../../integration/damaged-store.ts';
import { ACCOUNT, encodeBlocks, holder, optionsOver, stamp } from './volume-model.ts';

let pool: FramePool;
beforeAll(() => {
  pool = new FramePool({ threads: 1 });
});
afterAll(async () => {
  await pool[Symbol.asyncDispose]();
});

let meddled: Meddled;
let options: BlockStoreOptions;
let volume: VolumeEntry;
let writer: VolumeWriter;
beforeEach(async () => {
  meddled = new Meddled(memoryStore());
  options = optionsOver(meddled);
  await createStore(options);
  volume = await new Catalog(options).createVolume({ name: 'golden', sizeBytes: MIB, accountId: ACCOUNT });
  writer = await openVolumeWriter(options, volume.volumeId, { holder, accountId: ACCOUNT });
});

/** Does something else just before an object is read. */
class Meddled extends StoreLayer {
  before: ((key: string) => Promise<void>) | undefined;

  override async get(key: string, how?: GetOptions): Promise<ObjectBody | undefined> {
    await this.before?.(key);
    return await super.get(key, how);
  }
}

async function commit(count: number, block = 0): Promise<void> {
  for (let i = 0; i < count; i++) {
    const image = Buffer.alloc(MIB);
    stamp(i).copy(image, block * 65_536);
    await writer.commit({ encoded: [encodeBlocks(image, [block])], consistent: true });
  }
}

const logKey = (seq: number): string => `volumes/${volume.volumeId}/log/${seq.toString(16).padStart(16, '0')}`;
const scrub = async (with_: Partial<BlockStoreOptions> = {}): Promise<readonly DamagedObject[]> =>
  (await scrubStore({ ...options, ...with_ }, { pool })).damage;
const whole = (): object => [{ id: volume.volumeId, extents: [{ offset: 0, length: MIB }] }];

describe('C1 a hole in the log', () => {
  it('behind which more commits stand than can have been under way is a lost commit, and hurts the volume', async () => {
    await commit(7);
    await writer.abandon();
    await options.objects.delete(logKey(3));
    expect(await scrub()).toMatchObject([{ key: logKey(3), affects: whole() }]);
  });

  it('behind which only commits stand that were under way is what a killed writer leaves', async () => {
    await commit(5);
    await writer.abandon();
    await options.objects.delete(logKey(2));
    expect(await scrub()).toEqual([]);
  });

  it('that the witness saw filled is a lost commit, and so is an end that it saw beyond', async () => {
    const witness = new MemoryWitness();
    await commit(5);
    await writer.abandon();
    await openVolumeView({ ...options, witness }, volume.volumeId);
    await options.objects.delete(logKey(5));
    await expect(openVolumeView({ ...options, witness }, volume.volumeId)).rejects.toMatchObject({
      kind: 'corrupt',
      code: 'object-missing',
      details: { key: logKey(5) },
    });
    expect(await scrub({ witness })).toMatchObject([{ key: logKey(5), affects: whole() }]);
    const opening = openVolumeWriter({ ...options, witness }, volume.volumeId, { holder, accountId: ACCOUNT });
    await expect(opening).rejects.toMatchObject({ kind: 'corrupt' });
  });

  it('a writer tells the witness of what it commits', async () => {
    const witness = new MemoryWitness();
    await writer.close();
    writer = await openVolumeWriter({ ...options, witness }, volume.volumeId, { holder, accountId: ACCOUNT });
    await commit(3);
    expect(witness.newest(`volumes/${volume.volumeId}/log`)).toBe(3);
  });
});

describe('C7 a kept recovery point', () => {
  it('whose map is missing is damage, which hurts no page of the volume as it is', async () => {
    await writer.close();
    const how = { holder, accountId: ACCOUNT, recovery: DEFAULT_RECOVERY_POLICY };
    writer = await openVolumeWriter(options, volume.volumeId, how);
    await commit(1);
    await writer.checkpoint();
    await commit(2);
    await writer.close();
    expect(await scrub()).toEqual([]);
    const key = `volumes/${volume.volumeId}/map/0000000000000001`;
    await options.objects.delete(key);
    expect(await scrub()).toMatchObject([{ key, affects: [] }]);
  });
});

describe('a head of an epoch below the log', () => {
  it('is damage; but not when an opening was under way', async () => {
    const key = `volumes/${volume.volumeId}/head.json`;
    await commit(1);
    const old = await options.objects.get(key);
    await writer.abandon();
    const second = await openVolumeWriter(options, volume.volumeId, { holder, accountId: ACCOUNT });
    await second.abandon();
    const now = await options.objects.get(key);
    await options.objects.put(key, old?.bytes ?? Buffer.alloc(0));
    await expect(openVolumeView(options, volume.volumeId)).rejects.toMatchObject({ kind: 'corrupt', details: { key } });
    meddled.before = async (read) => {
      // The opening ends between the reading of the head and that of the log.
      if (!read.includes('/log/')) return;
      meddled.before = undefined;
      await options.objects.put(key, now?.bytes ?? Buffer.alloc(0));
    };
    expect((await openVolumeView(options, volume.volumeId)).epoch).toBe(2);
  });
});

describe('a store that changes meanwhile', () => {
  it('is not blamed for a segment that was replaced while it was read', async () => {
    await commit(2);
    await writer.checkpoint();
    const good = await options.objects.get(logKey(1));
    await options.objects.put(logKey(1), Buffer.from('half of it'));
    let reads = 0;
    meddled.before = async (key) => {
      if (key !== logKey(1) || (reads += 1) !== 2) return;
      await options.objects.put(key, good?.bytes ?? Buffer.alloc(0));
    };
    expect(await scrub()).toEqual([]);
  });

  it('is not blamed for what a checkpoint made superfluous meanwhile', async () => {
    await commit(2);
    let isBusy = false;
    meddled.before = async (key) => {
      if (isBusy || !key.endsWith('/head.json')) return;
      isBusy = true;
      // The log's first object goes, as if the head that is about to be read did not need it any more.
      await writer.checkpoint();
      await options.objects.put(logKey(1), (await options.objects.get(logKey(1)))?.bytes ?? Buffer.alloc(0));
      isBusy = false;
      meddled.before = undefined;
    };
    expect(await scrub()).toEqual([]);
  });
});

describe('what is no damage', () => {
  it('a volume that was begun, one that gc purged and what came late to it, a deleted snapshot', async () => {
    const witness = new MemoryWitness();
    await commit(1);
    await writer.close();
    const snapshot = await createSnapshot(options, { volume, name: 's', accountId: ACCOUNT });
    const catalog = new Catalog({ ...options, witness });
    await catalog.updateSnapshot(snapshot.snapshotId, (now) => ({ ...now, state: 'deleted' }));
    await catalog.getVolume(volume.volumeId);
    for await (const { key } of options.objects.list(`volumes/${volume.volumeId}/`))
      if (!key.includes('/log/')) await options.objects.delete(key);
    const entry = `volumes/${volume.volumeId}/volume.json`;
    expect((await scrub()).map(({ key }) => key)).toEqual([`volumes/${volume.volumeId}/head.json`, entry]);
    expect((await scrub({ witness })).map(({ key }) => key)).toContain(entry);
    const listed = await new Catalog({ ...options, witness }).surveyVolumes();
    expect(listed.damaged.map(({ id }) => id)).toEqual([volume.volumeId]);
    await notePurged({ volumes: [volume.volumeId], snapshots: [] });
    expect(await scrub()).toEqual([]);
    expect(await scrub({ witness })).toEqual([]);
    expect([...witness.known()].filter((key) => key.includes(volume.volumeId))).toEqual([]);
  });
});

async function notePurged(ids: { volumes: string[]; snapshots: string[] }): Promise<void> {
  const { notePurged: note } = await import('../../../src/core/blockstore/gc/purged.ts');
  await note(options, ids);
}

describe('the extents that are hurt', () => {
  it('are merged, whatever the order', () => {
    const list = new ExtentList();
    for (const [offset, length] of [
      [10, 5],
      [15, 1],
      [0, 3],
      [2, 1],
      [40, 0],
      [12, 1],
    ] as const)
      list.add(offset, length);
    expect(list.merged).toEqual([
      { offset: 0, length: 3 },
      { offset: 10, length: 6 },
    ]);
  });

  it('stay few: beyond a limit neighbours are joined, and none is lost', () => {
    const list = new ExtentList();
    for (let i = 0; i < 50_000; i++) list.add(i * 8, 4);
    const { merged } = list;
    expect(merged.length).toBeLessThan(20_001);
    const covers = (offset: number): boolean =>
      merged.some((e) => e.offset <= offset && offset + 4 <= e.offset + e.length);
    expect([0, 8 * 777, 8 * 49_999].every(covers)).toBe(true);
  });
});

it('a key that is no key of format 1 is not taken for one', () => {
  const id = 'vol-00000000000000001';
  for (const key of [
    'x',
    `volumes/${id}/log/1`,
    `volumes/${id}/log/0000000000000001/x`,
    'volumes/vol-1/head.json',
    'service/x',
  ])
    expect(objectName(key)).toEqual({ kind: 'unknown' });
  expect(objectName(`volumes/${id}/log/00000000000000ff`)).toEqual({ kind: 'segment', volumeId: id, seq: 255 });
});
