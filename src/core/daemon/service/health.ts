/** Whether the store answers now, for whoever asks a server if it is well: load balancers ask often, so the store is asked less. */
import type { Clock } from '../../kit/index.ts';
import type { ObjectStore } from '../../objectstore/index.ts';

const KEY = 'sgw.json';
const REMEMBERED_MS = 1000;
const DEADLINE_MS = 5000;

export function storeHealth(objects: ObjectStore, clock: Pick<Clock, 'monotonicMs'>): () => Promise<boolean> {
  let last: { readonly answer: Promise<boolean>; readonly untilMs: number } | undefined;
  const ask = async (): Promise<boolean> => {
    try {
      return (await objects.head(KEY, { signal: AbortSignal.timeout(DEADLINE_MS) })) !== undefined;
    } catch {
      return false;
    }
  };
  return async () => {
    const nowMs = clock.monotonicMs();
    if (last === undefined || nowMs >= last.untilMs) last = { answer: ask(), untilMs: nowMs + REMEMBERED_MS };
    return await last.answer;
  };
}
