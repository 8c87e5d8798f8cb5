/** A home and the built program over it, as users have them; whatever daemon is left of a test is ended. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ROOT } from './run-verb.ts';

const PROGRAM = path.join(ROOT, 'bin/run.js');

export interface Ended {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class HomeRig implements AsyncDisposable {
  readonly folder = mkdtempSync(path.join(os.tmpdir(), 'sgw-daemon-'));
  readonly home: string;
  readonly #children = new Set<ChildProcess>();
  /** What is put before each command. */
  readonly #within: readonly string[];

  constructor(name = 'home', within: readonly string[] = []) {
    this.#within = within;
    this.home = path.join(this.folder, name);
    mkdirSync(path.join(this.folder, 'user'));
  }

  static async activated(name?: string, ...flags: string[]): Promise<HomeRig> {
    const rig = new HomeRig(name);
    await rig.ok('activate', '--name', 'lab', ...flags);
    return rig;
  }

  spawn(words: readonly string[], env: Record<string, string> = {}): ChildProcess {
    const inherited = Object.entries(process.env).filter(
      ([name]) => !/^(?:SGW_|NODE_|VITEST|NO_COLOR|FORCE_COLOR|XDG_)/.test(name),
    );
    const [command, ...rest] = [...this.#within, process.execPath, PROGRAM, ...words, '--home', this.home];
    const child = spawn(command, rest, {
      env: {
        ...Object.fromEntries(inherited),
        HOME: path.join(this.folder, 'user'),
        SGW_CONFIG_DIR: path.join(this.folder, 'config'),
        XDG_RUNTIME_DIR: path.join(this.folder, 'user'),
        ...env,
      },
    });
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    return child;
  }

  async run(words: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
    return await ended(this.spawn(words, env));
  }

  /** The result document of a command that succeeds. */
  async ok(...words: string[]): Promise<Record<string, unknown>> {
    return await this.okWith({}, ...words);
  }

  async okWith(env: Record<string, string>, ...words: string[]): Promise<Record<string, unknown>> {
    const { exitCode, stdout, stderr } = await this.run([...words, '--json'], env);
    if (exitCode !== 0) throw new Error(`sgw ${words.join(' ')} ended with ${String(exitCode)}: ${stdout}${stderr}`);
    return JSON.parse(stdout) as Record<string, unknown>;
  }

  /** The exit code and the error of a command that fails. */
  async failure(...words: string[]): Promise<Record<string, unknown>> {
    const { exitCode, stdout } = await this.run([...words, '--json']);
    return { exitCode, ...(JSON.parse(stdout) as { error: Record<string, unknown> }).error };
  }

  /** The process of the daemon, by its lock. */
  daemonPid(): number | undefined {
    try {
      const lock = readlinkSync(path.join(this.home, 'locks', 'gateway.lock'));
      return (JSON.parse(lock) as { pid: number }).pid;
    } catch {
      return undefined;
    }
  }

  log(): Record<string, unknown>[] {
    const text = readFileSync(path.join(this.home, 'logs', 'gateway.log'), 'utf8');
    return text
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** A file in the rig's folder. */
  file(name: string, contents: string | Buffer): string {
    const file = path.join(this.folder, name);
    writeFileSync(file, contents, { mode: 0o600 });
    return file;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    const pid = this.daemonPid();
    if (pid !== undefined && isAlive(pid)) {
      process.kill(pid, 'SIGKILL');
      await until('the daemon is dead', () => !isAlive(pid));
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export async function ended(child: ChildProcess): Promise<Ended> {
  let [stdout, stderr] = ['', ''];
  child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const exitCode = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { exitCode, stdout, stderr };
}

/** Whether the process runs; one that is killed and not yet waited for does not. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z';
  } catch {
    return false;
  }
}

/** Waits for a condition; fails when it does not come. */
export async function until(what: string, isSo: () => boolean, timeoutMs = 20_000): Promise<void> {
  const endMs = Date.now() + timeoutMs;
  while (!isSo()) {
    if (Date.now() > endMs) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
