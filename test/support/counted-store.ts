/** A store that counts what is asked of it. */
import { withMeter, type ObjectStore, type StoreOperation } from '../../src/core/objectstore/index.ts';

export type Counters = Record<StoreOperation | 'upBytes' | 'downBytes', number>;

export function countedStore(below: ObjectStore): {
  readonly store: ObjectStore;
  readonly counters: Readonly<Counters>;
} {
  const counters: Counters = { put: 0, get: 0, head: 0, list: 0, delete: 0, upBytes: 0, downBytes: 0 };
  const store = withMeter(below, ({ operation, upBytes, downBytes }) => {
    counters[operation] += 1;
    counters.upBytes += upBytes;
    counters.downBytes += downBytes;
  });
  return { store, counters };
}
