/**
 * SIGINT and SIGTERM: the first asks the running operation to stop, through the signal that every call
 * carries; the second leaves at once.
 */
import { ERROR_KINDS, SgwError } from '../kit/index.ts';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** Listens until disposed. `leave` ends the process with an exit code. */
export function watchInterrupts(leave: (exitCode: number) => void): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const onSignal = (name: string): void => {
    if (controller.signal.aborted) {
      leave(ERROR_KINDS.aborted.exitCode);
      return;
    }
    controller.abort(
      new SgwError('aborted', 'interrupted', `interrupted by ${name}`, {
        hint: 'What was already committed is kept; an import or export goes on when the same command is run again.',
        details: { signal: name },
      }),
    );
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      for (const name of SIGNALS) process.off(name, onSignal);
    },
  };
}
