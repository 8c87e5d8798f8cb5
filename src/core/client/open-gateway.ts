/** Where a call goes: to the daemon that holds the home, over its socket; without one, into this process. */
import { SgwError, systemClock, type Clock } from '../kit/index.ts';
import {
  wasNotBegun,
  type CallContext,
  type Input,
  type LocalApi,
  type OperationName,
  type Result,
} from '../localapi/index.ts';
import { runningGateway } from './running.ts';
import type { OpenGateway, OpenOptions } from './gateway-client.ts';

/** How often a daemon is looked for that starts or ends. */
const POLL_MS = 20;
/** Of a call that no daemon begins: one that ends at each call, and is started again, is not asked for ever. */
const TRIES_MAX = 8;

/** Opens the daemon's API where there is a daemon, else what `openInProcess` opens. A store alone has no daemon. */
export function daemonFirst(openInProcess: OpenGateway): OpenGateway {
  return async (options, signal) => {
    if (options.store !== undefined) return await openInProcess(options);
    const open = async (stop?: AbortSignal): Promise<LocalApi> =>
      (await openRunning(options, stop)) ?? (await openInProcess(options));
    return new HeldBy(await open(signal), open);
  };
}

/** The API of whoever holds the home: a call that a daemon did not begin, since it ends, goes to who comes after it. */
class HeldBy implements LocalApi {
  readonly #open: (signal: AbortSignal) => Promise<LocalApi>;
  readonly #opened: LocalApi[];
  #newest: Promise<LocalApi>;

  constructor(api: LocalApi, open: (signal: AbortSignal) => Promise<LocalApi>) {
    this.#open = open;
    this.#opened = [api];
    this.#newest = Promise.resolve(api);
  }

  async call<N extends OperationName>(name: N, input: Input<N>, context: CallContext): Promise<Result<N>> {
    for (let tries = 1; ; tries++) {
      const newest = this.#newest;
      try {
        return await (await newest).call(name, input, context);
      } catch (error) {
        if (!wasNotBegun(error) || tries === TRIES_MAX) throw error;
        if (this.#newest === newest) this.#newest = this.#reopen(context.signal);
      }
    }
  }

  async #reopen(signal: AbortSignal): Promise<LocalApi> {
    const api = await this.#open(signal);
    this.#opened.push(api);
    return api;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#newest.catch(() => undefined);
    for (const api of this.#opened) await api[Symbol.asyncDispose]();
  }
}

/**
 * The API of the daemon that holds the home; undefined when there is none. One that starts or ends is waited for, as long as
 * for a lock.
 * @throws unavailable `gateway-busy` when it does not answer meanwhile
 */
async function openRunning(
  options: OpenOptions,
  signal?: AbortSignal,
  clock: Clock = systemClock,
): Promise<LocalApi | undefined> {
  const { home, accountId, lockTimeoutMs } = options;
  const startedMs = clock.monotonicMs();
  for (;;) {
    const running = await runningGateway(home);
    if (running === undefined) return undefined;
    const { RemoteApi } = await import('./remote.ts');
    const api = running.record === undefined ? undefined : await RemoteApi.reach(running.record, accountId);
    if (api !== undefined) return api;
    if (clock.monotonicMs() - startedMs >= lockTimeoutMs) throw busy(running.owner.pid);
    await clock.sleep(POLL_MS, signal);
  }
}

const busy = (pid: number): SgwError =>
  new SgwError('unavailable', 'gateway-busy', `the gateway daemon, process ${String(pid)}, is starting or stopping`, {
    hint: 'Try again in a moment; if that lasts, sgw gateway logs says why.',
    details: { pid },
  });
