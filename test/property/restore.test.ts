/** C23, C25: a restore is the snapshot and the guest's writes, whatever ends it and whenever. */
import { expect, it } from 'vitest';
import { RestoreScene, type SceneCounts } from './restore-scene.ts';

const seed = Number(process.env['SGW_SEED'] ?? 20261129);
const runs = Number(process.env['SGW_RESTORE_RUNS'] ?? 400);

it(
  'C23 C25: kills and power cuts at any call leave snapshot plus writes, and it can be resumed',
  { timeout: 120_000 },
  async () => {
    const totals: SceneCounts = { kills: 0, cuts: 0, writes: 0, reads: 0, flushes: 0, completed: 0 };
    for (let run = 0; run < runs; run++) {
      const scene = new RestoreScene(seed + run);
      try {
        await scene.run(1 + ((seed + run) % 6));
      } catch (error) {
        throw new Error(`seed ${String(seed + run)} (SGW_SEED=${String(seed + run)} SGW_RESTORE_RUNS=1)`, {
          cause: error,
        });
      }
      for (const name of Object.keys(totals) as (keyof SceneCounts)[]) totals[name] += scene.counts[name];
    }
    expect(totals.completed).toBe(runs);
    expect(totals.kills).toBeGreaterThan(runs / 10);
    expect(totals.cuts).toBeGreaterThan(runs / 10);
  },
);
