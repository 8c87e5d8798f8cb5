/** P1 to P5: fio's nbd engine against a served volume and other NBD servers, in interleaved rounds. */
import {
  nbdkitFile,
  qemuMirror,
  qemuNbd,
  s3backer,
  sgwImage,
  sgwMemory,
  sgwShadow,
  sgwVolume,
  type NbdEndpoint,
  type ServerChoice,
} from './nbd-servers.ts';
import { call, versionOf } from './programs.ts';
import type { ReadyFinding } from './report.ts';
import { spread, type Spread } from './rounds.ts';
import { workFolder, type Settings } from './settings.ts';

const SIZE_BYTES = 512 * 1024 ** 2;
const RUN_SECONDS = 4;

/** One load, and how many times as fast as a peer sgw is to be. */
interface Load {
  readonly id: string;
  readonly title: string;
  readonly fio: readonly string[];
  readonly bars: Readonly<Record<string, number>>;
}

interface Measured {
  readonly operationsPerSecond: number;
  /** Processor time of the server, in microseconds for each operation. */
  readonly cpuMicros: number;
}

type NbdFinding = ReadyFinding<Readonly<Record<string, Readonly<Record<string, readonly Measured[]>>>>>;

const RANDOM = ['--bs=4k', `--size=${String(SIZE_BYTES / 2)}`];
const WRITETHROUGH = 'qemu-nbd --cache=writethrough';

const LOADS: readonly Load[] = [
  {
    id: 'P1',
    title: '4 KiB random read, 32 in flight',
    fio: ['--rw=randread', '--iodepth=32', ...RANDOM],
    bars: { 'nbdkit file': 1.5, 'qemu-nbd': 2.5 },
  },
  {
    id: 'P2',
    title: '4 KiB random read, 1 in flight',
    fio: ['--rw=randread', '--iodepth=1', ...RANDOM],
    bars: { 'nbdkit file': 1.1 },
  },
  {
    id: 'P3',
    title: '4 KiB random write, 32 in flight',
    fio: ['--rw=randwrite', '--iodepth=32', ...RANDOM],
    bars: { 'nbdkit file': 1.2, 'qemu-nbd': 2 },
  },
  {
    id: 'P4',
    title: '4 KiB random write, each followed by a flush',
    fio: ['--rw=randwrite', '--iodepth=1', '--fsync=1', ...RANDOM],
    bars: {},
  },
  {
    id: 'P4',
    title: '4 KiB random write, 32 in flight, a flush after each 32',
    fio: ['--rw=randwrite', '--iodepth=32', '--fsync=32', ...RANDOM],
    bars: { [WRITETHROUGH]: 4 },
  },
  {
    id: 'P5',
    title: '1 MiB sequential read, 4 in flight',
    fio: ['--rw=read', '--iodepth=4', '--bs=1m', `--size=${String(SIZE_BYTES / 2)}`],
    bars: { 'qemu-nbd': 1.2 },
  },
  {
    id: 'P5',
    title: '1 MiB sequential write, 4 in flight',
    fio: ['--rw=write', '--iodepth=4', '--bs=1m', `--size=${String(SIZE_BYTES / 2)}`],
    bars: { 'qemu-nbd': 1 },
  },
];

/** Bars are of on over off; told here the other way round. */
const SHADOW_LOADS: readonly Load[] = [
  {
    id: 'shadow',
    title: '4 KiB random write, 32 in flight, over an image',
    fio: ['--rw=randwrite', '--iodepth=32', ...RANDOM],
    bars: { 'shadowing on': 1 / 0.6, 'pass-through': 1 / 0.9 },
  },
  {
    id: 'shadow',
    title: '1 MiB sequential write, 4 in flight, over an image',
    fio: ['--rw=write', '--iodepth=4', '--bs=1m', `--size=${String(SIZE_BYTES / 2)}`],
    bars: { 'shadowing on': 1 / 0.6, 'pass-through': 1 / 0.9 },
  },
  {
    id: 'shadow',
    title: '4 KiB random write, each followed by a flush, over an image',
    fio: ['--rw=randwrite', '--iodepth=1', '--fsync=1', ...RANDOM],
    bars: { 'shadowing on': 1 / 0.6, 'pass-through': 1 / 0.9 },
  },
];

/** Runs all loads on all servers; those that are missing are named. */
export function benchNbd(settings: Settings): NbdFinding {
  const peers = [sgwMemory, nbdkitFile, qemuNbd(), qemuNbd('writethrough'), s3backer];
  return compare(settings, [...(settings.withSubject ? [sgwVolume] : []), ...peers], {
    id: 'NBD',
    title: 'P1 to P5: NBD',
    subject: 'sgw',
    loads: LOADS,
  });
}

/** What a shadow costs: the same server over the same kind of image, with a shadow, without, and in pass-through. */
export function benchShadow(settings: Settings): NbdFinding {
  const mirrors = [qemuMirror('background'), qemuMirror('write-blocking')];
  return compare(settings, [sgwShadow(false), sgwShadow(true), sgwImage, nbdkitFile, qemuNbd(), ...mirrors], {
    id: 'SHADOW',
    title: 'Shadowing: what it costs',
    subject: 'shadowing off',
    loads: SHADOW_LOADS,
  });
}

interface Comparison {
  readonly id: string;
  readonly title: string;
  readonly subject: string;
  readonly loads: readonly Load[];
}

function compare(settings: Settings, wanted: readonly ServerChoice[], comparison: Comparison): NbdFinding {
  if (versionOf('fio', '--version') === undefined) throw new Error('fio is not installed');
  const { id, title, subject, loads } = comparison;
  using work = workFolder(settings, id.toLowerCase());
  using stack = new DisposableStack();
  const endpoints = wanted
    .filter(({ missing }) => missing === undefined)
    .map((choice) => stack.use(choice.start(work.path, SIZE_BYTES)));
  // Data everywhere, so that nobody answers from a hole.
  for (const { uri } of endpoints)
    runFio(uri, ['--rw=write', '--bs=1m', '--iodepth=4', `--size=${String(SIZE_BYTES / 2)}`, '--end_fsync=1']);
  const samples: Record<string, Record<string, Measured[]>> = {};
  const sections: string[] = [];
  for (const load of loads) {
    const ofLoad = interleaveLoad(load, endpoints, settings.rounds);
    samples[load.title] = ofLoad;
    sections.push(section(load, ofLoad, subject));
  }
  const skipped = wanted.flatMap(({ missing }) => (missing === undefined ? [] : [`Skipped: ${missing}`]));
  return { id, markdown: heading(title, subject, settings.rounds, sections, skipped), samples };
}

function interleaveLoad(load: Load, endpoints: readonly NbdEndpoint[], rounds: number): Record<string, Measured[]> {
  const found: Record<string, Measured[]> = {};
  for (let round = 0; round < rounds; round += 1) {
    for (let turn = 0; turn < endpoints.length; turn += 1) {
      const endpoint = endpoints[(round + turn) % endpoints.length];
      if (endpoint === undefined) continue;
      const before = endpoint.cpuSeconds();
      const timed = ['--time_based', `--runtime=${String(RUN_SECONDS)}`];
      const { operations, seconds } = runFio(endpoint.uri, [...load.fio, ...timed]);
      const measured = {
        operationsPerSecond: operations / seconds,
        cpuMicros: ((endpoint.cpuSeconds() - before) / operations) * 1e6,
      };
      (found[endpoint.name] ??= []).push(measured);
      process.stderr.write(`  ${load.title}, ${endpoint.name}: ${measured.operationsPerSecond.toFixed(0)}/s\n`);
    }
  }
  return found;
}

interface FioJob {
  readonly read: { readonly total_ios: number };
  readonly write: { readonly total_ios: number };
  readonly job_runtime: number;
}

function runFio(uri: string, args: readonly string[]): { readonly operations: number; readonly seconds: number } {
  const common = ['--name=bench', '--ioengine=nbd', `--uri=${uri}`, '--output-format=json', '--randrepeat=0'];
  const printed = call({ argv: ['timeout', '120', 'fio', ...common, ...args] });
  // It says first that it is connected.
  const { jobs } = JSON.parse(printed.slice(printed.indexOf('{'))) as { jobs: FioJob[] };
  const [job] = jobs;
  if (job === undefined) throw new Error('fio tells of no job');
  return { operations: job.read.total_ios + job.write.total_ios, seconds: job.job_runtime / 1000 };
}

function heading(
  title: string,
  subject: string,
  rounds: number,
  sections: readonly string[],
  skipped: readonly string[],
): string {
  const words =
    `One connection over a unix socket, fio's nbd engine, ${String(RUN_SECONDS)} s a run, ${String(rounds)} rounds, interleaved; ` +
    `median (lowest to highest). Ratios are operations per second of ${subject} over those of the other in the same round: above 1, ` +
    `${subject} is faster. CPU is what the server used, all threads, in user and kernel mode.`;
  return [`### ${title}`, '', words, '', ...sections, ...skipped].join('\n');
}

function section(load: Load, found: Readonly<Record<string, readonly Measured[]>>, subjectName: string): string {
  const subject = found[subjectName] ?? [];
  const rows = Object.entries(found).map(([name, measured]) => {
    const ratios = measured.flatMap(({ operationsPerSecond }, round) => {
      const own = subject[round];
      return own === undefined ? [] : [own.operationsPerSecond / operationsPerSecond];
    });
    const bar = load.bars[name];
    const cells = [
      name,
      format(spread(measured.map((one) => one.operationsPerSecond))),
      format(spread(measured.map((one) => one.cpuMicros))),
      name === subjectName || ratios.length === 0 ? '' : format(spread(ratios)),
      bar === undefined ? '' : bar > 1 && subjectName !== 'sgw' ? `<= ${digits(bar)}` : `>= ${String(bar)}`,
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return [
    `#### ${load.id}: ${load.title}`,
    '',
    `| | operations/s | CPU µs an operation | ${subjectName} / this | bar |`,
    '| --- | --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}

function format({ median, min, max }: Spread): string {
  return `${digits(median)} (${digits(min)}-${digits(max)})`;
}

function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
