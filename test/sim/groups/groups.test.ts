/** Groups over a simulated network; `SGW_GROUP_RUNS` says how many seeds, `SGW_SEED` the first. */
import { describe, expect, it } from 'vitest';
import { Tally, countsLine } from '../tally.ts';
import { GroupsSimulation } from './groups-simulation.ts';

const first = Number(process.env['SGW_SEED'] ?? 1);
const SEEDS = Number(process.env['SGW_GROUP_RUNS'] ?? 200);
const BUSY_MS = 25_000;

describe('simulation of groups', () => {
  it('C26 C27 C28 hold over many seeds', { timeout: 3_600_000 }, async () => {
    const total = new Tally();
    for (let seed = first; seed < first + SEEDS; seed++) {
      const result = await new GroupsSimulation({ seed, busyMs: BUSY_MS }).run();
      total.merge(result.tally);
      const what = `SGW_SEED=${String(seed)}\n${result.trace.slice(-40).join('\n')}\n${String(result.failure?.stack)}`;
      expect(result.failure, what).toBeUndefined();
    }
    console.log(countsLine(total.events()));
    for (const name of ['processes ended', 'power cuts', 'stops', 'cuts', 'store away', 'planned fail-overs'])
      expect(total.events().get(name) ?? 0, name).toBeGreaterThan(SEEDS / 20);
  });

  it('a seed replays exactly', { timeout: 120_000 }, async () => {
    const run = async (seed: number): Promise<string> =>
      (await new GroupsSimulation({ seed, busyMs: 15_000 }).run()).traceHash;
    const once = await run(5);
    expect(await run(5)).toBe(once);
    expect(await run(6)).not.toBe(once);
  });
});
