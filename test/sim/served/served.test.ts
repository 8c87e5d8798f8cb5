/** A few seconds of served volumes over disks that forget; `npm run test:sim` does it for longer. */
import { describe, expect, it } from 'vitest';
import { Tally } from '../tally.ts';
import { missingServed } from './required.ts';
import { ServedSimulation } from './served-simulation.ts';

const first = Number(process.env['SGW_SEED'] ?? 1);
const SEEDS = 40;
const STEPS = 300;

describe('simulation of served volumes', () => {
  it('C1-C9 C13 C14 hold over some seeds, in which everything happens that is looked for', async () => {
    const total = new Tally();
    for (let seed = first; seed < first + SEEDS; seed++) {
      const result = await new ServedSimulation({ seed, steps: STEPS }).run();
      total.merge(result.tally);
      const what = `SGW_SEED=${String(seed)}\n${result.trace.slice(-30).join('\n')}\n${String(result.failure?.stack)}`;
      expect(result.failure, what).toBeUndefined();
    }
    expect(missingServed(total)).toEqual([]);
  }, 300_000);

  it('a seed replays exactly', async () => {
    const run = async (seed: number): Promise<string> =>
      (await new ServedSimulation({ seed, steps: STEPS }).run()).traceHash;
    const once = await run(5);
    expect(await run(5)).toBe(once);
    expect(await run(6)).not.toBe(once);
  }, 120_000);
});
