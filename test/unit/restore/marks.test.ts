/** Marks (C23): the bytes are those of docs/formats/documents.md, by openssl; a part of one is seen, anything else is not taken for one. */
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../src/core/kit/index.ts';
import { Marks } from '../../../src/core/restore/marks.ts';

const secret = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
const marks = new Marks({ restoreId: 'snap-0123456789abcdef0-01234567', secret });

it('a mark is the documented keystream', () => {
  // openssl enc -aes-256-ctr, key by Python's hmac.
  expect(marks.of(0).subarray(0, 16).toString('hex')).toBe('eb44f313d13c6ef49efad843f7ced945');
  expect(marks.of(0).subarray(-16).toString('hex')).toBe('f0b1d389246557cff5387413c1034d0f');
  expect(marks.of(5).subarray(0, 16).toString('hex')).toBe('9b692b9cfea9f2d1e27e7c904a1656b3');
  expect(marks.of(5).length).toBe(512);
});

describe('a sector', () => {
  const random = seededRandom(3);

  it('C23 with a part of the mark, wherever it was torn, counts as marked', () => {
    for (let at = 8; at < 512; at += 8) {
      const data = random.bytes(512);
      const torn = [Buffer.concat([marks.of(7).subarray(0, at), data.subarray(at)])];
      torn.push(Buffer.concat([data.subarray(0, at), marks.of(7).subarray(at)]));
      for (const sector of torn) expect(marks.isIn(7, sector)).toBe(true);
    }
  });

  it("with another block's mark, another restore's, zeroes or data is not marked", () => {
    const others = new Marks({ restoreId: 'snap-0123456789abcdef0-01234568', secret });
    const otherSecret = new Marks({ restoreId: 'snap-0123456789abcdef0-01234567', secret: random.bytes(32) });
    for (const sector of [marks.of(6), marks.of(8), others.of(7), otherSecret.of(7), Buffer.alloc(512)])
      expect(marks.isIn(7, sector)).toBe(false);
    for (let i = 0; i < 1000; i++) expect(marks.isIn(i, random.bytes(512))).toBe(false);
  });

  it('with the mark moved by a few bytes is not marked', () => {
    const moved = Buffer.concat([Buffer.alloc(8), marks.of(7).subarray(0, 504)]);
    expect(marks.isIn(7, moved)).toBe(false);
  });
});
