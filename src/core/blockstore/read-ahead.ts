/** Work on items of a list in their order, while some of those behind are begun already. */

/**
 * Yields what `work` gives for each item, in order; at most `parallel` are under way. What fails ends it. The signal of `work`
 * fires at the end, and with `signal`.
 */
export async function* readAhead<T, R>(
  items: AsyncIterable<T>,
  parallel: number,
  work: (item: T, signal: AbortSignal) => Promise<R>,
  signal?: AbortSignal,
): AsyncGenerator<R> {
  const stop = new AbortController();
  const stopped = signal === undefined ? stop.signal : AbortSignal.any([stop.signal, signal]);
  const underway: Promise<R>[] = [];
  try {
    for await (const item of items) {
      const begun = work(item, stopped);
      // Failures are met in their order below; one that is behind another one that failed is of no interest.
      begun.catch(() => undefined);
      underway.push(begun);
      const first = underway.length >= parallel ? underway.shift() : undefined;
      if (first !== undefined) yield await first;
    }
    for (let next = underway.shift(); next !== undefined; next = underway.shift()) yield await next;
  } finally {
    stop.abort();
    await Promise.allSettled(underway);
  }
}
