/** Any sequence of calls on a write log, ends of the process and cuts of the power. SGW_SEED=N replays a run. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { LogScene, type Change } from './writelog-scene.ts';

const seed = Number(process.env['SGW_SEED'] ?? 20261125);
const FILE_PAGES = 16;
const FILE_BYTES = FILE_PAGES * 4096;

const page = fc.oneof(
  { weight: 5, arbitrary: fc.nat(30) },
  { weight: 2, arbitrary: fc.integer({ min: 1015, max: 1035 }) },
  { weight: 1, arbitrary: fc.integer({ min: 2 ** 32 - 4, max: 2 ** 32 + 4 }) },
  { weight: 1, arbitrary: fc.integer({ min: 2 ** 34 - 60, max: 2 ** 34 - 40 }) },
);
const change: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('append'),
      page,
      count: fc.oneof({ weight: 6, arbitrary: fc.integer({ min: 1, max: 4 }) }, fc.integer({ min: 5, max: 40 })),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('whole'), page, count: fc.integer({ min: 1, max: FILE_PAGES - 2 }) }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('sectors'), page, mask: fc.integer({ min: 1, max: 255 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('zeroes'),
      page,
      count: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(1024, 1030, 2048, 5000)),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('zeroes'),
      page: fc.constantFrom(0, 3, 1024),
      count: fc.constantFrom(2 ** 20, 2 ** 32, 2 ** 33),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('resize'), pages: fc.oneof(page, fc.constant(0)) }) },
);

type Step =
  | { readonly do: 'change'; readonly changes: Change[] }
  | { readonly do: 'upload'; readonly pages: number }
  | { readonly do: 'capacity'; readonly files: number }
  | { readonly do: 'flush' | 'barrier' | 'reopen' | 'kill' | 'cut' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({ do: fc.constant('change'), changes: fc.array(change, { minLength: 1, maxLength: 5 }) }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('upload'), pages: fc.integer({ min: 1, max: 60 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('capacity'), files: fc.integer({ min: 4, max: 9 }) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constantFrom('flush', 'flush', 'barrier', 'reopen', 'kill', 'cut') }) },
);

async function run(scene: LogScene, steps: readonly Step[]): Promise<void> {
  await scene.open();
  for (const one of steps) {
    if (one.do === 'change') await scene.change(one.changes);
    else if (one.do === 'upload') scene.upload(one.pages * 4096);
    else if (one.do === 'capacity') await scene.setCapacity(one.files * FILE_BYTES);
    else await scene[one.do]();
    scene.check();
  }
  await scene.log.close();
}

describe('a write log', () => {
  it('reads as a model does and keeps a prefix, whatever is done to it', { timeout: 300_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), fc.nat(), async (steps, randomSeed) => {
        const random = seededRandom(randomSeed);
        await run(new LogScene({ fileBytes: FILE_BYTES, capacityBytes: 5 * FILE_BYTES, random }), steps);
      }),
      { seed, numRuns: Number(process.env['SGW_RUNS'] ?? 200) },
    );
  });

  it('goes round its files many times without mistaking old bytes for records', { timeout: 120_000 }, async () => {
    const random = seededRandom(seed);
    const scene = new LogScene({ fileBytes: 4 * 4096, capacityBytes: 16 * 4096, random });
    await scene.open();
    for (let round = 0; round < 600; round++) {
      const first = Math.floor(random.float() * 20);
      if (random.float() < 0.3)
        await scene.change([{ do: 'whole', page: first, count: 1 + Math.floor(random.float() * 2) }]);
      else await scene.change([{ do: 'append', page: first, count: 1 + Math.floor(random.float() * 4) }]);
      const dice = random.float();
      if (dice < 0.05) await scene.cut();
      else if (dice < 0.1) await scene.kill();
      else if (dice < 0.15) await scene.reopen();
      else if (dice < 0.4) await scene.flush();
      else if (dice < 0.5) scene.upload(8 * 4096);
      scene.check();
    }
    expect(scene.log.usage.lastSequence).toBeGreaterThan(500);
    expect(scene.recycledPages).toBeGreaterThan(300);
    await scene.log.close();
  });
});
