import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../src/core/kit/index.ts';
import { memoryStore, withFaults, withThrottle, type FaultRule } from '../../../src/core/objectstore/index.ts';
import { countedStore } from '../../support/counted-store.ts';
import { ManualClock } from './manual-clock.ts';

const KIB = Buffer.alloc(1024, 1);

describe('throttle', () => {
  it('lets a second of bytes pass at once, then keeps to the rate', async () => {
    const clock = new ManualClock();
    const { store } = withThrottle(memoryStore(), { upBytesPerSecond: 1024, clock });
    for (let i = 0; i < 5; i++) await store.put(`k${String(i)}`, KIB);
    expect(clock.ms).toBeCloseTo(4000);
    await store.get('k0');
    expect(clock.ms).toBeCloseTo(4000);
  });

  it('lets what streams through, at the same rate', async () => {
    const clock = new ManualClock();
    const { store } = withThrottle(memoryStore(), { upBytesPerSecond: 1024, clock });
    for (let i = 0; i < 5; i++) {
      const come = async function* (): AsyncGenerator<Uint8Array> {
        await Promise.resolve();
        yield KIB;
      };
      const body = { sizeBytes: KIB.length, sha256: '', crc32: '', pieces: come() };
      expect(await store.putStream?.(`k${String(i)}`, body)).toMatchObject({ outcome: 'stored' });
    }
    expect(clock.ms).toBeCloseTo(4000);
  });

  it('keeps reads to their own rate, and a body above the burst passes', async () => {
    const clock = new ManualClock();
    const { store } = withThrottle(memoryStore(), { downBytesPerSecond: 256, clock });
    await store.put('k', KIB);
    expect(clock.ms).toBe(0);
    await store.get('k');
    // Two seconds' worth of small ones goes in advance.
    expect(clock.ms).toBeCloseTo(2000);
    await store.get('k', { span: { suffix: 128 } });
    expect(clock.ms).toBeCloseTo(2500);
  });

  it('rates can be changed and lifted', async () => {
    const clock = new ManualClock();
    const { store, setRates } = withThrottle(memoryStore(), { upBytesPerSecond: 1024, clock });
    await store.put('k', KIB);
    setRates({ upBytesPerSecond: 512 });
    await store.put('k', KIB);
    expect(clock.ms).toBeCloseTo(2000);
    setRates({});
    for (let i = 0; i < 50; i++) await store.put('k', KIB);
    expect(clock.ms).toBeCloseTo(2000);
  });

  it('a rate that is lifted frees who waits already', async () => {
    const clock = new ManualClock();
    const { store, setRates } = withThrottle(memoryStore(), { upBytesPerSecond: 1024, clock });
    await store.put('k', KIB);
    const waits = store.put('k', Buffer.alloc(1024 * 1024));
    await Promise.resolve();
    setRates({});
    await waits;
    expect(clock.ms).toBeLessThanOrEqual(500);
  });

  it('small reads go before large ones, which wait for both', async () => {
    const clock = new ManualClock();
    const rate = 1024 * 1024;
    const { store } = withThrottle(memoryStore(), { downBytesPerSecond: rate, clock });
    await store.put('large', Buffer.alloc(rate));
    await store.put('small', Buffer.alloc(128 * 1024));
    await store.get('large');
    for (let i = 0; i < 8; i++) await store.get('small');
    expect(clock.ms).toBe(0);
    await store.get('large');
    expect(clock.ms).toBeCloseTo(2000, -2);
    // But not for ever.
    for (let i = 0; i < 80; i++) await store.get('small');
    expect(clock.ms).toBeGreaterThan(9000);
  });

  it('a caller that gives up returns its bytes', async () => {
    const clock = new ManualClock();
    const { store } = withThrottle(memoryStore(), { upBytesPerSecond: 1024, clock });
    await store.put('k', KIB);
    const signal = AbortSignal.abort();
    await expect(store.put('k', Buffer.alloc(1024 * 1024), { signal })).rejects.toMatchObject({ kind: 'aborted' });
    await store.put('k', KIB);
    expect(clock.ms).toBeCloseTo(1000);
  });
});

describe('meter', () => {
  it('counts requests by kind, and bytes each way', async () => {
    const { store, counters } = countedStore(memoryStore());
    await store.put('k', KIB);
    await store.put('k', KIB, { condition: { ifAbsent: true } });
    await store.get('k', { span: { offset: 0, length: 10 } });
    await store.get('absent');
    await store.head('k');
    for await (const { key } of store.list('')) expect(key).toBe('k');
    await store.delete('k');
    await expect(store.get('no key')).rejects.toThrow();
    expect(counters).toEqual({ put: 2, get: 3, head: 1, list: 1, delete: 1, upBytes: 2048, downBytes: 10 });
  });
});

describe('faults', () => {
  const faulty = (rules: FaultRule[], seed = 1) =>
    withFaults(memoryStore(), { rules, random: seededRandom(seed), clock: new ManualClock() });
  const outcome = async (call: Promise<unknown>): Promise<string> =>
    call.then(
      () => 'done',
      (error: unknown) => (error as { code: string }).code,
    );

  it('409 and 500 apply nothing, a lost reply applies', async () => {
    const { store, setRules } = faulty([]);
    for (const [fault, code, isThere] of [
      ['conflict409', 'store-conflict', false],
      ['error500', 'store-error', false],
      ['lostReply', 'reply-lost', true],
    ] as const) {
      setRules([{ fault, operation: 'put' }]);
      expect(await outcome(store.put(fault, KIB))).toBe(code);
      expect((await store.head(fault)) !== undefined).toBe(isThere);
    }
  });

  it('412 refuses a conditional put that was applied', async () => {
    const { store } = faulty([{ fault: 'precondition412' }]);
    expect((await store.put('k', KIB)).outcome).toBe('stored');
    expect((await store.put('l', KIB, { condition: { ifAbsent: true } })).outcome).toBe('preconditionFailed');
    expect(await store.head('l')).toBeDefined();
  });

  it('rules match by operation and key, skip, and end', async () => {
    const { store, injected } = faulty([{ fault: 'error500', operation: 'head', key: /^a/, skip: 1, times: 2 }]);
    const outcomes: string[] = [];
    for (const key of ['b', 'a1', 'a2', 'b', 'a3', 'a4']) outcomes.push(await outcome(store.head(key)));
    expect(outcomes).toEqual(['done', 'done', 'store-error', 'done', 'store-error', 'done']);
    expect(injected.map(({ key }) => key)).toEqual(['a2', 'a3']);
  });

  it('latency adds up and does not fail', async () => {
    const clock = new ManualClock();
    const latency = { fault: 'latency', latencyMs: 20 } as const;
    const { store } = withFaults(memoryStore(), { rules: [latency, latency], clock });
    expect(await outcome(store.head('k'))).toBe('done');
    expect(clock.sleeps).toEqual([40]);
  });

  it('a run replays from its seed', async () => {
    const run = async (seed: number): Promise<string[]> => {
      const { store } = faulty([{ fault: 'error500', probability: 0.5 }], seed);
      const outcomes: string[] = [];
      for (let i = 0; i < 40; i++) outcomes.push(await outcome(store.head('k')));
      return outcomes;
    };
    expect(await run(5)).toEqual(await run(5));
    expect(await run(5)).not.toEqual(await run(6));
  });
});
