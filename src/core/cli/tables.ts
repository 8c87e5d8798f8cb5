/** Tables and lists of fields for people, by cli-table3, loaded when the first one is drawn. */
import { cut, formatSize, printable } from '../kit/index.ts';
import type { Paint, Style } from './style.ts';

export interface Column<Row> {
  readonly head: string;
  readonly value: (row: Row) => string;
  readonly align?: 'left' | 'right';
  /** This column is the first to be cut, with an ellipsis, when the table is too wide for the terminal. */
  readonly isCut?: boolean;
}

/** A name, its value (null: left out), and the colour that it has on a terminal. */
export type Field = readonly [name: string, value: string | null, paint?: Paint];

const GAP = 2;
/** Columns that are cut first keep this much; if that is not enough, the others that are no numbers keep less. */
const CUT_WIDTH_MIN = 8;
const CUT_WIDTH_LEAST = 4;

const NO_LINES = Object.fromEntries(
  ['top', 'bottom', 'mid', 'left', 'right']
    .flatMap((side) => [side, `${side}-mid`, `${side}-left`, `${side}-right`])
    .concat('middle', 'top-mid', 'left-mid')
    .map((name) => [name, '']),
);

/** A table without lines, cut to `columns`: long cells lose their ends, numbers never do. */
export async function renderTable<Row>(
  rows: readonly Row[],
  layout: readonly Column<Row>[],
  style: Style,
  columns: number,
): Promise<string> {
  const { default: Table } = await import('cli-table3');
  const cells = rows.map((row) => layout.map((column) => printable(column.value(row))));
  const widths = fittingWidths(layout, cells, columns);
  const table = new Table({
    head: layout.map((column, at) => style.dim(cut(column.head, widths[at] ?? 0))),
    chars: NO_LINES,
    colAligns: layout.map((column) => column.align ?? 'left'),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': GAP },
  });
  for (const row of cells) table.push(row.map((cell, at) => cut(cell, widths[at] ?? 0)));
  return trimLines(table.toString());
}

/** The width of each column: as wide as its cells, less what the widest must give until all fit. */
function fittingWidths<Row>(
  layout: readonly Column<Row>[],
  cells: readonly (readonly string[])[],
  columns: number,
): number[] {
  const widths = layout.map((column, at) =>
    Math.max(column.head.length, ...cells.map((row) => [...(row[at] ?? '')].length)),
  );
  let surplus = widths.reduce((sum, width) => sum + width + GAP, 0) - GAP - columns;
  const shrink = (mayShrink: (column: Column<Row>) => boolean, least: number): void => {
    const places = layout.flatMap((column, at) => (mayShrink(column) ? [at] : []));
    while (surplus > 0) {
      const widest = Math.max(...places.map((at) => widths[at] ?? 0));
      const at = places.find((place) => widths[place] === widest);
      if (at === undefined || widest <= least) return;
      widths[at] = widest - 1;
      surplus--;
    }
  };
  shrink((column) => column.isCut === true, CUT_WIDTH_MIN);
  shrink((column) => column.align !== 'right', CUT_WIDTH_LEAST);
  return widths;
}

/** Names and values below each other; fields whose value is null are left out. Values come unpainted. */
export function renderFields(fields: readonly Field[], style: Style): string {
  const shown = fields.filter(([, value]) => value !== null);
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown
    .map(([name, value, paint]) => {
      const text = printable(value ?? '');
      return `${style.dim(`${name}:`.padEnd(width + 1))}  ${paint === undefined ? text : paint(text)}`;
    })
    .join('\n');
}

/** The text, then what a person should know, where it is read. */
export const withRemarks = (text: string, remarks: readonly string[] | undefined, style: Style): string =>
  [text, ...(remarks ?? []).map((remark) => `${style.yellow('note:')} ${printable(remark)}`)].join('\n');

/** `2026-11-22 23:45`, in UTC. */
export const formatTime = (time: string): string => time.slice(0, 16).replace('T', ' ');

/** `1 object`, `2 objects`. */
export const plural = (count: number, what: string): string => `${String(count)} ${what}${count === 1 ? '' : 's'}`;

/** What stands in a list where a damaged entry does not tell. */
const UNKNOWN = '?';

/** A time in a list; that of an entry too damaged to tell it is the beginning of time. */
export const formatListedTime = (time: string): string => (Date.parse(time) === 0 ? UNKNOWN : formatTime(time));

/** A size in a list; a damaged entry has none, or may have lost it. */
export const formatListedSize = ({ state }: { readonly state: string }, bytes: number): string =>
  state === 'damaged' && bytes === 0 ? UNKNOWN : formatSize(bytes);

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

/** `1.2 s`, `3 min 5 s`, `7 d 2 h`. */
export function formatDuration(durationMs: number): string {
  if (durationMs < 1000) return `${String(Math.round(durationMs))} ms`;
  if (durationMs < 100_000) return `${(durationMs / 1000).toFixed(1)} s`;
  const hours = Math.floor(durationMs / 3_600_000);
  if (hours >= 48) return pair(Math.floor(hours / 24), 'd', hours % 24, 'h');
  if (hours >= 2) return pair(hours, 'h', Math.floor(durationMs / 60_000) % 60, 'min');
  return pair(Math.floor(durationMs / 60_000), 'min', Math.floor((durationMs % 60_000) / 1000), 's');
}

const pair = (large: number, largeUnit: string, small: number, smallUnit: string): string =>
  `${String(large)} ${largeUnit}${small === 0 ? '' : ` ${String(small)} ${smallUnit}`}`;

const trimLines = (text: string): string => text.replaceAll(/[ \t]+$/gm, '');
