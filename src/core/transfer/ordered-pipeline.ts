/**
 * Runs work on a stream of items side by side and consumes the results in the items' order.
 *
 * Invariants: the weights of the items whose result is not consumed yet add up to at most `weightMax`
 * (one heavier item goes alone); results are consumed one at a time; when anything fails, the rest is
 * told to stop and has stopped before the failure is thrown.
 */
import { throwIfAborted } from '../kit/index.ts';

export interface Pipeline<T, R> {
  readonly source: AsyncIterable<T>;
  /** What an item weighs, in the unit of `weightMax`. */
  readonly weigh: (item: T) => number;
  readonly weightMax: number;
  readonly work: (item: T, signal: AbortSignal) => Promise<R>;
  readonly consume: (item: T, result: R) => Promise<void>;
  readonly signal?: AbortSignal | undefined;
}

interface Started<T, R> {
  readonly item: T;
  readonly weight: number;
  readonly result: Promise<R>;
}

/** Resolves when every item has been consumed. @throws the first failure of source, work or consumer; the signal's reason */
export async function runInOrder<T, R>(pipeline: Pipeline<T, R>): Promise<void> {
  const stop = new AbortController();
  const signal = pipeline.signal === undefined ? stop.signal : AbortSignal.any([pipeline.signal, stop.signal]);
  const started: Started<T, R>[] = [];
  let weight = 0;
  const consumeFirst = async (): Promise<void> => {
    const first = started[0];
    if (first === undefined) return;
    const result = await first.result;
    started.shift();
    weight -= first.weight;
    await pipeline.consume(first.item, result);
  };
  try {
    for await (const item of pipeline.source) {
      const itemWeight = pipeline.weigh(item);
      while (started.length > 0 && weight + itemWeight > pipeline.weightMax) await consumeFirst();
      throwIfAborted(pipeline.signal);
      const result = pipeline.work(item, signal);
      // The failure is seen when its turn comes; until then it must not count as unhandled.
      result.catch(() => undefined);
      started.push({ item, weight: itemWeight, result });
      weight += itemWeight;
    }
    while (started.length > 0) await consumeFirst();
    throwIfAborted(pipeline.signal);
  } catch (error) {
    stop.abort();
    await Promise.allSettled(started.map((entry) => entry.result));
    throw error;
  }
}
