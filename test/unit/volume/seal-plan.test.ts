import { expect, it } from 'vitest';
import { seededRandom } from '../../../src/core/kit/index.ts';
import { SealPlan } from '../../../src/core/volume/seal-plan.ts';
import type { LogExtent } from '../../../src/core/writelog/index.ts';

const record = (sequence: number, extents: LogExtent[], incarnation = 'a') => ({
  sequence,
  incarnation,
  extents,
  logBytes: 8192,
  appendedMs: 0,
  flushedBehind: false,
});

it('C5 C9 a plan says of every page what the records say one after the other', () => {
  const seed = Number(process.env['SGW_SEED'] ?? Math.floor(Math.random() * 1e9));
  const random = seededRandom(seed);
  const integer = (below: number): number => Math.floor(random.float() * below);
  for (let round = 0; round < 200; round++) {
    const pages = 64;
    let sizeBytes = pages * 4096;
    const plan = new SealPlan(sizeBytes);
    /** Undefined: not touched; 0: zeroes; else the slot. */
    const model = new Map<number, number>();
    for (let sequence = 1; sequence <= 1 + integer(20); sequence++) {
      const firstPage = integer(pages);
      const pageCount = 1 + integer(Math.min(8, pages - firstPage));
      const slot = sequence * 100;
      const kind = integer(5);
      if (kind === 0) {
        plan.add(record(sequence, [{ kind: 'zeroes', firstPage, pageCount }]));
        for (let i = 0; i < pageCount; i++) model.set(firstPage + i, 0);
      } else if (kind === 1) {
        const before = Math.ceil(sizeBytes / 4096);
        sizeBytes = (1 + integer(pages)) * 4096;
        plan.add(record(sequence, [{ kind: 'resize', sizeBytes }]));
        for (let page = sizeBytes / 4096; page < before; page++) model.set(page, 0);
      } else {
        const checksums = new Uint32Array(pageCount);
        plan.add(record(sequence, [{ kind: 'pages', firstPage, pageCount, slot, checksums }]));
        for (let i = 0; i < pageCount; i++) model.set(firstPage + i, slot + i);
      }
    }
    const told = new Map<number, number>();
    for (const { page, slot } of plan.pages()) told.set(page, slot);
    for (const { firstPage, pageCount } of plan.zeroes()) {
      for (let page = firstPage; page < firstPage + pageCount; page++) {
        expect(told.has(page), `seed ${seed}: page ${page} is in an extent and in a frame`).toBe(false);
        told.set(page, 0);
      }
    }
    const ascending = (map: Map<number, number>): [number, number][] => [...map].sort(([a], [b]) => a - b);
    expect(ascending(told), `seed ${seed}, round ${round}`).toEqual(ascending(model));
    expect(plan.sizeBytes).toBe(sizeBytes);
  }
});

it('C8 nothing joins a plan behind a barrier, nor of another incarnation', () => {
  const plan = new SealPlan(4096);
  plan.add(record(1, []));
  expect(plan.accepts(record(2, [], 'b'))).toBe(false);
  plan.add(record(2, [{ kind: 'barrier', name: 'x' }]));
  expect(plan.barrier).toBe('x');
  expect(plan.accepts(record(3, []))).toBe(false);
  expect(plan.records).toEqual({ incarnation: 'a', first: 1, last: 2 });
});
