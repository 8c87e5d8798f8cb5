/** How snapshots look to people. */
import { formatSize, printable } from '../kit/index.ts';
import type {
  DiffDocument,
  ExportDocument,
  RestoreDocument,
  SnapshotDocument,
  SnapshotList,
  SnapshotSummary,
} from '../localapi/index.ts';
import { attachedText } from './attachment-views.ts';
import { grantsText } from './service-views.ts';
import type { Style } from './style.ts';
import {
  formatDuration,
  formatListedSize,
  formatListedTime,
  formatTags,
  formatTime,
  renderFields,
  renderTable,
  shortIds,
  withRemarks,
  type Column,
} from './tables.ts';

/** Extents shown before the rest is only counted. */
const EXTENTS_SHOWN_MAX = 20;

interface ShownExtent {
  readonly offset: number;
  readonly length: number;
  readonly state: string;
}

const VERIFIED: Column<SnapshotSummary> = {
  head: 'VERIFIED',
  value: ({ verified }) => (verified === null ? '-' : verified.ok ? 'ok' : 'failed'),
};

/** The list of snapshots, and what a person should know of it. */
export async function snapshotTable(
  { snapshots, remarks }: SnapshotList,
  style: Style,
  columns: number,
): Promise<string> {
  if (snapshots.length === 0) return 'There are no snapshots.';
  const short = shortIds(snapshots.map((snapshot) => snapshot.snapshotId));
  const table = await renderTable(
    snapshots,
    [
      { head: 'NAME', value: (snapshot) => snapshot.name, isCut: true },
      { head: 'ID', value: (snapshot) => short(snapshot.snapshotId) },
      { head: 'VOLUME', value: (snapshot) => snapshot.volumeName, isCut: true },
      { head: 'SIZE', value: (snapshot) => formatListedSize(snapshot, snapshot.sizeBytes), align: 'right' },
      { head: 'STATE', value: (snapshot) => snapshot.state },
      ...(snapshots.some(({ verified }) => verified !== null) ? [VERIFIED] : []),
      { head: 'CREATED (UTC)', value: (snapshot) => formatListedTime(snapshot.createdAt) },
    ],
    style,
    columns,
  );
  return withRemarks(table, remarks, style);
}

/** One snapshot, as `create`, `import` and `rename` answer. */
export const snapshotFields = (snapshot: SnapshotSummary, style: Style): string =>
  renderFields(summaryFields(snapshot), style);

/** One snapshot with everything known about it. */
export function snapshotDetails(snapshot: SnapshotDocument, style: Style): string {
  return renderFields(
    [
      ...summaryFields(snapshot),
      ['written by', snapshot.creators.join(', ') || null],
      ['clones', snapshot.clones.map((clone) => clone.name).join(', ') || 'none'],
      ['shared with', grantsText(snapshot.grants)],
      ['exportable', snapshot.exportable ? 'yes' : 'no: others wrote blocks of it, and have not shared it'],
    ],
    style,
  );
}

/** What differs between two snapshots: totals, and the first extents (all of them with `--json`). */
export async function diffText(diff: DiffDocument, style: Style, columns: number): Promise<string> {
  const sizes =
    diff.fromSizeBytes === diff.toSizeBytes
      ? formatSize(diff.toSizeBytes)
      : `${formatSize(diff.fromSizeBytes)} -> ${formatSize(diff.toSizeBytes)}`;
  const totals = renderFields(
    [
      ['from', diff.from],
      ['to', diff.to],
      ['size', sizes],
      ['changed', formatSize(diff.changedBytes)],
      ['zeroed', formatSize(diff.zeroedBytes)],
    ],
    style,
  );
  if (diff.extents.length === 0) return `${totals}\n\nThe contents are the same.`;
  return `${totals}\n\n${await extentTable(diff.extents, style, columns, EXTENTS_SHOWN_MAX)}`;
}

/** Extents as a table; beyond `shownMax` they are only counted. */
export async function extentTable(
  extents: readonly ShownExtent[],
  style: Style,
  columns: number,
  shownMax: number,
): Promise<string> {
  const table = await renderTable(
    extents.slice(0, shownMax),
    [
      { head: 'OFFSET', value: (extent) => String(extent.offset), align: 'right' },
      { head: 'LENGTH', value: (extent) => String(extent.length), align: 'right' },
      { head: 'BYTES', value: (extent) => formatSize(extent.length), align: 'right' },
      { head: 'STATE', value: (extent) => extent.state },
    ],
    style,
    columns,
  );
  const hidden = extents.length - shownMax;
  return hidden > 0 ? `${table}\n${style.dim(`and ${String(hidden)} more; --json lists all`)}` : table;
}

/** What an export wrote. */
export function exportFields(result: ExportDocument, style: Style): string {
  const fields = renderFields(
    [
      ['snapshot', `${result.name} (${result.snapshotId})`],
      ['written to', `${result.path} (${result.format}${result.resumed ? ', resumed' : ''})`],
      ['size', formatSize(result.sizeBytes)],
      ['data', formatSize(result.dataBytes)],
      result.verified ? ['verified', 'yes', style.green] : ['verified', 'no'],
      ['took', formatDuration(result.durationMs)],
    ],
    style,
  );
  return withRemarks(fields, result.remarks, style);
}

/** What a restore made, and how it is served. */
export function restoreFields(result: RestoreDocument, style: Style): string {
  const { state, resumed, sizeBytes, doneBytes } = result;
  const isDone = state === 'completed';
  const { previous } = result;
  const before =
    previous === null ? null : `kept in snapshot ${previous.snapshotName} of volume ${previous.volumeName}`;
  const fields = renderFields(
    [
      ['snapshot', `${result.name} (${result.snapshotId})`],
      ['image', `${printable(result.path)}${resumed ? ' (resumed)' : ''}`],
      ['size', formatSize(sizeBytes)],
      ['state', isDone ? state : `${state}, ${formatSize(doneBytes)} so far`, isDone ? style.green : style.yellow],
      ['before', before],
      ['took', isDone ? formatDuration(result.durationMs) : null],
    ],
    style,
  );
  const served = result.export === null ? '' : `\n${attachedText({ ...result.export, created: true }, style)}`;
  return withRemarks(`${fields}${served}`, result.remarks, style);
}

function verifiedText(verified: SnapshotSummary['verified']): string | null {
  if (verified === null) return null;
  const { at, ok, checkedBytes, share, message } = verified;
  const part = share === 1 ? 'all of it' : `a sample of ${String(Number((share * 100).toFixed(3)))}%`;
  return `${ok ? 'ok' : `failed: ${message ?? ''}`}, ${formatTime(at)} UTC, ${formatSize(checkedBytes)}, ${part}`;
}

function summaryFields(snapshot: SnapshotSummary): [string, string | null][] {
  return [
    ['snapshot', snapshot.name],
    ['id', snapshot.snapshotId],
    ['state', snapshot.state],
    ['volume', `${snapshot.volumeName} (${snapshot.volumeId})`],
    ['size', formatSize(snapshot.sizeBytes)],
    ['data', formatSize(snapshot.mappedBytes)],
    ['account', snapshot.accountId],
    ['created', `${formatTime(snapshot.createdAt)} UTC`],
    ['completed', snapshot.completedAt === null ? null : `${formatTime(snapshot.completedAt)} UTC`],
    ['description', snapshot.description === '' ? null : snapshot.description],
    ['tags', formatTags(snapshot.tags)],
    ['verified', verifiedText(snapshot.verified)],
    ['made by', snapshot.scheduleId === null ? null : `the schedule of the volume (${snapshot.scheduleId})`],
  ];
}
