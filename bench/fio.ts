/** fio's nbd engine, which is asked for one load and tells in JSON what it did. */
import { call, versionOf } from './programs.ts';
import type { Done } from './served.ts';

interface Direction {
  readonly total_ios: number;
  readonly clat_ns: { readonly percentile?: Readonly<Record<string, number>> };
}

interface FioJob {
  readonly read: Direction;
  readonly write: Direction;
  readonly job_runtime: number;
}

/** @throws Error when it is not there */
export function requireFio(): void {
  if (versionOf('fio', '--version') === undefined) throw new Error('fio is not installed');
}

/** One job over one connection. @throws Error with what fio printed, when it fails */
export function runFio(uri: string, args: readonly string[]): Done {
  return toDone(jobOf(uri, args));
}

/** The same for a load that only writes, with how long half of the writes took at most, and 99 of 100. */
export function runFioWrites(uri: string, args: readonly string[]): Done {
  const job = jobOf(uri, args);
  const percentiles = job.write.clat_ns.percentile ?? {};
  const microsOf = (name: string): number => (percentiles[name] ?? NaN) / 1000;
  return { ...toDone(job), latencyMicros: { p50: microsOf('50.000000'), p99: microsOf('99.000000') } };
}

const toDone = ({ read, write, job_runtime }: FioJob): Done => ({
  operations: read.total_ios + write.total_ios,
  seconds: job_runtime / 1000,
});

function jobOf(uri: string, args: readonly string[]): FioJob {
  const common = ['--name=bench', '--ioengine=nbd', `--uri=${uri}`, '--output-format=json', '--randrepeat=0'];
  const printed = call({ argv: ['timeout', '120', 'fio', ...common, ...args] });
  // It says first that it is connected.
  const { jobs } = JSON.parse(printed.slice(printed.indexOf('{'))) as { jobs: FioJob[] };
  const [job] = jobs;
  if (job === undefined) throw new Error('fio tells of no job');
  return job;
}
