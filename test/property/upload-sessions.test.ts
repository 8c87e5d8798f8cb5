/** C29: snapshots that are written through the API, with deaths, late puts and gc. SGW_SEED=N replays a run, SGW_RUNS=N makes more. */
import { describe, expect, it } from 'vitest';
import { UploadScene } from './upload-scene.ts';

const SEED = Number(process.env['SGW_SEED'] ?? 1);
const RUNS = Number(process.env['SGW_RUNS'] ?? 6);
const STEPS = 60;

describe('C29: what is written through the API', () => {
  const totals = { deaths: 0, late: 0, completed: 0, dead: 0, gc: 0, checked: 0, raced: 0 };

  for (let run = 0; run < RUNS; run++) {
    it(
      `is there as if once, whoever dies, and nothing else is left (SGW_SEED=${String(SEED + run)})`,
      { timeout: 120_000 },
      async () => {
        const scene = new UploadScene(SEED + run);
        await scene.begin();
        for (let step = 0; step < STEPS; step++) await scene.step();
        expect(await scene.end()).toEqual([]);
        for (const name of Object.keys(totals) as (keyof typeof totals)[]) totals[name] += scene.counts[name];
      },
    );
  }

  it('was tried with deaths, late puts, gc and deadlines', () => {
    for (const count of Object.values(totals)) expect(count).toBeGreaterThan(0);
  });
});
