/** One run of `sgw` that nobody kills. */
import { spawn } from 'node:child_process';
import { RUN, type Place } from './verb.ts';

/** Resolves when it has ended; `output` is standard output and standard error as they came. */
export async function runSgw(
  place: Place,
  words: readonly string[],
): Promise<{ readonly exitCode: number | null; readonly stdout: string; readonly output: string }> {
  const child = spawn(process.execPath, [RUN, ...words], { env: place.env, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
    output += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exitCode = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { exitCode, stdout, output };
}

/** What it printed on standard output. @throws Error when it did not end with 0 */
export async function sgw(place: Place, ...words: string[]): Promise<string> {
  const { exitCode, stdout, output } = await runSgw(place, words);
  if (exitCode !== 0) throw new Error(`sgw ${words.join(' ')}: exit ${String(exitCode)}: ${output}`);
  return stdout;
}
