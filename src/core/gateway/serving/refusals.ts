/** What attaching and detaching are refused with. */
import { SgwError } from '../../kit/index.ts';
import type { AttachmentState } from '../../state/index.ts';
import type { Attachment } from './attachment.ts';
import { namesSame } from './wishes.ts';

/** Makes sure that `row` can be attached beside what is, by name. @throws conflict `volume-attached`, `export-exists`, `target-exists` */
export function requireFree(row: AttachmentState, attachments: ReadonlyMap<string, Attachment>): void {
  const { exportName, volumeId, imagePath, iscsi } = row;
  const all = [...attachments.values()];
  const same = attachments.get(exportName);
  const writes = row.recoveryPointSeq === null && row.scratchToken === null && volumeId !== null;
  const other = writes ? all.find((one) => one.volumeId === volumeId) : undefined;
  // Another name is no way out for a volume that is served already, in another way perhaps.
  const isSame = same !== undefined && (same === other || namesSame(same.record, row));
  if (same !== undefined) throw isSame ? alreadyAttached(same) : exportExists(same);
  const shadows = imagePath === undefined ? undefined : all.find(({ record }) => record.imagePath === imagePath);
  if (shadows !== undefined) throw alreadyAttached(shadows);
  if (other !== undefined) throw alreadyAttached(other);
  if (iscsi === null) return;
  const target = all.find(({ record }) => record.iscsi?.targetName === iscsi.targetName);
  if (target !== undefined) throw targetExists(iscsi.targetName, target);
}

export function alreadyAttached({ name, record, volumeId }: Attachment): SgwError {
  const what = volumeId === null ? `snapshot ${record.snapshotId ?? ''}` : `volume ${volumeId}`;
  return new SgwError('conflict', 'volume-attached', `${what} is attached already, as export ${name}`, {
    hint: `Detach it first: sgw volume detach ${name}`,
    details: { exportName: name, ...(volumeId === null ? {} : { volumeId }) },
  });
}

export function exportExists({ name }: Attachment): SgwError {
  return new SgwError('conflict', 'export-exists', `the export name "${name}" is taken`, {
    hint: 'Choose another one with --export-name.',
    details: { exportName: name },
  });
}

function targetExists(name: string, { name: exportName }: Attachment): SgwError {
  return new SgwError('conflict', 'target-exists', `the target name ${name} is taken by export ${exportName}`, {
    hint: 'Choose another one with --target-name.',
    details: { target: name, exportName },
  });
}

export function clientsConnected({ name, clients }: Attachment): SgwError {
  const who = clients === 1 ? '1 client uses' : `${String(clients)} clients use`;
  return new SgwError('conflict', 'clients-connected', `${who} export ${name}`, {
    hint: 'Disconnect them first, or let them go with --force: what they have written is kept.',
    details: { exportName: name, clients },
  });
}

export const ending = ({ name }: Attachment): SgwError =>
  new SgwError('conflict', 'export-ending', `export ${name} is being detached already`, {
    details: { exportName: name },
  });

export const noExport = (name: string): SgwError =>
  new SgwError('notFound', 'export-not-found', `there is no export "${name}"`, { details: { name } });

export const stopped = (): SgwError => new SgwError('unavailable', 'gateway-stopped', 'the gateway serves nothing now');

export const suspended = (): SgwError =>
  new SgwError('unavailable', 'gateway-suspended', 'the gateway is suspended, and serves nothing until it is resumed', {
    hint: 'Whoever shut it down at the service has it serve again: sgw service gateway shutdown GATEWAY --resume, or StartGateway of the AWS API.',
  });
