/** Where a call goes: to the daemon that holds the home, over its socket; without one, into this process. */
import { SgwError, systemClock, type Clock } from '../kit/index.ts';
import type { LocalApi } from '../localapi/index.ts';
import { runningGateway } from './running.ts';
import type { OpenGateway, OpenOptions } from './gateway-client.ts';

/** How often a daemon is looked for that starts or ends. */
const POLL_MS = 20;

/** Opens the daemon's API where there is a daemon, else what `openInProcess` opens. A store alone has no daemon. */
export function daemonFirst(openInProcess: OpenGateway): OpenGateway {
  return async (options, signal) => {
    const running = options.store === undefined ? await openRunning(options, signal) : undefined;
    return running ?? (await openInProcess(options));
  };
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
