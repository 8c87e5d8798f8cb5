import { describe, expect, it } from 'vitest';
import { SgwError, seededRandom } from '../../../src/core/kit/index.ts';
import {
  memoryStore,
  withFaults,
  withRetry,
  type FaultRule,
  type RetryOptions,
} from '../../../src/core/objectstore/index.ts';
import { countedStore } from '../../support/counted-store.ts';
import { ManualClock } from './manual-clock.ts';

function retrying(rules: FaultRule[], options: RetryOptions = {}) {
  const clock = new ManualClock();
  const { store: base, counters } = countedStore(memoryStore());
  const faulty = withFaults(base, { rules, clock, random: seededRandom(1) });
  const store = withRetry(faulty.store, { clock, random: { ...seededRandom(1), float: () => 0.5 }, ...options });
  return { store, base, clock, counters, faulty };
}

const BODY = Buffer.from('body');
const IF_ABSENT = { condition: { ifAbsent: true } } as const;

describe('retry', () => {
  it('repeats what failed with unavailable, after delays that double up to their maximum', async () => {
    const { store, clock } = retrying([{ fault: 'error500', times: 5 }], { baseDelayMs: 100, delayMaxMs: 500 });
    expect((await store.put('k', BODY)).outcome).toBe('stored');
    expect(clock.sleeps).toEqual([50, 100, 200, 250, 250]);
  });

  it('gives up after triesMax tries, with the last failure', async () => {
    const { store, faulty } = retrying([{ fault: 'conflict409' }], { triesMax: 3 });
    await expect(store.get('k')).rejects.toMatchObject({ kind: 'unavailable', code: 'store-conflict' });
    expect(faulty.injected).toHaveLength(3);
  });

  it('begins no try after its budget of time', async () => {
    const options = { triesMax: 100, budgetMs: 1000, baseDelayMs: 600, delayMaxMs: 600 };
    const { store, clock } = retrying([{ fault: 'error500' }], options);
    await expect(store.head('k')).rejects.toMatchObject({ code: 'store-error' });
    expect(clock.sleeps).toEqual([300, 300, 300]);
  });

  it('does not repeat what will not get better', async () => {
    const { store, clock, counters } = retrying([]);
    await expect(store.get('not a key')).rejects.toMatchObject({ kind: 'invalid' });
    expect(clock.sleeps).toEqual([]);
    expect(counters.get).toBe(1);
  });

  it('marks a refusal that may be its own success, and only such a one', async () => {
    const { store, base } = retrying([{ fault: 'lostReply', operation: 'put', times: 1 }]);
    expect(await store.put('k', BODY, IF_ABSENT)).toEqual({ outcome: 'preconditionFailed', ambiguous: true });
    expect((await base.get('k'))?.bytes).toEqual(BODY);
    expect(await store.put('k', BODY, IF_ABSENT)).toEqual({ outcome: 'preconditionFailed' });
  });

  it('a put without a condition simply succeeds after a lost reply', async () => {
    const { store, counters } = retrying([{ fault: 'lostReply', operation: 'put', times: 2 }]);
    expect((await store.put('k', BODY)).outcome).toBe('stored');
    expect(counters).toMatchObject({ put: 3, upBytes: 12 });
  });

  it('marks a mismatch of a repeated removal', async () => {
    const { store, base } = retrying([{ fault: 'error500', operation: 'delete', times: 1 }]);
    await base.put('k', BODY);
    await expect(store.delete('k', { ifMatch: 'other' })).rejects.toMatchObject({ details: { ambiguous: true } });
  });

  it('reads again what came cut short', async () => {
    const { store, counters } = retrying([{ fault: 'truncatedRead', times: 2 }]);
    await store.put('k', BODY);
    expect((await store.get('k', { span: { offset: 1, length: 3 } }))?.bytes.toString()).toBe('ody');
    expect(counters.get).toBe(3);
  });

  it('a list that breaks goes on where it was', async () => {
    const { store, base } = retrying([{ fault: 'lostReply', operation: 'list', times: 3 }]);
    for (const key of ['a', 'b', 'c', 'd', 'e']) await base.put(key, BODY);
    const keys: string[] = [];
    for await (const { key } of store.list('', { limit: 4 })) keys.push(key);
    expect(keys).toEqual(['a', 'b', 'c', 'd']);
  });

  it('a signal ends the wait with its reason', async () => {
    const stop = new AbortController();
    const { store } = retrying([{ fault: 'error500' }], {
      onRetry: () => {
        stop.abort(new SgwError('timeout', 'deadline', 'the deadline passed'));
      },
    });
    await expect(store.head('k', { signal: stop.signal })).rejects.toMatchObject({ code: 'deadline' });
  });
});
