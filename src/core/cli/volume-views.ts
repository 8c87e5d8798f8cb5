/** How volumes look to people. */
import { formatSize, printable } from '../kit/index.ts';
import { exposureText, programLines, stateText } from './attachment-views.ts';
import { clientFields, iscsiFields, iscsiLines } from './iscsi-views.ts';
import type {
  AttachmentDocument,
  DeletedDocument,
  ImportDocument,
  VerifyDocument,
  VolumeDocument,
  VolumeList,
  VolumeSummary,
} from '../localapi/index.ts';
import { recoveryPolicyText } from './recovery-policy.ts';
import type { Style } from './style.ts';
import {
  formatDuration,
  formatListedSize,
  formatListedTime,
  formatTags,
  formatTime,
  plural,
  renderFields,
  renderTable,
  shortIds,
  withRemarks,
} from './tables.ts';

/** The list of volumes, and what a person should know of it. */
export async function volumeTable({ volumes, remarks }: VolumeList, style: Style, columns: number): Promise<string> {
  if (volumes.length === 0) return withRemarks('There are no volumes.', remarks, style);
  const short = shortIds(volumes.map((volume) => volume.volumeId));
  const table = await renderTable(
    volumes,
    [
      { head: 'NAME', value: (volume) => volume.name, isCut: true },
      { head: 'ID', value: (volume) => short(volume.volumeId) },
      { head: 'SIZE', value: (volume) => formatListedSize(volume, volume.sizeBytes), align: 'right' },
      { head: 'DATA', value: (volume) => formatListedSize(volume, volume.mappedBytes), align: 'right' },
      { head: 'STATE', value: (volume) => volume.state },
      { head: 'CREATED (UTC)', value: (volume) => formatListedTime(volume.createdAt) },
    ],
    style,
    columns,
  );
  return withRemarks(table, remarks, style);
}

/** One volume, as `create`, `resize` and `rename` answer. */
export const volumeFields = (volume: VolumeSummary, style: Style): string => renderFields(summaryFields(volume), style);

/** One volume with everything known about it. */
export function volumeDetails(volume: VolumeDocument, style: Style): string {
  const { attachment, holder, unfinishedImport } = volume;
  const fields = renderFields(
    [
      ...summaryFields(volume),
      ['commit', volume.seq === 0 ? 'none yet' : `${String(volume.seq)}, epoch ${String(volume.epoch)}`],
      ['last commit', volume.lastCommitAt === null ? null : formatTime(volume.lastCommitAt)],
      ['held by', holder === null ? null : `${holder.name} (${holder.gatewayId}) since ${formatTime(holder.since)}`],
      ...(attachment === null ? [] : attachmentFields(attachment)),
      ['recovery points', recoveryPolicyText(volume.recovery)],
      ['snapshots', volume.snapshots.map((snapshot) => snapshot.name).join(', ') || 'none'],
      [
        'unfinished import',
        unfinishedImport === null
          ? null
          : `${unfinishedImport.source}, begun ${formatTime(unfinishedImport.startedAt)}`,
      ],
    ],
    style,
  );
  const lines = attachment === null ? '' : programLines(iscsiLines(attachment), style);
  return withRemarks(lines === '' ? fields : `${fields}\n\n${lines}`, volume.remarks, style);
}

const ACKNOWLEDGES = {
  log: 'in the write log',
  peer: 'in the write logs of its group',
  store: 'in the store',
} as const;

function attachmentFields(attachment: AttachmentDocument): [string, string | null][] {
  return [
    ['attached', `as export ${attachment.exportName}, ${stateText(attachment)}`],
    ['acknowledges', attachment.ack === null ? null : ACKNOWLEDGES[attachment.ack]],
    ['exposure', exposureText(attachment)],
    ...clientFields(attachment),
    ...iscsiFields(attachment),
    ...attachment.uris.map((uri): [string, string] => ['uri', uri]),
  ];
}

/** What an import did. */
export function importFields(result: ImportDocument, style: Style): string {
  return renderFields(
    [
      ['volume', `${result.name} (${result.volumeId})`],
      ['source', `${result.source} (${result.format}${result.resumed ? ', resumed' : ''})`],
      ['size', formatSize(result.sizeBytes)],
      ['read', formatSize(result.readBytes)],
      ['changed', formatSize(result.changedBytes)],
      ['zeroed', result.zeroedBytes === 0 ? null : formatSize(result.zeroedBytes)],
      ['stored', formatSize(result.storedBytes)],
      ['took', formatDuration(result.durationMs)],
    ],
    style,
  );
}

/** What `verify` of a volume or snapshot found. */
export function verifyFields(result: VerifyDocument, style: Style): string {
  const fields = renderFields(
    [
      ['verified', `${result.name} (${result.id})`],
      result.ok ? ['result', 'ok', style.green] : ['result', 'damaged', style.red],
      ['checked', `${formatSize(result.checkedBytes)} in ${plural(result.checkedObjects, 'object')}`],
      ['took', formatDuration(result.durationMs)],
    ],
    style,
  );
  return withRemarks(fields, result.remarks, style);
}

/** What `delete` did, or would do. */
export function deletedText(kind: 'volume' | 'snapshot', result: DeletedDocument): string {
  const { id, name, preview } = result;
  if (id === null) return `There is no such ${kind}; nothing ${preview ? 'would be' : 'was'} deleted.`;
  const what = `${kind} ${printable(name ?? '')} (${id})`;
  return [
    preview ? `This would delete ${what}. Nothing was changed.` : `Deleted ${what}.`,
    ...afterDeletion(kind, result),
  ].join('\n');
}

/** What a deletion means: how long it can be undone, and what it frees. */
export function afterDeletion(
  kind: 'volume' | 'snapshot',
  { id, name, freesBytes, undeleteUntil }: DeletedDocument,
): string[] {
  const frees =
    freesBytes === null
      ? 'frees its space in the store'
      : freesBytes === 0
        ? 'frees nothing: other volumes and snapshots need all of its data'
        : `frees ${formatSize(freesBytes)} in the store`;
  if (kind === 'snapshot') return [`\`sgw store gc\` ${frees}.`];
  const time = undeleteUntil === null ? 'For seven days' : `Until ${formatTime(undeleteUntil)} UTC`;
  return [
    `${time}, \`sgw volume undelete ${printable(name ?? id ?? '')}\` brings it back.`,
    `After that, \`sgw store gc\` ${frees}.`,
  ];
}

function summaryFields(volume: VolumeSummary): [string, string | null][] {
  return [
    ['volume', volume.name],
    ['id', volume.volumeId],
    ['state', volume.state],
    ['size', formatSize(volume.sizeBytes)],
    ['data', formatSize(volume.mappedBytes)],
    ['account', volume.accountId],
    ['created', `${formatTime(volume.createdAt)} UTC`],
    ['cloned from', volume.parentSnapshotId],
    ['tags', formatTags(volume.tags)],
  ];
}
