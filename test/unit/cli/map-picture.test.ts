import { describe, expect, it } from 'vitest';
import { mapPicture } from '../../../src/core/cli/map-picture.ts';
import { styleFor } from '../../../src/core/cli/style.ts';
import { GIB, KIB, TIB } from '../../../src/core/kit/index.ts';
import type { MapDocument } from '../../../src/core/localapi/index.ts';

const plain = styleFor(process.stdout, false);
const map = (sizeBytes: number, extents: MapDocument['extents']): MapDocument => ({
  volumeId: 'vol-1',
  name: 'v',
  sizeBytes,
  storedBytes: 0,
  sharedBytes: 0,
  zeroBytes: 0,
  extents,
});
/** The cells alone, row by row. */
const cellsOf = (document: MapDocument): string[] =>
  mapPicture(document, plain)
    .split('\n')
    .slice(2, -2)
    .map((line) => line.slice(11));

describe('the picture of a volume', () => {
  it('has a cell a page for a small volume', () => {
    const rows = cellsOf(map(64 * 4 * KIB, [{ offset: 4 * KIB, length: 8 * KIB, state: 'stored' }]));
    expect(rows).toEqual([`·██${'·'.repeat(61)}`]);
  });

  it('tells shared from stored without colours', () => {
    const [row] = cellsOf(
      map(4 * 4 * KIB, [
        { offset: 0, length: 4 * KIB, state: 'shared' },
        { offset: 4 * KIB, length: 4 * KIB, state: 'stored' },
        { offset: 8 * KIB, length: 8 * KIB, state: 'zero' },
      ]),
    );
    expect(row).toBe('#█··');
  });

  it('shows how densely a cell is filled', () => {
    const cell = (4 * GIB) / (64 * 16);
    const [row] = cellsOf(
      map(
        4 * GIB,
        [1, 2, 3, 4].map((quarters, at) => ({ offset: at * cell, length: (quarters * cell) / 4, state: 'stored' })),
      ),
    );
    expect(row?.slice(0, 5)).toBe('░▒▓█·');
  });

  it('is at most 16 rows and 80 columns, whatever the size', () => {
    const picture = mapPicture(
      map(16 * TIB, [{ offset: 16 * TIB - 4 * KIB, length: 4 * KIB, state: 'stored' }]),
      plain,
    );
    const rows = picture.split('\n').slice(2, -2);
    expect(rows).toHaveLength(16);
    expect(Math.max(...rows.map((row) => row.length))).toBeLessThanOrEqual(80);
    expect(rows.at(-1)?.at(-1)).toBe('░');
  });

  it('draws a size that is no multiple of a page, and an empty volume', () => {
    expect(cellsOf(map(5000, [{ offset: 0, length: 5000, state: 'stored' }]))).toEqual(['██']);
    expect(mapPicture(map(0, []), plain)).toContain('0 B');
  });
});
