/**
 * How long a gateway waits before it connects again: a random time of all up to a bound that doubles ("full jitter"), so that
 * the gateways of a server that died do not come back at the same moment. Pure but for the randomness that is given.
 */
import type { Random } from '../../kit/index.ts';

/** The bound of the first wait: what a server's gateways spread over when it dies. */
const FIRST_MS = 4000;
/** What operators wait for at most when the service is back, whatever time it was away. */
const FAILED_MS_MAX = 60_000;
/** Another server is there, and the one that leaves says so. */
const DRAINED_MS = 1500;
/** What the service refuses, it will not take a moment later. */
const REFUSED_MS = 60_000;
const REFUSED_MS_MAX = 120_000;
/** The sixth doubling is above each bound. */
const DOUBLINGS_MAX = 6;
/** A connection that lasted for this long is no failure, whatever it ended by. */
const LASTED_MS = 10_000;

/** Why the last connection is no more. */
export type Ending = 'draining' | 'refused' | 'failed';

/** `failures` counts the tries since a connection last stood. */
export function backOffMs(ending: Ending, failures: number, random: Random): number {
  if (ending === 'draining' && failures === 0) return random.float() * DRAINED_MS;
  const bound = FIRST_MS * 2 ** Math.min(failures, DOUBLINGS_MAX);
  if (ending === 'refused') return random.float() * Math.min(REFUSED_MS_MAX, Math.max(REFUSED_MS, bound));
  return random.float() * Math.min(FAILED_MS_MAX, bound);
}

/**
 * Whether a connection was of use, so that the tries before it are forgotten: it lasted, or a call came down it, or the server
 * that had taken it was left in order. A server that takes connections and dies of them does none of these.
 */
export function hasStood(connection: {
  readonly lastedMs: number;
  readonly isWelcomed: boolean;
  /** Of the service's calls; not what the service asks of each gateway that comes. */
  readonly callsTaken: number;
  readonly ending: Ending;
}): boolean {
  const { lastedMs, isWelcomed, callsTaken, ending } = connection;
  return lastedMs >= LASTED_MS || callsTaken > 0 || (isWelcomed && ending === 'draining');
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
