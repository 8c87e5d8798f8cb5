/** Where the checkout is, and how its scripts run other programs in it. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';

/** The top of the checkout. */
export const ROOT = path.dirname(import.meta.dirname);

/** The outcome of a program that ran to its end. */
export interface Ran {
  readonly ok: boolean;
  /** Standard output and standard error, or empty when they were passed through. */
  readonly output: string;
}

/**
 * Runs a program of `node_modules/.bin` (npm puts that on the PATH) or of the system, from the top of the checkout.
 * @throws Error when it can't be started.
 */
export function run(command: string, args: readonly string[], stdio: 'inherit' | 'pipe' = 'inherit'): Ran {
  const outputBytesMax = 256 * 1024 * 1024;
  const ran = spawnSync(command, args, { cwd: ROOT, stdio, encoding: 'utf8', maxBuffer: outputBytesMax });
  if (ran.error !== undefined) throw new Error(`${command} does not run: ${ran.error.message}`, { cause: ran.error });
  return { ok: ran.status === 0, output: stdio === 'pipe' ? ran.stdout + ran.stderr : '' };
}
