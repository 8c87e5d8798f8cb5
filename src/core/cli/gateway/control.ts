/** Starting, stopping and replacing the daemon of a home. Each waits until it is so. */
import { runningGateway, type RunningGateway } from '../../client/index.ts';
import { SgwError, systemClock, toSgwError, type Clock } from '../../kit/index.ts';
import type { GatewayDocument, GatewayStopDocument, Input, Secrets } from '../../localapi/index.ts';
import type { GatewayRestartDocument, GatewayStartDocument } from '../documents.ts';
import { logFileOf } from './log-file.ts';
import type { Runtime } from '../runtime.ts';
import { spawnGateway } from './spawn.ts';

const POLL_MS = 10;
/** What a process may take to end once it has nothing more to drain. */
const END_MS = 15_000;

/** Who wants it: a session. */
export interface Caller {
  /** Absolute path. */
  readonly home: string;
  readonly env: Runtime['env'];
  readonly secrets: Secrets;
  readonly signal: AbortSignal;
  call(name: 'gateway.stop', input: Input<'gateway.stop'>, limits: { label: string }): Promise<GatewayStopDocument>;
  call(name: 'gateway.show', input: Input<'gateway.show'>): Promise<GatewayDocument>;
}

export interface StartOptions {
  /** Flags of `gateway run`. */
  readonly args: readonly string[];
  readonly timeoutMs: number;
}

/** Starts the gateway unless it runs; resolves when it can be used. @throws as `spawnGateway` */
export async function startGateway(caller: Caller, options: StartOptions): Promise<GatewayStartDocument> {
  const startedMs = systemClock.monotonicMs();
  const document = (started: boolean, { pid, socket }: { pid: number; socket: string }): GatewayStartDocument => ({
    started,
    pid,
    socket,
    log: logFileOf(caller.home),
    durationMs: Math.round(systemClock.monotonicMs() - startedMs),
  });
  const before = await readyGateway(caller, options.timeoutMs);
  if (before !== undefined) return document(false, before);
  try {
    return document(true, await spawnGateway({ ...spawning(caller), ...options }));
  } catch (error) {
    if (toSgwError(error).code !== 'gateway-running') throw error;
    // Somebody else started it at the same time.
    const other = await readyGateway(caller, options.timeoutMs);
    if (other === undefined) throw error;
    return document(false, other);
  }
}

export interface StopOptions {
  readonly drain: boolean;
  /** For draining; the end of the process may take a little more. */
  readonly timeoutMs: number;
}

/** Stops the gateway if it runs; resolves when its process holds the home no more. @throws timeout `gateway-still-running` */
export async function stopGateway(caller: Caller, options: StopOptions): Promise<GatewayStopDocument> {
  const startedMs = systemClock.monotonicMs();
  const running = await runningGateway(caller.home);
  const nothing = { stopped: false, pid: null, drained: null, dirtyBytes: null, durationMs: 0 };
  if (running === undefined) return nothing;
  const { pid } = running.owner;
  const told = await askToStop(caller, pid, options);
  const leftMs = options.timeoutMs - (systemClock.monotonicMs() - startedMs);
  await untilGone(caller, running, Math.max(0, leftMs) + END_MS);
  const durationMs = Math.round(systemClock.monotonicMs() - startedMs);
  return { ...nothing, ...told, stopped: true, pid, durationMs };
}

/**
 * Replaces the gateway by a new process, which has loaded everything and unlocked the store before the old one stops. Starts
 * one if none runs. @throws unsupported `gateway-foreground`; as `spawnGateway`, and then, if that is said before the old one was
 * stopped, that one goes on
 */
export async function restartGateway(caller: Caller, timeoutMs: number): Promise<GatewayRestartDocument> {
  const running = await runningGateway(caller.home);
  const log = logFileOf(caller.home);
  if (running === undefined) {
    const { pid, socket, durationMs } = await startGateway(caller, { args: [], timeoutMs });
    return { previousPid: null, pid, socket, log, pauseMs: durationMs };
  }
  if (running.record?.background === false) throw foreground(running.owner.pid);
  // Connects, so that nothing but the old one's end and the new one's beginning is in the pause.
  await caller.call('gateway.show', {});
  let stoppedMs = systemClock.monotonicMs();
  const { pid, socket } = await spawnGateway({
    ...spawning(caller),
    args: [...(running.record?.args ?? []), '--replace'],
    timeoutMs,
    onLoaded: async () => {
      stoppedMs = systemClock.monotonicMs();
      await askToStop(caller, running.owner.pid, { drain: false, timeoutMs: 0 });
    },
  });
  return {
    previousPid: running.owner.pid,
    pid,
    socket,
    log,
    pauseMs: Math.round(systemClock.monotonicMs() - stoppedMs),
  };
}

const spawning = ({ home, env, secrets, signal }: Caller): Pick<Caller, 'home' | 'env' | 'secrets' | 'signal'> => ({
  home,
  env,
  secrets,
  signal,
});

/** The gateway that can be used; undefined when none runs. One that starts or stops is waited for. */
async function readyGateway(
  caller: Caller,
  timeoutMs: number,
  clock: Clock = systemClock,
): Promise<{ readonly pid: number; readonly socket: string } | undefined> {
  const endMs = clock.monotonicMs() + timeoutMs;
  for (;;) {
    const running = await runningGateway(caller.home);
    if (running === undefined) return undefined;
    const { record } = running;
    if (record !== undefined) return { pid: record.pid, socket: record.socket };
    if (clock.monotonicMs() >= endMs) throw stillRunning(running.owner.pid);
    await clock.sleep(POLL_MS, caller.signal);
  }
}

/** What the gateway answers; nothing when it ended before, or could only be told by a signal. */
async function askToStop(caller: Caller, pid: number, options: StopOptions): Promise<Partial<GatewayStopDocument>> {
  try {
    return await caller.call('gateway.stop', options, { label: 'stopping the gateway' });
  } catch (error) {
    const { code, kind } = toSgwError(error);
    if (kind === 'aborted' || kind === 'denied') throw error;
    if (code !== 'daemon-needed') signal(pid);
    return {};
  }
}

function signal(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function untilGone(caller: Caller, { owner }: RunningGateway, timeoutMs: number): Promise<void> {
  const endMs = systemClock.monotonicMs() + timeoutMs;
  for (;;) {
    const now = await runningGateway(caller.home);
    if (now?.owner.token !== owner.token) return;
    if (systemClock.monotonicMs() >= endMs) throw stillRunning(owner.pid);
    await systemClock.sleep(POLL_MS, caller.signal);
  }
}

const stillRunning = (pid: number): SgwError =>
  new SgwError('timeout', 'gateway-still-running', `the gateway, process ${String(pid)}, still starts or stops`, {
    hint: `sgw gateway logs tells what it waits for. kill -9 ${String(pid)} loses nothing that was acknowledged: it stays in the home.`,
    details: { pid },
  });

const foreground = (pid: number): SgwError =>
  new SgwError('unsupported', 'gateway-foreground', `the gateway, process ${String(pid)}, runs in the foreground`, {
    hint: 'Restart it where it was started, such as with systemctl restart sgw-gateway; or stop it and use sgw gateway start.',
    details: { pid },
  });
