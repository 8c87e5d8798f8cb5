/** Runs programs, timed, and finds out which are installed. Everything here is synchronous: a benchmark does one thing. */
import { spawnSync } from 'node:child_process';
import { lstatSync, readdirSync } from 'node:fs';
import path from 'node:path';

/** A program with its arguments, and what it needs in its environment besides ours. */
export interface Call {
  readonly argv: readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** What one timed call took. */
export interface Sample {
  /** From start to exit. */
  readonly seconds: number;
  /** The same, and until everything that it wrote is on the disk. */
  readonly durableSeconds: number;
  /** What it left in the place that it wrote to, if that is of interest. */
  readonly storedBytes: number | undefined;
}

const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

/**
 * Runs a program to its end and answers its standard output.
 * @throws Error with what it printed, when it fails.
 */
export function call({ argv, env, cwd }: Call): string {
  const [program, ...args] = argv;
  const ran = spawnSync(program, args, {
    encoding: 'utf8',
    maxBuffer: OUTPUT_BYTES_MAX,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
    ...(cwd === undefined ? {} : { cwd }),
  });
  if (ran.error !== undefined) throw ran.error;
  if (ran.status !== 0) throw new Error(`${argv.join(' ')} failed:\n${ran.stdout}${ran.stderr}`);
  return ran.stdout;
}

/** What a script of this folder prints, as JSON. @throws Error with what it printed, when it fails */
export const callScript = (script: string, ...args: readonly string[]): unknown =>
  JSON.parse(call({ argv: [process.execPath, script, ...args] }));

/**
 * Times a call, alone and with the sync that makes its output durable. What others wrote before is synced first,
 * so that it is not counted. `into` is the folder or file that the call writes.
 */
export function time(into: string, ...calls: readonly Call[]): Sample {
  const folder = path.dirname(into);
  syncFileSystem(folder);
  const startedMs = performance.now();
  for (const one of calls) call(one);
  const seconds = (performance.now() - startedMs) / 1000;
  syncFileSystem(folder);
  const durableSeconds = (performance.now() - startedMs) / 1000;
  return { seconds, durableSeconds, storedBytes: treeBytes(into) };
}

/** The first line of a program's version, or undefined when it is not installed. */
export function versionOf(program: string, ...args: readonly string[]): string | undefined {
  const ran = spawnSync(program, args, { encoding: 'utf8' });
  if (ran.error !== undefined || ran.status !== 0) return undefined;
  return ran.stdout.split('\n')[0]?.trim();
}

/** What all files at or below a path hold, holes left out. */
export function treeBytes(file: string): number {
  const stat = lstatSync(file);
  if (!stat.isDirectory()) return Math.min(stat.size, stat.blocks * 512);
  return readdirSync(file).reduce((sum, name) => sum + treeBytes(path.join(file, name)), 0);
}

function syncFileSystem(folder: string): void {
  call({ argv: ['sync', '-f', folder] });
}
