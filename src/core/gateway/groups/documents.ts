/** Groups as the local API shows them. */
import { Semaphore, SgwError } from '../../kit/index.ts';
import type { GroupShown } from '../../localapi/index.ts';
import type { GroupDocument, GroupMember, GroupVolume } from '../../protocol/index.ts';
import type { GroupVolumeReport, Replication } from '../../replication/index.ts';
import type { Session } from '../session.ts';

const READS_AT_ONCE = 16;

type ShownVolume = GroupShown['volumes'][number];
type Named = ShownVolume['successor'];

/** The settings of a group, without what changes by itself. */
export function settingsOf(group: GroupDocument): Omit<GroupShown, 'members' | 'volumes' | 'live' | 'remarks'> & {
  members: { gatewayId: string; name: string; peer: string | null; nbd: string[] }[];
  volumes: GroupVolume[];
} {
  const { groupId, name, accountId, version, createdAt } = group;
  const volumes = group.volumes.map((volume) => volumeSettings(volume));
  return { groupId, name, accountId, version, createdAt, members: group.members.map(memberSettings), volumes };
}

const memberSettings = ({ gatewayId, name, address }: GroupMember) => ({
  gatewayId,
  name,
  peer: address?.peer ?? null,
  nbd: [...(address?.nbd ?? [])],
});

const volumeSettings = (volume: GroupVolume): GroupVolume => {
  const { volumeId, exportName, replicas, preferredHolder, whenDegraded, ack, allowLoss } = volume;
  return { volumeId, exportName, replicas, preferredHolder, whenDegraded, ack, allowLoss };
};

/**
 * A group with its members and how its volumes do: by the replication of this gateway where it is a member whose daemon runs,
 * else by the heads of the volumes in the store.
 */
export async function shownGroup(
  session: Session,
  replication: Replication | undefined,
  group: GroupDocument,
  signal: AbortSignal,
): Promise<GroupShown> {
  const self = session.identity.gatewayId;
  const isMember = group.members.some(({ gatewayId }) => gatewayId === self);
  const answering = isMember ? replication : undefined;
  const reports = new Map((await answering?.report())?.map((report) => [report.volume.volumeId, report]));
  const slots = new Semaphore(READS_AT_ONCE);
  const volumes = await Promise.all(
    group.volumes.map(async (volume) => {
      const release = await slots.acquire(1, signal);
      try {
        return await shownVolume(session, { group, self, report: reports.get(volume.volumeId) }, volume, signal);
      } finally {
        release();
      }
    }),
  );
  return {
    ...settingsOf(group),
    members: shownMembers(group, self, answering),
    volumes,
    live: answering !== undefined,
    remarks: remarksOn(group, volumes, self),
  };
}

/** `answering`: the member that runs here, which knows whom it is connected to. */
function shownMembers(
  { members }: GroupDocument,
  self: string,
  answering: Replication | undefined,
): GroupShown['members'] {
  const linked = new Set(answering?.linked());
  return members.map((member) => ({
    ...memberSettings(member),
    self: member.gatewayId === self,
    connected: answering === undefined || member.gatewayId === self ? null : linked.has(member.gatewayId),
  }));
}

/** A group as the member that runs here knows it by itself, while the store, or the service, can't be asked. */
export async function groupKnownHere(
  replication: Replication,
  group: GroupDocument,
  self: string,
): Promise<GroupShown> {
  const reports = await replication.report();
  return {
    ...settingsOf(group),
    members: shownMembers(group, self, replication),
    // The names of the volumes themselves are in the store.
    volumes: reports.map((report) => reportedVolume({ group, self, report }, report.volume, report.volume.exportName)),
    live: true,
    remarks: [
      'The store can not be reached: this is what this member knows, and nobody can take over before it is back.',
    ],
  };
}

interface Seen {
  readonly group: GroupDocument;
  readonly self: string;
  readonly report: GroupVolumeReport | undefined;
}

async function shownVolume(
  session: Session,
  { group, self, report }: Seen,
  volume: GroupVolume,
  signal: AbortSignal,
): Promise<ShownVolume> {
  const { catalog } = session;
  const { volumeId } = volume;
  const name = (await orUnknown(catalog.getVolume(volumeId, signal)))?.name ?? null;
  const named = (gatewayId: string | null | undefined): Named => memberNamed(group, gatewayId);
  if (report?.holder === self) return reportedVolume({ group, self, report }, volume, name);
  const head = await orUnknown(catalog.headOf(volumeId, signal));
  const holder = head?.holder ?? null;
  const inSync = [...(head?.inSync ?? [])];
  const reason = report?.reason ?? (head === undefined ? 'the volume can not be read' : degradedReason(volume, inSync));
  return {
    ...volumeSettings(volume),
    ...{ name, epoch: head?.epoch ?? null, inSync, replicaStates: null },
    holder: holder === null ? null : { gatewayId: holder.gatewayId, name: holder.name },
    successor: named(successorIn(group, inSync, holder?.gatewayId)),
    ...{ degraded: reason !== null, reason },
  };
}

/** As a running member tells of it; how far replicas are, only the holder. */
function reportedVolume(
  { group, self, report }: Seen & { readonly report: GroupVolumeReport },
  volume: GroupVolume,
  name: string | null,
): ShownVolume {
  const { holder, epoch, inSync, replicas, successor, reason } = report;
  return {
    ...volumeSettings(volume),
    ...{ name, holder: memberNamed(group, holder), epoch, inSync: [...inSync] },
    replicaStates: holder === self ? replicas.map(replicaState) : null,
    ...{ successor: memberNamed(group, successor), degraded: reason !== null, reason },
  };
}

const replicaState = ({ gatewayId, name, state, lagBytes, lagMs }: GroupVolumeReport['replicas'][number]) => ({
  ...{ gatewayId, name, state, lagBytes, lagMs },
});

/** The first of the members that may take over, in the order of candidates. */
const successorIn = (group: GroupDocument, inSync: readonly string[], holder: string | undefined): string | undefined =>
  group.members.find(({ gatewayId }) => gatewayId !== holder && inSync.includes(gatewayId))?.gatewayId;

function degradedReason({ replicas }: GroupVolume, inSync: readonly string[]): string | null {
  if (inSync.length === 0) return 'no gateway of the group has opened it yet';
  const present = inSync.length - 1;
  return present >= replicas ? null : `${String(present)} of ${String(replicas)} replicas in sync`;
}

/** A gateway by its id; one that is no member any more has no other name. */
function memberNamed({ members }: GroupDocument, gatewayId: string | null | undefined): Named {
  if (gatewayId === null || gatewayId === undefined) return null;
  return { gatewayId, name: members.find((member) => member.gatewayId === gatewayId)?.name ?? gatewayId };
}

function remarksOn(group: GroupDocument, volumes: readonly ShownVolume[], self: string): string[] {
  const gone = volumes.filter(({ name }) => name === null);
  return [
    ...group.volumes.flatMap((volume) => sizeRemark(group, volume)),
    ...addressRemarks(group, self),
    ...gone.map(
      ({ volumeId }) =>
        `Volume ${volumeId} is gone, or can not be read: sgw group assign ${group.name} ${volumeId} --replicas 0 takes it out.`,
    ),
  ];
}

/** What a group is too small for. */
export function sizeRemark({ name, members }: GroupDocument, { exportName, replicas }: GroupVolume): string[] {
  const possible = Math.max(0, members.length - 1);
  if (possible >= replicas) return [];
  const wanted = `${String(replicas)} replica${replicas === 1 ? '' : 's'}`;
  return [
    `${exportName} is to have ${wanted}, and the group has ${String(members.length)} member${members.length === 1 ? '' : 's'}: sgw group add ${name} GATEWAY.`,
  ];
}

/** A member that is only reached on its own machine, while others are elsewhere. */
function addressRemarks({ members }: GroupDocument, self: string): string[] {
  const own = members.find(({ gatewayId }) => gatewayId === self)?.address?.peer;
  const isElsewhere = members.some(({ address }) => address !== null && !isLoopback(address.peer));
  if (own === undefined || !isLoopback(own) || !isElsewhere) return [];
  return [
    `Members on other machines can not connect to this gateway at ${own}: sgw configure --peer-listen HOST:PORT, and restart it.`,
  ];
}

const isLoopback = (place: string): boolean => /^(?:127\.|localhost:|\[::1\])/.test(place);

/** Undefined where it is gone or damaged. */
async function orUnknown<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof SgwError && (error.kind === 'notFound' || error.kind === 'corrupt')) return undefined;
    throw error;
  }
}
