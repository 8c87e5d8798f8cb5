/** Groups of gateways, as people write and read them. */
import { formatSize, quoted, SgwError } from '../kit/index.ts';
import type {
  GroupChanged,
  GroupCreated,
  GroupDeleted,
  GroupFailover,
  GroupList,
  GroupShown,
} from '../localapi/index.ts';
import type { Style } from './style.ts';
import { formatDuration, formatTime, plural, renderFields, renderTable, withRemarks, type Field } from './tables.ts';

type Member = Omit<GroupShown['members'][number], 'self' | 'connected'>;
type Volume = GroupCreated['volumes'][number];
type ShownVolume = GroupShown['volumes'][number];
type Gateway = NonNullable<GroupFailover['to']>;

const REPLICAS_MAX = 15;

/** How many replicas; 0: none. @throws invalid `bad-group` */
export function parseReplicas(text: string): number {
  const count = /^\d{1,4}$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (count <= REPLICAS_MAX) return count;
  throw new SgwError('invalid', 'bad-group', `--replicas can not be ${quoted(text)}`, {
    hint: `Give a number up to ${String(REPLICAS_MAX)}; 0 takes the volume out of the group.`,
    details: { value: text },
  });
}

/** A group as it is after `create`, `add`, `remove` and `assign`. */
export function groupFields(group: GroupCreated | GroupChanged, style: Style): string {
  const { name, groupId, members, volumes } = group;
  const names = new Map(members.map((member) => [member.gatewayId, member.name]));
  const outcome: Field =
    'created' in group
      ? ['created', `${formatTime(group.createdAt)} UTC${group.created ? '' : ', before'}`]
      : ['changed', group.changed ? 'yes' : 'no, it was so already'];
  const fields: Field[] = [
    ['group', `${name} (${groupId})`],
    ['members', members.map((member) => member.name).join(', ') || 'none'],
    ...volumes.map((volume): Field => [
      'volume',
      `${volume.volumeId}, export ${volume.exportName}, ${wishText(volume, names)}`,
    ]),
    outcome,
  ];
  return withRemarks(renderFields(fields, style), 'remarks' in group ? group.remarks : [], style);
}

/** What is wanted of a volume. */
function wishText(volume: Volume, names: ReadonlyMap<string, string>): string {
  const { replicas, preferredHolder, whenDegraded, ack, allowLoss } = volume;
  const parts = [
    plural(replicas, 'replica'),
    ...(preferredHolder === null ? [] : [`held by ${names.get(preferredHolder) ?? preferredHolder} if possible`]),
    ...(whenDegraded === 'stop' ? ['stops when degraded'] : []),
    ...(ack === 'log'
      ? ['acknowledged by the holder alone']
      : ack === 'store'
        ? ['acknowledged when in the store']
        : []),
    ...(allowLoss ? ['loss allowed'] : []),
  ];
  return parts.join(', ');
}

/** The groups of the account. */
export async function groupTable({ groups }: GroupList, style: Style, columns: number): Promise<string> {
  if (groups.length === 0) return 'There are no groups.';
  return await renderTable(
    groups,
    [
      { head: 'NAME', value: ({ name }) => name, isCut: true },
      { head: 'ID', value: ({ groupId }) => groupId },
      { head: 'MEMBERS', value: ({ members }) => String(members), align: 'right' },
      { head: 'VOLUMES', value: ({ volumes }) => String(volumes), align: 'right' },
      { head: 'CREATED (UTC)', value: ({ createdAt }) => formatTime(createdAt) },
    ],
    style,
    columns,
  );
}

/** A group with its members and how its volumes do. */
export async function groupText(group: GroupShown, style: Style, columns: number): Promise<string> {
  const head = renderFields(
    [
      ['group', `${group.name} (${group.groupId})`],
      ['account', group.accountId],
      ['seen by', group.live ? 'a running member' : 'the store; no daemon of a member answers here'],
    ],
    style,
  );
  const members =
    group.members.length === 0
      ? 'There are no members.'
      : await renderTable(
          group.members,
          [
            { head: 'MEMBER', value: ({ name, self }) => (self ? `${name} (this one)` : name), isCut: true },
            { head: 'ID', value: ({ gatewayId }) => gatewayId },
            { head: 'ADDRESS', value: ({ peer }) => peer ?? 'not running' },
            { head: 'CONNECTED', value: connectedText },
            { head: 'EXPORTS AT', value: ({ nbd }: Member) => nbd.join(', ') || '-', isCut: true },
          ],
          style,
          columns,
        );
  const volumes = group.volumes.map((volume) => renderFields(volumeFields(group, volume, style), style));
  const text = [head, members, ...(volumes.length === 0 ? ['It looks after no volume.'] : volumes)].join('\n\n');
  return withRemarks(text, group.remarks, style);
}

const connectedText = ({ self, connected }: GroupShown['members'][number]): string =>
  self ? '-' : connected === null ? '?' : connected ? 'yes' : 'no';

function volumeFields({ members }: GroupShown, volume: ShownVolume, style: Style): Field[] {
  const { name, volumeId, exportName, holder, epoch, inSync, replicaStates, successor, degraded, reason } = volume;
  const names = new Map(members.map((member) => [member.gatewayId, member.name]));
  const nameOf = (id: string): string => names.get(id) ?? id;
  return [
    ['volume', `${name ?? 'gone'} (${volumeId}), export ${exportName}`],
    ['wanted', wishText(volume, names)],
    ['holder', holder === null ? 'nobody' : `${holder.name}${epoch === null ? '' : `, epoch ${String(epoch)}`}`],
    ['in sync', inSync.map(nameOf).join(', ') || 'nobody'],
    ...(replicaStates ?? []).map((replica): Field => ['replica', replicaText(replica)]),
    ['next holder', successor === null ? 'nobody could take over' : successor.name],
    degraded ? ['degraded', reason ?? 'yes', style.yellow] : ['state', 'in sync', style.green],
  ];
}

function replicaText({ name, state, lagBytes, lagMs }: NonNullable<ShownVolume['replicaStates']>[number]): string {
  const lag = lagBytes === 0 ? 'nothing behind' : `${formatSize(lagBytes)} behind, ${formatDuration(lagMs)}`;
  return `${name}, ${state}, ${lag}`;
}

/** What became of a group. */
export const groupDeletedText = ({ name, deleted }: GroupDeleted): string =>
  deleted ? `Group ${name ?? ''} was deleted; its gateways and volumes stay.` : 'There is no such group.';

const gatewayText = (gateway: Gateway | null): string =>
  gateway === null ? 'nobody' : `${gateway.name} (${gateway.gatewayId})`;

/** Who holds a volume after a planned take-over. */
export const failoverFields = (result: GroupFailover, style: Style): string =>
  renderFields(
    [
      ['volume', `${result.name} (${result.volumeId})`],
      ['holder', gatewayText(result.to)],
      ['before', result.changed ? gatewayText(result.from) : 'the same: there was nothing to do'],
      ['epoch', String(result.epoch)],
      ['took', formatDuration(result.durationMs)],
    ],
    style,
  );
