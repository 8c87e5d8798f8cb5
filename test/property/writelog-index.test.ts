/** The page index and the map of zeroes against plain maps. SGW_SEED=N replays a run. */
import { describe, expect, it } from 'vitest';
import { seededRandom, type Random } from '../../src/core/kit/index.ts';
import { PageIndex } from '../../src/core/writelog/page-index.ts';
import { ZeroMap } from '../../src/core/writelog/zero-map.ts';

const seed = Number(process.env['SGW_SEED'] ?? 4);
const REGIONS = [0, 1000, 2 ** 20, 2 ** 31 - 100, 2 ** 32 - 100, 2 ** 33, 2 ** 34 - 3000];

function somePage(random: Random): number {
  const region = REGIONS[Math.floor(random.float() * REGIONS.length)] ?? 0;
  return region + Math.floor(random.float() * 2500);
}

describe('the page index', () => {
  it('agrees with a map through growth, deletion and shrinking', () => {
    const random = seededRandom(seed);
    const index = new PageIndex();
    const model = new Map<number, { slot: number; mask: number }>();
    for (let round = 0; round < 40_000; round++) {
      const page = somePage(random);
      const dice = random.float();
      // It grows for a while, then shrinks for a while.
      const grows = Math.floor(round / 8000) % 2 === 0;
      if (dice < (grows ? 0.8 : 0.3)) {
        const slot = 1 + Math.floor(random.float() * (2 ** 30 - 1));
        const mask = random.float() < 0.8 ? 255 : 7;
        index.set(page, slot, mask);
        model.set(page, { slot, mask });
      } else if (dice < 0.999) expect(index.delete(page)).toBe(model.delete(page));
      else {
        const count = [1, 100, 1024, 2 ** 20, 2 ** 33][Math.floor(random.float() * 5)] ?? 1;
        index.deleteRange(page, Math.min(2 ** 34, page + count));
        for (const other of model.keys()) if (other >= page && other < page + count) model.delete(other);
      }
      const probe = somePage(random);
      expect(index.get(probe)).toBe(model.get(probe)?.slot ?? 0);
      if (model.has(probe)) expect(index.maskOf(probe)).toBe(model.get(probe)?.mask);
      if (round % 500 === 0) {
        expect(index.size).toBe(model.size);
        const sorted = [...model.keys()].sort((a, b) => a - b);
        expect(index.next(probe, 2 ** 34)).toBe(sorted.find((one) => one >= probe));
        expect(index.next(probe, probe + 50)).toBe(sorted.find((one) => one >= probe && one < probe + 50));
        for (const one of sorted) expect(index.get(one)).toBe(model.get(one)?.slot);
      }
    }
  });

  it('takes about 16 bytes a page, and gives them back', () => {
    const index = new PageIndex();
    const random = seededRandom(seed);
    const pages = new Set<number>();
    while (pages.size < 300_000) pages.add(Math.floor(random.float() * 2 ** 34));
    for (const page of pages) index.set(page, 1, 255);
    expect(index.tableBytes / pages.size).toBeLessThan(22);
    for (const page of pages) index.delete(page);
    expect(index.size).toBe(0);
    expect(index.tableBytes).toBeLessThan(100_000);
  });
});

const VOLUME_PAGES = 6000;

/** Sequences of the newest zeroes and the newest writing of a page; -1: written, and out of the index again. */
interface PageState {
  zero: number;
  written: number;
}

function zeroSome(zeroes: ZeroMap, pages: PageState[], sequence: number, random: Random): void {
  const count = [1, 5, 31, 64, 1024, 2500, VOLUME_PAGES][Math.floor(random.float() * 7)] ?? 1;
  const first = Math.floor(random.float() * (VOLUME_PAGES - 100));
  const from = count > 1000 ? first - (first % 1024) : first;
  const end = Math.min(VOLUME_PAGES, from + count);
  zeroes.add(from, end, sequence);
  for (let page = from; page < end; page++) pages[page] = { zero: sequence, written: 0 };
}

function writeSome(zeroes: ZeroMap, pages: PageState[], sequence: number, random: Random): void {
  const first = Math.floor(random.float() * (VOLUME_PAGES - 100));
  const count = 1 + Math.floor(random.float() * 90);
  zeroes.written(first, count);
  for (const page of pages.slice(first, first + count)) page.written = sequence;
}

function uploadSome(zeroes: ZeroMap, pages: PageState[], uploaded: number): void {
  zeroes.uploaded(uploaded);
  // What was written up to there may leave the index: then nothing older may show.
  for (const page of pages) if (page.written > 0 && page.written <= uploaded) page.written = -1;
}

function checkZeroes(zeroes: ZeroMap, pages: PageState[], uploaded: number, random: Random): void {
  for (let page = 0; page < VOLUME_PAGES; page += 1 + Math.floor(random.float() * 40)) {
    const { zero, written } = pages[page]!;
    // A page that is in the index is not asked for. One that is uploaded may or may not be zero any more.
    if (written > 0 || (written === 0 && zero > 0 && zero <= uploaded)) continue;
    expect(zeroes.has(page), `page ${page}`).toBe(written === 0 && zero > uploaded);
  }
  const from = Math.floor(random.float() * VOLUME_PAGES);
  const next = zeroes.next(from, VOLUME_PAGES);
  let first = from;
  while (first < VOLUME_PAGES && !zeroes.has(first)) first += 1;
  expect(next).toBe(first < VOLUME_PAGES ? first : undefined);
}

describe('the map of zeroes', () => {
  it('agrees with a map of sequences, where written pages are in an index above it', () => {
    const random = seededRandom(seed + 1);
    for (let run = 0; run < 30; run++) {
      const zeroes = new ZeroMap();
      const pages = Array.from({ length: VOLUME_PAGES }, (): PageState => ({ zero: 0, written: 0 }));
      let uploaded = 0;
      for (let sequence = 1; sequence <= 60; sequence++) {
        const dice = random.float();
        if (dice < 0.5) zeroSome(zeroes, pages, sequence, random);
        else if (dice < 0.85) writeSome(zeroes, pages, sequence, random);
        else {
          uploaded = Math.max(uploaded, sequence - Math.floor(random.float() * 20));
          uploadSome(zeroes, pages, uploaded);
        }
        checkZeroes(zeroes, pages, uploaded, random);
      }
    }
  });
});
