/**
 * How long a gateway waits before it connects again: a random time of all up to a bound that doubles ("full jitter"), so that
 * the gateways of a server that died do not come back at the same moment. Pure but for the randomness that is given.
 */
import type { Random } from '../../kit/index.ts';

/** The bound of the first wait: what a server's gateways spread over when it dies. */
const FIRST_MS = 4000;
const MAX_MS = 120_000;
/** Another server is there, and the one that leaves says so. */
const DRAINED_MS = 1500;
/** What the service refuses, it will not take a moment later. */
const REFUSED_MS = 60_000;
/** The sixth doubling is above the bound. */
const DOUBLINGS_MAX = 6;

/** Why the last connection is no more. */
export type Ending = 'draining' | 'refused' | 'failed';

/** `failures` counts the tries since a connection last stood. */
export function backOffMs(ending: Ending, failures: number, random: Random): number {
  if (ending === 'draining' && failures === 0) return random.float() * DRAINED_MS;
  const bound = Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(failures, DOUBLINGS_MAX));
  return random.float() * (ending === 'refused' ? Math.max(REFUSED_MS, bound) : bound);
}

/** A server to try: any but the one that failed last, where there is another. */
export function chooseServer(
  servers: readonly string[],
  failed: string | undefined,
  random: Random,
): string | undefined {
  const others = servers.filter((server) => server !== failed);
  const among = others.length > 0 ? others : servers;
  return among[Math.floor(random.float() * among.length)];
}
