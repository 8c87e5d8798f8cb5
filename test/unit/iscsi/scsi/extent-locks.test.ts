import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ExtentLocks } from '../../../../src/core/iscsi/scsi/extent-locks.ts';

const seed = Number(process.env['SGW_SEED'] ?? 20261125);

interface Step {
  readonly start: number;
  readonly length: number;
  readonly mode: 'shared' | 'exclusive';
  readonly turns: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  start: fc.nat(20),
  length: fc.integer({ min: 1, max: 8 }),
  mode: fc.constantFrom('shared', 'exclusive'),
  turns: fc.nat(4),
});

describe('extent locks', () => {
  it('keep those apart that overlap when one is exclusive, in the order in which they came, and let all end', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
        const locks = new ExtentLocks();
        const inside = new Set<number>();
        const begun: number[] = [];
        const conflicts = (a: Step, b: Step): boolean =>
          (a.mode === 'exclusive' || b.mode === 'exclusive') &&
          a.start < b.start + b.length &&
          b.start < a.start + a.length;
        const at = (i: number): Step => steps[i] as Step;
        const runs = steps.map((one, i) =>
          locks.run(one.start, one.start + one.length, one.mode, async () => {
            for (const other of inside) expect(conflicts(one, at(other))).toBe(false);
            for (const other of begun) if (other > i) expect(conflicts(one, at(other))).toBe(false);
            inside.add(i);
            begun.push(i);
            for (let turn = 0; turn < one.turns; turn++) await Promise.resolve();
            inside.delete(i);
            return i;
          }),
        );
        expect(await Promise.all(runs)).toEqual(steps.map((_, i) => i));
        expect(locks.isFree).toBe(true);
      }),
      { seed, numRuns: 300 },
    );
  });

  it('are left by work that fails', async () => {
    const locks = new ExtentLocks();
    await expect(locks.run(0, 1, 'exclusive', () => Promise.reject(new Error('on purpose')))).rejects.toThrow(
      'on purpose',
    );
    expect(locks.isFree).toBe(true);
    expect(await locks.run(0, 1, 'exclusive', () => Promise.resolve(7))).toBe(7);
  });

  it('make an exclusive one wait for what was noted there, and nothing else', async () => {
    const locks = new ExtentLocks();
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const noted = locks.note(0, 10, promise);
    const order: string[] = [];
    const inside = locks.run(9, 12, 'exclusive', async () => {
      order.push('inside');
      return Promise.resolve();
    });
    await locks.run(12, 13, 'shared', () => Promise.resolve());
    expect(order).toEqual([]);
    locks.forget(noted);
    resolve(undefined);
    await inside;
    expect(order).toEqual(['inside']);
  });
});
