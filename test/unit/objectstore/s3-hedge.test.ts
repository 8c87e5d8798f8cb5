import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Clock } from '../../../src/core/kit/index.ts';
import { Hedging } from '../../../src/core/objectstore/s3/hedge.ts';

/** Time that goes only when a test says so. */
const clock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => Date.now(),
  sleep: async () => {
    await Promise.resolve();
  },
};

interface Attempt {
  readonly signal: AbortSignal;
  answer: (value: string) => void;
  fail: (error: Error) => void;
}

describe('hedged reads', () => {
  let hedging: Hedging;
  let attempts: Attempt[];
  let discarded: string[];

  beforeEach(() => {
    vi.useFakeTimers();
    hedging = new Hedging(clock);
    attempts = [];
    discarded = [];
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const begin = (signal?: AbortSignal): Promise<string> =>
    hedging.run(
      async (own) =>
        new Promise<string>((resolve, reject) => {
          attempts.push({ signal: own, answer: resolve, fail: reject });
        }),
      (late) => discarded.push(late),
      signal,
    );

  /** So many reads of 10 ms each. */
  const learn = async (count = 64): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const read = begin();
      await vi.advanceTimersByTimeAsync(10);
      attempts.at(-1)?.answer('x');
      await read;
    }
    attempts = [];
  };

  it('none before enough is known', async () => {
    const read = begin();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(attempts.length).toBe(1);
    attempts[0]?.answer('late');
    expect(await read).toBe('late');
  });

  it('begins one when the first is slower than the others were; the first answer counts, the other attempt is stopped', async () => {
    await learn();
    expect(hedging.delayMs).toBe(15);
    const read = begin();
    await vi.advanceTimersByTimeAsync(14);
    expect(attempts.length).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(attempts.length).toBe(2);
    attempts[1]?.answer('second');
    expect(await read).toBe('second');
    expect(attempts[0]?.signal.aborted).toBe(true);
    expect(attempts[1]?.signal.aborted).toBe(false);
    attempts[0]?.answer('first');
    await vi.advanceTimersByTimeAsync(0);
    expect(discarded).toEqual(['first']);
    expect(hedging.counters).toEqual({ hedged: 1, won: 1 });
  });

  it('a failure beside a second attempt waits for that one; without one it is told at once', async () => {
    await learn();
    const read = begin();
    await vi.advanceTimersByTimeAsync(15);
    attempts[0]?.fail(new Error('first'));
    attempts[1]?.answer('second');
    expect(await read).toBe('second');
    const alone = begin();
    attempts[2]?.fail(new Error('alone'));
    await expect(alone).rejects.toThrow('alone');
  });

  it('the budget ends second attempts when all is slow', async () => {
    await learn(400);
    const reads = Array.from({ length: 40 }, async () => begin());
    await vi.advanceTimersByTimeAsync(1000);
    expect(attempts.length).toBe(48);
    for (const attempt of attempts) attempt.answer('x');
    await Promise.all(reads);
  });

  it('the signal of the caller stops all attempts, with its reason', async () => {
    await learn();
    const stop = new AbortController();
    const read = begin(stop.signal);
    await vi.advanceTimersByTimeAsync(15);
    stop.abort(new Error('enough'));
    for (const { signal, fail } of attempts) {
      expect(signal.reason).toMatchObject({ message: 'enough' });
      fail(new Error('stopped'));
    }
    await expect(read).rejects.toThrow('stopped');
  });
});
