/** Loads on servers of a block protocol, in interleaved rounds: operations per second, and what they cost the server. */
import type { ReadyFinding } from './report.ts';
import { spread, type Spread } from './rounds.ts';
import { workFolder, type Settings } from './settings.ts';

/** A server in a process of its own. */
export interface Endpoint extends Disposable {
  readonly name: string;
  readonly uri: string;
  /** Processor time that the server has used, in seconds. */
  cpuSeconds(): number;
  /** Waits until nothing of the load before is still worked on. */
  settle?(): void;
}

export interface ServerChoice {
  readonly name: string;
  /** Undefined when it can not be run here, with what is missing. */
  readonly missing: string | undefined;
  start(folder: string, sizeBytes: number): Endpoint;
}

/** What a client did. */
export interface Done {
  readonly operations: number;
  readonly seconds: number;
  readonly latencyMicros?: Latency;
}

/** How long half of the operations took at most, and 99 of 100. */
interface Latency {
  readonly p50: number;
  readonly p99: number;
}

/** One load, and how many times as fast as a peer sgw is to be. */
export interface Load {
  readonly id: string;
  readonly title: string;
  readonly run: (uri: string) => Done;
  readonly bars: Readonly<Record<string, number>>;
}

interface Measured {
  readonly operationsPerSecond: number;
  /** Processor time of the server, in microseconds for each operation. */
  readonly cpuMicros: number;
  readonly latencyMicros?: Latency;
}

export type ServedFinding = ReadyFinding<Readonly<Record<string, Readonly<Record<string, readonly Measured[]>>>>>;

export interface Comparison {
  readonly id: string;
  readonly title: string;
  /** What is compared with all others. */
  readonly subject: string;
  /** How clients reach it, and how long they run. */
  readonly way: string;
  readonly sizeBytes: number;
  /** Writes data everywhere, so that nobody answers from a hole. */
  readonly fill: (uri: string) => void;
  readonly loads: readonly Load[];
}

/** Runs all loads on all servers; those that are missing are named. */
export function compare(settings: Settings, wanted: readonly ServerChoice[], comparison: Comparison): ServedFinding {
  const { id, subject, loads, sizeBytes, fill } = comparison;
  using work = workFolder(settings, id.toLowerCase());
  using stack = new DisposableStack();
  const endpoints = wanted
    .filter(({ missing }) => missing === undefined)
    .map((choice) => stack.use(choice.start(work.path, sizeBytes)));
  for (const { uri } of endpoints) fill(uri);
  const samples: Record<string, Record<string, Measured[]>> = {};
  const sections: string[] = [];
  for (const load of loads) {
    const ofLoad = interleaveLoad(load, endpoints, settings.rounds);
    samples[load.title] = ofLoad;
    sections.push(section(load, ofLoad, subject));
  }
  const skipped = wanted.flatMap(({ missing }) => (missing === undefined ? [] : [`Skipped: ${missing}`]));
  return { id, markdown: heading(comparison, settings.rounds, sections, skipped), samples };
}

function interleaveLoad(load: Load, endpoints: readonly Endpoint[], rounds: number): Record<string, Measured[]> {
  const found: Record<string, Measured[]> = {};
  for (let round = 0; round < rounds; round += 1) {
    for (let turn = 0; turn < endpoints.length; turn += 1) {
      const endpoint = endpoints[(round + turn) % endpoints.length];
      if (endpoint === undefined) continue;
      endpoint.settle?.();
      const before = endpoint.cpuSeconds();
      const { operations, seconds, latencyMicros } = load.run(endpoint.uri);
      const measured = {
        operationsPerSecond: operations / seconds,
        cpuMicros: ((endpoint.cpuSeconds() - before) / operations) * 1e6,
        ...(latencyMicros === undefined ? {} : { latencyMicros }),
      };
      (found[endpoint.name] ??= []).push(measured);
      process.stderr.write(`  ${load.title}, ${endpoint.name}: ${measured.operationsPerSecond.toFixed(0)}/s\n`);
    }
  }
  return found;
}

function heading(
  { title, subject, way }: Comparison,
  rounds: number,
  sections: readonly string[],
  skipped: readonly string[],
): string {
  const words =
    `${way}, ${String(rounds)} rounds, interleaved; ` +
    `median (lowest to highest). Ratios are operations per second of ${subject} over those of the other in the same round: above 1, ` +
    `${subject} is faster. CPU is what the server used, all threads, in user and kernel mode.`;
  return [`### ${title}`, '', words, '', ...sections, ...skipped].join('\n');
}

function section(load: Load, found: Readonly<Record<string, readonly Measured[]>>, subjectName: string): string {
  const subject = found[subjectName] ?? [];
  const hasLatency = subject.some(({ latencyMicros }) => latencyMicros !== undefined);
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
      ...(hasLatency ? [latencies(measured)] : []),
      name === subjectName || ratios.length === 0 ? '' : format(spread(ratios)),
      bar === undefined ? '' : bar > 1 && subjectName !== 'sgw' ? `<= ${digits(bar)}` : `>= ${String(bar)}`,
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return [
    `#### ${load.id}: ${load.title}`,
    '',
    `| | operations/s | CPU µs an operation |${hasLatency ? ' µs: p50, p99 |' : ''} ${subjectName} / this | bar |`,
    `| --- | --- | --- | --- | --- |${hasLatency ? ' --- |' : ''}`,
    ...rows,
    '',
  ].join('\n');
}

function latencies(measured: readonly Measured[]): string {
  const all = measured.flatMap(({ latencyMicros }) => latencyMicros ?? []);
  return `${digits(spread(all.map(({ p50 }) => p50)).median)}, ${digits(spread(all.map(({ p99 }) => p99)).median)}`;
}

function format({ median, min, max }: Spread): string {
  return `${digits(median)} (${digits(min)}-${digits(max)})`;
}

function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
