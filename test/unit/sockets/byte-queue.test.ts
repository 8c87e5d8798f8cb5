import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { ByteQueue } from '../../../src/core/sockets/index.ts';
import { seededRandom } from '../../../src/core/kit/index.ts';

describe('byte queue', () => {
  it('gives bytes in order, however they came and are asked for; what was taken stays as it was', () => {
    const sizes = fc.array(fc.oneof(fc.nat(40), fc.nat(9000)), { maxLength: 200 });
    fc.assert(
      fc.property(sizes, sizes, fc.boolean(), (pushes, takes, isInterleaved) => {
        const all = seededRandom(1).bytes(pushes.reduce((sum, size) => sum + size, 0));
        const queue = new ByteQueue();
        const taken: { readonly bytes: Buffer; readonly at: number }[] = [];
        let at = 0;
        let pushed = 0;
        const takeOne = (size: number): void => {
          if (queue.length < size) {
            expect(queue.peek(size)).toBeUndefined();
            return;
          }
          expect(queue.peek(size)?.equals(all.subarray(at, at + size))).toBe(true);
          taken.push({ bytes: queue.take(size), at });
          at += size;
        };
        pushes.forEach((size, i) => {
          queue.push(Buffer.from(all.subarray(pushed, pushed + size)));
          pushed += size;
          if (isInterleaved) takeOne(takes[i] ?? 7);
        });
        takes.forEach(takeOne);
        expect(queue.length).toBe(all.length - at);
        for (const { bytes, at: from } of taken)
          expect(bytes.equals(all.subarray(from, from + bytes.length))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it('a payload that comes byte by byte takes little more than its bytes', () => {
    const queue = new ByteQueue();
    const slab = Buffer.alloc(1);
    for (let i = 0; i < 1_000_000; i++) queue.push(slab);
    expect(queue.chunkCount).toBeLessThan(100);
    expect(queue.take(1_000_000)).toHaveLength(1_000_000);
  });

  it('what is left of lent memory is its own after `own`, whatever becomes of that memory', () => {
    const queue = new ByteQueue();
    const lent = Buffer.from('abcdefghij');
    queue.push(Buffer.from('12'));
    queue.push(lent);
    queue.own();
    lent.fill('x');
    expect(queue.take(5).toString()).toBe('12abc');
    const again = Buffer.from('klmnop');
    queue.push(again);
    expect(queue.take(10).toString()).toBe('defghijklm');
    queue.own();
    again.fill('x');
    expect(queue.take(3).toString()).toBe('nop');
    queue.own();
    expect(queue.length).toBe(0);
  });
});
