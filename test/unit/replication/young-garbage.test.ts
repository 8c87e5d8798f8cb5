import { constants, PerformanceObserver } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { noteGarbage } from '../../../src/core/replication/peer/young-garbage.ts';

it('memory that is garbage soon is freed by collections of the young generation, and not by marking the whole heap', async () => {
  const kinds: number[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries())
      kinds.push((entry as unknown as { readonly detail: { readonly kind: number } }).detail.kind);
  });
  observer.observe({ entryTypes: ['gc'] });
  const before = process.memoryUsage().arrayBuffers;
  for (let piece = 0; piece < 16_384; piece++) {
    const bytes = Buffer.allocUnsafeSlow(16_384);
    bytes[0] = piece;
    noteGarbage(bytes.length);
    // As sockets give them: each in a turn of its own.
    if (piece % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 ** 2);
  await delay(50);
  observer.disconnect();
  const count = (kind: number): number => kinds.filter((one) => one === kind).length;
  expect(count(constants.NODE_PERFORMANCE_GC_MINOR)).toBeGreaterThanOrEqual(100);
  expect(count(constants.NODE_PERFORMANCE_GC_MAJOR)).toBeLessThan(4);
});
