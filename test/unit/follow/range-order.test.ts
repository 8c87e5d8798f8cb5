/** Which requests may be under way beside one another. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RangeOrder, type Ordered } from '../../../src/core/follow/range-order.ts';

interface Entry extends Ordered {
  readonly number: number;
}

const entry = (number: number, offset: number, length: number, isChange: boolean): Entry => ({
  ...{ number, offset, length, isChange },
  ...{ blockers: 0, waiters: undefined, place: 0 },
});

describe('the order of requests', () => {
  it('a read waits for the change before it that overlaps, and reads do not wait for one another', () => {
    const order = new RangeOrder<Entry>();
    const change = entry(0, 0, 10, true);
    expect(order.add(change)).toBe(true);
    const [beside, over, again] = [entry(1, 10, 5, false), entry(2, 9, 5, false), entry(3, 9, 5, false)];
    expect([beside, over, again].map((one) => order.add(one))).toEqual([true, false, false]);
    const begun: number[] = [];
    order.remove(change, ({ number }) => begun.push(number));
    expect(begun).toEqual([2, 3]);
  });

  it('a flush waits for nothing', () => {
    const order = new RangeOrder<Entry>();
    order.add(entry(0, 0, 1000, true));
    expect(order.add(entry(1, 0, 0, false))).toBe(true);
  });

  it('any requests begin in an order that keeps what overlaps apart, and all of them begin', () => {
    const any = fc.array(
      fc.record({ offset: fc.nat(40), length: fc.integer({ min: 1, max: 12 }), isChange: fc.boolean() }),
      {
        maxLength: 60,
      },
    );
    fc.assert(
      fc.property(any, fc.infiniteStream(fc.nat(1000)), (list, choices) => {
        const order = new RangeOrder<Entry>();
        const running = new Set<Entry>();
        const begun = new Set<Entry>();
        const all = list.map(({ offset, length, isChange }, number) => entry(number, offset, length, isChange));
        const begin = (one: Entry): void => {
          for (const other of running) {
            const isApart = other.offset >= one.offset + one.length || other.offset + other.length <= one.offset;
            // A change may begin beside a read, whichever came first.
            expect(isApart || !other.isChange || other.number > one.number).toBe(true);
          }
          const before = all.filter(({ number }) => number < one.number && !begun.has(all[number] as Entry));
          for (const other of before)
            expect(
              !other.isChange || other.offset >= one.offset + one.length || other.offset + other.length <= one.offset,
            ).toBe(true);
          running.add(one);
          begun.add(one);
        };
        const finish = (): void => {
          const list = [...running];
          const chosen = list[(choices.next().value ?? 0) % list.length];
          if (chosen === undefined) return;
          running.delete(chosen);
          order.remove(chosen, begin);
        };
        for (const one of all) {
          if (order.add(one)) begin(one);
          if ((choices.next().value ?? 0) % 3 === 0) finish();
        }
        while (running.size > 0) finish();
        expect(begun.size).toBe(all.length);
      }),
      { numRuns: 500 },
    );
  });
});
