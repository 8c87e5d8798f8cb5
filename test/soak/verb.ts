/** One run of `sgw` that may be killed: when to kill it, and in which phase the kill found it. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { RUN_NAME, type SoakStore } from './store.ts';

/** The command, as it is built. */
export const RUN = join(import.meta.dirname, '..', '..', 'bin', 'run.js');
/** A command that takes longer, the time that it stood in the queue for a CPU not counted, hangs: the soak's own images are small. */
const HANGS_AFTER_MS = 120_000;
/** And one that takes this long hangs whatever it waited for. */
const HANGS_AT_LAST_MS = 900_000;
const LOOKS_EVERY_MS = 5_000;
const OUTPUT_CHARACTERS_MAX = 1 << 20;

/** When a run is killed: after a time, or so long after its nth write to the store began or ended. */
export type KillPlan = { readonly afterMs: number } | { readonly atEvent: number; readonly delayMs: number };

/**
 * What a run was at when it was killed, as its store saw it: nothing written yet, in the middle of a write, between two
 * writes, or at its end already.
 */
export type Phase = 'before' | 'writing' | 'between' | 'ended';

export interface Outcome {
  readonly words: readonly string[];
  readonly killed: boolean;
  /** Null when it was killed. */
  readonly exitCode: number | null;
  readonly phase: Phase;
  /** Writes to the store that began, and that ended: about two for each object written. */
  readonly events: number;
  readonly durationMs: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Place {
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
}

/** A gateway's folder, and the environment that its commands run in. */
export function placeIn(folder: string, name = 'home', more: NodeJS.ProcessEnv = {}): Place {
  const env: NodeJS.ProcessEnv = { ...process.env };
  for (const key of Object.keys(env)) if (key.startsWith('SGW_')) env[key] = undefined;
  return {
    folder,
    env: {
      ...env,
      SGW_HOME: join(folder, name),
      SGW_CONFIG_DIR: join(folder, `config-${name}`),
      SGW_NO_INPUT: '1',
      SGW_PROGRESS: 'none',
      ...more,
    },
  };
}

/** Starts and watches runs over one store. */
export class Runner implements Disposable {
  readonly #place: Place;
  #watcher: Disposable | undefined;
  /** By pid and by name of each run. */
  readonly #listeners = new Map<string, (what: string) => void>();
  #runs = 0;

  constructor(place: Place) {
    this.#place = place;
  }

  /** To be called once the store is there. */
  watchStore(store: SoakStore): void {
    this.#watcher = store.watch((by, what) => this.#listeners.get(by)?.(what));
  }

  /** Runs `sgw WORDS`, and kills it as planned unless it ends before. Resolves when it is gone. */
  async run(words: readonly string[], kill?: KillPlan): Promise<Outcome> {
    const startedMs = performance.now();
    const name = `run-${String(++this.#runs)}`;
    const child = spawn(process.execPath, [RUN, ...words], {
      cwd: this.#place.folder,
      env: { ...this.#place.env, [RUN_NAME]: name },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const text = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].setEncoding('utf8').on('data', (part: string) => {
        text[stream] = (text[stream] + part).slice(-OUTPUT_CHARACTERS_MAX);
      });
    }
    const open = new Set<string>();
    let [events, killed] = [0, false];
    const timers: NodeJS.Timeout[] = [];
    const killIn = (ms: number): void => {
      timers.push(
        setTimeout(() => {
          killed = child.kill('SIGKILL') || killed;
        }, ms),
      );
    };
    const known = [name, String(child.pid)];
    for (const each of known)
      this.#listeners.set(each, (what) => {
        if (killed) return;
        events += 1;
        if (!open.delete(what)) open.add(what);
        if (kill !== undefined && 'atEvent' in kill && events === kill.atEvent) killIn(kill.delayMs);
      });
    if (kill !== undefined && 'afterMs' in kill) killIn(kill.afterMs);
    const hangs = new AbortController();
    const looking = setInterval(() => {
      const tookMs = performance.now() - startedMs;
      const queuedMs = child.pid === undefined ? 0 : queuedForCpuMs(child.pid);
      if (!isHanging(tookMs, queuedMs)) return;
      hangs.abort();
      child.kill('SIGKILL');
    }, LOOKS_EVERY_MS).unref();
    const [exitCode, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, bySignal) => {
        resolve([code, bySignal]);
      });
    });
    for (const timer of timers) clearTimeout(timer);
    clearInterval(looking);
    for (const each of known) this.#listeners.delete(each);
    if (hangs.signal.aborted) throw new Error(`sgw ${words.join(' ')} hangs\n${text.stdout}${text.stderr}`);
    const phase = signal === null ? 'ended' : events === 0 ? 'before' : open.size > 0 ? 'writing' : 'between';
    return {
      words,
      killed: signal === 'SIGKILL',
      exitCode,
      phase,
      events,
      durationMs: performance.now() - startedMs,
      ...text,
    };
  }

  [Symbol.dispose](): void {
    this.#watcher?.[Symbol.dispose]();
  }
}

/** Whether a run of `tookMs`, of which it was kept waiting for a CPU for `queuedMs`, is one that will not end. */
const isHanging = (tookMs: number, queuedMs: number): boolean =>
  tookMs - queuedMs > HANGS_AFTER_MS || tookMs > HANGS_AT_LAST_MS;

/** How long the thread of `pid` that waited most was ready to run and had no CPU. 0 where the system does not tell. */
function queuedForCpuMs(pid: number): number {
  try {
    const tasks = `/proc/${String(pid)}/task`;
    const waits = readdirSync(tasks).map((task) => readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')[1]);
    return Math.max(...waits.map(Number)) / 1e6;
  } catch {
    return 0; // Not Linux, or gone already.
  }
}

/** The JSON document that a run printed. */
export function documentOf(outcome: Outcome): unknown {
  try {
    return JSON.parse(outcome.stdout);
  } catch (error) {
    throw new Error(`sgw ${outcome.words.join(' ')} printed no document: ${describeRun(outcome)}`, { cause: error });
  }
}

/** A run for people: what was asked, and what came of it. */
export function describeRun(outcome: Outcome): string {
  const end = outcome.killed
    ? `killed (${outcome.phase}, ${outcome.events} events)`
    : `exit ${String(outcome.exitCode)}`;
  const said = outcome.killed || outcome.exitCode === 0 ? '' : `\n${outcome.stdout}${outcome.stderr}`;
  return `sgw ${outcome.words.join(' ')}: ${end} after ${outcome.durationMs.toFixed(0)} ms${said}`;
}
