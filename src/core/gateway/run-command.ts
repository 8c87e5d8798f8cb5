/** Runs a command of the operator's: within a time, with its output kept within a bound, and nothing left of it. */
import { spawn } from 'node:child_process';

/** Of what it wrote, the last. */
const OUTPUT_CHARACTERS_MAX = 2000;
/** Between being asked to end and being made to. */
const KILL_AFTER_MS = 5000;
/** How long its output is waited for once it has ended: what it left behind may hold it open. */
const OUTPUT_WAIT_MS = 2000;

export interface CommandRequest {
  /** For `/bin/sh -c`. */
  readonly command: string;
  readonly cwd: string;
  /** Beside PATH, HOME, LANG and TZ of this process: nothing else of it, since there may be secrets. */
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export interface CommandResult {
  /** Null when a signal ended it. */
  readonly exitCode: number | null;
  readonly isTimedOut: boolean;
  /** Of both its outputs, the end. */
  readonly output: string;
}

const PASSED_ON = ['PATH', 'HOME', 'LANG', 'TZ'] as const;

/** What other programs may know of this process's environment: in the rest may be secrets. */
export function plainEnvironment(): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of PASSED_ON) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  return env;
}

/** @throws the signal's reason, once the command and its children have ended; what starting a shell throws */
export async function runCommand(request: CommandRequest): Promise<CommandResult> {
  const { command, cwd, timeoutMs, signal } = request;
  signal.throwIfAborted();
  const env = { ...plainEnvironment(), ...request.env };
  // A process group of its own, so that its children end with it.
  const child = spawn('/bin/sh', ['-c', command], { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const keep = (text: string): void => {
    output = (output + text).slice(-OUTPUT_CHARACTERS_MAX);
  };
  child.stdout.setEncoding('utf8').on('data', keep);
  child.stderr.setEncoding('utf8').on('data', keep);
  let isTimedOut = false;
  let kill: NodeJS.Timeout | undefined;
  const end = (): void => {
    killGroup(child.pid, 'SIGTERM');
    kill ??= setTimeout(() => {
      killGroup(child.pid, 'SIGKILL');
    }, KILL_AFTER_MS);
  };
  const deadline = setTimeout(() => {
    isTimedOut = true;
    end();
  }, timeoutMs);
  signal.addEventListener('abort', end, { once: true });
  try {
    const exitCode = await new Promise<number | null>((resolve, reject) => {
      let wait: NodeJS.Timeout | undefined;
      child.once('error', reject);
      child.once('exit', (code) => {
        wait = setTimeout(() => {
          resolve(code);
        }, OUTPUT_WAIT_MS);
      });
      child.once('close', (code) => {
        clearTimeout(wait);
        resolve(code);
      });
    });
    signal.throwIfAborted();
    return { exitCode, isTimedOut, output };
  } finally {
    clearTimeout(deadline);
    clearTimeout(kill);
    signal.removeEventListener('abort', end);
    // What it left running would go on with a disk that is gone.
    killGroup(child.pid, 'SIGKILL');
    child.stdout.destroy();
    child.stderr.destroy();
  }
}

function killGroup(pid: number | undefined, name: 'SIGTERM' | 'SIGKILL'): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, name);
  } catch {
    // All of them have ended.
  }
}
