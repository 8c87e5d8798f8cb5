/** What an export asks the store for: tables once a segment, page hashes along with them, several segments at a time. */
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { memoryStore, StoreLayer, type GetOptions, type ObjectBody } from '../../../src/core/objectstore/index.ts';
import { Rig, writeSparse } from './rig.ts';

const MIB = 1024 * 1024;

/** Counts reads of log objects, each of which takes a way. */
class CountingStore extends StoreLayer {
  readonly tails: string[] = [];
  readonly spans: string[] = [];
  tailsAtOnce = 0;
  #tailsUnderWay = 0;

  override async get(key: string, options?: GetOptions): Promise<ObjectBody | undefined> {
    const span = options?.span;
    if (!key.includes('/log/') || span === undefined) return await super.get(key, options);
    if (!('suffix' in span)) {
      this.spans.push(key);
      return await super.get(key, options);
    }
    this.tails.push(key);
    this.#tailsUnderWay += 1;
    this.tailsAtOnce = Math.max(this.tailsAtOnce, this.#tailsUnderWay);
    await delay(20);
    this.#tailsUnderWay -= 1;
    return await super.get(key, options);
  }
}

test('an export reads the tables of each segment once, with the page hashes, and those of segments ahead', async () => {
  const objects = new CountingStore(memoryStore());
  await using rig = await Rig.start(objects);
  const image = rig.path('image');
  await writeSparse(image, 64 * MIB, [{ offset: 0, length: 64 * MIB }]);
  const volume = await rig.newVolume(64 * MIB);
  await rig.import(volume, image);
  const view = await rig.view(volume);
  objects.tails.length = 0;
  objects.spans.length = 0;
  objects.tailsAtOnce = 0;
  await rig.export(view, rig.path('out'));
  expect(objects.tails.length).toBe(new Set(objects.tails).size);
  expect(objects.tails.length).toBe(view.seq);
  // Spans are of frames alone: 64 MiB in pieces of up to 4 MiB, cut where segments and windows end.
  expect(objects.spans.length).toBeLessThanOrEqual(16 + 8 + 2 * view.seq);
  expect(objects.tailsAtOnce).toBeGreaterThan(2);
});
