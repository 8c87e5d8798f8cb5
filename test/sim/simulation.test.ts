/** A few seconds of what `npm run test:sim` does for longer. */
import { describe, expect, it } from 'vitest';
import { missing } from './required.ts';
import { runSeed } from './run-seed.ts';
import { Simulation } from './simulation.ts';
import { Tally } from './tally.ts';

const first = Number(process.env['SGW_SEED'] ?? 1);
const SEEDS = 30;
const STEPS = 700;

describe('simulation', () => {
  it('C1-C5 C7-C11 hold over some seeds, in which everything happens that is looked for', async () => {
    const total = new Tally();
    for (let seed = first; seed < first + SEEDS; seed++) {
      const result = await runSeed({ seed, steps: STEPS });
      total.merge(result.tally);
      const what = `SGW_SEED=${String(seed)}\n${result.trace.slice(-30).join('\n')}\n${String(result.failure?.stack)}`;
      expect(result.failure, what).toBeUndefined();
    }
    expect(missing(total, false)).toEqual([]);
  }, 300_000);

  it('a seed replays exactly, over a sealed store as well', async () => {
    for (const sealed of [false, true]) {
      const run = async (seed: number): Promise<string> =>
        (await new Simulation({ seed, steps: STEPS, sealed }).run()).traceHash;
      const once = await run(5);
      expect(await run(5)).toBe(once);
      expect(await run(6)).not.toBe(once);
    }
  }, 120_000);

  it('a failing seed replays exactly, and tells its trace', async () => {
    const run = async (): Promise<string> => {
      const { failure, trace, traceHash } = await new Simulation({ seed: 3, steps: STEPS, gcGraceMs: 0 }).run();
      expect(failure?.message).toMatch(/^C11/);
      expect(trace.length).toBeGreaterThan(10);
      return `${traceHash} ${String(failure?.message)}`;
    };
    expect(await run()).toBe(await run());
  }, 120_000);
});
