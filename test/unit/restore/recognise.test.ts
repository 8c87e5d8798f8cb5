/** Telling whose marks an image carries, of an image so large that this takes long. */
import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { KIB, seededRandom } from '../../../src/core/kit/index.ts';
import { recogniseImage } from '../../../src/core/restore/index.ts';

const BLOCK = 256 * KIB;
const COUNT = 2 ** 20;
const candidate = {
  restoreId: 'r',
  secret: seededRandom(1).bytes(32),
  geometry: { sizeBytes: COUNT * BLOCK, blockBytes: BLOCK },
};

it('lets others work meanwhile, and is ended by its signal', async () => {
  let reads = 0;
  const image = {
    sizeBytes: COUNT * BLOCK,
    readNow: () => {
      reads += 1;
      return true;
    },
    read: async () => Promise.resolve(),
  };
  const stop = new AbortController();
  const found = recogniseImage(image, [candidate], stop.signal).catch((error: unknown) => error);
  for (let turns = 0; turns < 10; turns++) await turn();
  expect(reads).toBeGreaterThan(0);
  stop.abort(new Error('enough'));
  expect(await found).toMatchObject({ kind: 'aborted', cause: { message: 'enough' } });
  expect(reads).toBeLessThan(COUNT / 10);
});
