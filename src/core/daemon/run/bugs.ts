/** What nobody expected ends the process at once: what was acknowledged is kept, and a process in doubt must not go on. */
import type { Logger } from '../../kit/index.ts';

/** Until it is disposed. `what` is for the log. */
export function watchBugs(log: Logger, what: 'gateway' | 'service'): Disposable {
  const onBug = (error: unknown): void => {
    log.error({ err: error instanceof Error ? error : new Error(String(error)) }, `a bug ends the ${what}`);
    process.exit(1);
  };
  process.on('uncaughtException', onBug);
  process.on('unhandledRejection', onBug);
  return {
    [Symbol.dispose]: () => {
      process.off('uncaughtException', onBug);
      process.off('unhandledRejection', onBug);
    },
  };
}
