/**
 * Opens the gateway in this process. The only file of the room that loads `daemon`, and only when a
 * command makes its first call: nothing of the gateway is loaded for help, errors of usage or completion.
 */
import { setFlagsFromString } from 'node:v8';
import type { OpenOptions } from '../client/index.ts';
import type { LocalApi } from '../localapi/index.ts';

/**
 * What moves data has buffers that are bounded by itself. V8 begins a collection for each 64 MiB of fresh ones: a fifth of the
 * processor time of an import or export. Counted with the heap they cause fewer, for some 70 MiB more memory. A daemon lives too long for that.
 */
const BUFFERS_COUNT_WITH_HEAP = '--external-memory-accounted-in-global-limit';

/** @throws what opening the home throws. */
export async function openInProcess(options: OpenOptions): Promise<LocalApi> {
  setFlagsFromString(BUFFERS_COUNT_WITH_HEAP);
  const daemon = await import('../daemon/index.ts');
  return await daemon.openInProcess(options);
}
