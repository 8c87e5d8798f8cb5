/** Whatever the cache returns is what was put under that name; its limits hold at every moment. SGW_SEED=N replays a run. */
import fc from 'fast-check';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { CacheLimits, FrameCache } from '../../src/core/cache/index.ts';
import { framePages, segmentId } from '../unit/cache/frames.ts';
import { newFolder, openCache, settled } from '../unit/cache/setting.ts';

const seed = Number(process.env['SGW_SEED'] ?? 20261125);
const KIB = 1024;

/** A frame's size follows from its name, as in life. */
const pagesOf = (segment: number, frame: number): number => ((segment * 5 + frame * 3) % 16) + 1;

const segment = fc.nat(30);
const frame = fc.oneof(fc.nat(20), fc.constantFrom(65_535, 65_534));
const limits = fc.record({
  fileBytes: fc.constantFrom(0, 40 * KIB, 100 * KIB, 300 * KIB, 512 * KIB, 2048 * KIB),
  ramBytes: fc.constantFrom(0, 5 * KIB, 64 * KIB, 200 * KIB, 1024 * KIB),
});
const step = fc.oneof(
  { weight: 40, arbitrary: fc.record({ do: fc.constant('put' as const), segment, frame, used: fc.boolean() }) },
  {
    weight: 60,
    arbitrary: fc.record({
      do: fc.constant('read' as const),
      segment,
      frame,
      at: fc.nat(0xffff),
      more: fc.nat(0xffff),
    }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('settle' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('resize' as const), limits }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('clear' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('reopen' as const), limits }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

class Run {
  cache!: FrameCache;
  readonly put = new Set<string>();
  limits: CacheLimits;
  readonly directory: string;

  constructor(directory: string, first: CacheLimits) {
    this.directory = directory;
    this.limits = first;
  }

  async open(): Promise<void> {
    this.cache = await openCache({ directory: this.directory, limits: this.limits });
  }

  async take(step: Step): Promise<void> {
    if (step.do === 'put') {
      const { segment, frame, used } = step;
      const number = this.cache.numberOf(segmentId(segment));
      const pages = framePages(segment, frame, pagesOf(segment, frame));
      this.cache.put(number, frame, pages, used);
      pages.fill(0xee);
      this.put.add(`${segment}/${frame}`);
    } else if (step.do === 'read') this.read(step);
    else if (step.do === 'settle') await settled(this.cache);
    else if (step.do === 'clear') {
      await this.cache.clear();
      this.put.clear();
    } else {
      this.limits = step.limits;
      if (step.do === 'resize') await this.cache.resize(step.limits);
      else {
        await this.cache.close();
        await this.open();
      }
    }
    await this.check();
  }

  read({ segment, frame, at, more }: { segment: number; frame: number; at: number; more: number }): void {
    const number = this.cache.numberOf(segmentId(segment));
    const bytes = pagesOf(segment, frame) * 4096;
    // Half of the reads are of whole pages.
    const from = (at & 1) === 0 ? (at % bytes) & ~4095 : at % bytes;
    const length = (at & 1) === 0 ? Math.max(4096, (more % (bytes - from)) & ~4095) : (more % (bytes - from)) + 1;
    const target = Buffer.alloc(length, 0xdd);
    const isHere = this.cache.has(number, frame);
    expect(this.cache.read(number, frame, from, target)).toBe(isHere);
    if (!isHere) return;
    expect(this.put.has(`${segment}/${frame}`)).toBe(true);
    const expected = framePages(segment, frame, pagesOf(segment, frame)).subarray(from, from + length);
    expect(target.equals(expected), `bytes of ${segment}/${frame} from ${from}, ${length}`).toBe(true);
  }

  async check(): Promise<void> {
    const { stats } = this.cache;
    expect(stats.ramUsedBytes).toBeLessThanOrEqual(this.limits.ramBytes);
    expect(stats.fileUsedBytes).toBeLessThanOrEqual(this.limits.fileBytes);
    expect(stats.damagedFrames).toBe(0);
    expect(stats.fileProblem).toBeNull();
    const size = await stat(join(this.directory, 'frames')).then(
      (found) => found.size,
      () => 0,
    );
    expect(size).toBeLessThanOrEqual(Math.max(this.limits.fileBytes, this.limits.fileBytes < 17 * 4096 ? Infinity : 0));
  }
}

it('returns only what was put under a name, within its limits, through resizes and reopenings', async () => {
  await fc.assert(
    fc.asyncProperty(limits, fc.array(step, { minLength: 30, maxLength: 300, size: 'max' }), async (first, steps) => {
      const run = new Run(await newFolder(), first);
      await run.open();
      for (const each of steps) await run.take(each);
      await run.cache.close();
    }),
    { seed, numRuns: Number(process.env['SGW_RUNS'] ?? 25), endOnFailure: false },
  );
}, 120_000);
