/** Groups, as the gateway in memory has them: `rack` of this gateway and `lab-2`, which looks after `golden`; and an empty `shed`. */
import type { SgwError as SgwErrorClass } from '../../src/core/kit/index.ts';
import type { GroupChanged, GroupShown, Handlers, Input } from '../../src/core/localapi/index.ts';

const TIME = '2026-11-22T23:45:00.000Z';
const SELF = { gatewayId: 'sgw-01234567', name: 'lab' };
const OTHER = { gatewayId: 'sgw-89abcdef', name: 'lab-2' };

interface Around {
  readonly SgwError: typeof SgwErrorClass;
  readonly requireActivated: () => void;
  readonly volumeOf: (ref: string) => { readonly volumeId: string; readonly name: string };
  /** Whether a daemon runs. */
  readonly isServed: boolean;
}

type Settings = Omit<GroupChanged, 'changed' | 'remarks'>;

export function groupHandlers({
  SgwError,
  requireActivated,
  volumeOf,
  isServed,
}: Around): Pick<Handlers, Extract<keyof Handlers, `group.${string}`>> {
  const groups = new Map<string, Settings>();
  const added: { isFilled: boolean } = { isFilled: false };
  const all = (): Map<string, Settings> => {
    if (added.isFilled) return groups;
    added.isFilled = true;
    const golden = volumeOf('golden');
    groups.set('shed', settings('shed', 2));
    groups.set('rack', {
      ...settings('rack', 1),
      members: [
        { ...SELF, peer: '192.0.2.1:7070', nbd: ['unix:/home/fake/nbd.sock'] },
        { ...OTHER, peer: null, nbd: [] },
      ],
      volumes: [
        {
          ...{ volumeId: golden.volumeId, exportName: golden.name, replicas: 1, preferredHolder: null },
          ...{ whenDegraded: 'continue', ack: 'peer', allowLoss: false },
        },
      ],
    });
    return groups;
  };
  const groupOf = (ref: string): Settings => {
    requireActivated();
    const group = [...all().values()].find(({ name, groupId }) => name === ref || groupId === ref);
    if (group === undefined) throw new SgwError('notFound', 'group-not-found', `group "${ref}" does not exist`);
    return group;
  };
  const changed = (group: Settings, isChanged = true, remarks: string[] = []): GroupChanged => {
    groups.set(group.name, group);
    return { ...group, changed: isChanged, remarks };
  };
  const isOf = (ref: string) => (member: { readonly gatewayId: string; readonly name: string }) =>
    member.gatewayId === ref || member.name === ref;
  const notMember = (gateway: string) => new SgwError('conflict', 'not-a-member', `${gateway} is no member`);
  return {
    'group.create': async ({ name, ifNotExists }) => {
      requireActivated();
      const present = all().get(name);
      if (present !== undefined && ifNotExists === true) return Promise.resolve({ ...present, created: false });
      if (present !== undefined) throw new SgwError('conflict', 'group-exists', `there is a group "${name}" already`);
      return Promise.resolve({ ...settings(name, 3), created: true });
    },
    'group.list': async () => {
      requireActivated();
      const rows = [...all().values()].map(({ members, volumes, ...group }) => ({
        ...{ ...group, members: members.length, volumes: volumes.length },
      }));
      return Promise.resolve({ groups: rows });
    },
    'group.show': async ({ group = 'rack' }) => Promise.resolve(shown(groupOf(group), isServed)),
    'group.delete': async ({ group, ifExists }) => {
      requireActivated();
      if (ifExists === true && !all().has(group)) return Promise.resolve({ groupId: null, name: null, deleted: false });
      const { groupId, name, volumes } = groupOf(group);
      if (volumes.length > 0) throw new SgwError('conflict', 'group-in-use', `group "${name}" looks after a volume`);
      return Promise.resolve({ groupId, name, deleted: true });
    },
    'group.add': async ({ group, gateway }) => {
      const now = groupOf(group);
      const found = [SELF, OTHER].find(isOf(gateway));
      if (found === undefined)
        throw new SgwError('notFound', 'gateway-not-found', `gateway "${gateway}" does not exist`);
      if (now.members.some(isOf(gateway))) return Promise.resolve(changed(now, false));
      if (now.name !== 'rack') throw new SgwError('conflict', 'gateway-in-group', `${gateway} is in group "rack"`);
      return Promise.resolve(changed({ ...now, members: [...now.members, { ...found, peer: null, nbd: [] }] }));
    },
    'group.remove': async ({ group, gateway, ifExists }) => {
      const now = groupOf(group);
      if (!now.members.some(isOf(gateway))) {
        if (ifExists === true) return Promise.resolve(changed(now, false));
        throw notMember(gateway);
      }
      if (isOf(gateway)(SELF)) throw new SgwError('conflict', 'member-holds-volumes', 'gateway lab holds golden');
      return Promise.resolve(changed({ ...now, members: now.members.filter((member) => !isOf(gateway)(member)) }));
    },
    'group.assign': async (input) => {
      const now = groupOf(input.group);
      const { volumeId, name } = volumeOf(input.volume);
      const others = now.volumes.filter((volume) => volume.volumeId !== volumeId);
      if (input.replicas === 0) return Promise.resolve(changed({ ...now, volumes: others }));
      if (now.name !== 'rack' && name === 'golden')
        throw new SgwError('conflict', 'volume-in-group', 'group "rack" looks after golden');
      const holder = holderOf(input, now.members);
      if (holder === undefined) throw notMember(input.holder ?? '');
      const volume = {
        ...{ volumeId, exportName: input.exportName ?? name, replicas: input.replicas ?? 1, preferredHolder: holder },
        ...{ whenDegraded: input.whenDegraded ?? 'continue', ack: input.ack ?? 'peer' },
        allowLoss: input.allowLoss ?? false,
      } as const;
      const remarks = volume.replicas > 1 ? ['The group is too small.'] : [];
      return Promise.resolve(changed({ ...now, volumes: [...others, volume] }, true, remarks));
    },
    'group.failover': async ({ volume, to }) => {
      requireActivated();
      const { volumeId, name } = volumeOf(volume);
      if (name !== 'golden') throw new SgwError('conflict', 'volume-not-in-group', `no group looks after "${name}"`);
      const { groupId, members } = groupOf('rack');
      if (to !== undefined && !members.some(isOf(to))) throw notMember(to);
      if (!isServed) throw new SgwError('unavailable', 'daemon-needed', 'a take-over needs the gateway daemon');
      return Promise.resolve({
        ...{ volumeId, name, groupId, from: SELF, to: OTHER, epoch: 8, changed: true, durationMs: 412 },
      });
    },
  };
}

const settings = (name: string, number: number): Settings => ({
  ...{ groupId: `grp-000000000000000${String(number)}`, name, accountId: '000000000001', version: 3, createdAt: TIME },
  ...{ members: [], volumes: [] },
});

/** The id of whom the volume is to be held by; null: nobody in particular; undefined when that is no member. */
function holderOf({ holder = null }: Input<'group.assign'>, members: Settings['members']): string | null | undefined {
  if (holder === null) return null;
  return members.find(({ gatewayId, name }) => gatewayId === holder || name === holder)?.gatewayId;
}

function shown({ members, volumes, ...group }: Settings, isServed: boolean): GroupShown {
  return {
    ...group,
    members: members.map((member) => {
      const isSelf = member.gatewayId === SELF.gatewayId;
      return { ...member, self: isSelf, connected: isSelf || !isServed ? null : true };
    }),
    volumes: volumes.map((volume) => ({
      ...volume,
      ...{ name: volume.exportName, holder: SELF, epoch: 7, inSync: [SELF.gatewayId, OTHER.gatewayId] },
      replicaStates: isServed ? [{ ...OTHER, state: 'in-sync', lagBytes: 65_536, lagMs: 12 }] : null,
      ...{ successor: OTHER, degraded: false, reason: null },
    })),
    live: isServed,
    remarks: [],
  };
}
