/** Starts a gateway in the background and waits until it can be used, or tells why it can not. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { abortReason, SgwError, toSgwError } from '../../kit/index.ts';
import type { SecretAnswer, Secrets } from '../../localapi/index.ts';
import type { ChildMessage, ReadyGateway } from './background.ts';
import { logFileOf, openLogFile } from './log-file.ts';
import { parseLogLine } from './log-lines.ts';
import type { Runtime } from '../runtime.ts';

/** Variables that hold secrets: they are given when they are asked for, and to nobody who only looks at the process. */
const SECRET_VARIABLES = ['SGW_PASSPHRASE', 'SGW_NEW_PASSPHRASE', 'SGW_CHAP_SECRET', 'SGW_CHAP_TARGET_SECRET'];
const TAIL_LINES = 20;

export interface SpawnOptions {
  /** Absolute path. */
  readonly home: string;
  /** Flags of `gateway run`. */
  readonly args: readonly string[];
  readonly env: Runtime['env'];
  readonly secrets: Secrets;
  /** Ends the child when it fires before that is ready. */
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** What is waited for before it may take the home's lock, such as the end of the one that it replaces. */
  readonly onLoaded?: () => Promise<void>;
}

/** Makes malloc ask for transparent huge pages. @see the section "Memory Allocation Tunables" of glibc's manual */
const HUGE_PAGES = 'glibc.malloc.hugetlb=1';

/** @throws what the gateway failed with; unavailable `gateway-died`; timeout `gateway-not-ready`. It does not run then. */
export async function spawnGateway(options: SpawnOptions): Promise<ReadyGateway> {
  const { home, args, env, signal, timeoutMs } = options;
  if (!existsSync(home)) throw noHome(home);
  const log = openLogFile(home);
  const program = fileURLToPath(new URL('../../../../bin/run.js', import.meta.url));
  const inherited = Object.entries(env).filter(([name]) => !SECRET_VARIABLES.includes(name));
  // What serves moves much memory: in huge pages it costs a fraction of the page faults. glibc only reads it; others ignore it.
  const environment = { GLIBC_TUNABLES: HUGE_PAGES, ...Object.fromEntries(inherited) };
  const child = spawn(
    process.execPath,
    [program, 'gateway', 'run', '--background', '--json', '--home', home, ...args],
    {
      cwd: '/',
      detached: true,
      env: environment,
      stdio: ['ignore', 'ignore', log, 'ipc'],
    },
  );
  closeSync(log);
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    return await ready(child, options, AbortSignal.any([signal, timeout]));
  } catch (error) {
    child.kill('SIGTERM');
    if (timeout.aborted && !signal.aborted) throw notReady(home, timeoutMs);
    throw error;
  } finally {
    if (child.connected) child.disconnect();
    child.unref();
  }
}

async function ready(child: ChildProcess, options: SpawnOptions, signal: AbortSignal): Promise<ReadyGateway> {
  const { promise, resolve, reject } = Promise.withResolvers<ReadyGateway>();
  const stop = (): void => {
    reject(abortReason(signal));
  };
  signal.addEventListener('abort', stop, { once: true });
  child.on('error', (error) => {
    reject(toSgwError(error));
  });
  child.on('exit', (exitCode, killedBy) => {
    const reportEnd = (): void => {
      void died(options.home, exitCode, killedBy).then(reject);
    };
    // What it said last may still be under way.
    if (child.connected) child.once('disconnect', reportEnd);
    else reportEnd();
  });
  child.on('message', (message: ChildMessage) => {
    if (message.ready !== undefined) resolve(message.ready);
    if (message.failed !== undefined) reject(SgwError.fromDocument(message.failed));
    if (message.loaded !== undefined) options.onLoaded?.().catch(reject);
    if (message.ask !== undefined) void answer(child, options.secrets);
  });
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', stop);
    child.removeAllListeners();
  }
}

async function answer(child: ChildProcess, secrets: Secrets): Promise<void> {
  const message: SecretAnswer = await secrets.unlock().then(
    (secret) => ({ secret }),
    (error: unknown) => ({ error: toSgwError(error).toDocument() }),
  );
  if (child.connected) child.send(message, () => undefined);
}

async function died(home: string, exitCode: number | null, signal: string | null): Promise<SgwError> {
  const tail = await logTail(home, TAIL_LINES);
  const how = signal === null ? `with exit code ${String(exitCode)}` : `by ${signal}`;
  const last = tail.at(-1);
  const said = last === undefined ? '' : `; the last line of its log is: ${parseLogLine(last).message}`;
  return new SgwError('unavailable', 'gateway-died', `the gateway ended ${how} before it was ready${said}`, {
    hint: 'sgw gateway logs tells more.',
    details: { log: logFileOf(home), tail },
  });
}

/** As the gateway itself says it of a home that is there; the log would make one. */
const noHome = (home: string): SgwError =>
  new SgwError('conflict', 'not-activated', `the home ${home} is not activated`, {
    hint: 'sgw activate',
    details: { home },
  });

function notReady(home: string, timeoutMs: number): SgwError {
  return new SgwError('timeout', 'gateway-not-ready', `the gateway was not ready after ${String(timeoutMs / 1000)} s`, {
    hint: 'It was ended again. sgw gateway logs tells what it did; give it longer with --timeout.',
    details: { log: logFileOf(home), timeoutMs },
  });
}

async function logTail(home: string, count: number): Promise<string[]> {
  const text = await readFile(logFileOf(home), 'utf8').catch(() => '');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .slice(-count);
}
