/** What attaching and detaching are refused with. */
import { SgwError } from '../../kit/index.ts';
import type { AttachmentState, IscsiState } from '../../state/index.ts';
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
  const taken = takenTarget(iscsi, all);
  if (taken !== undefined) throw taken;
}

/** Conflict `target-exists` when one of `others` has the target's name. */
export function takenTarget(iscsi: IscsiState | null, others: readonly Attachment[]): SgwError | undefined {
  if (iscsi === null) return undefined;
  const target = others.find(({ record }) => record.iscsi?.targetName === iscsi.targetName);
  return target === undefined ? undefined : targetExists(iscsi.targetName, target);
}

/** How what is attached comes to be so no more. */
export const endHint = ({ exportName, grouped }: Pick<AttachmentState, 'exportName' | 'grouped'>): string =>
  grouped === true
    ? `A group decides who serves it. Take it out of the group first: sgw group assign GROUP ${exportName} --replicas 0`
    : `Detach it first: sgw volume detach ${exportName}`;

export function alreadyAttached({ name, record, volumeId }: Attachment): SgwError {
  const what = volumeId === null ? `snapshot ${record.snapshotId ?? ''}` : `volume ${volumeId}`;
  return new SgwError('conflict', 'volume-attached', `${what} is attached already, as export ${name}`, {
    hint: endHint(record),
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

/** What a group looks after is served by whom the group chooses. */
export const decidedByGroup = (): SgwError =>
  new SgwError(
    'unavailable',
    'group-decides',
    'a group looks after the volume, and this gateway does not hold it now',
    {
      hint: 'sgw group show tells who does; sgw group failover VOLUME --to GATEWAY moves it.',
    },
  );

export const inGroup = ({ name, volumeId }: Attachment): SgwError =>
  new SgwError(
    'conflict',
    'volume-in-group',
    `a group looks after the volume of export ${name}, and decides who serves it`,
    {
      hint: `Move it with sgw group failover ${name}, or take it out of the group: sgw group assign GROUP ${name} --replicas 0`,
      details: { exportName: name, volumeId },
    },
  );

export const stopped = (): SgwError => new SgwError('unavailable', 'gateway-stopped', 'the gateway serves nothing now');

export const suspended = (): SgwError =>
  new SgwError('unavailable', 'gateway-suspended', 'the gateway is suspended, and serves nothing until it is resumed', {
    hint: 'Whoever shut it down at the service has it serve again: sgw service gateway shutdown GATEWAY --resume, or StartGateway of the AWS API.',
  });
