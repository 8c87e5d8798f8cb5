/** Tables and lists of fields for people, by cli-table3, loaded when the first one is drawn. */
import type { Style } from './style.ts';

export interface Column<Row> {
  readonly head: string;
  readonly value: (row: Row) => string;
  readonly align?: 'left' | 'right';
  /** This column is cut, with an ellipsis, when the table is too wide for the terminal. */
  readonly isCut?: boolean;
}

const GAP = 2;
const CUT_WIDTH_MIN = 8;

const NO_LINES = Object.fromEntries(
  ['top', 'bottom', 'mid', 'left', 'right']
    .flatMap((side) => [side, `${side}-mid`, `${side}-left`, `${side}-right`])
    .concat('middle', 'top-mid', 'left-mid')
    .map((name) => [name, '']),
);

/** A table without lines, cut to `columns` at the columns that allow it. */
export async function renderTable<Row>(
  rows: readonly Row[],
  layout: readonly Column<Row>[],
  style: Style,
  columns: number,
): Promise<string> {
  const { default: Table } = await import('cli-table3');
  const cells = rows.map((row) => layout.map((column) => printable(column.value(row))));
  const widths = layout.map((column, at) =>
    Math.max(column.head.length, ...cells.map((row) => [...(row[at] ?? '')].length)),
  );
  const surplus = widths.reduce((sum, width) => sum + width + GAP, 0) - GAP - columns;
  layout.forEach((column, at) => {
    if (column.isCut === true && surplus > 0) widths[at] = Math.max(CUT_WIDTH_MIN, (widths[at] ?? 0) - surplus);
  });
  const table = new Table({
    head: layout.map((column) => style.dim(column.head)),
    chars: NO_LINES,
    colAligns: layout.map((column) => column.align ?? 'left'),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': GAP },
  });
  for (const row of cells) table.push(row.map((cell, at) => cut(cell, widths[at] ?? 0)));
  return trimLines(table.toString());
}

/** Names and values below each other; fields whose value is null are left out. */
export function renderFields(fields: readonly (readonly [string, string | null])[], style: Style): string {
  const shown = fields.filter((field): field is readonly [string, string] => field[1] !== null);
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${style.dim(`${name}:`.padEnd(width + 1))}  ${printable(value)}`).join('\n');
}

/** `2026-11-22 23:45`, in UTC. */
export const formatTime = (time: string): string => time.slice(0, 16).replace('T', ' ');

/** The shortest beginnings, with at least 8 digits after the `vol-` or `snap-`, that tell these ids apart. */
export function shortIds(ids: readonly string[]): (id: string) => string {
  const cutAt = (digits: number) => (id: string) => id.slice(0, id.indexOf('-') + 1 + digits);
  const count = new Set(ids).size;
  let digits = 8;
  while (digits < 17 && new Set(ids.map(cutAt(digits))).size < count) digits++;
  return cutAt(digits);
}

/** `a=1, b=2`, or null without tags. */
export function formatTags(tags: Readonly<Record<string, string>>): string | null {
  const pairs = Object.entries(tags).map(([key, value]) => `${key}=${value}`);
  return pairs.length === 0 ? null : pairs.join(', ');
}

/** `1.2 s`, `3 min 5 s`. */
export function formatDuration(durationMs: number): string {
  if (durationMs < 1000) return `${String(Math.round(durationMs))} ms`;
  if (durationMs < 100_000) return `${(durationMs / 1000).toFixed(1)} s`;
  return `${String(Math.floor(durationMs / 60_000))} min ${String(Math.round((durationMs % 60_000) / 1000))} s`;
}

/** Text from elsewhere may not move the cursor or forge lines. */
const printable = (text: string): string => text.replaceAll(/\p{Cc}/gu, '\uFFFD');

function cut(text: string, width: number): string {
  const characters = [...text];
  return characters.length <= width ? text : `${characters.slice(0, width - 1).join('')}…`;
}

const trimLines = (text: string): string => text.replaceAll(/[ \t]+$/gm, '');
