/** Deadlines by the injected clock. */
import { Deadline, SgwError, type Clock } from '../kit/index.ts';

/**
 * Does `work` with a signal that fires after `durationMs`, or with `signal`. What the work throws then is its own to say.
 */
export async function within<T>(
  clock: Clock,
  durationMs: number,
  signal: AbortSignal,
  work: (limited: AbortSignal) => Promise<T>,
): Promise<T> {
  const timedOut = (): SgwError =>
    new SgwError('timeout', 'timed-out', `not done within ${String(durationMs / 1000)} s`);
  using deadline = new Deadline(signal, durationMs, clock, timedOut);
  return await work(deadline.signal);
}
