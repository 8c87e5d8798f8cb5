/**
 * kill -9 at random, over the real command and real files: `npm run soak -- --seed N --minutes M [--rounds R]`.
 *
 * Runs lanes of rounds (test/soak) until the time or the rounds are over, prints what was killed and where, and ends
 * with 1 at the first loss, which keeps its folder. `--record` writes a row into docs/evidence/kill-rounds.md.
 * `--served` kills a daemon that serves a volume under load (docs/evidence/served-kills.md).
 * `--restore` kills restores to a local image, served under load or by the command (docs/evidence/restore-kills.md).
 * `--shadow` kills a gateway that shadows an image (docs/evidence/shadow-kills.md).
 * `--outage --minutes M [--only KIND ...]` has the object store fail in each way for M minutes altogether (docs/evidence/outages.md).
 * `--steady --minutes M` serves a load that goes on and on, with flat memory and files (docs/evidence/steady-load.md).
 * `--initiator` has a Linux kernel under emulation log in over iSCSI (docs/evidence/linux-initiator.md); `--packages DIR` keeps
 * the Debian packages that it is made of, by default below the temporary folder.
 * `--groups [--only FAULT]` breaks a group of three gateways under load in each way (docs/evidence/group-faults.md).
 * `--control [--servers N] [--gateways N]` kills control servers that hold connections of many gateways (docs/evidence/control-plane.md).
 * `--s3` has the store of any of these but `--stalled` in the bucket of an S3 server that is started for it; `--latency MS` and
 * `--errors PERCENT` make the way there worse. Their rows are in docs/evidence/s3-soaks.md.
 * `--stalled --seconds S` stops writers in the middle instead (docs/evidence/stalled-writer.md).
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { seededRandom, type Random } from '../src/core/kit/index.ts';
import { controlCounts, runControl } from '../test/soak/control/run.ts';
import { Counts } from '../test/soak/counts.ts';
import { FAULTS, type FaultName } from '../test/soak/groups/faults.ts';
import { groupCounts, pausesOfHolders, runGroups } from '../test/soak/groups/round.ts';
import { runLane } from '../test/soak/lane.ts';
import { initiatorCounts, runInitiator } from '../test/soak/initiator/round.ts';
import { makeSystem } from '../test/soak/initiator/system.ts';
import { LIMITS, presentVerbs } from '../test/soak/settings.ts';
import { outageCounts, runOutages, type Outage } from '../test/soak/outage/outages.ts';
import { runSteady, steadyCounts } from '../test/soak/steady/steady.ts';
import { runServed, servedCounts } from '../test/soak/served/round.ts';
import { directoryStores, s3Stores, type SoakStores } from '../test/soak/store.ts';
import { Radosgw } from '../test/support/radosgw.ts';
import { restoreCounts, runRestores } from '../test/soak/restore/round.ts';
import { runShadow, shadowCounts } from '../test/soak/shadow/round.ts';
import { stallWriter, type StallAt } from '../test/soak/stalled.ts';
import { recordRow } from './evidence.ts';

const PROGRESS_EVERY_ROUNDS = 25;
const ERA_ROUNDS = 25;
/** Requests under way at a time, of the control plane. */
const CONTROL_LANES = 16;
/** What a soak may take beyond its minutes. */
const SERVER_SPARE_S = 1800;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    minutes: { type: 'string', default: '40' },
    rounds: { type: 'string' },
    lanes: { type: 'string', default: '2' },
    /** Leaves a verb out, such as `gc`; may be repeated. */
    without: { type: 'string', multiple: true, default: [] },
    record: { type: 'boolean', default: false },
    /** Instead of rounds: stalls writers (SIGSTOP) and lets another gateway take over. */
    stalled: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '60' },
    /** Instead of commands: a daemon under load over NBD is killed (docs/evidence/served-kills.md). */
    served: { type: 'boolean', default: false },
    /** Instead of commands: restores to a local image are killed (docs/evidence/restore-kills.md). */
    restore: { type: 'boolean', default: false },
    /** Instead of commands: a gateway that shadows an image is killed (docs/evidence/shadow-kills.md). */
    shadow: { type: 'boolean', default: false },
    /** Instead of kills: outages of the store under load over NBD (docs/evidence/outages.md). */
    outage: { type: 'boolean', default: false },
    /** With `--outage` or `--groups`: these alone, such as `gone`, or `holder killed`; may be repeated. */
    only: { type: 'string', multiple: true, default: [] },
    /** Instead of kills: a steady load over NBD (docs/evidence/steady-load.md). */
    steady: { type: 'boolean', default: false },
    /** Instead of commands: the initiator of a Linux kernel (docs/evidence/linux-initiator.md). */
    initiator: { type: 'boolean', default: false },
    /** Of `--initiator`: where downloaded packages are kept. */
    packages: { type: 'string', default: path.join(os.tmpdir(), 'sgw-soak-packages') },
    /** Instead of kills of gateways: control servers with many gateways are killed (docs/evidence/control-plane.md). */
    control: { type: 'boolean', default: false },
    /** Instead of kills of one gateway: a group of three under faults (docs/evidence/group-faults.md). */
    groups: { type: 'boolean', default: false },
    servers: { type: 'string', default: '3' },
    gateways: { type: 'string', default: '500' },
    /** The store is a bucket. */
    s3: { type: 'boolean', default: false },
    latency: { type: 'string', default: '0' },
    errors: { type: 'string', default: '0' },
    verbose: { type: 'boolean', default: false },
  },
});
const seed = numberOf('--seed', values.seed ?? String(Math.floor(Math.random() * 0x1_0000_0000)));
const minutes = numberOf('--minutes', values.minutes);
const roundsMax = values.rounds === undefined ? Number.POSITIVE_INFINITY : numberOf('--rounds', values.rounds);
const lanes = numberOf('--lanes', values.lanes);

const counts = new Counts();
const startedMs = performance.now();
const minutesRun = (): number => (performance.now() - startedMs) / 60_000;
let lost: Error | undefined;
let interrupted = false;
process.once('SIGINT', () => {
  interrupted = true;
});

const folder = mkdtempSync(path.join(os.tmpdir(), 'sgw-soak-'));
const latencyMs = numberOf('--latency', values.latency);
const errorPercent = numberOf('--errors', values.errors.replace(/%$/, ''));
if (values.s3 && values.stalled) throw new Error('--stalled watches the files of a directory store');
const server = values.s3 ? await Radosgw.start({ lifeS: minutes * 60 + SERVER_SPARE_S }) : undefined;
const stores: SoakStores =
  server === undefined
    ? directoryStores
    : s3Stores({ server, latencyMs, errors: errorPercent / 100, random: seededRandom(seed + 1) });
try {
  await soak();
} finally {
  await server?.[Symbol.asyncDispose]();
}

async function soak(): Promise<void> {
  if (values.stalled) await stallWriters();
  else if (values.served) await killDaemons();
  else if (values.restore) await killRestores();
  else if (values.shadow) await killShadows();
  else if (values.outage) await sufferOutages();
  else if (values.steady) await goOnAndOn();
  else if (values.initiator) await initiate();
  else if (values.control) await killControlServers();
  else if (values.groups) await breakGroup();
  else await killAtRandom();
}

type Row = Readonly<Record<string, string | number>>;

/** What one kind of soak is made of. */
interface Soak<C extends object> {
  readonly counts: C;
  /** @throws Error at the first loss */
  readonly run: (counts: C) => Promise<void>;
  /** Under docs/evidence, and the columns of its row between the seed and the losses. */
  readonly file: string;
  readonly row: (counts: C) => Row;
}

/** Runs it to its end, tells what was counted, and records that. */
async function runSoak<C extends object>({ counts: own, run, file, row }: Soak<C>): Promise<void> {
  try {
    await run(own);
  } catch (error) {
    lost = error instanceof Error ? error : new Error(String(error));
  }
  const losses = lost === undefined ? 0 : 1;
  console.log(`seed ${seed}: ${JSON.stringify(own)}, ${losses} losses`);
  if (values.record && !recordOverS3(file, own, losses))
    recordRow(file, { seed, ...row(own), losses, minutes: minutesRun().toFixed(1) });
  keepOrRemove();
}

/** Over S3 every kind has its row in one table, with what it counts as text. False: not over S3. */
function recordOverS3(file: string, own: object, losses: number): boolean {
  if (!values.s3) return false;
  const kind = file.replace('.md', '').replaceAll('-', ' ');
  const counted = Object.entries(own)
    .filter(([, count]) => typeof count === 'number')
    .map(([name, count]) => `${name} ${String(count)}`)
    .join(', ');
  const way = { 'latency ms': latencyMs, 'errors %': errorPercent };
  recordRow('s3-soaks.md', { kind, ...way, seed, counted, losses, minutes: minutesRun().toFixed(1) });
  return true;
}

/** Rounds of kills until the time or the rounds are over. */
function inRounds<C extends { readonly rounds: number }>(
  rounds: (options: {
    readonly folder: string;
    readonly random: Random;
    readonly counts: C;
    readonly goesOn: () => boolean;
    readonly onRound: (line: string) => void;
    readonly stores: SoakStores;
  }) => Promise<void>,
): (counts: C) => Promise<void> {
  return async (own) => {
    console.log(`seed ${seed}, up to ${String(roundsMax)} rounds in ${minutes} minutes`);
    await rounds({
      ...{ folder, stores, random: seededRandom(seed), counts: own },
      goesOn: () => !interrupted && minutesRun() < minutes && own.rounds < roundsMax,
      onRound: (line) => {
        if (values.verbose || own.rounds % PROGRESS_EVERY_ROUNDS === 0) console.log(line);
      },
    });
  };
}

/** A daemon that serves a volume under load, killed again and again. */
async function killDaemons(): Promise<void> {
  await runSoak({
    counts: servedCounts(),
    run: inRounds(runServed),
    file: 'served-kills.md',
    row: ({ rounds, kills, cachesDropped, homesLost, writes, flushes, snapshots }) => ({
      ...{ rounds, kills, 'caches dropped': cachesDropped, 'homes lost': homesLost, writes, flushes, snapshots },
    }),
  });
}

/** A gateway that shadows an image, killed again and again. */
async function killShadows(): Promise<void> {
  await runSoak({
    counts: shadowCounts(),
    run: inRounds(runShadow),
    file: 'shadow-kills.md',
    row: ({ rounds, kills, outages, behind, passThroughs, writes, flushes, snapshots, compared }) => ({
      ...{ rounds, kills, 'store away': outages, 'pass-through': passThroughs, 'written behind': behind },
      ...{ writes, flushes, snapshots, compared },
    }),
  });
}

/** Restores to a local image, killed again and again. */
async function killRestores(): Promise<void> {
  await runSoak({
    counts: restoreCounts(),
    run: inRounds(runRestores),
    file: 'restore-kills.md',
    row: ({ rounds: kills, commandKills, homesLost, restores, shadowed, writes, reads, looks }) => ({
      ...{ kills, 'of the command': commandKills, 'homes lost': homesLost, restores, shadowed, writes, reads },
      'pages looked at': looks,
    }),
  });
}

/** The store fails in each way under load, its folder being gone for the longest. */
async function sufferOutages(): Promise<void> {
  const shares: Readonly<Record<Outage, number>> = { slow: 1, failing: 1, full: 2, denied: 1, hanging: 1, gone: 4 };
  const suffers = (Object.keys(shares) as Outage[]).filter((one) => isAsked(one));
  const total = suffers.reduce((sum, outage) => sum + shares[outage], 0);
  const plan = suffers.map((outage) => ({ outage, forMs: (minutes * 60_000 * shares[outage]) / total }));
  console.log(`seed ${seed}: the store suffers ${suffers.join(', ')}, ${minutes} minutes altogether`);
  await runSoak({
    counts: outageCounts(),
    run: async (own) =>
      runOutages({
        ...{ folder, stores, random: seededRandom(seed), counts: own, plan, goesOn: () => !interrupted },
        onOutage: (line) => {
          console.log(line);
        },
      }),
    file: 'outages.md',
    row: ({ outages, writes, stoodStill, longestMs, rssBeforeMib, rssMaxMib }) => ({
      ...{ outages, 'at a standstill': stoodStill, writes, 'longest write ms': longestMs },
      ...{ 'RSS before MiB': rssBeforeMib, 'RSS most MiB': rssMaxMib },
    }),
  });
}

/** A load that a gateway keeps up with, for as long as is asked for. */
async function goOnAndOn(): Promise<void> {
  let samples = 0;
  console.log(`seed ${seed}: a steady load for ${minutes} minutes`);
  await runSoak({
    counts: steadyCounts(),
    run: async (own) =>
      runSteady({
        ...{ folder, stores, random: seededRandom(seed), counts: own, forMs: minutes * 60_000 },
        ...{ withoutGc: values.without.includes('gc'), goesOn: () => !interrupted },
        onSample: (line) => {
          samples += 1;
          if (values.verbose || samples % PROGRESS_EVERY_ROUNDS === 0) console.log(line);
        },
      }),
    file: 'steady-load.md',
    row: ({ reads, writes, snapshots, rssEarlyMib, rssLateMib, filesEarly, filesLate, homeMaxMib }) => ({
      ...{ reads, writes, snapshots, 'RSS early MiB': rssEarlyMib, 'RSS late MiB': rssLateMib },
      ...{ 'files early': filesEarly, 'files late': filesLate, 'home most MiB': homeMaxMib },
    }),
  });
}

/** The initiator of a Linux kernel, in a machine under emulation. */
async function initiate(): Promise<void> {
  const own = initiatorCounts();
  // Outside: where something is missing here, nothing was lost.
  const files = await makeSystem(folder, path.resolve(values.packages)).catch((error: unknown) => {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  });
  await runSoak({
    counts: own,
    run: async () => {
      console.log(`seed ${seed}, up to ${String(roundsMax)} rounds in ${minutes} minutes`);
      await runInitiator({
        ...{ folder, stores, random: seededRandom(seed), counts: own, files },
        goesOn: () => !interrupted && minutesRun() < minutes && own.rounds < roundsMax,
        onRound: (line) => {
          console.log(line);
        },
      });
    },
    file: 'linux-initiator.md',
    row: ({ kernel, rounds, twoSessions, kills, restarts, stalls, outages, resets, recoveries, aborts, passes }) => ({
      ...{ kernel, rounds, 'two sessions': twoSessions, kills, restarts, stalls, outages, resets, recoveries, aborts },
      'fio passes': passes,
    }),
  });
}

/** With `--only`: one of those. */
function isAsked(name: string): boolean {
  return values.only.length === 0 || values.only.includes(name);
}

/** A group of three gateways, broken in each way under load. */
async function breakGroup(): Promise<void> {
  const only = (Object.keys(FAULTS) as FaultName[]).filter((name) => isAsked(name));
  if (values.s3) throw new Error('--groups takes the folder of its store away');
  await runSoak({
    counts: groupCounts(),
    run: inRounds(async (options) => runGroups({ ...options, only })),
    file: 'group-faults.md',
    row: ({ rounds, faults, takeOvers, writes, reads, flushes, probed, pausesMs }) => ({
      rounds,
      faults: Object.entries(faults)
        .map(([name, count]) => `${name} ${String(count)}`)
        .join('; '),
      ...{ 'take-overs': takeOvers, writes, reads, 'asked directly': probed, flushes },
      'pause ms, p50': percentile(pausesOfHolders(pausesMs), 0.5),
      'pause ms, p99': percentile(pausesOfHolders(pausesMs), 0.99),
    }),
  });
}

/** Whole milliseconds; `-` of none. */
function percentile(values: readonly number[], share: number): string {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.ceil(sorted.length * share) - 1]?.toFixed(0) ?? '-';
}

/** Control servers that hold the connections of many gateways, killed again and again. */
async function killControlServers(): Promise<void> {
  console.log(`seed ${seed}: ${values.servers} control servers, ${values.gateways} gateways, ${minutes} minutes`);
  await runSoak({
    counts: controlCounts(),
    run: async (own) =>
      runControl({
        ...{ folder, random: seededRandom(seed), counts: own, lanes: CONTROL_LANES },
        servers: numberOf('--servers', values.servers),
        gateways: numberOf('--gateways', values.gateways),
        goesOn: () => !interrupted && minutesRun() < minutes,
        onEvent: (line) => {
          console.log(line);
        },
      }),
    file: 'control-plane.md',
    row: ({ servers, gateways, kills, drains, natsKills, requests, answered, failed, ...figures }) => ({
      ...{ servers, gateways, kills, drains, 'NATS kills': natsKills, requests, answered },
      'failed by name': Object.entries(failed)
        .map(([name, count]) => `${name} ${String(count)}`)
        .join(', '),
      ...{ connections: figures.connections, 'tries/s most': figures.triesPerSecondMax },
      ...{ 'connects/s most': figures.connectsPerSecondMax },
      ...{ 'p50 ms': figures.p50Ms, 'p99 ms': figures.p99Ms },
      ...{ 'RSS KiB/conn': figures.rssKibPerConnection, 'heap KiB/conn': figures.heapKibPerConnection },
    }),
  });
}

async function killAtRandom(): Promise<void> {
  console.log(`seed ${seed}, ${lanes} lanes, up to ${String(roundsMax)} rounds in ${minutes} minutes`);
  const present = new Set([...presentVerbs()].filter((verb) => !values.without.includes(verb)));
  const running = Array.from({ length: lanes }, async (_, lane) =>
    runLane(
      { seed, lane, folder, limits: LIMITS, eraRounds: ERA_ROUNDS, present, goesOn, onRound, stores },
      counts,
    ).catch((error: unknown) => {
      lost ??= error instanceof Error ? error : new Error(String(error));
    }),
  );
  await Promise.all(running);
  report();
}

/** The folder of a loss is kept, and the program ends with 1. */
function keepOrRemove(): void {
  if (lost === undefined) rmSync(folder, { recursive: true, force: true });
  else {
    process.exitCode = 1;
    console.error(`\n${lost.message}\nkept: ${folder}`);
  }
}

/** Writers stopped at a few moments, one after the other, each for the time asked for. */
async function stallWriters(): Promise<void> {
  const seconds = numberOf('--seconds', values.seconds);
  const moments: StallAt[] = ['opened', { segments: 1 }, { segments: 3 }];
  console.log(`seed ${seed}: ${moments.length} writers stand still for ${seconds} s each`);
  for (const [index, at] of moments.entries()) {
    const own = path.join(folder, `stalled-${index}`);
    mkdirSync(own);
    const phase = at === 'opened' ? at : `after ${at.segments} segments`;
    let losses = 0;
    try {
      await stallWriter({ folder: own, random: seededRandom(seed + index), at, stallMs: seconds * 1000 });
    } catch (error) {
      losses = 1;
      lost ??= error instanceof Error ? error : new Error(String(error));
    }
    console.log(`${phase}: ${losses === 0 ? 'fenced, and nothing changed' : (lost?.message ?? '')}`);
    if (values.record) recordRow('stalled-writer.md', { seed: seed + index, seconds, phase, losses });
  }
  if (lost === undefined) rmSync(folder, { recursive: true, force: true });
  else process.exitCode = 1;
}

function goesOn(): boolean {
  return !interrupted && lost === undefined && minutesRun() < minutes && counts.rounds < roundsMax;
}

function onRound(line: string): void {
  if (values.verbose) console.log(line);
  if (counts.rounds % PROGRESS_EVERY_ROUNDS === 0)
    console.log(`${counts.rounds} rounds, ${counts.kills} kills, ${minutesRun().toFixed(1)} minutes`);
}

function report(): void {
  console.log(`\n${counts.table()}\n`);
  const losses = lost === undefined ? 0 : 1;
  console.log(`seed ${seed}: ${counts.rounds} rounds, ${counts.kills} kills, ${losses} losses`);
  if (values.record && !recordOverS3('kill-rounds.md', counts, losses)) {
    const row = { seed, rounds: counts.rounds, kills: counts.kills, losses, minutes: minutesRun().toFixed(1) };
    recordRow('kill-rounds.md', row);
  }
  if (lost === undefined) {
    rmSync(folder, { recursive: true, force: true });
    return;
  }
  process.exitCode = 1;
  console.error(`\n${lost.message}`);
  console.error(
    `the same plan again, the moments of the kills but for the machine's own time: npm run soak -- --seed ${seed} --lanes ${lanes}`,
  );
}

function numberOf(flag: string, text: string): number {
  const number = Number(text);
  if (!Number.isFinite(number) || number < 0) throw new Error(`${flag} ${text} is no number`);
  return number;
}
