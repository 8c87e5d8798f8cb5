import { expect, test } from 'vitest';
import { Catalog, createStore, openVolumeWriter, type PagePlace } from '../../../src/core/blockstore/index.ts';
import { encodeMap, nodeLoader } from '../../../src/core/blockstore/map-object.ts';
import { PageMap } from '../../../src/core/blockstore/page-map.ts';
import { ZERO_HASH } from '../../../src/core/blockstore/segment-codec.ts';
import { TIB } from '../../../src/core/kit/index.ts';
import { ACCOUNT, encodeBlocks, holder, optionsOver, stamp } from './volume-model.ts';

const newPlace = (): PagePlace => ({ source: 0, frame: 0, slot: 0 });

/** A map with pages 3, 4 and 40 of the first leaf and page 0 of the sixth, stored; and the same not loaded. */
async function storedMap(leafLimit?: number): Promise<{ warm: PageMap; cold: PageMap; loads: () => number }> {
  const options = optionsOver();
  await createStore(options);
  const { volumeId } = await new Catalog(options).createVolume({ name: 'v', sizeBytes: TIB, accountId: ACCOUNT });
  const writer = await openVolumeWriter(options, volumeId, { holder, accountId: ACCOUNT });
  const image = Buffer.alloc(64 * 65536);
  for (const page of [3, 4, 40]) stamp(page + 1).copy(image, page * 4096);
  await writer.commit({ encoded: [encodeBlocks(image, [0, 2])], consistent: true });
  const far = encodeBlocks(image, [0]);
  const frames = far.frames.map((frame) => ({ ...frame, block: (5 * 1024) / 16 }));
  await writer.commit({ encoded: [{ ...far, frames }], consistent: true });
  await writer.checkpoint();
  let count = 0;
  const load = nodeLoader(options);
  const counted: typeof load = (...args) => {
    count += 1;
    return load(...args);
  };
  const cold = new PageMap({
    root: writer.map.storedRoot,
    load: counted,
    ...(leafLimit === undefined ? {} : { leafLimit }),
  });
  return { warm: writer.map, cold, loads: () => count };
}

test('a page that is in memory is found without waiting, with its segment, frame and slot', async () => {
  const { warm } = await storedMap();
  const place = newPlace();
  expect(warm.locate(4, place)).toBe('mapped');
  expect(place).toMatchObject({ frame: 0, slot: 1 });
  expect(warm.sourceOf(place.source).key).toMatch(/log\/0{15}1$/);
  expect(warm.locate(40, place)).toBe('mapped');
  expect(place).toMatchObject({ frame: 1, slot: 0 });
  expect(warm.locate(5 * 1024 + 3, place)).toBe('mapped');
  expect(warm.sourceOf(place.source).key).toMatch(/log\/0{15}2$/);
  expect(warm.locate(5, place)).toBe('unmapped');
});

test('a page is absent until its leaf is loaded; what no node covers is unmapped at once', async () => {
  const { cold, loads } = await storedMap();
  const place = newPlace();
  expect(cold.locate(3, place)).toBe('absent');
  await cold.load(3);
  expect(cold.locate(3, place)).toBe('mapped');
  expect(cold.locate(5 * 1024 + 3, place)).toBe('absent');
  const before = loads();
  expect(cold.locate(2048, place)).toBe('unmapped');
  expect(cold.locate(200 * 1024 * 1024, place)).toBe('unmapped');
  expect(loads()).toBe(before);
  expect(new PageMap({ root: null, load: () => Promise.reject(new Error('nothing is stored')) }).locate(7, place)).toBe(
    'unmapped',
  );
});

test('a look-up after a leaf was evicted, unmapped or replaced does not see the old leaf', async () => {
  const { cold, warm } = await storedMap(1);
  const place = newPlace();
  await cold.load(3);
  expect(cold.locate(3, place)).toBe('mapped');
  // With room for one leaf, a leaf that was looked at survives the first sweep, and not the second.
  await cold.load(5 * 1024);
  await cold.load(3);
  await cold.load(5 * 1024);
  expect([cold.locate(3, place), cold.locate(5 * 1024 + 3, place)]).toContain('mapped');
  await cold.load(3);
  expect(cold.locate(3, place)).toBe('mapped');

  expect(warm.locate(3, place)).toBe('mapped');
  await warm.unmap(0, 1024);
  expect(warm.locate(3, place)).toBe('unmapped');
  expect(warm.locate(5 * 1024 + 3, place)).toBe('mapped');
  await warm.unmap(5 * 1024, 4);
  expect(warm.locate(5 * 1024 + 3, place)).toBe('unmapped');
  encodeMap(warm, 'map/9', 'v', {
    seq: 9,
    sizeBytes: 0,
    epoch: 1,
    commitTimeMs: 0,
    logHash: ZERO_HASH,
    consistent: true,
  }).confirm();
  expect(warm.locate(5 * 1024 + 3, place)).not.toBe('absent');
});

test('extents of a map end where the state changes, and absent subtrees are not loaded', async () => {
  const { cold, loads } = await storedMap();
  const walk: [boolean, number][] = [];
  for (let page = 0; page < 6 * 1024;) {
    const { isMapped, endPage } = await cold.mappedExtent(page, 6 * 1024);
    walk.push([isMapped, endPage]);
    expect(endPage).toBeGreaterThan(page);
    page = endPage;
  }
  // Neighbours of one state count as one, as for who asks for block status.
  const merged = walk.filter(([isMapped], i) => walk[i + 1]?.[0] !== isMapped);
  expect(merged).toEqual([
    [false, 3],
    [true, 5],
    [false, 40],
    [true, 41],
    [false, 5 * 1024 + 3],
    [true, 5 * 1024 + 5],
    [false, 6 * 1024],
  ]);
  const before = loads();
  expect(await cold.mappedExtent(1024 ** 3 - 5, 1024 ** 3)).toEqual({ isMapped: false, endPage: 1024 ** 3 });
  expect(loads()).toBe(before);
  expect(await cold.mappedExtent(3, 4)).toEqual({ isMapped: true, endPage: 4 });
});

test('looking up takes far less than ten microseconds a page', async () => {
  const { warm } = await storedMap();
  const place = newPlace();
  let mapped = 0;
  for (let i = 0; i < 1e5; i++) if (warm.locate(i % 1024, place) === 'mapped') mapped += 1;
  const before = process.cpuUsage();
  for (let i = 0; i < 1e6; i++) if (warm.locate(i % 1024, place) === 'mapped') mapped += 1;
  // In microseconds of CPU: a busy machine does not fail it.
  expect(process.cpuUsage(before).user / 1e6).toBeLessThan(10);
  expect(mapped).toBeGreaterThan(0);
});
