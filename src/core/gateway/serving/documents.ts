/** Turns what is served into documents of the local API. */
import type { AttachmentDocument } from '../../localapi/index.ts';
import type { AttachmentState, GatewayState } from '../../state/index.ts';
import { LUN, portalsOf, reachablePortals } from './portals.ts';
import type { AttachmentReport, Listening } from './served.ts';
import { socketPath } from './settings.ts';

const STOPPED: Omit<AttachmentReport, 'record' | 'phase'> = {
  name: null,
  state: null,
  reason: null,
  hint: null,
  retryAtMs: null,
  sizeBytes: null,
  clients: 0,
  connected: [],
  iscsiRequests: 0,
  stats: null,
  restore: null,
};

/** An export as it does now. */
export function attachmentDocument(report: AttachmentReport, listening: Listening): AttachmentDocument {
  const { phase, state } = report;
  const served = state === null || state === 'closed' ? 'detaching' : state;
  return document(report, phase === 'serving' ? served : phase === 'ended' ? 'detaching' : phase, listening);
}

/** An export of a gateway whose daemon does not run. */
const stoppedDocument = (record: AttachmentState, listening: Listening): AttachmentDocument =>
  document({ ...STOPPED, record, phase: 'waiting' }, 'stopped', listening);

function document(
  report: AttachmentReport,
  state: AttachmentDocument['state'],
  listening: Listening,
): AttachmentDocument {
  const { record, stats } = report;
  return {
    exportName: record.exportName,
    kind: kindOf(record),
    name: report.name,
    volumeId: record.volumeId,
    snapshotId: record.snapshotId,
    recoveryPointSeq: record.recoveryPointSeq,
    readOnly: record.readOnly,
    image: record.imagePath ?? null,
    shadow: stats?.shadow ?? null,
    scratchVolumeId: record.scratchVolumeId,
    state,
    reason: report.reason,
    hint: report.hint,
    retryAt: report.retryAtMs === null ? null : new Date(report.retryAtMs).toISOString(),
    sizeBytes: report.sizeBytes,
    clients: report.clients,
    connected: report.connected.map(({ sinceMs, remotes, ...client }) => ({
      ...client,
      remotes: [...remotes],
      since: new Date(sinceMs).toISOString(),
    })),
    protocols: [...record.protocols],
    iscsi: iscsiOf(record, listening),
    ack: stats?.ack ?? null,
    dirtyBytes: stats?.dirtyBytes ?? null,
    dirtyMs: stats?.dirtyMs ?? null,
    bufferBytes: stats?.bufferBytes ?? null,
    fullInMs: stats?.fullInMs ?? null,
    accountId: record.accountId,
    attachedAt: record.attachedAt,
    uris: urisOf(record, listening),
    restore: restoreOf(report),
  };
}

function kindOf({ restore, snapshotId, recoveryPointSeq }: AttachmentState): AttachmentDocument['kind'] {
  if (snapshotId !== null) return restore === undefined ? 'snapshot' : 'image';
  return recoveryPointSeq === null ? 'volume' : 'recoveryPoint';
}

function iscsiOf({ iscsi }: AttachmentState, listening: Listening): AttachmentDocument['iscsi'] {
  if (iscsi === null) return null;
  const { chapInitiators, ...rest } = iscsi;
  const own = chapInitiators === undefined ? {} : { chapInitiators: [...chapInitiators] };
  return { ...rest, ...own, initiators: [...iscsi.initiators], lun: LUN, portals: reachablePortals(listening.iscsi) };
}

function restoreOf({ record, restore }: AttachmentReport): AttachmentDocument['restore'] {
  if (record.restore === undefined) return null;
  const { restoreId, path } = record.restore;
  if (restore === null)
    return {
      restoreId,
      path,
      state: null,
      doneBytes: null,
      totalBytes: null,
      leftMs: null,
      demandReads: null,
      demandReadMs: null,
    };
  const { failure: _, ...shown } = restore;
  return shown;
}

/** Everything that is attached: as it is served now, or as the state has it. */
export function exportsOf(
  home: string,
  record: Pick<GatewayState, 'attachments' | 'serving'> | null,
  served: { documents(): AttachmentDocument[] } | undefined,
): AttachmentDocument[] {
  if (served !== undefined) return served.documents();
  if (record === null) return [];
  const listening = configuredListening(home, record);
  return record.attachments.map((row) => stoppedDocument(row, listening));
}

/** Where the settings say that exports are served. */
export const configuredListening = (home: string, { serving }: Pick<GatewayState, 'serving'>): Listening => ({
  unix: socketPath(home, { serving }),
  tcp: serving.tcp,
  tls: serving.tls,
  iscsi: portalsOf(serving),
  waiting: [],
});

/** How clients name an export: over NBD as its URI specification says, over iSCSI as libiscsi does. */
function urisOf({ exportName, protocols, iscsi }: AttachmentState, listening: Listening): string[] {
  const overNbd = protocols.includes('nbd') ? nbdUris(exportName, listening) : [];
  if (iscsi === null) return overNbd;
  // libiscsi takes a colon for the beginning of the password.
  const user = iscsi.chapUser?.includes(':') === false ? `${iscsi.chapUser}@` : '';
  const portals = reachablePortals(listening.iscsi);
  return [...overNbd, ...portals.map((portal) => `iscsi://${user}${portal}/${iscsi.targetName}/${String(LUN)}`)];
}

function nbdUris(exportName: string, { unix, tcp, tls }: Listening): string[] {
  const name = encodeURIComponent(exportName);
  // Where TLS is required, it is on the socket too; where it is on, the socket takes clients in clear, whom it is private to.
  const scheme = tls === 'require' ? 'nbds+unix' : 'nbd+unix';
  const local =
    unix === null ? [] : [`${scheme}:///${name}?socket=${encodeURI(unix).replaceAll(/[?#&]/g, encodeURIComponent)}`];
  return [...local, ...tcp.map((place) => `${tls === 'off' ? 'nbd' : 'nbds'}://${place}/${name}`)];
}
