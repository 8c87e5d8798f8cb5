/** Objects that are too short, or say what can not be: told as damage of that object, never as a mistake of the caller. */
import { beforeEach, describe, expect, it } from 'vitest';
import {
  BLOCK_BYTES,
  Catalog,
  createStore,
  openVolumeView,
  openVolumeWriter,
  type BlockStoreOptions,
  type VolumeEntry,
} from '../../../src/core/blockstore/index.ts';
import { blake3Short } from '../../../src/core/blockstore/hash.ts';
import {
  creatorSet,
  decodeInterior,
  encodeInterior,
  type NodePointer,
} from '../../../src/core/blockstore/node-codec.ts';
import { MIB } from '../../../src/core/kit/index.ts';
import { ACCOUNT, encodeBlocks, holder, nodeOf, optionsOver, readAll, stamp } from './volume-model.ts';

let options: BlockStoreOptions;
let volume: VolumeEntry;

beforeEach(async () => {
  options = optionsOver();
  await createStore(options);
  volume = await new Catalog(options).createVolume({ name: 'golden', sizeBytes: MIB, accountId: ACCOUNT });
  const writer = await openVolumeWriter(options, volume.volumeId, { holder, accountId: ACCOUNT });
  const image = Buffer.alloc(MIB);
  stamp(1).copy(image);
  await writer.commit({ encoded: [encodeBlocks(image, [0])], consistent: true });
  await writer.checkpoint();
  stamp(2).copy(image, BLOCK_BYTES);
  await writer.commit({ encoded: [encodeBlocks(image, [1])], consistent: true });
  await writer.abandon();
});

const damagedObject = (key: string): object => ({ kind: 'corrupt', code: 'object-damaged', details: { key } });

describe('an object cut to nothing', () => {
  it.each(['log/0000000000000002', 'log/0000000000000001', 'map/0000000000000001'])('at %s is damage', async (name) => {
    const key = `volumes/${volume.volumeId}/${name}`;
    await options.objects.put(key, Buffer.alloc(0));
    const read = openVolumeView(options, volume.volumeId).then(readAll);
    await expect(read).rejects.toMatchObject(damagedObject(key));
  });
});

describe('a segment', () => {
  it('without the frame that the map names is damaged', async () => {
    const view = await openVolumeView(options, volume.volumeId);
    const [run] = await view.map.runsAround(0);
    const index = await view.segments.index(run?.source ?? { key: '', segmentId: '', creators: [] });
    expect(index.frame(0).block).toBe(0);
    expect(() => index.frame(1)).toThrow(expect.objectContaining(damagedObject(index.key)) as Error);
  });

  it('is not made with a block that the map does not reach, which would fold onto another', async () => {
    const writer = await openVolumeWriter(options, volume.volumeId, { holder, accountId: ACCOUNT });
    const encoded = encodeBlocks(Buffer.alloc(BLOCK_BYTES, 7), [0]);
    const frames = encoded.frames.map((frame) => ({ ...frame, block: 2 ** 36 }));
    const commit = writer.commit({ encoded: [{ ...encoded, frames }], consistent: true });
    await expect(commit).rejects.toMatchObject({ code: 'assertion' });
  });
});

describe('a map node', () => {
  it('below which many accounts wrote can be read back', () => {
    const accounts = (child: number): string[] =>
      Array.from({ length: 700 }, (_, i) =>
        String((child * 7919 + i * 104_729 + child * i) % 999_999_999).padStart(12, '0'),
      );
    const pointer = (child: number): NodePointer => ({
      key: `volumes/vol-0/map/${String(child)}`,
      offset: 16,
      length: 10,
      hash: '00'.repeat(16),
      mappedPages: 1,
      creators: creatorSet(accounts(child)),
    });
    const children = Array.from({ length: 1024 }, (_, child) => [child, pointer(child)] as const);
    const stored = encodeInterior(1, children);
    const where = { ...pointer(0), length: stored.length, hash: blake3Short(stored).toString('hex') };
    expect([...decodeInterior(nodeOf(stored, where), where, 1)]).toEqual(children);
  });
});
