import { describe, expect, it } from 'vitest';
import { encodeMap, nodeLoader, parseMapObject, type EncodedMap } from '../../../src/core/blockstore/map-object.ts';
import { PageMap } from '../../../src/core/blockstore/page-map.ts';
import { sealSegment, ZERO_HASH } from '../../../src/core/blockstore/segment-codec.ts';
import type { SegmentIndex } from '../../../src/core/blockstore/segment-index.ts';
import { memoryStore, type ObjectStore } from '../../../src/core/objectstore/index.ts';
import { ACCOUNT } from './volume-model.ts';

/** A segment whose frames map the first page of each given leaf. */
function segmentOf(
  seq: number,
  leaves: readonly number[],
  creators: readonly (readonly string[])[] = [[ACCOUNT]],
): SegmentIndex {
  const frames = leaves.map((leaf, i) => ({
    block: leaf * 64,
    offset: i,
    storedLength: 1,
    mask: 1,
    codec: 0,
    crc32: 0,
    creators: i % creators.length,
    hashIndex: i,
  }));
  const piece = {
    stored: Buffer.alloc(leaves.length),
    frames,
    pageHashes: Buffer.alloc(leaves.length * 16),
    dataPages: leaves.length,
    zeroed: [],
    readBytes: 0,
  };
  const id = seq.toString(16).padStart(32, '0');
  const facts = {
    kind: 'data' as const,
    volumeId: 'vol-1',
    seq,
    epoch: 1,
    segmentId: id,
    commitTimeMs: 0,
    prevHash: ZERO_HASH,
    sizeBytes: 0,
    consistent: true,
    records: null,
    creators,
  };
  return sealSegment(`log/${String(seq)}`, facts, [piece], []).index;
}

const facts = (seq: number): Parameters<typeof encodeMap>[3] => ({
  seq,
  sizeBytes: 0,
  epoch: 1,
  commitTimeMs: 0,
  logHash: ZERO_HASH,
  consistent: true,
});

async function store(objects: ObjectStore, map: PageMap, seq: number): Promise<EncodedMap> {
  const encoded = encodeMap(map, `map/${String(seq)}`, 'vol-1', facts(seq));
  await objects.put(`map/${String(seq)}`, encoded.body);
  encoded.confirm();
  return encoded;
}

async function pagesOf(map: PageMap): Promise<number[]> {
  const pages: number[] = [];
  for await (const leaf of map.leaves()) pages.push(...leaf.runs.map((run) => run.page));
  return pages;
}

const many = (count: number, step: number): number[] => Array.from({ length: count }, (_, i) => i * step);

describe('the page map', () => {
  it('finds every page again although most leaves were evicted', async () => {
    const objects = memoryStore();
    const map = new PageMap({ root: null, load: nodeLoader({ objects }), leafLimit: 8 });
    const leaves = many(300, 7);
    for (let i = 0; i < leaves.length; i += 10) {
      await map.applySegment(segmentOf(i + 1, leaves.slice(i, i + 10)));
      await store(objects, map, i + 1);
    }
    await map.unmap(leaves[5] ?? 0, 0);
    await map.unmap((leaves[5] ?? 0) * 1024, 1);
    const expected = leaves.filter((_, i) => i !== 5).map((leaf) => leaf * 1024);
    expect(await pagesOf(map)).toEqual(expected);
    expect(map.mappedPages).toBe(expected.length);
    const { checkpoint } = await store(objects, map, 1000);
    const reopened = new PageMap({ root: checkpoint.root, load: nodeLoader({ objects }), leafLimit: 8 });
    expect(await pagesOf(reopened)).toEqual(expected);
    expect(reopened.mappedPages).toBe(expected.length);
  });

  it('writes changed nodes only', async () => {
    const objects = memoryStore();
    const map = new PageMap({ root: null, load: nodeLoader({ objects }) });
    await map.applySegment(segmentOf(1, many(2000, 1)));
    const first = await store(objects, map, 1);
    await map.applySegment(segmentOf(2, [77]));
    const second = await store(objects, map, 2);
    expect(second.body.length).toBeLessThan(first.body.length / 2);
    expect(parseMapObject('map/2', second.body).mappedPages).toBe(2000);
    expect(map.dirty).toBe(false);
    expect(map.dirtyLeaves).toBe(0);
  });

  it('keeps what changed while a checkpoint was on its way', async () => {
    const objects = memoryStore();
    const map = new PageMap({ root: null, load: nodeLoader({ objects }) });
    await map.applySegment(segmentOf(1, [1, 2, 3]));
    const encoded = encodeMap(map, 'map/1', 'vol-1', facts(1));
    await map.applySegment(segmentOf(2, [2, 9]));
    await map.unmap(3 * 1024, 1024);
    await objects.put('map/1', encoded.body);
    encoded.confirm();
    expect(map.dirty).toBe(true);
    const second = await store(objects, map, 2);
    const reopened = new PageMap({ root: second.checkpoint.root, load: nodeLoader({ objects }) });
    expect(await pagesOf(reopened)).toEqual([1024, 2048, 9216]);
    const sources = [];
    for await (const leaf of reopened.leaves()) sources.push(leaf.runs[0]?.source.key);
    expect(sources).toEqual(['log/1', 'log/2', 'log/2']);
    const old = new PageMap({ root: encoded.checkpoint.root, load: nodeLoader({ objects }) });
    expect(await pagesOf(old)).toEqual([1024, 2048, 3072]);
  });

  it('has no root again once everything is unmapped', async () => {
    const objects = memoryStore();
    const map = new PageMap({ root: null, load: nodeLoader({ objects }) });
    await map.applySegment(segmentOf(1, many(50, 3)));
    await store(objects, map, 1);
    await map.unmap(0, 2 ** 34);
    expect(map.mappedPages).toBe(0);
    expect((await store(objects, map, 2)).checkpoint.root).toBeNull();
  });

  it('C17 carries the exact set of creators to the root', async () => {
    const objects = memoryStore();
    const other = '000000000002';
    const map = new PageMap({ root: null, load: nodeLoader({ objects }) });
    await map.applySegment(segmentOf(1, [0, 1, 2000], [[ACCOUNT], [ACCOUNT, other]]));
    expect((await store(objects, map, 1)).checkpoint.root?.creators).toEqual([ACCOUNT, other]);
    await map.unmap(1024, 1024);
    expect((await store(objects, map, 2)).checkpoint.root?.creators).toEqual([ACCOUNT]);
  });
});
