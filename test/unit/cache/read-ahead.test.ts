import { describe, expect, it } from 'vitest';
import { ReadAhead, type ReadAheadExtent } from '../../../src/core/cache/index.ts';
import { seededRandom } from '../../../src/core/kit/index.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const LIMIT = 4 * MIB;
const seed = Number(process.env['SGW_SEED'] ?? 6);

/** A stream read to its end, and all that was to be fetched for it. */
function readThrough(
  ahead: ReadAhead,
  from: number,
  to: number,
  length: number,
  sizeBytes?: number,
): ReadAheadExtent[] {
  const extents: ReadAheadExtent[] = [];
  for (let offset = from; offset < to; offset += length) {
    const extent = ahead.observe(offset, length, sizeBytes);
    if (extent === undefined) continue;
    extents.push(extent);
    expect(extent.offset).toBeGreaterThanOrEqual(offset + length);
    expect(extent.offset + extent.length).toBeLessThanOrEqual(offset + length + LIMIT);
  }
  return extents;
}

/** Each extent begins where the one before ended. */
function expectNoGaps(extents: readonly ReadAheadExtent[]): void {
  for (let i = 1; i < extents.length; i++) {
    expect(extents[i]!.offset).toBe(extents[i - 1]!.offset + extents[i - 1]!.length);
  }
}

describe('a sequential stream', () => {
  it.each([512, 4 * KIB, 64 * KIB, 128 * KIB, MIB])(
    'of reads of %i bytes is fetched ahead, without gaps, up to the limit',
    (length) => {
      const ahead = new ReadAhead({ readAheadBytes: LIMIT });
      const extents = readThrough(ahead, 10 * MIB, 42 * MIB, length);
      expect(extents[0]!.offset).toBeLessThanOrEqual(10 * MIB + Math.max(3 * length, 256 * KIB));
      expectNoGaps(extents);
      const last = extents.at(-1)!;
      expect(last.offset + last.length).toBeGreaterThanOrEqual(42 * MIB + LIMIT / 2);
      // Few large fetches rather than one for each read.
      expect(extents.length).toBeLessThan(32);
    },
  );

  it('has a window that grows from 128 KiB', () => {
    const extents = readThrough(new ReadAhead({ readAheadBytes: LIMIT }), 0, 32 * MIB, 4 * KIB);
    expect(extents[0]!.length).toBeLessThanOrEqual(192 * KIB);
    expect(Math.max(...extents.map(({ length }) => length))).toBeGreaterThanOrEqual(LIMIT / 2);
  });

  it('is not fetched beyond the end of the volume', () => {
    const extents = readThrough(new ReadAhead({ readAheadBytes: LIMIT }), 0, MIB, 4 * KIB, MIB);
    expectNoGaps(extents);
    expect(extents.at(-1)!.offset + extents.at(-1)!.length).toBe(MIB);
  });

  it('may come out of order by as much as is in flight', () => {
    const ahead = new ReadAhead({ readAheadBytes: LIMIT });
    const random = seededRandom(seed);
    const extents: ReadAheadExtent[] = [];
    for (let batch = 0; batch < 200; batch++) {
      const offsets = Array.from({ length: 32 }, (_, i) => (batch * 32 + i) * 4 * KIB);
      offsets.sort(() => random.float() - 0.5);
      for (const offset of offsets) {
        const extent = ahead.observe(offset, 4 * KIB);
        if (extent !== undefined) extents.push(extent);
      }
    }
    expectNoGaps(extents);
    expect(extents.at(-1)!.offset).toBeGreaterThan(24 * MIB);
  });

  it('is found among others and among random reads', () => {
    const ahead = new ReadAhead({ readAheadBytes: LIMIT });
    const random = seededRandom(seed);
    const bytes = new Map<number, number>();
    for (let i = 0; i < 2000; i++) {
      for (let stream = 0; stream < 8; stream++) {
        const extent = ahead.observe(stream * 1024 * MIB + i * 16 * KIB, 16 * KIB);
        if (extent === undefined) continue;
        expect(Math.floor(extent.offset / (1024 * MIB))).toBe(stream);
        bytes.set(stream, (bytes.get(stream) ?? 0) + extent.length);
      }
      for (let j = 0; j < 4; j++) ahead.observe((20_000 + Math.floor(random.float() * 1e6)) * MIB, 4 * KIB);
    }
    expect([...bytes.values()].every((sum) => sum > 30 * MIB)).toBe(true);
    expect(bytes.size).toBe(8);
  });
});

describe('nothing is fetched', () => {
  it.each([
    ['over a large volume', 1024 * 1024 * MIB],
    ['over a volume of 1 GiB', 1024 * MIB],
    ['over a hot region of 16 MiB', 16 * MIB],
  ])('for random reads %s, but by chance', (_, size) => {
    const ahead = new ReadAhead({ readAheadBytes: LIMIT });
    const random = seededRandom(seed);
    let fetched = 0;
    for (let i = 0; i < 50_000; i++) {
      const extent = ahead.observe(Math.floor((random.float() * size) / (4 * KIB)) * 4 * KIB, 4 * KIB);
      fetched += extent?.length ?? 0;
    }
    // Less than one in fifty of what was read.
    expect(fetched / (50_000 * 4 * KIB)).toBeLessThan(0.02);
  });

  it('for backward reads, repeated reads of one place, and a limit of 0', () => {
    const ahead = new ReadAhead({ readAheadBytes: LIMIT });
    for (let i = 1000; i > 0; i--) expect(ahead.observe(i * 64 * KIB, 64 * KIB)).toBeUndefined();
    for (let i = 0; i < 1000; i++) expect(ahead.observe(900 * MIB, 4 * KIB)).toBeUndefined();
    const never = new ReadAhead({ readAheadBytes: 0 });
    for (let i = 0; i < 1000; i++) expect(never.observe(i * 4 * KIB, 4 * KIB)).toBeUndefined();
  });
});
