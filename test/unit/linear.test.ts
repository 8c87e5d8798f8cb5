import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { notLinearizable, type RegisterCall } from '../support/linear.ts';

const write = (value: number, calledAt: number, answeredAt: number | null): RegisterCall => ({
  ...{ kind: 'write', value, calledAt, answeredAt },
});
const read = (value: number, calledAt: number, answeredAt: number | null): RegisterCall => ({
  ...{ kind: 'read', value, calledAt, answeredAt },
});

/** Tries every order. */
function byTrying(calls: readonly RegisterCall[], value: number): boolean {
  const must = calls.filter(({ answeredAt }) => answeredAt !== null);
  if (must.length === 0) return true;
  const firstAnswer = Math.min(...must.map(({ answeredAt }) => answeredAt as number));
  return calls.some((call) => {
    if (call.calledAt > firstAnswer) return false;
    const rest = calls.filter((other) => other !== call);
    if (call.kind === 'write') return byTrying(rest, call.value);
    return (call.answeredAt === null || call.value === value) && byTrying(rest, value);
  });
}

describe('linearizability of a register', () => {
  it('an acknowledged write that is gone is found', () => {
    expect(notLinearizable([write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)], 0)).toContain('2 was there');
  });

  it('a reader that is turned back is found', () => {
    expect(notLinearizable([write(1, 0, null), read(1, 1, 2), read(0, 3, 4)], 0)).toContain('1 was there');
  });

  it('a write that was never answered may happen late, or never', () => {
    expect(notLinearizable([write(1, 0, null), read(0, 1, 2), read(1, 3, 4)], 0)).toBeUndefined();
    expect(notLinearizable([write(1, 0, null), read(0, 1, 2), read(0, 3, 4)], 0)).toBeUndefined();
  });

  it('what nobody wrote is found', () => {
    expect(notLinearizable([read(7, 0, 1)], 0)).toContain('nobody wrote');
  });

  it('says what trying all orders says', () => {
    const one = fc.record({
      isRead: fc.boolean(),
      value: fc.integer({ min: 0, max: 3 }),
      from: fc.double({ min: 0, max: 1, noNaN: true }),
      length: fc.double({ min: 0.001, max: 0.6, noNaN: true }),
      isAnswered: fc.boolean(),
    });
    const check = fc.property(fc.array(one, { maxLength: 6 }), (drawn) => {
      const seen = new Set<number>([0]);
      const moments = new Set<number>();
      const calls: RegisterCall[] = [];
      for (const { isRead, value, from, length, isAnswered } of drawn) {
        if (!isRead && seen.has(value)) continue;
        if (!isRead) seen.add(value);
        if (moments.has(from) || moments.has(from + length)) continue;
        moments.add(from).add(from + length);
        const answeredAt = isAnswered || isRead ? from + length : null;
        calls.push({ kind: isRead ? 'read' : 'write', value, calledAt: from, answeredAt });
      }
      expect(notLinearizable(calls, 0) === undefined).toBe(byTrying(calls, 0));
    });
    fc.assert(check, { numRuns: 20_000 });
  });
});
