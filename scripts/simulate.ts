/**
 * `npm run test:sim -- [--served] [--dialect NAME] [--seed N] [--minutes M] [--seeds K] [--steps S] [--trace LINES] [--record]`
 * (docs/TESTING.md). `--served`: volumes that are served, over write log, cache and uploader, instead of the block store alone.
 * `--dialect`: over the real `S3Store` and a simulated server of that dialect (test/sim/dialects); `store check` is tried on
 * it at each seed, and where it refuses nothing else is run.
 * `--week`: a week of one such volume's life, at one seed. `--month`: a month of snapshot schedules, seeds from N on.
 * Runs seeds from N on, until M minutes or K seeds are over; with --seed alone, that one; without arguments, for about a
 * minute. Ends with 1 when a rule was broken, or when what has to happen in so many runs did not.
 */
import { parseArgs } from 'node:util';
import { recordRow } from './evidence.ts';
import { missing, withoutCrash } from '../test/sim/required.ts';
import type { DialectRun } from '../test/sim/dialects/index.ts';
import { runSeed } from '../test/sim/run-seed.ts';
import { missingServed } from '../test/sim/served/required.ts';
import { ServedSimulation } from '../test/sim/served/served-simulation.ts';
import { Month } from '../test/sim/schedules/month.ts';
import type { SimulationResult } from '../test/sim/simulation.ts';
import { Week } from '../test/sim/served/week.ts';
import { Tally, countsLine } from '../test/sim/tally.ts';

const DEFAULT_STEPS = 1000;
const DEFAULT_SERVED_STEPS = 300;
/** From so many seeds on, what is usual has to have happened; from so many more, what is rare as well. */
const USUAL_SEEDS = 40;
const RARE_SEEDS = 600;
const FAILURES_MAX = 3;

const option = { type: 'string' } as const;
const { values } = parseArgs({
  options: {
    served: { type: 'boolean' },
    week: { type: 'boolean' },
    month: { type: 'boolean' },
    dialect: option,
    seed: option,
    minutes: option,
    seeds: option,
    steps: option,
    trace: option,
    record: { type: 'boolean' },
  },
});
const isServed = values.served === true;
const only = values.seed !== undefined && values.minutes === undefined;
const first = number('seed', values.seed ?? process.env['SGW_SEED'] ?? '1');
const steps = number('steps', values.steps ?? String(isServed ? DEFAULT_SERVED_STEPS : DEFAULT_STEPS));
const seedsMax = number('seeds', values.seeds ?? (only ? '1' : 'Infinity'));
const minutes = number('minutes', values.minutes ?? (values.seeds === undefined && !only ? '1' : 'Infinity'));
const traceLines = number('trace', values.trace ?? '40');

function number(name: string, text: string): number {
  const value = Number(text);
  if (!(value >= 0)) throw new Error(`--${name} ${text} is no number`);
  return value;
}

/** Loaded only here, with the SDK. */
const dialects = values.dialect === undefined ? undefined : await import('../test/sim/dialects/index.ts');
const dialect = dialects?.dialectOf(values.dialect ?? '');

if (values.week === true) {
  console.log(await new Week({ seed: first, days: 7 }).run());
  process.exit();
}

if (values.month === true) {
  const until = first + (Number.isFinite(seedsMax) ? seedsMax : 1);
  const total: Record<string, number> = {};
  for (let seed = first; seed < until; seed++) {
    const counts = await new Month({ seed, days: 31 }).run();
    console.log(`seed ${String(seed)}: ${JSON.stringify(counts)}`);
    for (const [name, count] of Object.entries(counts)) total[name] = (total[name] ?? 0) + count;
  }
  if (values.record === true)
    recordRow('schedule-months.md', { seeds: `${String(first)}-${String(until - 1)}`, ...total, violations: 0 });
  process.exit();
}

async function runOne(options: DialectRun): Promise<SimulationResult> {
  if (dialects !== undefined && dialect !== undefined)
    return await dialects.tryDialect(dialect, { ...options, isServed });
  return isServed ? await new ServedSimulation(options).run() : await runSeed(options);
}

const startedMs = performance.now();
const seconds = (): number => (performance.now() - startedMs) / 1000;
const total = new Tally();
let seeds = 0;
let stepsDone = 0;
let failures = 0;
while (seeds < seedsMax && seconds() < minutes * 60 && failures < FAILURES_MAX) {
  const seed = first + seeds;
  const options = { seed, steps, traceLines };
  const result = await runOne(options);
  seeds += 1;
  stepsDone += result.steps;
  total.merge(result.tally);
  if (result.failure === undefined) continue;
  failures += 1;
  console.error(`seed ${String(seed)} failed at step ${String(result.steps)}, trace ${result.traceHash}; its end:`);
  for (const line of result.trace) console.error(`  ${line}`);
  console.error(result.failure);
  console.error(
    `again: npm run test:sim -- ${isServed ? '--served ' : ''}${dialect === undefined ? '' : `--dialect ${dialect.name} `}--seed ${String(seed)} --steps ${String(steps)} --trace 100000`,
  );
}

const points = [...total.points().keys()];
const faults = Object.entries(total.faults());
console.log(`events: ${countsLine(total.events())}`);
console.log(
  `failpoints: ${String(points.filter((name) => !name.includes('!')).length)} passed, ` +
    `${String(new Set(points.filter((name) => name.includes('!')).map((name) => name.split('!')[0])).size)} met with a fault, ` +
    `no crash at: ${isServed ? 'not looked for' : withoutCrash(total).join(', ') || 'none'}`,
);
console.log(`invariants: ${countsLine(total.checks())}`);
function absentOf(): string[] {
  // What few seeds over a dialect have to bring about is what it is about.
  if (dialects !== undefined && dialect !== undefined) return dialects.missingOver(dialect.name, total);
  return isServed ? missingServed(total) : missing(total, seeds >= RARE_SEEDS);
}
const absent = seeds >= USUAL_SEEDS ? absentOf() : [];
if (absent.length > 0) console.error(`did not happen: ${absent.join(', ')}`);
const cpu = process.cpuUsage();
const cpuSeconds = (cpu.user + cpu.system) / 1e6;
const checks = [...total.checks().values()].reduce((a, b) => a + b, 0);
console.log(
  `seeds ${String(first)}-${String(first + seeds - 1)} (${String(seeds)}), ${String(stepsDone)} steps, ` +
    `faults: ${countsLine(faults)}; ${String(checks)} invariants checked; ${String(failures)} failed; ` +
    `${seconds().toFixed(0)} s, ${cpuSeconds.toFixed(0)} s of CPU, ${(stepsDone / cpuSeconds).toFixed(0)} steps a second of it`,
);
const count = (name: string): number => total.events().get(name) ?? 0;
const { crash, stall, lostReply, error500, conflict409, lateApply, delay } = total.faults();
const common = {
  seeds: `${String(first)}-${String(first + seeds - 1)}`,
  steps: stepsDone,
};
const faultCounts = {
  stalls: stall,
  'lost replies': lostReply,
  'other faults': error500 + conflict409 + lateApply + delay,
  'take-overs': count('take-overs'),
};
const outcome = { invariants: checks, violations: failures, minutes: Math.ceil(seconds() / 60) };
if (values.record === true && dialect !== undefined) {
  const events = total.events();
  recordRow('dialects.md', {
    dialect: dialect.name,
    of: isServed ? 'served volume' : 'block store',
    ...common,
    'taken by store check': count('taken by store check'),
    'refused by it': count('refused by store check'),
    'answers 409': count('answered 409'),
    'answers 412': count('answered 412'),
    'answers 5xx': count('answered 500') + count('answered 503') + count('answered 501'),
    ...{ 'lost replies': lostReply, 'told by its name': count('told by its name') },
    'took effect late': count('took effect late') + count('copies that took effect'),
    'late ones refused': events.get('copies that were refused') ?? 0,
    ...outcome,
  });
} else if (values.record === true && isServed) {
  recordRow('served-simulation.md', {
    ...common,
    'process crashes': count('process crashes'),
    'power cuts': count('power cuts'),
    'homes lost': count('homes lost'),
    ...faultCounts,
    writes: count('write done'),
    flushes: count('flush done'),
    'logs overtaken': count('volume setAside'),
    openings: [...total.checks()].reduce((sum, [name, n]) => (name.startsWith('prefix after') ? sum + n : sum), 0),
    snapshots: count('snapshot completed'),
    ...outcome,
  });
} else if (values.record === true) {
  recordRow('simulation.md', {
    ...common,
    crashes: crash,
    ...faultCounts,
    'fenced commits': count('commit failed: fenced fenced'),
    'removed by gc': total.checks().get('what is removed is not reachable') ?? 0,
    tombstones: count('tombstones'),
    rewritten: count('segments rewritten'),
    snapshots: count('snapshot done'),
    clones: count('clone done'),
    ...outcome,
  });
}
process.exitCode = failures > 0 || absent.length > 0 ? 1 : 0;
