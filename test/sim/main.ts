/** `npm run test:sim -- [--seed N] [--minutes M] [--seeds K] [--steps S]`: see docs/TESTING.md. */
import { parseArgs } from 'node:util';
import { Simulation } from './simulation.ts';
import { Tally, countsLine } from './tally.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    minutes: { type: 'string' },
    seeds: { type: 'string' },
    steps: { type: 'string' },
    trace: { type: 'string' },
  },
});
const first = Number(values.seed ?? 1);
const traceLines = Number(values.trace ?? 40);
const steps = Number(values.steps ?? 1000);
const seeds = Number(values.seeds ?? (values.minutes === undefined && values.seed !== undefined ? 1 : Number.MAX_SAFE_INTEGER));
const minutes = Number(values.minutes ?? (values.seeds === undefined ? 1 : Number.POSITIVE_INFINITY));
const startedMs = Date.now();
const total = new Tally();
let done = 0;
let stepsDone = 0;
let failed = 0;
for (let seed = first; done < seeds && Date.now() - startedMs < minutes * 60_000; seed++) {
  const result = await new Simulation({ seed, steps, traceLines }).run();
  total.merge(result.tally);
  done += 1;
  stepsDone += result.steps;
  if (result.failure !== undefined) {
    failed += 1;
    console.error(`seed ${String(seed)} failed after ${String(result.steps)} steps (trace ${result.traceHash}):`);
    for (const line of result.trace) console.error(`  ${line}`);
    console.error(result.failure);
    if (failed >= 3) break;
  }
}
console.log('events:', countsLine(total.events()));
console.log('faults:', countsLine(Object.entries(total.faults())));
console.log('checks:', countsLine(total.checks()));
const seconds = (Date.now() - startedMs) / 1000;
console.log(`${String(done)} seeds, ${String(stepsDone)} steps, ${String(failed)} failed, ${seconds.toFixed(1)} s, ${(stepsDone / seconds).toFixed(0)} steps/s`);
process.exitCode = failed > 0 ? 1 : 0;
