import { beforeEach, describe, expect, it } from 'vitest';
import { decodeFrame } from '../../../src/core/blockstore/frame-codec.ts';
import {
  BLOCK_BYTES,
  Catalog,
  PAGE_BYTES,
  createSnapshot,
  createStore,
  openConsistentView,
  openSnapshotView,
  openVolumeView,
  openVolumeWriter,
  readStoreInfo,
  type BlockStoreOptions,
} from '../../../src/core/blockstore/index.ts';
import { parseKeyFile, unlockStore } from '../../../src/core/blockstore/sealing/index.ts';
import { parseMapObject } from '../../../src/core/blockstore/map-object.ts';
import { decodeInterior, decodeLeaf } from '../../../src/core/blockstore/node-codec.ts';
import { parseSegmentTail, parseWholeSegment } from '../../../src/core/blockstore/segment-parse.ts';
import { MIB, type VolumeId } from '../../../src/core/kit/index.ts';
import {
  buildDocument,
  buildInterior,
  buildKeys,
  buildLeaf,
  buildSegment,
  buildTree,
  buildVolumeKey,
} from '../../reader/independent-builder.ts';
import { decodeFrame as decodeByTheBook, hash128, parseSegment } from '../../reader/independent-formats.ts';
import { readSnapshot, readVolume, toBuffer, type GetObject } from '../../reader/independent-reader.ts';
import { unlock, type StoreKeys } from '../../reader/independent-sealing.ts';
import { ACCOUNT, encodeBlocks, holder, nodeOf, optionsOver, otherHolder, readAll, stamp } from './volume-model.ts';

const OTHER = '210987654321';
const volumeId = 'vol-0123456789abcdef0' as VolumeId;

const tiny = buildSegment({
  volumeId,
  seq: 3,
  epoch: 2,
  creators: [[ACCOUNT], [ACCOUNT, OTHER]],
  frames: [
    { block: 1, pages: { 0: stamp(16), 3: stamp(19), 4: stamp(20) } },
    { block: 0x1_2345_6789, pages: { 15: stamp(7) }, creators: 1, compressed: true },
  ],
  extents: [{ firstPage: 0x2_0000_0001, pageCount: 5 }],
});

describe('the segment parsers', () => {
  it('read every field that an independent builder placed', () => {
    const index = parseWholeSegment(tiny.key, tiny.body);
    expect(index.hash).toBe(tiny.hash);
    expect(index.footer).toMatchObject({
      kind: 'data',
      volumeId,
      seq: 3,
      epoch: 2,
      segmentId: tiny.segmentId,
      consistent: true,
    });
    expect(index.extents).toEqual([{ firstPage: 0x2_0000_0001, pageCount: 5 }]);
    expect(index.frameCount).toBe(2);
    expect(index.frame(0)).toMatchObject({
      block: 1,
      offset: 64,
      storedLength: 3 * PAGE_BYTES,
      mask: 0b11001,
      codec: 0,
      creators: 0,
      hashIndex: 0,
    });
    expect(index.frame(1)).toMatchObject({
      block: 0x1_2345_6789,
      offset: 64 + 3 * PAGE_BYTES,
      mask: 0x8000,
      codec: 1,
      creators: 1,
      hashIndex: 3,
    });
  });

  it('decode frames stored as they are and compressed', () => {
    const index = parseWholeSegment(tiny.key, tiny.body);
    const { offset } = index.footer.pageHashes;
    const decode = (i: number, pages: number): Buffer => {
      const entry = index.frame(i);
      const stored = tiny.body.subarray(entry.offset, entry.offset + entry.storedLength);
      return decodeFrame(
        tiny.key,
        entry,
        stored,
        tiny.body.subarray(offset + 16 * entry.hashIndex, offset + 16 * (entry.hashIndex + pages)),
      );
    };
    expect(decode(0, 3).equals(Buffer.concat([stamp(16), stamp(19), stamp(20)]))).toBe(true);
    expect(decode(1, 1).equals(stamp(7))).toBe(true);
  });

  it('ask for as much of the end as they need, and then say the same', () => {
    const size = tiny.body.length;
    const tail = (bytes: number): Buffer => tiny.body.subarray(size - bytes);
    const first = parseSegmentTail(tiny.key, tail(64), size);
    if (!('needBytes' in first)) throw new Error('the trailer alone can not be enough');
    const second = parseSegmentTail(tiny.key, tail(first.needBytes), size);
    if (!('needBytes' in second)) throw new Error('the footer alone can not be enough');
    const third = parseSegmentTail(tiny.key, tail(second.needBytes), size);
    if (!('index' in third)) throw new Error('footer and tables are enough');
    expect(third.index.footer).toEqual(parseWholeSegment(tiny.key, tiny.body).footer);
  });
});

describe('the map parsers', () => {
  const runs = [
    { page: 0, count: 2, source: 1, frame: 0, slot: 1 },
    { page: 17, count: 16, source: 0, frame: 8191, slot: 0 },
    { page: 1023, count: 1, source: 1, frame: 2, slot: 15 },
  ];
  const sources = [
    { segmentId: tiny.segmentId, key: tiny.key, creators: [ACCOUNT] },
    { segmentId: tiny.segmentId, key: tiny.key, creators: [ACCOUNT, OTHER] },
  ];
  const pointerTo = (stored: Buffer): Parameters<typeof decodeLeaf>[1] => ({
    key: 'k',
    offset: 16,
    length: stored.length,
    hash: hash128(stored),
    mappedPages: 0,
    creators: [],
  });

  it.each([false, true])('read a leaf, compressed: %s', (compressed) => {
    const stored = buildLeaf(sources, runs, compressed);
    const expected = runs.map(({ source, ...run }) => ({ ...run, source: sources[source] }));
    expect(decodeLeaf(nodeOf(stored, pointerTo(stored)), pointerTo(stored))).toEqual(expected);
  });

  it.each([false, true])('read an interior node, compressed: %s', (compressed) => {
    const children = [
      { slot: 0, source: 0, offset: 16, length: 99, mappedPages: 2 ** 40, hash: 'ab'.repeat(16) },
      { slot: 1023, source: 1, offset: 0xffff_0000, length: 7, mappedPages: 1, hash: '01'.repeat(16) },
    ];
    const maps = [
      { key: `volumes/${volumeId}/map/0000000000000007`, creators: [OTHER] },
      { key: 'snapshots/snap-00000000000000001/map', creators: [ACCOUNT, OTHER] },
    ];
    const stored = buildInterior(2, maps, children, compressed);
    const expected = children.map(({ slot, source, ...child }) => [slot, { ...child, ...maps[source] }]);
    expect([...decodeInterior(nodeOf(stored, pointerTo(stored)), pointerTo(stored), 2)]).toEqual(expected);
  });
});

interface BuiltStore {
  readonly options: BlockStoreOptions;
  readonly keys: StoreKeys | undefined;
  readonly accountKey: Buffer | undefined;
  readonly dataKey: Buffer | undefined;
}

const plainStore = (): BuiltStore => ({
  options: optionsOver(),
  keys: undefined,
  accountKey: undefined,
  dataKey: undefined,
});

/** A store with a key made by the independent builder, unlocked by the product, and again by the independent reader. */
async function builtKeys(): Promise<BuiltStore> {
  const options = optionsOver();
  const built = {
    storeId: 'store-0123456789abcdef',
    keyId: ACCOUNT,
    accountKey: Buffer.alloc(32, 0xa1),
    fileKey: Buffer.alloc(32, 0xf1),
  };
  const dataKey = Buffer.alloc(32, 0xd1);
  for (const [key, body] of buildKeys(built)) await options.objects.put(key, body);
  await options.objects.put(`volumes/${volumeId}/key.json`, buildVolumeKey(built, volumeId, dataKey));
  const info = await readStoreInfo(options.objects);
  if (info === undefined) throw new Error('a store was built');
  const secret = parseKeyFile(`sgw-key-1:${built.fileKey.toString('base64url')}\n`);
  const get: GetObject = async (name) => (await options.objects.get(name))?.bytes;
  return {
    options: { ...options, keys: await unlockStore(options, info, secret) },
    keys: await unlock(get, { kind: 'keyFile', bytes: built.fileKey }),
    accountKey: built.accountKey,
    dataKey,
  };
}

describe('a volume made by the independent builder', () => {
  it.each([
    ['checkpoint, log, a void segment and a fence', false],
    ['C16 the same in a store with a key', true],
  ])('reads the same through the product: %s', async (_what, isSealed) => {
    const { options, keys, dataKey, accountKey } = isSealed ? await builtKeys() : plainStore();
    const put = (key: string, body: Buffer): Promise<unknown> => options.objects.put(key, body);
    const sizeBytes = 8 * MIB;
    const facts = { volumeId, sizeBytes, ...(dataKey === undefined ? {} : { dataKey }) };
    const first = buildSegment({ ...facts, seq: 1, frames: [{ block: 64, pages: { 0: stamp(1), 2: stamp(2) } }] });
    const leaf = buildLeaf(
      [{ segmentId: first.segmentId, key: first.key, creators: [ACCOUNT] }],
      [
        { page: 0, count: 1, source: 0, frame: 0, slot: 0 },
        { page: 2, count: 1, source: 0, frame: 0, slot: 1 },
      ],
    );
    const key = `volumes/${volumeId}/map/0000000000000001`;
    const point = { seq: 1, sizeBytes, epoch: 1, commitTimeMs: 1001, logHash: first.hash, consistent: true };
    const tree = buildTree({
      key,
      owner: volumeId,
      facts: point,
      leafIndex: 1,
      leaf,
      mappedPages: 2,
      creators: [ACCOUNT],
      ...(dataKey === undefined ? {} : { seal: { volumeId, dataKey } }),
    });
    expect(parseMapObject(key, tree.body)).toMatchObject({ seq: 1, logHash: first.hash, mappedPages: 2 });
    const late = buildSegment({
      ...facts,
      seq: 3,
      frames: [{ block: 0, pages: { 0: stamp(66) } }],
      prevHash: 'ee'.repeat(32),
    });
    const fence = buildSegment({
      ...facts,
      seq: 2,
      epoch: 2,
      kind: 'fence',
      prevHash: first.hash,
      creators: [],
      consistent: false,
      sizeBytes: 0,
    });
    const last = buildSegment({
      ...facts,
      seq: 4,
      epoch: 2,
      prevHash: fence.hash,
      frames: [{ block: 5, pages: { 15: stamp(9) }, compressed: true }],
      extents: [{ firstPage: 1024, pageCount: 1 }],
    });
    for (const segment of [first, fence, late, last]) await put(segment.key, segment.body);
    await put(key, tree.body);
    const { checkpoint } = tree;
    const headKey = `volumes/${volumeId}/head.json`;
    await put(
      headKey,
      buildDocument(headKey, { epoch: 2, holder: null, inSync: [], checkpoint, consistent: checkpoint }, accountKey),
    );
    const expected = Buffer.alloc(sizeBytes);
    stamp(2).copy(expected, 1026 * PAGE_BYTES);
    stamp(9).copy(expected, 95 * PAGE_BYTES);
    const view = await openVolumeView(options, volumeId);
    expect(view).toMatchObject({ seq: 4, epoch: 2 });
    expect((await readAll(view)).equals(expected)).toBe(true);
    const get: GetObject = async (name) => (await options.objects.get(name))?.bytes;
    const own = await readVolume(get, volumeId, 'newest', keys);
    expect(own).toMatchObject({ seq: 4, voidSeqs: [3], sizeBytes });
    expect((await toBuffer(own)).equals(expected)).toBe(true);
  });
});

describe('the independent reader', () => {
  let options: BlockStoreOptions;
  let catalog: Catalog;
  const get: GetObject = async (key) => (await options.objects.get(key))?.bytes;

  beforeEach(async () => {
    options = optionsOver();
    catalog = new Catalog(options);
    await createStore(options);
  });

  it('reads a volume and a snapshot that the product made, before and after a take-over', async () => {
    const sizeBytes = 5 * MIB + 1000;
    const volume = await catalog.createVolume({ name: 'golden', sizeBytes, accountId: ACCOUNT });
    const image = Buffer.alloc(sizeBytes);
    const first = await openVolumeWriter(options, volume.volumeId, { holder, accountId: ACCOUNT });
    for (const page of [0, 3, 17, 1025]) stamp(page).copy(image, page * PAGE_BYTES);
    Buffer.from('the end').copy(image, sizeBytes - 7);
    await first.commit({
      encoded: [encodeBlocks(image, [0, 1, 64, Math.floor(sizeBytes / BLOCK_BYTES)])],
      consistent: true,
    });
    await first.checkpoint();
    const before = await createSnapshot(options, { volume, name: 'before', accountId: ACCOUNT });
    const beforeImage = Buffer.from(image);
    const second = await openVolumeWriter(options, volume.volumeId, {
      holder: otherHolder,
      accountId: OTHER,
      takeOver: true,
    });
    stamp(5).copy(image, 3 * PAGE_BYTES);
    image.fill(0, 17 * PAGE_BYTES, 18 * PAGE_BYTES);
    await second.commit({
      encoded: [encodeBlocks(image, [0])],
      unmap: [{ firstPage: 17, pageCount: 1 }],
      consistent: true,
    });
    const after = await createSnapshot(options, { volume, name: 'after', accountId: ACCOUNT });
    expect(after.creators).toEqual([ACCOUNT, OTHER]);
    expect((await toBuffer(await readVolume(get, volume.volumeId))).equals(image)).toBe(true);
    expect((await toBuffer(await readVolume(get, volume.volumeId, 'consistent'))).equals(image)).toBe(true);
    expect((await toBuffer(await readSnapshot(get, before.snapshotId))).equals(beforeImage)).toBe(true);
    expect((await toBuffer(await readSnapshot(get, after.snapshotId))).equals(image)).toBe(true);
    expect((await readAll(openSnapshotView(options, before))).equals(beforeImage)).toBe(true);
    expect((await readAll(await openConsistentView(options, volume.volumeId))).equals(image)).toBe(true);
    await second.close();
    expect((await toBuffer(await readVolume(get, volume.volumeId))).equals(image)).toBe(true);
  });

  it('refuses a segment with any byte changed', async () => {
    const volume = await catalog.createVolume({ name: 'golden', sizeBytes: MIB, accountId: ACCOUNT });
    const image = Buffer.alloc(MIB);
    stamp(1).copy(image);
    const writer = await openVolumeWriter(options, volume.volumeId, { holder, accountId: ACCOUNT });
    await writer.commit({ encoded: [encodeBlocks(image, [0])], consistent: true });
    const key = `volumes/${volume.volumeId}/log/0000000000000001`;
    const body = await get(key);
    if (body === undefined) throw new Error('the segment is missing');
    const readWhole = (bytes: Buffer): number => decodeByTheBook(parseSegment(key, bytes), 0).length;
    expect(readWhole(body)).toBe(1);
    for (let at = 0; at < body.length; at++) {
      const damaged = Buffer.from(body);
      damaged.writeUInt8((damaged.readUInt8(at) + 1) & 0xff, at);
      expect(() => readWhole(damaged)).toThrow();
    }
  });
});
