/** What a sample of a map is of, whatever the map looks like. */
import { expect, test } from 'vitest';
import { seededRandom, systemRandom } from '../../../src/core/kit/index.ts';
import { MapSample } from '../../../src/core/transfer/map-sample.ts';
import { verifyView } from '../../../src/core/transfer/index.ts';
import { Rig, writeSparse } from './rig.ts';

const MIB = 1024 * 1024;
const LEAVES_OF_A_NODE = 64;

/** Walks a map of two levels, of leaves with so many pages each. Returns the pages that were read. */
function pagesRead(sample: MapSample, leaves: readonly number[]): number {
  let pages = 0;
  const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);
  if (!sample.enter({ mappedPages: sum(leaves) })) return 0;
  for (let at = 0; at < leaves.length; at += LEAVES_OF_A_NODE) {
    const below = leaves.slice(at, at + LEAVES_OF_A_NODE);
    if (!sample.enter({ mappedPages: sum(below) })) continue;
    for (const mappedPages of below) {
      if (!sample.enter({ mappedPages })) continue;
      pages += mappedPages;
      sample.leave();
    }
    sample.leave();
  }
  sample.leave();
  return pages;
}

const mapped = (leaves: readonly number[]): number => leaves.reduce((total, count) => total + count, 0);

test.each([
  ['full leaves', Array.from({ length: 1000 }, () => 1024)],
  ['a page in each leaf', Array.from({ length: 64_000 }, () => 1)],
  ['a few pages in each leaf, so that nodes above are parts', Array.from({ length: 20_000 }, (_, i) => 1 + (i % 7))],
  ['full and sparse leaves', Array.from({ length: 4000 }, (_, i) => (i % 3 === 0 ? 1024 : 2))],
])('reads about the share of %s', (_what, leaves) => {
  const all = mapped(leaves);
  for (const share of [0.05, 0.3]) {
    const random = seededRandom(5);
    const shares = Array.from({ length: 20 }, () => {
      const sample = new MapSample(share, all, random);
      const pages = pagesRead(sample, leaves);
      expect(sample.taken.pages).toBe(pages);
      expect(sample.taken.parts).toBeGreaterThanOrEqual(4);
      return pages / all;
    });
    const mean = shares.reduce((sum, each) => sum + each, 0) / shares.length;
    expect(mean).toBeGreaterThan(share * 0.7);
    expect(mean).toBeLessThan(Math.max(share, 0.1) * 1.4);
  }
});

test('reads all where there is little', () => {
  expect(new MapSample(0.001, 4096, seededRandom(1)).isAll).toBe(true);
  expect(new MapSample(0.001, 4097, seededRandom(1)).isAll).toBe(false);
});

test('a sample of a stored volume is checked, and one of nothing is no success', { timeout: 60_000 }, async () => {
  await using rig = await Rig.start();
  const path = rig.path('image');
  await writeSparse(path, 32 * MIB, [{ offset: 0, length: 32 * MIB }]);
  const volume = await rig.newVolume(32 * MIB);
  await rig.import(volume, path);
  const view = await rig.snapshotView(volume);
  const sample = { share: 0.01, random: systemRandom };
  const { checkedBytes, damage } = await verifyView({ pool: rig.pool, view, sample });
  expect(damage).toEqual([]);
  expect(checkedBytes).toBe(16 * MIB);
  const empty = { ...view, map: { mappedPages: 8192, leaves: () => [] } } as unknown as typeof view;
  await expect(verifyView({ pool: rig.pool, view: empty, sample })).rejects.toMatchObject({ code: 'map-count' });
});
