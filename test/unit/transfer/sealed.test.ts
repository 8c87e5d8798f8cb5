/** Import, export and verification of a sealed volume go through the worker threads as those of any other. */
import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { FramePool } from '../../../src/core/blockstore/index.ts';
import { MIB } from '../../../src/core/kit/index.ts';
import { memoryStore, type ObjectStore } from '../../../src/core/objectstore/index.ts';
import { sealedStore } from '../blockstore/sealed-store.ts';
import { Rig, writeSparse } from './rig.ts';

let rig: Rig;
let objects: ObjectStore;
beforeEach(async () => {
  objects = memoryStore();
  rig = await Rig.start(objects, async (base) => (await sealedStore(base)).options);
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
});

it('C16 a sealed volume is imported, exported, and imported again where it changed', async () => {
  const path = rig.path('image');
  const pieces = [
    { offset: 0, length: 3 * MIB + 777 },
    { offset: 9 * MIB, length: 2 * MIB },
  ];
  await writeSparse(path, 20 * MIB, pieces);
  const volumeId = await rig.newVolume(20 * MIB);
  await rig.import(volumeId, path);
  expect(await rig.readsAs(volumeId, path)).toBe(true);
  await writeSparse(path, 20 * MIB, [...pieces, { offset: 15 * MIB, length: 4096 }]);
  const again = await rig.import(volumeId, path, { diff: true });
  expect(again.changedBytes).toBe(4096);
  expect(await rig.readsAs(volumeId, path)).toBe(true);
});

it('C16 a damaged frame of a sealed volume is noticed by the workers', async () => {
  const path = rig.path('image');
  await writeSparse(path, 4 * MIB, [{ offset: 0, length: MIB }]);
  const volumeId = await rig.newVolume(4 * MIB);
  await rig.import(volumeId, path);
  const view = await rig.view(volumeId);
  const [leaf] = await Array.fromAsync(view.map.leaves());
  const run = leaf?.runs[0];
  if (run === undefined) throw new Error('the volume has data');
  const index = await view.segments.index(run.source);
  const entry = index.frame(run.frame);
  const bytes = await view.segments.readSpan(run.source, entry.offset, entry.storedLength);
  const hashes = (await view.segments.pageHashes(run.source)).subarray(0, 16 * run.count);
  const opening = index.opening(run.frame);
  if (opening === undefined) throw new Error('the segment is sealed');
  await using pool = new FramePool({ threads: 1 });
  const decode = async (frame: number): Promise<unknown> =>
    await pool.decode({
      spans: [{ bytes, baseOffset: entry.offset }],
      frames: [
        { span: 0, entry, segmentKey: index.key, opening: { ...opening, frame }, pageHashes: hashes, slots: [] },
      ],
    });
  await expect(decode(run.frame)).resolves.toEqual({ writtenBytes: 0 });
  await expect(decode(run.frame + 1)).rejects.toMatchObject({ kind: 'corrupt', code: 'object-damaged' });
  expect((await readFile(path)).length).toBe(4 * MIB);
});
