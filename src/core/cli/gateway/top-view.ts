/** What `gateway top` draws: lines that fit the width and height of a terminal. Pure. */
import { cut, formatSize, printable } from '../../kit/index.ts';
import type { TopDocument } from '../documents.ts';
import type { Paint, Style } from '../style.ts';
import { shadowText } from '../attachment-views.ts';
import { formatDuration } from '../tables.ts';

type Row = TopDocument['volumes'][number];

interface Column {
  readonly head: string;
  readonly width: number;
  readonly value: (row: Row) => string;
  /** How a value is painted that a person should look at. */
  readonly paint?: (row: Row, style: Style) => Paint | undefined;
}

const MIB = 1 << 20;
/** The name's column gets what the others leave. */
const NAME_WIDTH_MIN = 10;

/** 80 columns with the shortest name. */
const COLUMNS: readonly Column[] = [
  { head: 'R/s', width: 5, value: (row) => compact(row.readOpsPerSecond) },
  { head: 'W/s', width: 5, value: (row) => compact(row.writeOpsPerSecond) },
  { head: 'rMiB', width: 5, value: (row) => compact(row.readBytesPerSecond / MIB) },
  { head: 'wMiB', width: 5, value: (row) => compact(row.writeBytesPerSecond / MIB) },
  { head: 'r ms', width: 5, value: (row) => orDash(row.readLatencyMs, compact) },
  { head: 'w ms', width: 5, value: (row) => orDash(row.writeLatencyMs, compact) },
  { head: 'HIT%', width: 4, value: (row) => orDash(row.hitRate, percent) },
  {
    head: 'BUF%',
    width: 4,
    value: (row) => percent(row.bufferShare),
    paint: ({ bufferShare }, style) => (bufferShare > 0.9 ? style.red : bufferShare > 0.5 ? style.yellow : undefined),
  },
  { head: 'QUE', width: 3, value: (row) => compact(row.waitingWrites) },
  { head: 'EXPOSED', width: 7, value: (row) => compactSize(row.dirtyBytes) },
  { head: 'AGE', width: 4, value: (row) => (row.dirtyMs === 0 ? '-' : compactTime(row.dirtyMs)) },
  {
    head: 'FULL',
    width: 5,
    value: (row) => orDash(row.fullInMs, compactTime),
    paint: ({ fullInMs }, style) => (fullInMs !== null && fullInMs < 600_000 ? style.red : undefined),
  },
];

/** The lines of a screen, at most `rows`; none is wider than `columns`. */
export function topLines(top: TopDocument, style: Style, columns: number, rows: number): string[] {
  const nameWidth = Math.max(NAME_WIDTH_MIN, columns - COLUMNS.reduce((sum, { width }) => sum + width + 1, 0));
  const memory = `memory ${formatSize(top.residentBytes)}, cpu ${percent(top.processorShare)} %`;
  const title = `${top.name}, ${top.mode}, ${top.state}; up ${formatDuration(top.uptimeMs)}; ${memory}`;
  const head = ['VOLUME'.padEnd(nameWidth), ...COLUMNS.map((column) => column.head.padStart(column.width))].join(' ');
  const body = top.volumes.map((row) => rowText(row, nameWidth, style));
  const notes = top.volumes.flatMap(({ name, state, reason, shadow }) => {
    const why = [shadow === null ? null : shadowText(shadow), reason].filter((one) => one !== null);
    return why.length === 0 ? [] : [style.yellow(cut(printable(`${name} is ${state}: ${why.join('; ')}`), columns))];
  });
  const lines = [style.bold(cut(printable(title), columns)), '', style.dim(cut(head, columns)), ...body];
  if (body.length === 0) lines.push('No volume is attached.');
  if (notes.length > 0) lines.push('', ...notes);
  if (lines.length <= rows) return lines;
  return [...lines.slice(0, Math.max(1, rows - 1)), style.dim(`and ${String(lines.length - rows + 1)} more lines`)];
}

function rowText(row: Row, nameWidth: number, style: Style): string {
  const name = cut(printable(row.name), nameWidth).padEnd(nameWidth);
  const paintName = row.state === 'available' ? style.green : row.state === 'degraded' ? style.yellow : style.red;
  const cells = COLUMNS.map(({ width, value, paint }) => {
    const text = value(row).padStart(width);
    return paint?.(row, style)?.(text) ?? text;
  });
  return [paintName(name), ...cells].join(' ');
}

const orDash = <T>(value: T | null, format: (value: T) => string): string => (value === null ? '-' : format(value));

/** At most five characters: `0.04`, `3.2`, `117`, `12.3k`, `4M`. */
export function compact(value: number): string {
  if (value === 0) return '0';
  if (value < 0.01) return '<0.01';
  if (value < 1) return value.toFixed(2);
  if (value < 9.95) return trimZero(value.toFixed(1));
  if (value < 9999.5) return String(Math.round(value));
  if (value < 99_950) return `${(value / 1000).toFixed(1)}k`;
  if (value < 999_500) return `${String(Math.round(value / 1000))}k`;
  return `${String(Math.round(value / 1_000_000))}M`;
}

/** At most seven characters: `512K`, `1.2G`. */
function compactSize(bytes: number): string {
  const units = ['B', 'K', 'M', 'G', 'T'];
  let value = bytes;
  let at = 0;
  for (; value >= 1000 && at < units.length - 1; at++) value /= 1024;
  return `${value < 10 && at > 0 ? trimZero(value.toFixed(1)) : String(Math.round(value))}${units[at] ?? ''}`;
}

/** At most four characters: `12s`, `5m`, `3h`, `9d`. */
function compactTime(durationMs: number): string {
  const seconds = durationMs / 1000;
  if (seconds < 99.5) return `${seconds < 1 ? seconds.toFixed(1) : String(Math.round(seconds))}s`;
  if (seconds < 99.5 * 60) return `${String(Math.round(seconds / 60))}m`;
  if (seconds < 48 * 3600) return `${String(Math.round(seconds / 3600))}h`;
  const days = Math.round(seconds / 86_400);
  return days > 999 ? '>999d' : `${String(days)}d`;
}

const percent = (share: number): string => String(Math.round(share * 100));
const trimZero = (text: string): string => text.replace(/\.0$/, '');
