/**
 * SIGINT and SIGTERM: the first asks the running operation to stop, through the signal that every call
 * carries; a later one leaves at once.
 *
 * Invariant: one wish to stop counts once, however often it is delivered. `timeout` signals the process and
 * then its group, and `bin/run.js` forwards what its child may have got from the group already.
 */
import { SgwError, systemClock, type Clock } from '../kit/index.ts';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
/** A signal this soon after the first is the same wish. */
const SAME_WISH_MS = 500;

/** Listens until disposed. `leave` ends the process, for the reason that the signal has. */
export function watchInterrupts(
  leave: (reason: SgwError) => void,
  clock: Pick<Clock, 'monotonicMs'> = systemClock,
): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  let first: { readonly reason: SgwError; readonly atMs: number } | undefined;
  const onSignal = (name: string): void => {
    if (first !== undefined) {
      if (clock.monotonicMs() - first.atMs >= SAME_WISH_MS) leave(first.reason);
      return;
    }
    const reason = new SgwError('aborted', 'interrupted', `interrupted by ${name}`, {
      hint: 'What was already committed is kept; an import or export goes on when the same command is run again, a restore with --resume.',
      details: { signal: name },
    });
    first = { reason, atMs: clock.monotonicMs() };
    controller.abort(reason);
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      for (const name of SIGNALS) process.off(name, onSignal);
    },
  };
}
