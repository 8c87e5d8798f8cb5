/**
 * The composition root of a running gateway: one for a home at a time, which holds the lock `gateway` for as long as it lives.
 *
 * Order of the start: store and key, lock, what is served, socket, then it tells that it is ready. Order of the end: new calls
 * are refused, clients are let go and volumes drained, calls under way stopped, socket, store, lock. A death at any point leaves
 * what was acknowledged in the write logs, and nothing that the next start would have to be told of.
 */
import { createHandlers } from '../../control/index.ts';
import { LocalServer, serveMetrics } from '../../control/server/index.ts';
import { Gateway, notActivated, type GatewayParts } from '../../gateway/index.ts';
import { SgwError, toSgwError, type Logger } from '../../kit/index.ts';
import type { CallContext, Handlers, Secrets } from '../../localapi/index.ts';
import { tcpPlace } from '../../sockets/index.ts';
import {
  acquireLock,
  announceGateway,
  GATEWAY_LOCK,
  lastGateway,
  lockHolder,
  openState,
  withdrawGateway,
} from '../../state/index.ts';
import { watchBugs } from './bugs.ts';
import { openManagement } from './management.ts';
import { RunningProcess } from './gateway-process.ts';
import { LogTail } from './log-tail.ts';
import { openLog, type LogLevel, type LogSink } from './log.ts';
import { partsOf, type StoreLayering } from '../parts.ts';
import { servingParts } from './serving-parts.ts';
import { VolumeServing } from './serving.ts';
import { takeSocketPlace, type SocketPlace } from './socket-place.ts';

/** While the daemon that is replaced ends, every client waits. */
const POLL_MAX_MS = 10;

export interface RunOptions {
  /** Absolute path of the home directory. */
  readonly home: string;
  /** How long to wait for another daemon of the home to end; 0 fails at once. */
  readonly lockTimeoutMs: number;
  readonly log: { readonly level: LogLevel; readonly sink: LogSink };
  /** Where to serve the metrics besides the socket: an address of this machine. */
  readonly metricsListen?: { readonly host: string; readonly port: number };
  readonly drainTimeoutMs: number;
  /** Whether it was started by `gateway start`, and the flags that it is started with again. */
  readonly background: boolean;
  readonly args: readonly string[];
  /** For an encrypted store, whose key stays in memory from then on. */
  readonly secrets: Secrets;
  /** Ends the gateway, draining, when it fires. */
  readonly signal: AbortSignal;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** For tests of stores that fail. */
  readonly storeLayer?: StoreLayering;
  /** Called when all is loaded and unlocked, and only the end of another daemon is waited for. */
  readonly onLoaded: () => void;
  readonly onReady: (ready: { readonly pid: number; readonly socket: string }) => void;
}

/** Runs the gateway of a home until it is stopped. @throws conflict `gateway-running`, `not-activated`; what opening the store throws */
export async function runGateway(options: RunOptions): Promise<void> {
  const { home, signal } = options;
  const tail = new LogTail(options.log.sink);
  const log = openLog(options.log.level, tail);
  using _watch = watchBugs(log, 'gateway');
  try {
    if ((await openState(home)).gateway === null) throw notActivated(home);
    // Said early: nobody types a passphrase for nothing.
    if (options.lockTimeoutMs === 0) await refuseSecond(home);
    const threads = servingParts(log);
    const parts = {
      ...(await partsOf(home, undefined, options.storeLayer)),
      serving: async () => Promise.resolve(threads),
    };
    try {
      await using gateway = new Gateway(parts);
      const { lockTimeoutMs, secrets } = options;
      const call = { signal, onProgress: () => undefined, lockTimeoutMs, secrets };
      await gateway.open(call);
      options.onLoaded();
      await using _lock = await holdHome(options);
      await serve(options, gateway, parts, { log, tail }, call);
      log.info({}, 'ended');
    } finally {
      await threads.close();
    }
  } catch (error) {
    const failure = toSgwError(error);
    // In the foreground the command line reports it, in the same place.
    if (options.background) log.error({ err: failure }, 'the gateway did not run');
    throw signal.aborted && failure.kind === 'aborted' ? (signal.reason as SgwError) : failure;
  }
}

async function serve(
  options: RunOptions,
  gateway: Gateway,
  parts: GatewayParts,
  { log, tail }: { readonly log: Logger; readonly tail: LogTail },
  call: CallContext,
): Promise<void> {
  const { home, background, drainTimeoutMs } = options;
  const { clock, version } = parts;
  const place = await takeSocketPlace(home, (await lastGateway(home))?.socket, options.env);
  const serving = new VolumeServing({ home, gateway, clock, log, call, socketPath: place.nbdPath });
  const startedMs = clock.nowMs();
  const running = new RunningProcess({
    ...{ home, version, clock, log, tail, serving, background, startedMs, drainTimeoutMs },
  });
  try {
    await serving.start();
    await answerCalls(options, { gateway, running, serving, place, log, parts });
  } catch (error) {
    // Whatever it had begun: with clean logs, which the next start goes on from.
    await serving.stop({ drain: false, signal: AbortSignal.abort(), onProgress: () => undefined });
    throw error;
  } finally {
    await place.remove();
  }
}

interface Running {
  readonly gateway: Gateway;
  readonly running: RunningProcess;
  readonly serving: VolumeServing;
  readonly place: SocketPlace;
  readonly log: Logger;
  readonly parts: GatewayParts;
}

/** Listens on the socket until the gateway was stopped. */
async function answerCalls(options: RunOptions, given: Running): Promise<void> {
  const { home, signal, background, args } = options;
  const { gateway, running, serving, place, log, parts } = given;
  const { clock, version } = parts;
  const metrics = async (): Promise<string> => serving.metrics();
  const handlersFor = (accountId: string | undefined): Handlers => {
    const handlers = createHandlers(accountId === undefined ? gateway : gateway.forAccount(accountId), running);
    return {
      ...handlers,
      status: async (input, call) => running.withConnection(await handlers.status(input, call)),
      deactivate: async () => Promise.reject(stopFirst()),
    };
  };
  const server = new LocalServer({ handlersFor, metrics, version, clock, log });
  const listener = options.metricsListen === undefined ? undefined : await serveMetrics(metrics, options.metricsListen);
  try {
    await server.listen(place.path);
    const metricsUrl = listener === undefined ? null : urlOf(options.metricsListen?.host ?? '', listener.port);
    await using managed = await openManagement({ home, gateway, parts, server, serving, log });
    running.reachedAt({ server, socket: place.path, metricsUrl, connection: managed.document });
    const token = (await lockHolder(home, GATEWAY_LOCK))?.token ?? '';
    await announceGateway(home, { pid: process.pid, token, socket: place.path, version, background, args });
    using _signals = watchSignals(running, signal, log);
    log.info({ home, socket: place.path, metricsUrl, version, node: process.versions.node }, 'ready');
    options.onReady({ pid: process.pid, socket: place.path });
    await running.stopped;
    await withdrawGateway(home);
  } finally {
    await server.close();
    await listener?.close();
  }
}

async function holdHome({ home, lockTimeoutMs, signal }: RunOptions): Promise<AsyncDisposable> {
  try {
    return await acquireLock({
      home,
      name: GATEWAY_LOCK,
      purpose: 'gateway daemon',
      timeoutMs: lockTimeoutMs,
      pollMaxMs: POLL_MAX_MS,
      signal,
    });
  } catch (error) {
    const failure = toSgwError(error);
    throw failure.code === 'locked' ? runsAlready(home, Number(failure.details['pid'])) : failure;
  }
}

async function refuseSecond(home: string): Promise<void> {
  const owner = await lockHolder(home, GATEWAY_LOCK);
  if (owner !== undefined) throw runsAlready(home, owner.pid);
}

const runsAlready = (home: string, pid: number): SgwError =>
  new SgwError('conflict', 'gateway-running', `the gateway of ${home} runs already, as process ${String(pid)}`, {
    hint: 'sgw gateway show tells what it does; sgw gateway restart replaces it.',
    details: { pid },
  });

/** The signal ends the gateway, draining; SIGHUP makes it read its configuration again. */
function watchSignals(running: RunningProcess, signal: AbortSignal, log: Logger): Disposable {
  const end = (): void => {
    running.stop({}).catch((error: unknown) => {
      log.error({ err: toSgwError(error) }, 'stopping failed');
    });
  };
  const reload = (): void => {
    running.reload().catch((error: unknown) => {
      log.error({ err: toSgwError(error) }, 'the configuration could not be read again');
    });
  };
  process.on('SIGHUP', reload);
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  return {
    [Symbol.dispose]: () => {
      process.off('SIGHUP', reload);
      signal.removeEventListener('abort', end);
    },
  };
}

const urlOf = (host: string, port: number): string => `http://${tcpPlace({ host, port })}/metrics`;

const stopFirst = (): SgwError =>
  new SgwError('conflict', 'gateway-running', 'the home can not be deactivated while its gateway runs', {
    hint: 'Stop it first: sgw gateway stop',
  });
