/**
 * Draws where a volume's data is: 64 cells a row, at most 16 rows, each cell the same number of bytes.
 * A cell shows how much of it holds data, and whether most of that is shared with a snapshot.
 */
import { formatSize, KIB } from '../kit/index.ts';
import type { MapDocument } from '../localapi/index.ts';
import type { Style } from './style.ts';

const CELLS_PER_ROW = 64;
const ROWS_MAX = 16;
const PAGE_BYTES = 4 * KIB;
/** A quarter, half, three quarters, all. */
const OWN = ['░', '▒', '▓', '█'] as const;
const SHARED = ['-', '+', '=', '#'] as const;
const EMPTY = '·';

/** The picture with its legend and totals, 75 columns wide. */
export function mapPicture(map: MapDocument, style: Style): string {
  const totals =
    `${map.name} (${map.volumeId}), ${formatSize(map.sizeBytes)}: ${formatSize(map.storedBytes)} stored, ` +
    `of which ${formatSize(map.sharedBytes)} shared; ${formatSize(map.zeroBytes)} zero`;
  if (map.sizeBytes === 0) return totals;
  const pages = Math.ceil(map.sizeBytes / PAGE_BYTES);
  const rows = Math.min(ROWS_MAX, Math.ceil(pages / CELLS_PER_ROW));
  const cellBytes = Math.ceil(pages / (rows * CELLS_PER_ROW)) * PAGE_BYTES;
  const cells = fillCells(map, cellBytes);
  const lines: string[] = [];
  for (let start = 0; start < cells.length; start += CELLS_PER_ROW) {
    const row = cells.slice(start, start + CELLS_PER_ROW).map((cell, at) => {
      const offset = (start + at) * cellBytes;
      return drawCell(cell, Math.min(cellBytes, map.sizeBytes - offset), style);
    });
    lines.push(`${style.dim(formatSize(start * cellBytes).padStart(10))} ${row.join('')}`);
  }
  const legend =
    `${EMPTY} zero  ${style.green(OWN.join(''))} stored  ${style.cyan(SHARED.join(''))} mostly shared with a snapshot  ` +
    `(1 cell = ${formatSize(cellBytes)})`;
  return [totals, '', ...lines, '', legend].join('\n');
}

interface Cell {
  readonly storedBytes: number;
  readonly sharedBytes: number;
}

function fillCells(map: MapDocument, cellBytes: number): Cell[] {
  const count = Math.ceil(map.sizeBytes / cellBytes);
  const stored = new Float64Array(count);
  const shared = new Float64Array(count);
  for (const extent of map.extents) {
    if (extent.state === 'zero') continue;
    const end = Math.min(extent.offset + extent.length, map.sizeBytes);
    for (let at = extent.offset; at < end;) {
      const cell = Math.floor(at / cellBytes);
      const stop = Math.min(end, (cell + 1) * cellBytes);
      stored[cell] = (stored[cell] ?? 0) + stop - at;
      if (extent.state === 'shared') shared[cell] = (shared[cell] ?? 0) + stop - at;
      at = stop;
    }
  }
  return Array.from({ length: count }, (_, at) => ({ storedBytes: stored[at] ?? 0, sharedBytes: shared[at] ?? 0 }));
}

function drawCell(cell: Cell, cellBytes: number, style: Style): string {
  if (cell.storedBytes === 0) return style.dim(EMPTY);
  const quarter = Math.min(3, Math.max(0, Math.ceil((4 * cell.storedBytes) / cellBytes) - 1));
  const isShared = cell.sharedBytes * 2 > cell.storedBytes;
  return isShared ? style.cyan(SHARED[quarter] ?? '#') : style.green(OWN[quarter] ?? '█');
}
