/** What the fields of groups of gateways mean, in every document that shows them. */

/** Of the settings of a volume of a group. */
const VOLUME: Readonly<Record<string, string>> = {
  volumeId: 'id of the volume',
  exportName: 'name of its export, at every holder',
  replicas: 'how many members besides the holder are to have its records',
  preferredHolder: 'id of the member that is to hold it if it can be chosen; null: whoever does',
  whenDegraded: 'with fewer replicas in sync than there are to be: `continue`, or `stop`: nothing is acknowledged',
  ack: 'when a write is acknowledged: `peer`, in the logs of all members in sync; `log`, in that of the holder; `store`, in the object store',
  allowLoss: 'whether a take-over may lose acknowledged records that no replica has',
};

const MEMBER: Readonly<Record<string, string>> = {
  gatewayId: 'id of the gateway',
  name: 'name of the gateway',
  peer: '`HOST:PORT` that other members connect to; null while it does not run',
  nbd: 'where its exports are: `HOST:PORT`, `unix:PATH`',
};

const GROUP: Readonly<Record<string, string>> = {
  groupId: 'id of the group',
  name: 'name of the group',
  version: 'of its document; grows with every change',
  members: 'its gateways, in the order of joining, which is that of candidates',
  volumes: 'the volumes that it looks after',
};

const under = (place: string, fields: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(fields).map(([name, meaning]) => [`${place}.${name}`, meaning]));

export const GROUP_MEANINGS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    ['group', 'group-changed', 'group-created'].flatMap((id) =>
      [under(id, GROUP), under(`${id}.members[]`, MEMBER), under(`${id}.volumes[]`, VOLUME)].flatMap((fields) =>
        Object.entries(fields),
      ),
    ),
  ),
  ...under('group-list.groups[]', { ...GROUP, members: 'how many gateways', volumes: 'how many volumes' }),
  'group-list.groups': 'the groups of the account, by name',
  'group-changed.changed': 'false when it was so already',
  'group-deleted.name': 'name of the group; null when there was none',
  'group-deleted.groupId': 'id of the group; null when there was none',
  'group-deleted.deleted': 'false when `--if-exists` found none',
  'group.members[].self': 'true of the gateway that answers',
  'group.members[].connected':
    'whether the gateway that answers has a connection to it; null of itself, and where no daemon of the group answers',
  'group.volumes[].name': 'name of the volume; null when it is gone or can not be read',
  'group.volumes[].holder': 'who has it open for writing; null: nobody',
  'group.volumes[].holder.gatewayId': 'id of the gateway',
  'group.volumes[].holder.name': 'name of the gateway',
  'group.volumes[].epoch': 'of the newest opening for writing; null when it can not be read',
  'group.volumes[].inSync':
    'ids of the gateways, the holder among them, that have all that was acknowledged; empty before the first use in the group',
  'group.volumes[].replicaStates': 'how its replicas do; null where another gateway than the one that answers holds it',
  'group.volumes[].replicaStates.gatewayId': 'id of the gateway',
  'group.volumes[].replicaStates.name': 'name of the gateway',
  'group.volumes[].replicaStates.state': '`in-sync`, `catching-up` or `disconnected`',
  'group.volumes[].replicaStates.lagBytes': 'bytes of records that it does not have yet',
  'group.volumes[].replicaStates.lagMs': 'age of the oldest of them, in milliseconds',
  'group.volumes[].successor': 'who would take over; null: nobody could',
  'group.volumes[].successor.gatewayId': 'id of the gateway',
  'group.volumes[].successor.name': 'name of the gateway',
  'group.volumes[].degraded': 'fewer replicas are in sync than there are to be, or nothing is acknowledged',
  'group.volumes[].reason': 'why it is degraded; null when it is not',
  'group.live': 'whether a daemon of the group has answered; else this is what the store knows',
  'group-failover.volumeId': 'id of the volume',
  'group-failover.name': 'name of the volume',
  'group-failover.groupId': 'the group that looks after it',
  'group-failover.from': 'who held it; null: nobody',
  'group-failover.from.gatewayId': 'id of the gateway',
  'group-failover.from.name': 'name of the gateway',
  'group-failover.to': 'who holds it now',
  'group-failover.to.gatewayId': 'id of the gateway',
  'group-failover.to.name': 'name of the gateway',
  'group-failover.changed': 'false when that gateway held it already',
  peerListen: 'where members of its group connect to it, `HOST:PORT`; null: a port of this machine alone',
  onTakeover: 'program that is run once a volume that was taken over is served here; null: none',
};
