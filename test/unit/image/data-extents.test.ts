import { expect, it, describe } from 'vitest';
import { dataExtents, type DataExtentOptions, type Extent } from '../../../src/core/image/data-extents.ts';
import type { SystemCalls } from '../../../src/core/image/system-calls.ts';
import { KIB, MIB, SgwError, seededRandom } from '../../../src/core/kit/index.ts';

/** A file system that knows data by this list of extents, in ascending order. */
function fileWith(data: readonly Extent[], sizeBytes: number): SystemCalls & { seeks: number } {
  const calls = {
    seeks: 0,
    seekData(_fd: number, offset: number): number | 'end' {
      calls.seeks++;
      const found = data.find((extent) => extent.offset + extent.length > offset);
      return found === undefined ? 'end' : Math.max(offset, found.offset);
    },
    seekHole(_fd: number, offset: number): number {
      let end = offset;
      for (const extent of data)
        if (extent.offset <= end && extent.offset + extent.length > end) end = extent.offset + extent.length;
      return Math.min(end, sizeBytes);
    },
    seekEnd: () => sizeBytes,
    lockExclusive: () => 'unknown' as const,
    readCached: () => false,
    zeroRange: () => false,
  };
  return calls;
}

async function walk(
  calls: SystemCalls | undefined,
  from: number,
  to: number,
  options: DataExtentOptions = {},
): Promise<Extent[]> {
  const found: Extent[] = [];
  for await (const extent of dataExtents(0, from, to, calls, options)) found.push(extent);
  return found;
}

describe('data extents', () => {
  it('are rounded out to the alignment and clipped at the end', async () => {
    const size = MIB + 1;
    const calls = fileWith(
      [
        { offset: 70 * KIB, length: 1 },
        { offset: MIB, length: 1 },
      ],
      size,
    );
    expect(await walk(calls, 0, size)).toEqual([
      { offset: 64 * KIB, length: 64 * KIB },
      { offset: MIB, length: 1 },
    ]);
  });

  it('are merged when they touch after rounding', async () => {
    const calls = fileWith(
      [
        { offset: 0, length: 10 },
        { offset: 60 * KIB, length: 10 * KIB },
        { offset: 130 * KIB, length: 1 },
      ],
      MIB,
    );
    expect(await walk(calls, 0, MIB)).toEqual([{ offset: 0, length: 192 * KIB }]);
  });

  it('never start before the range nor end after it', async () => {
    const calls = fileWith([{ offset: 0, length: MIB }], MIB);
    expect(await walk(calls, 1000, 70_000)).toEqual([{ offset: 1000, length: 69_000 }]);
    expect(await walk(calls, 5, 5)).toEqual([]);
  });

  it('are one extent when nothing can be told', async () => {
    expect(await walk(undefined, 0, 12_345)).toEqual([{ offset: 0, length: 12_345 }]);
    const deaf: SystemCalls = { ...fileWith([], 0), seekData: () => 'unknown', seekHole: () => 'unknown' };
    expect(await walk(deaf, 0, 12_345)).toEqual([{ offset: 0, length: 12_345 }]);
  });

  it('are split at the longest length, on the alignment', async () => {
    const calls = fileWith([{ offset: 100, length: 300 * KIB }], MIB);
    expect(await walk(calls, 100, MIB, { extentBytesMax: 128 * KIB })).toEqual([
      { offset: 100, length: 128 * KIB - 100 },
      { offset: 128 * KIB, length: 128 * KIB },
      { offset: 256 * KIB, length: 64 * KIB },
    ]);
  });

  it('cost at most two seeks for each aligned piece, however finely data and holes alternate', async () => {
    const fine = Array.from({ length: 256 }, (_, index) => ({ offset: index * 8 * KIB, length: 4 * KIB }));
    const calls = fileWith(fine, 2 * MIB);
    expect(await walk(calls, 0, 2 * MIB)).toEqual([{ offset: 0, length: 2 * MIB }]);
    expect(calls.seeks).toBeLessThanOrEqual(33);
  });

  it('end the walk when a file shrinks under it', async () => {
    const calls: SystemCalls = {
      ...fileWith([], 0),
      seekData: (_fd, offset) => (offset === 0 ? 0 : 'end'),
      seekHole: () => 'end',
    };
    expect(await walk(calls, 0, MIB)).toEqual([{ offset: 0, length: MIB }]);
  });

  it('stop when the signal fires', async () => {
    const signal = AbortSignal.abort(new SgwError('aborted', 'aborted', 'stopped on request'));
    await expect(walk(fileWith([], 1), 0, 1, { signal })).rejects.toMatchObject({ kind: 'aborted' });
  });

  it('cover all data and no aligned hole, for any layout', async () => {
    const seed = Number(process.env['SGW_SEED'] ?? 20261122);
    const random = seededRandom(seed);
    for (let round = 0; round < 200; round++) {
      const align = 16;
      const size = 1 + Math.floor(random.float() * 2000);
      const isData = Array.from({ length: size }, () => false);
      for (let piece = Math.floor(random.float() * 6); piece > 0; piece--) {
        const start = Math.floor(random.float() * size);
        isData.fill(true, start, start + Math.ceil(random.float() * 40));
      }
      const layout: Extent[] = [];
      for (let offset = 0; offset < size; offset++) if (isData[offset] === true) layout.push({ offset, length: 1 });
      const from = Math.floor(random.float() * size);
      const covered = Array.from({ length: size }, () => false);
      let previousEnd = -1;
      for (const { offset, length } of await walk(fileWith(layout, size), from, size, {
        alignBytes: align,
        extentBytesMax: 1024 * align,
      })) {
        expect(offset, `seed ${String(seed)}`).toBeGreaterThan(previousEnd);
        previousEnd = offset + length;
        covered.fill(true, offset, previousEnd);
      }
      for (let start = 0; start < size; start += align) {
        const wanted = isData.slice(Math.max(from, start), start + align).includes(true);
        const got = covered.slice(Math.max(from, start), start + align);
        expect(
          got.every((value) => value === wanted),
          `seed ${String(seed)} round ${String(round)} at ${String(start)}`,
        ).toBe(true);
      }
    }
  });
});
