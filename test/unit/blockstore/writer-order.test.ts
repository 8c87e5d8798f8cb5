/** What callers may rely on when they do not wait for commits: everything takes effect in the order of the calls. */
import { beforeEach, describe, expect, it } from 'vitest';
import {
  BLOCK_BYTES,
  Catalog,
  PAGE_BYTES,
  createStore,
  openVolumeView,
  openVolumeWriter,
  type BlockStoreOptions,
  type VolumeEntry,
  type VolumeWriter,
} from '../../../src/core/blockstore/index.ts';
import { MIB } from '../../../src/core/kit/index.ts';
import { ACCOUNT, encodeBlocks, holder, optionsOver, readAll, stamp } from './volume-model.ts';

/** More than may be under way at once. */
const COMMITS = 9;
let options: BlockStoreOptions;
let volume: VolumeEntry;
let writer: VolumeWriter;
let image: Buffer;
let pending: Promise<void>[];

beforeEach(async () => {
  options = optionsOver();
  await createStore(options);
  volume = await new Catalog(options).createVolume({ name: 'golden', sizeBytes: MIB, accountId: ACCOUNT });
  writer = await openVolumeWriter(options, volume.volumeId, { holder, accountId: ACCOUNT });
  image = Buffer.alloc(MIB);
  pending = [];
  for (let block = 0; block < COMMITS; block++) {
    stamp(block + 1).copy(image, block * BLOCK_BYTES);
    pending.push(writer.commit({ encoded: [encodeBlocks(image, [block])], consistent: true }));
  }
});

describe('without waiting for commits', () => {
  it('close comes after all of them and gives the volume back whole', async () => {
    pending.push(writer.close());
    await Promise.all(pending);
    const head = await new Catalog(options).headOf(volume.volumeId);
    expect(head).toMatchObject({ holder: null, checkpoint: { seq: COMMITS, mappedPages: COMMITS } });
    expect((await readAll(await openVolumeView(options, volume.volumeId))).equals(image)).toBe(true);
  });

  it('a checkpoint holds all of them', async () => {
    pending.push(writer.checkpoint());
    await Promise.all(pending);
    expect((await new Catalog(options).headOf(volume.volumeId)).checkpoint).toMatchObject({
      seq: COMMITS,
      mappedPages: COMMITS,
    });
  });

  it('shrinking cuts what they wrote, and growing again reads zeroes there', async () => {
    const cut = 8 * BLOCK_BYTES + 100;
    pending.push(writer.resize(cut), writer.resize(MIB));
    await Promise.all(pending);
    const view = await openVolumeView(options, volume.volumeId);
    expect((await readAll(view)).equals(image.fill(0, cut))).toBe(true);
  });

  it('a run of inconsistent commits keeps the last of them as the consistent state', async () => {
    pending.push(
      writer.commit({ encoded: [], unmap: [{ firstPage: 0, pageCount: MIB / PAGE_BYTES }], consistent: false }),
    );
    await Promise.all(pending);
    expect((await new Catalog(options).headOf(volume.volumeId)).consistent).toMatchObject({
      seq: COMMITS,
      mappedPages: COMMITS,
    });
  });

  it('closing twice at once is closing once', async () => {
    await Promise.all([...pending, writer.close(), writer.close()]);
    await writer.close();
    expect(writer.seq).toBe(COMMITS);
  });
});
