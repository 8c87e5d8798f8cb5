/**
 * Opens the gateway in this process. The only file of the room that loads `daemon`, and only when a
 * command makes its first call: nothing of the gateway is loaded for help, errors of usage or completion.
 */
import type { OpenOptions } from '../client/index.ts';
import type { LocalApi } from '../localapi/index.ts';

/** @throws what opening the home throws. */
export async function openInProcess(options: OpenOptions): Promise<LocalApi> {
  const daemon = await import('../daemon/index.ts');
  return await daemon.openInProcess(options);
}
