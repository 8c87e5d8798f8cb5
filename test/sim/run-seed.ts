/** Runs one seed: over a store in memory, or, for one seed in fifty, over a real directory store. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { directoryStore } from '../../src/core/objectstore/index.ts';
import { Simulation, type SimulationOptions, type SimulationResult } from './simulation.ts';

const DIRECTORY_EVERY = 50;
/** Steps over a directory store, whose calls are a hundred times slower. */
const DIRECTORY_STEPS = 400;

export async function runSeed(options: SimulationOptions): Promise<SimulationResult> {
  if (options.seed % DIRECTORY_EVERY !== 0 || options.base !== undefined) return await new Simulation(options).run();
  const folder = await mkdtemp(join(tmpdir(), 'sgw-sim-'));
  try {
    const base = directoryStore({ path: join(folder, 'store') });
    try {
      const result = await new Simulation({ ...options, base, steps: Math.min(options.steps, DIRECTORY_STEPS) }).run();
      result.tally.event('directory stores');
      return result;
    } finally {
      await base.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
