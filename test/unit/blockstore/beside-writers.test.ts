/** What readers make of a log that grows while they look at it. */
import { beforeEach, expect, it } from 'vitest';
import {
  Catalog,
  createStore,
  FramePool,
  openVolumeView,
  openVolumeWriter,
  type BlockStoreOptions,
  type VolumeWriter,
} from '../../../src/core/blockstore/index.ts';
import { keys } from '../../../src/core/blockstore/keys.ts';
import { MIB, type VolumeId } from '../../../src/core/kit/index.ts';
import {
  memoryStore,
  StoreLayer,
  type GetOptions,
  type ListOptions,
  type ObjectBody,
  type ObjectInfo,
} from '../../../src/core/objectstore/index.ts';
import { scrubStore } from '../../../src/core/transfer/index.ts';
import { MemoryWitness } from '../../integration/damaged-store.ts';
import { ACCOUNT, encodeBlocks, holder, optionsOver, stamp } from './volume-model.ts';

/** Does something else behind a reading, and leaves keys out of its lists. */
class Meddled extends StoreLayer {
  after: ((key: string) => Promise<void>) | undefined;
  readonly unlisted = new Set<string>();

  override async get(key: string, how?: GetOptions): Promise<ObjectBody | undefined> {
    const body = await super.get(key, how);
    await this.after?.(key);
    return body;
  }

  override async *list(prefix: string, how?: ListOptions): AsyncGenerator<ObjectInfo> {
    for await (const info of super.list(prefix, how)) if (!this.unlisted.has(info.key)) yield info;
  }
}

let meddled: Meddled;
let options: BlockStoreOptions & { readonly witness: MemoryWitness };
let volumeId: VolumeId;
let writer: VolumeWriter;

beforeEach(async () => {
  meddled = new Meddled(memoryStore());
  options = { ...optionsOver(meddled), witness: new MemoryWitness() };
  await createStore(options);
  ({ volumeId } = await new Catalog(options).createVolume({ name: 'golden', sizeBytes: MIB, accountId: ACCOUNT }));
  writer = await openVolumeWriter(options, volumeId, { holder, accountId: ACCOUNT });
});

async function commit(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const image = Buffer.alloc(MIB);
    stamp(i).copy(image);
    await writer.commit({ encoded: [encodeBlocks(image, [0])], consistent: true });
  }
}

it('C1 a commit behind the end that a reader found is no damage, and what was there before and vanished is', async () => {
  await commit(2);
  meddled.after = async (key) => {
    // The reader has found nothing there; before it goes on, the writer commits just that.
    if (key !== keys.log(volumeId, 3)) return;
    meddled.after = undefined;
    await commit(1);
  };
  expect((await openVolumeView(options, volumeId)).seq).toBe(2);
  expect(options.witness.newest(keys.logOf(volumeId))).toBe(3);
  await options.objects.delete(keys.log(volumeId, 3));
  await expect(openVolumeView(options, volumeId)).rejects.toMatchObject({ code: 'object-missing' });
});

it('C1 a scrub asks for what a list made meanwhile lacks before it calls it lost', async () => {
  await using pool = new FramePool({ threads: 1 });
  await commit(2);
  await writer.checkpoint();
  await commit(9);
  for (const seq of [1, 4, 5]) meddled.unlisted.add(keys.log(volumeId, seq));
  expect((await scrubStore(options, { pool })).damage).toEqual([]);
  await options.objects.delete(keys.log(volumeId, 1));
  await options.objects.delete(keys.log(volumeId, 5));
  const found = await scrubStore({ ...options, witness: new MemoryWitness() }, { pool });
  expect(found.damage.map(({ key, affects }) => [key, affects.length])).toEqual([
    [keys.log(volumeId, 1), 0],
    [keys.log(volumeId, 5), 1],
  ]);
});
