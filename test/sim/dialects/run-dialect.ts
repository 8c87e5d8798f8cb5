/** Runs one seed over a dialect: the block store alone, or a served volume. */
import type { StoreCheckDocument } from '../../../src/core/localapi/index.ts';
import { Choices } from '../random.ts';
import { ServedSimulation } from '../served/served-simulation.ts';
import { Simulation, type SimulationResult } from '../simulation.ts';
import { Tally } from '../tally.ts';
import { bucketStores } from './bucket-stores.ts';
import type { Tampering } from './client.ts';
import { probeDialect } from './probe.ts';
import { planOf, type Dialect } from './servers.ts';

export interface DialectRun {
  readonly seed: number;
  readonly steps: number;
  readonly isServed?: boolean;
  readonly traceLines?: number;
  readonly tampering?: Tampering;
}

export async function runDialect(
  dialect: Dialect,
  { tampering, isServed = false, ...options }: DialectRun,
): Promise<SimulationResult> {
  const faults = planOf(dialect, Choices.named(options.seed, 'faults'));
  const all = { ...options, faults, stores: bucketStores(dialect, tampering) };
  return isServed ? await new ServedSimulation(all).run() : await new Simulation(all).run();
}

/** Who is told that a store fails too often to be tried tries again. */
const TRIES = 3;
const OTHER_SEED = 1_000_000;

async function checkOf(dialect: Dialect, seed: number): Promise<StoreCheckDocument> {
  let check = await probeDialect(dialect, seed);
  for (let tries = 1; !check.writable && tries < TRIES; tries++)
    check = await probeDialect(dialect, seed + tries * OTHER_SEED);
  return check;
}

/** As `store check` says: what it takes is run, and what it refuses is not. Another verdict than the dialect's is a failure. */
export async function tryDialect(dialect: Dialect, options: DialectRun): Promise<SimulationResult> {
  const { writable, probes } = await checkOf(dialect, options.seed);
  const refusing = probes.filter(({ ok, required }) => required && !ok).map(({ name }) => name);
  const result =
    dialect.verdict === 'holds'
      ? await runDialect(dialect, options)
      : { seed: options.seed, steps: 0, traceHash: '', trace: [], tally: new Tally(), failure: undefined };
  result.tally.event(writable ? 'taken by store check' : 'refused by store check');
  for (const name of refusing) result.tally.event(`refused by the probe ${name}`);
  if (writable === (dialect.verdict === 'holds')) return result;
  const said = writable ? 'takes it' : `refuses it for ${refusing.join(', ')}`;
  return { ...result, failure: result.failure ?? new Error(`over ${dialect.name} store check ${said}`) };
}
