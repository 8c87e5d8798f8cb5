/** How exports look to people. */
import { formatSize, printable, shellWord } from '../kit/index.ts';
import type {
  AttachmentDocument,
  RecoveryPointList,
  VolumeAttached,
  VolumeDetached,
  VolumeSettingsDocument,
} from '../localapi/index.ts';
import { iscsiFields, iscsiLines } from './iscsi-views.ts';
import { recoveryPolicyText } from './recovery-policy.ts';
import type { Style } from './style.ts';
import { formatDuration, formatTime, renderFields, renderTable, withRemarks } from './tables.ts';

/** When writes are acknowledged, where it is not as ever. */
function acknowledgesText(ack: VolumeAttached['ack']): string | null {
  if (ack === 'peer') return 'when a write is in the write logs of the in-sync members of its group';
  return ack === 'store' ? 'when a write is in the store' : null;
}

/** What `volume attach` made, and lines that use it as they are. */
export function attachedText(attached: VolumeAttached, style: Style): string {
  const fields = renderFields(
    [
      ['export', `${attached.exportName}${attached.created ? '' : ', attached before'}`],
      ['serves', whatIs(attached)],
      ['state', stateText(attached), attached.state === 'available' ? style.green : style.yellow],
      ['size', attached.sizeBytes === null ? null : formatSize(attached.sizeBytes)],
      ['restored', restoreText(attached)],
      ['access', attached.readOnly ? 'read-only' : null],
      ['acknowledges', acknowledgesText(attached.ack)],
      ...iscsiFields(attached),
      ...attached.uris.map((uri): [string, string] => ['uri', uri]),
    ],
    style,
  );
  const lines = programLines([...nbdLines(attached), ...iscsiLines(attached)], style);
  return withRemarks(lines === '' ? fields : `${fields}\n\n${lines}`, attached.remarks, style);
}

/** Lines to type, each after the name of its program. */
export function programLines(lines: readonly [string, string][], style: Style): string {
  const nameOf = (i: number): string => (lines[i - 1]?.[0] === lines[i]?.[0] ? '' : (lines[i]?.[0] ?? ''));
  return lines.map(([, line], i) => `  ${style.dim(nameOf(i).padEnd(10))}  ${line}`).join('\n');
}

/** Ready lines for the programs that people use, for the first way over NBD that there is. */
function nbdLines({ exportName, uris, readOnly }: AttachmentDocument): [string, string][] {
  const uri = uris.find((one) => one.startsWith('nbd'));
  if (uri === undefined) return [];
  // With TLS, the other programs take the client's own keys or certificates, which are not known here.
  if (uri.startsWith('nbds')) return [['nbdinfo', `nbdinfo ${shellWord(printable(uri))}`]];
  const socket = /^nbd\+unix:\/\/\/.*\?socket=(.*)$/.exec(uri)?.[1];
  const place = socket === undefined ? hostAndPort(uri) : `-unix ${shellWord(decodeURIComponent(socket))}`;
  const access = readOnly ? ',readonly=on' : '';
  return [
    ['nbdinfo', `nbdinfo ${shellWord(printable(uri))}`],
    ['qemu', `qemu-system-x86_64 -drive ${shellWord(`file=${printable(uri)},format=raw,if=virtio${access}`)}`],
    ['nbd-client', `nbd-client ${place} /dev/nbd0 -N ${shellWord(exportName)}${readOnly ? ' -R' : ''}`],
  ];
}

function hostAndPort(uri: string): string {
  const { hostname, port } = new URL(uri);
  return `${hostname} ${port}`;
}

/** What `volume detach` did. */
export function detachedText(detached: VolumeDetached, style: Style): string {
  const { exportName, drained, dirtyBytes, deletedVolumeId } = detached;
  if (!detached.detached) return 'There is no such export; nothing was detached.';
  const lines = [`Detached ${printable(exportName ?? '')}.`];
  if (deletedVolumeId !== null) lines.push(`Its throw-away clone ${deletedVolumeId} was deleted.`);
  else if (detached.volumeId !== null && drained) lines.push('All that was acknowledged is in the store.');
  else if (dirtyBytes > 0)
    lines.push(
      style.yellow(
        `${formatSize(dirtyBytes)} are only in the write log of this home: they go to the store when it is attached again.`,
      ),
    );
  return lines.join('\n');
}

/** The settings of a volume, each with whose it is. */
export function volumeSettingsFields(settings: VolumeSettingsDocument, style: Style): string {
  const from = (name: string): string => (settings.own.includes(name) ? '' : ' (of the gateway)');
  const readAhead = settings.readAheadBytes === 0 ? 'none' : formatSize(settings.readAheadBytes);
  return renderFields(
    [
      ['volume', `${settings.name} (${settings.volumeId})`],
      ['acknowledges', `${settings.ack}${settings.own.includes('ack') ? '' : ' (the default)'}`],
      ['upload buffer', `${formatSize(settings.bufferBytes)}${from('bufferBytes')}`],
      ['seal interval', `${formatDuration(settings.sealIntervalMs)}${from('sealIntervalMs')}`],
      ['read-ahead', `${readAhead}${from('readAheadBytes')}`],
      [
        'recovery points',
        `${recoveryPolicyText(settings.recovery)}${settings.own.includes('recovery') ? '' : ' (the default)'}`,
      ],
      ['changed', settings.changed.length === 0 ? null : settings.changed.join(', ')],
    ],
    style,
  );
}

/** The recovery points of a volume, oldest first. */
export async function recoveryPointTable(list: RecoveryPointList, style: Style, columns: number): Promise<string> {
  if (list.recoveryPoints.length === 0) return `Volume ${printable(list.name)} has no recovery points yet.`;
  return await renderTable(
    list.recoveryPoints,
    [
      { head: 'TIME (UTC)', value: (point) => point.at },
      { head: 'COMMIT', value: (point) => String(point.seq), align: 'right' },
      { head: 'SIZE', value: (point) => formatSize(point.sizeBytes), align: 'right' },
      { head: 'DATA', value: (point) => formatSize(point.mappedBytes), align: 'right' },
      { head: 'KEPT', value: (point) => (point.kept ? 'yes' : 'until the next') },
    ],
    style,
    columns,
  );
}

/** A volume, or what of a snapshot. */
function whatIs(attachment: AttachmentDocument): string {
  const { kind, name, scratchVolumeId, recoveryPointSeq } = attachment;
  const id = attachment.volumeId ?? attachment.snapshotId ?? '';
  const named = name === null ? id : printable(name);
  const of = kind === 'recoveryPoint' ? `${named} at commit ${String(recoveryPointSeq)}` : named;
  const word = { volume: 'volume', snapshot: 'snapshot', recoveryPoint: 'volume', image: 'image of' }[kind];
  return scratchVolumeId === null ? `${word} ${of}` : `${named}, a throw-away clone`;
}

type Shadow = NonNullable<AttachmentDocument['shadow']>;
/** How far the restore of an image is; null for anything else. */
export function restoreText({ restore }: AttachmentDocument): string | null {
  if (typeof restore?.doneBytes !== 'number' || restore.totalBytes === null) return null;
  if (restore.state === 'completed') return `all, to ${printable(restore.path)}`;
  const share = Math.floor((100 * restore.doneBytes) / restore.totalBytes);
  const left = restore.leftMs === null ? '' : `, ${formatDuration(restore.leftMs)} left`;
  return `${formatSize(restore.doneBytes)} of ${formatSize(restore.totalBytes)} (${String(share)} %)${left}, to ${printable(restore.path)}`;
}

/** The state of an export and why, in one line. */
export function stateText({ state, reason, retryAt, shadow }: AttachmentDocument): string {
  const follows = shadow === null ? null : shadowText(shadow);
  const reasons = [follows, reason === null ? null : printable(reason)].filter((one) => one !== null);
  const why = reasons.length === 0 ? '' : `: ${reasons.join('; ')}`;
  const again = retryAt === null ? '' : `, tried again at ${formatTime(retryAt)}`;
  return `${state}${why}${again}`;
}

/** How far the store is behind an image; null when it follows. */
export function shadowText(shadow: Shadow): string | null {
  const { phase, doneBytes, totalBytes, leftMs, touchedBytes } = shadow;
  if (phase === 'steady') return null;
  if (phase === 'pass-through')
    return `${formatSize(touchedBytes)} of the image are written and not logged, and sent later`;
  const share = totalBytes === 0 ? '' : `, ${String(Math.floor((doneBytes / totalBytes) * 100))} %`;
  const left = leftMs === null ? '' : `, ${formatDuration(Math.round(leftMs))} left`;
  const what = {
    bootstrapping: 'the image is read',
    comparing: 'the image is compared',
    resyncing: 'changes are sent',
  }[phase];
  return `${what}, ${formatSize(doneBytes)} of ${formatSize(totalBytes)}${share}${left}`;
}

/** How much is not in the store yet, and whether the buffer holds out; null where nothing is written. */
export function exposureText(attachment: AttachmentDocument): string | null {
  const { dirtyBytes, dirtyMs, fullInMs, bufferBytes, shadow } = attachment;
  if (dirtyBytes === null) return null;
  if (shadow !== null && shadow.phase !== 'steady') {
    const behind = shadowText(shadow);
    return dirtyBytes === 0 ? behind : `${formatSize(dirtyBytes)} not in the store yet; ${behind ?? ''}`;
  }
  if (dirtyBytes === 0) return 'all in the store';
  const age = dirtyMs === null ? '' : `, ${formatDuration(Math.round(dirtyMs))}`;
  const of = bufferBytes === null ? '' : ` of ${formatSize(bufferBytes)}`;
  const full = fullInMs === null ? '' : `; full in ${formatDuration(Math.round(fullInMs))}`;
  return `${formatSize(dirtyBytes)}${of} not in the store yet${age}${full}`;
}
