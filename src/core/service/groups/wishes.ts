/** What is wanted of a volume of a group, checked and put into its document. */
import { problemOfName, SgwError } from '../../kit/index.ts';
import {
  GROUP_ACKS,
  WHEN_DEGRADED,
  type GroupDocument,
  type GroupVolume,
  type GroupVolumeWish,
} from '../../protocol/index.ts';
import { badWish, exportTaken, groupFull, notMember } from './refusals.ts';

/** Of a group. Each is connected to each. */
export const MEMBERS_MAX = 16;
const REPLICAS_MAX = MEMBERS_MAX - 1;
/** Of a group: all members read its document at each change. */
const VOLUMES_MAX = 256;

type Volumes = Pick<GroupDocument, 'groupId' | 'name' | 'members' | 'volumes'>;

/**
 * The volumes of a group, with `volumeId` as it is wanted; the same list when it is so already.
 * @throws invalid `bad-group`, `bad-name`; conflict `not-a-member`, `export-exists`; exhausted `group-full`
 */
export function withVolume(
  group: Volumes,
  entry: { readonly volumeId: GroupVolume['volumeId']; readonly name: string },
  wish: GroupVolumeWish,
): readonly GroupVolume[] {
  checkWish(wish);
  const { volumeId, name } = entry;
  const present = group.volumes.find((volume) => volume.volumeId === volumeId);
  const before: GroupVolume = present ?? { volumeId, exportName: name, ...DEFAULTS };
  const after: GroupVolume = { ...before, ...known(wish) };
  const { preferredHolder, exportName } = after;
  if (preferredHolder !== null && !group.members.some(({ gatewayId }) => gatewayId === preferredHolder))
    throw notMember(preferredHolder, group);
  const namesake = group.volumes.find((other) => other.exportName === exportName && other.volumeId !== volumeId);
  if (namesake !== undefined) throw exportTaken(exportName, namesake.volumeId);
  if (present === undefined) {
    if (group.volumes.length >= VOLUMES_MAX) throw groupFull('volumes in a group', VOLUMES_MAX);
    return [...group.volumes, after];
  }
  if (FIELDS.every((field) => before[field] === after[field])) return group.volumes;
  return group.volumes.map((volume) => (volume === present ? after : volume));
}

const DEFAULTS = {
  replicas: 1,
  preferredHolder: null,
  whenDegraded: 'continue',
  ack: 'peer',
  allowLoss: false,
} as const;
const FIELDS = ['exportName', 'replicas', 'preferredHolder', 'whenDegraded', 'ack', 'allowLoss'] as const;

/** The fields that are ones, and were given. */
const known = (wish: GroupVolumeWish): GroupVolumeWish =>
  Object.fromEntries(FIELDS.flatMap((field) => (wish[field] === undefined ? [] : [[field, wish[field]]])));

function checkWish({ exportName, replicas, preferredHolder, whenDegraded, ack, allowLoss }: GroupVolumeWish): void {
  const problem = exportName === undefined ? undefined : problemOfName(exportName);
  if (problem !== undefined) throw new SgwError('invalid', 'bad-name', `the name of the export ${problem}`);
  if (replicas !== undefined && !(Number.isSafeInteger(replicas) && replicas >= 1 && replicas <= REPLICAS_MAX))
    throw badWish(
      `a volume of a group can not have ${String(replicas).slice(0, 32)} replicas`,
      `Give 1 to ${String(REPLICAS_MAX)}.`,
    );
  if (whenDegraded !== undefined && !WHEN_DEGRADED.includes(whenDegraded))
    throw badWish('what is to be done when degraded is neither', `Give one of: ${WHEN_DEGRADED.join(', ')}.`);
  if (ack !== undefined && !GROUP_ACKS.includes(ack))
    throw badWish('what an acknowledgement is to mean is neither', `Give one of: ${GROUP_ACKS.join(', ')}.`);
  const isHolder = preferredHolder === undefined || preferredHolder === null || typeof preferredHolder === 'string';
  if (!isHolder || (allowLoss !== undefined && typeof allowLoss !== 'boolean'))
    throw badWish('what is wanted of the volume is not in its form', 'sgw may be of another version than the service.');
}
