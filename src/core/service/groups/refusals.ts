/** Why something of a group is refused. */
import { SgwError } from '../../kit/index.ts';
import type { GroupDocument, GroupVolume } from '../../protocol/index.ts';

type Named = Pick<GroupDocument, 'groupId' | 'name'>;

export const groupExists = ({ groupId, name }: Named): SgwError =>
  new SgwError('conflict', 'group-exists', `there is a group "${name}" already`, {
    hint: 'Choose another name, or add --if-not-exists to take the existing group.',
    details: { groupId, name },
  });

export const tokenReused = ({ groupId, name }: Named): SgwError =>
  new SgwError('conflict', 'client-token-reused', `the client token was used for group "${name}"`, {
    hint: 'Use a new token for a new request.',
    details: { groupId, name },
  });

export const gatewayInGroup = (gatewayId: string, { groupId, name }: Named): SgwError =>
  new SgwError('conflict', 'gateway-in-group', `gateway ${gatewayId} is in group "${name}"`, {
    hint: `Take it out first: sgw group remove ${name} ${gatewayId}`,
    details: { gatewayId, groupId, name },
  });

export const volumeInGroup = (volumeId: string, { groupId, name }: Named): SgwError =>
  new SgwError('conflict', 'volume-in-group', `group "${name}" looks after volume ${volumeId}`, {
    hint: `Take it out first: sgw group assign ${name} ${volumeId} --replicas 0`,
    details: { volumeId, groupId, name },
  });

export const exportHeld = (group: string, { volumeId, exportName }: GroupVolume): SgwError =>
  new SgwError('conflict', 'export-held', `volume ${volumeId} is served as "${exportName}", which its clients know`, {
    hint: `To give it another name, take it out (sgw group assign ${group} ${exportName} --replicas 0), detach it, and assign it with --export.`,
    details: { volumeId, exportName },
  });

export const groupInUse = ({ groupId, name, volumes }: GroupDocument): SgwError => {
  const [first] = volumes;
  const count = volumes.length === 1 ? 'a volume' : `${String(volumes.length)} volumes`;
  return new SgwError('conflict', 'group-in-use', `group "${name}" looks after ${count}`, {
    hint: `Take them out first: sgw group assign ${name} ${first?.exportName ?? 'VOLUME'} --replicas 0`,
    details: { groupId, volumeIds: volumes.map(({ volumeId }) => volumeId) },
  });
};

export const memberHolds = (gatewayId: string, volumeIds: readonly string[]): SgwError =>
  new SgwError('conflict', 'member-holds-volumes', `gateway ${gatewayId} holds ${volumeIds.join(', ')} of the group`, {
    hint: `Have another member take it over first: sgw group failover ${volumeIds[0] ?? 'VOLUME'}`,
    details: { gatewayId, volumeIds: [...volumeIds] },
  });

export const notMember = (gatewayId: string, { groupId, name }: Named): SgwError =>
  new SgwError('conflict', 'not-a-member', `gateway ${gatewayId.slice(0, 128)} is not a member of group "${name}"`, {
    hint: `\`sgw group show ${name}\` lists the members; \`sgw group add\` makes it one.`,
    details: { gatewayId: gatewayId.slice(0, 128), groupId },
  });

export const exportTaken = (exportName: string, volumeId: string): SgwError =>
  new SgwError('conflict', 'export-exists', `volume ${volumeId} of the group is export "${exportName}" already`, {
    hint: 'Give another one with --export.',
    details: { exportName, volumeId },
  });

export const groupFull = (what: string, limit: number): SgwError =>
  new SgwError('exhausted', 'group-full', `there is room for ${String(limit)} ${what}, and no more`, {
    hint: 'Make another group, or take something out of this one.',
  });

export const holderAlive = (volumeId: string, gatewayId: string): SgwError =>
  new SgwError('conflict', 'holder-alive', `gateway ${gatewayId} says that it holds volume ${volumeId}`, {
    hint: 'Nothing is taken from a holder that is well. `sgw group failover` moves the volume in order.',
    details: { volumeId, gatewayId },
  });

export const badWish = (message: string, hint: string): SgwError =>
  new SgwError('invalid', 'bad-group', message, { hint });
