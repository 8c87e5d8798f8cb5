/**
 * Groups of gateways (DESIGN section 10, docs/adr/0025-groups.md), as the service keeps them: who is a member, which volumes
 * a group looks after, and whether a member may take one over.
 *
 * Invariants: a gateway is in at most one group, a volume in at most one, and a name is one group's of its account (claims.ts);
 * each change of a group is one compare-and-set of its document. Who holds a volume is no matter of it: that is in the
 * volume's head, and safety is there.
 */
import { createHash } from 'node:crypto';
import { Catalog } from '../../blockstore/index.ts';
import { isVolumeId, problemOfName, SgwError, type VolumeId } from '../../kit/index.ts';
import {
  fingerprintOf,
  type GroupDocument,
  type GroupMember,
  type GroupVolumeWish,
  type MemberAddress,
} from '../../protocol/index.ts';
import { timeOf, type ServiceContext } from '../context.ts';
import { authorize, notFoundResource } from '../identity/authorization.ts';
import type { GatewayRecord, Gateways } from '../identity/gateways.ts';
import type { GatewayPrincipal } from '../identity/principal.ts';
import { serviceKeys } from '../keys.ts';
import { checkAddress } from './addresses.ts';
import { Claims } from './claims.ts';
import { documentOf, GroupDocuments, isGroupId, type StoredGroup } from './group-documents.ts';
import {
  exportHeld,
  gatewayInGroup,
  groupExists,
  groupFull,
  groupInUse,
  memberHolds,
  notMember,
  tokenReused,
  volumeInGroup,
} from './refusals.ts';
import { MEMBERS_MAX, withVolume } from './wishes.ts';

/** Of an account. */
const GROUPS_MAX = 64;
const ID_BYTES = 8;

/** The gateway that asks, and the account that it acts for. */
export type Asker = Pick<GatewayPrincipal, 'gatewayId' | 'accountId'>;

export interface GroupChange {
  readonly group: GroupDocument;
  /** False when it was so already. */
  readonly changed: boolean;
}

export class Groups {
  readonly #context: ServiceContext;
  readonly #gateways: Gateways;
  readonly #documents: GroupDocuments;
  readonly #claims: Claims;
  readonly #catalog: Catalog;
  #tell: (gatewayIds: readonly string[]) => void = () => undefined;

  constructor(context: ServiceContext, gateways: Gateways) {
    this.#context = context;
    this.#gateways = gateways;
    this.#documents = new GroupDocuments(context.blocks);
    this.#claims = new Claims(context.blocks);
    this.#catalog = new Catalog(context.blocks);
    // One that is taken away is in no group any more; one that leaves by itself was asked to leave its group first.
    gateways.beforeDeregistered(async (gatewayId, signal) => this.#forget(gatewayId, signal));
  }

  /** From now on the gateways that a change is about are told that there is one; in the embedded form nobody can. */
  tellBy(tell: (gatewayIds: readonly string[]) => void): void {
    this.#tell = tell;
  }

  /** Tells members as they were and as they are: before what comes behind the change, which may fail. */
  #told(before: GroupDocument, { group, changed }: GroupChange): void {
    const members = [...before.members, ...group.members].map(({ gatewayId }) => gatewayId);
    if (changed) this.#tell([...new Set(members)]);
  }

  /**
   * Makes a group; with a client token that was used already, the one that it made. Durable when it resolves.
   * @throws conflict `group-exists`, `client-token-reused`; invalid `bad-name`; exhausted `group-full`
   */
  async create(
    { accountId }: Asker,
    { name, clientToken }: { readonly name: string; readonly clientToken: string | null },
    signal: AbortSignal,
  ): Promise<{ readonly group: GroupDocument; readonly created: boolean }> {
    checkName(name);
    const present = await this.#documents.list(accountId, signal);
    const made = clientToken === null ? undefined : present.find((group) => group.clientToken === clientToken);
    if (made !== undefined) {
      if (made.name !== name) throw tokenReused(made);
      return { group: documentOf(made), created: false };
    }
    if (present.length >= GROUPS_MAX) throw groupFull('groups of an account', GROUPS_MAX);
    const groupId = `grp-${this.#context.blocks.random.bytes(ID_BYTES).toString('hex')}`;
    const key = nameKey(accountId, name);
    const other = await this.#claims.take(key, groupId, async (id) => this.#isThere(id, signal), signal);
    if (other !== undefined) throw groupExists({ groupId: other, name });
    const createdAt = timeOf(this.#context);
    const group = await this.#documents.create(
      { groupId, name, accountId, createdAt, members: [], volumes: [], clientToken },
      signal,
    );
    if (await this.#claims.confirm(key, groupId, true, signal)) return { group, created: true };
    await this.#documents.remove(groupId, () => undefined, signal);
    throw groupExists({ groupId: (await this.#claims.groupOf(key, signal)) ?? '', name });
  }

  /** In the order of their names. */
  async list({ accountId }: Asker, signal: AbortSignal): Promise<GroupDocument[]> {
    return (await this.#documents.list(accountId, signal)).map(documentOf);
  }

  /** By id or name. @throws notFound `group-not-found`, also of another account's */
  async find(asker: Asker, ref: string, signal: AbortSignal): Promise<GroupDocument> {
    const found = isGroupId(ref)
      ? await this.#documents.read(ref, signal)
      : (await this.#documents.list(asker.accountId, signal)).find(({ name }) => name === ref);
    if (found === undefined) throw notFoundResource({ kind: 'group', id: ref });
    const { groupId: id, accountId } = found;
    authorize({ kind: 'gateway', ...asker }, 'use', { kind: 'group', id, accountId });
    return documentOf(found);
  }

  /** The group that looks after a volume; null when none does. */
  async ofVolume(asker: Asker, volumeId: VolumeId, signal: AbortSignal): Promise<GroupDocument | null> {
    const group = isVolumeId(volumeId)
      ? await this.#claimed(serviceKeys.groupVolume(volumeId), hasVolume(volumeId), signal)
      : null;
    return group?.accountId === asker.accountId ? group : null;
  }

  /** The group that a gateway is in; null when it is in none. */
  async ofGateway(gatewayId: string, signal: AbortSignal): Promise<GroupDocument | null> {
    return await this.#claimed(serviceKeys.groupMember(gatewayId), hasMember(gatewayId), signal);
  }

  /**
   * Its members are in no group from then on. Durable when it resolves.
   * @throws notFound `group-not-found`; conflict `group-in-use` while it looks after a volume
   */
  async delete(asker: Asker, ref: string, signal: AbortSignal): Promise<GroupDocument> {
    const { groupId } = await this.find(asker, ref, signal);
    const requireUnused = (group: GroupDocument): void => {
      if (group.volumes.length > 0) throw groupInUse(group);
    };
    const group = await this.#documents.remove(groupId, requireUnused, signal);
    this.#tell(group.members.map(({ gatewayId }) => gatewayId));
    const keys = group.members.map(({ gatewayId }) => serviceKeys.groupMember(gatewayId));
    for (const key of [...keys, nameKey(group.accountId, group.name)]) await this.#claims.release(key, groupId, signal);
    return group;
  }

  /**
   * Makes a gateway of the account a member, by id or name. Durable when it resolves.
   * @throws notFound `group-not-found`, `gateway-not-found`; conflict `gateway-in-group`, `ambiguous-name`; exhausted `group-full`
   */
  async add(
    asker: Asker,
    { group: ref, gateway }: { readonly group: string; readonly gateway: string },
    signal: AbortSignal,
  ): Promise<GroupChange> {
    const group = await this.find(asker, ref, signal);
    const { groupId } = group;
    const record = await this.#requireGateway(asker, gateway, signal);
    const { gatewayId } = record;
    const key = serviceKeys.groupMember(gatewayId);
    await this.#take(key, groupId, hasMember(gatewayId), (other) => gatewayInGroup(gatewayId, other), signal);
    const done = await this.#documents.change(groupId, (now) => withMember(now, record), signal);
    this.#told(group, done);
    if (await this.#claims.confirm(key, groupId, done.changed, signal)) return done;
    await this.#documents.change(groupId, (now) => withoutMember(now, gatewayId), signal);
    throw gatewayInGroup(gatewayId, (await this.ofGateway(gatewayId, signal)) ?? done.group);
  }

  /**
   * Durable when it resolves. Volumes that were to be held by it are held by whoever does.
   * @throws notFound `group-not-found`; conflict `not-a-member`, `member-holds-volumes`
   */
  async remove(
    asker: Asker,
    { group: ref, gateway }: { readonly group: string; readonly gateway: string },
    signal: AbortSignal,
  ): Promise<GroupChange> {
    const group = await this.find(asker, ref, signal);
    const member = group.members.find(({ gatewayId, name }) => gatewayId === gateway || name === gateway);
    if (member === undefined) throw notMember(gateway, group);
    const { gatewayId } = member;
    const held = await this.#heldBy(gatewayId, group, signal);
    if (held.length > 0) throw memberHolds(gatewayId, held);
    return await this.#drop(group, gatewayId, signal);
  }

  /**
   * Has the group look after a volume of the account, or changes how. Durable when it resolves.
   * @throws notFound `group-not-found`, `volume-not-found`; conflict `volume-in-group`, `export-held`; and as `withVolume`
   */
  async assign(
    asker: Asker,
    {
      group: ref,
      volumeId,
      wish,
    }: { readonly group: string; readonly volumeId: VolumeId; readonly wish: GroupVolumeWish },
    signal: AbortSignal,
  ): Promise<GroupChange> {
    const group = await this.find(asker, ref, signal);
    const { groupId } = group;
    const entry = await this.#requireVolume(asker, volumeId, signal);
    const holder = wish.preferredHolder;
    const asked = typeof holder === 'string' ? { ...wish, preferredHolder: memberId(group, holder) } : wish;
    // First: what is refused leaves no claim.
    withVolume(group, entry, asked);
    await this.#requireName(group, volumeId, asked, signal);
    const key = serviceKeys.groupVolume(volumeId);
    await this.#take(key, groupId, hasVolume(volumeId), (other) => volumeInGroup(volumeId, other), signal);
    const put = (now: StoredGroup): StoredGroup => {
      const volumes = withVolume({ ...now, volumes: now.volumes }, entry, asked);
      return volumes === now.volumes ? now : { ...now, volumes };
    };
    const done = await this.#documents.change(groupId, put, signal);
    this.#told(group, done);
    if (await this.#claims.confirm(key, groupId, done.changed, signal)) return done;
    await this.#documents.change(groupId, (now) => withoutVolume(now, volumeId), signal);
    throw volumeInGroup(volumeId, (await this.ofVolume(asker, volumeId, signal)) ?? done.group);
  }

  /** Clients know the name by which a holder serves the volume. @throws conflict `export-held` */
  async #requireName(
    { name, volumes }: GroupDocument,
    volumeId: VolumeId,
    { exportName }: GroupVolumeWish,
    signal: AbortSignal,
  ): Promise<void> {
    const present = volumes.find((volume) => volume.volumeId === volumeId);
    if (present === undefined || exportName === undefined || exportName === present.exportName) return;
    if ((await this.holderOf(volumeId, signal)) !== null) throw exportHeld(name, present);
  }

  /** The group does not look after the volume any more. Durable when it resolves. @throws notFound `group-not-found` */
  async unassign(
    asker: Asker,
    { group: ref, volumeId }: { readonly group: string; readonly volumeId: VolumeId },
    signal: AbortSignal,
  ): Promise<GroupChange> {
    const group = await this.find(asker, ref, signal);
    const { groupId } = group;
    if (!isVolumeId(volumeId)) throw notFoundResource({ kind: 'volume', id: volumeId });
    const done = await this.#documents.change(groupId, (now) => withoutVolume(now, volumeId), signal);
    this.#told(group, done);
    await this.#claims.release(serviceKeys.groupVolume(volumeId), groupId, signal);
    return done;
  }

  /** Notes where a member is reached; null when it is in no group. @throws invalid `bad-group` */
  async announce(
    gateway: GatewayRecord,
    address: MemberAddress | null,
    signal: AbortSignal,
  ): Promise<GroupDocument | null> {
    const checked = checkAddress(address);
    const { gatewayId } = gateway;
    const mine = await this.ofGateway(gatewayId, signal);
    if (mine === null) return null;
    const change = (now: StoredGroup): StoredGroup => withAddress(now, gateway, checked);
    return (await this.#documents.change(mine.groupId, change, signal)).group;
  }

  /** @throws conflict `gateway-in-group` */
  async requireNone(gatewayId: string, signal: AbortSignal): Promise<void> {
    const group = await this.ofGateway(gatewayId, signal);
    if (group !== null) throw gatewayInGroup(gatewayId, group);
  }

  async #forget(gatewayId: string, signal: AbortSignal): Promise<void> {
    const group = await this.ofGateway(gatewayId, signal);
    if (group !== null) await this.#drop(group, gatewayId, signal);
  }

  async #drop(group: GroupDocument, gatewayId: string, signal: AbortSignal): Promise<GroupChange> {
    const { groupId } = group;
    const done = await this.#documents.change(groupId, (now) => withoutMember(now, gatewayId), signal);
    this.#told(group, done);
    await this.#claims.release(serviceKeys.groupMember(gatewayId), groupId, signal);
    return done;
  }

  /** @throws what `refusal` makes of the group that has it */
  async #take(
    key: string,
    groupId: string,
    has: Has,
    refusal: (other: GroupDocument) => SgwError,
    signal: AbortSignal,
  ): Promise<void> {
    const hasIt = async (id: string): Promise<boolean> => {
      const group = await this.#documents.read(id, signal);
      return group !== undefined && has(group);
    };
    const other = await this.#claims.take(key, groupId, hasIt, signal);
    if (other === undefined) return;
    const group = await this.#documents.read(other, signal);
    if (group !== undefined) throw refusal(group);
    throw new SgwError('unavailable', 'document-contended', `group ${other} is being deleted`, { hint: 'Try again.' });
  }

  async #claimed(key: string, has: Has, signal: AbortSignal): Promise<GroupDocument | null> {
    const groupId = await this.#claims.groupOf(key, signal);
    const group = groupId === null ? undefined : await this.#documents.read(groupId, signal);
    return group !== undefined && has(group) ? documentOf(group) : null;
  }

  async #isThere(groupId: string, signal: AbortSignal): Promise<boolean> {
    return (await this.#documents.read(groupId, signal)) !== undefined;
  }

  async #requireGateway({ accountId }: Asker, ref: string, signal: AbortSignal): Promise<GatewayRecord> {
    const byId = await this.#gateways.find(ref, signal);
    const isIt = (gateway: GatewayRecord | undefined): gateway is GatewayRecord =>
      gateway?.state === 'active' && gateway.accountId === accountId;
    if (isIt(byId)) return byId;
    const named = (await this.#gateways.list(accountId, signal)).filter(
      (gateway) => isIt(gateway) && gateway.gatewayName === ref,
    );
    const [first, ...others] = named;
    if (first === undefined) throw notFoundResource({ kind: 'gateway', id: ref });
    if (others.length === 0) return first;
    const ids = named.map(({ gatewayId }) => gatewayId);
    throw new SgwError(
      'conflict',
      'ambiguous-name',
      `${String(ids.length)} gateways are called "${ref}": ${ids.join(', ')}`,
      {
        hint: 'Give the id of the gateway.',
        details: { ref, ids },
      },
    );
  }

  /** @throws notFound `volume-not-found`, also of another account's */
  async #requireVolume(
    asker: Asker,
    volumeId: VolumeId,
    signal: AbortSignal,
  ): Promise<{ readonly volumeId: VolumeId; readonly name: string }> {
    if (!isVolumeId(volumeId)) throw notFoundResource({ kind: 'volume', id: volumeId });
    const entry = await this.#catalog.getVolume(volumeId, signal);
    if (entry.state === 'deleted') throw notFoundResource({ kind: 'volume', id: volumeId });
    authorize({ kind: 'gateway', ...asker }, 'use', { kind: 'volume', id: volumeId, accountId: entry.accountId });
    return { volumeId, name: entry.name };
  }

  /** Volumes of the group whose head names the gateway. One that is gone or damaged is held by nobody. */
  async #heldBy(gatewayId: string, { volumes }: GroupDocument, signal: AbortSignal): Promise<VolumeId[]> {
    const held: VolumeId[] = [];
    for (const { volumeId } of volumes) if ((await this.holderOf(volumeId, signal)) === gatewayId) held.push(volumeId);
    return held;
  }

  /** Whom the volume's head names; null: nobody. */
  async holderOf(volumeId: VolumeId, signal: AbortSignal): Promise<string | null> {
    try {
      return (await this.#catalog.headOf(volumeId, signal)).holder?.gatewayId ?? null;
    } catch (error) {
      if (error instanceof SgwError && error.kind === 'corrupt') return null;
      throw error;
    }
  }
}

type Has = (group: Pick<GroupDocument, 'members' | 'volumes'>) => boolean;

const hasMember =
  (gatewayId: string): Has =>
  ({ members }) =>
    members.some((member) => member.gatewayId === gatewayId);
const hasVolume =
  (volumeId: VolumeId): Has =>
  ({ volumes }) =>
    volumes.some((volume) => volume.volumeId === volumeId);

/** With the gateway as a member, as it is called and proves itself now. @throws exhausted `group-full` */
function withMember(now: StoredGroup, gateway: GatewayRecord): StoredGroup {
  const member = memberOf(gateway);
  const present = now.members.find(({ gatewayId }) => gatewayId === member.gatewayId);
  if (present === undefined) {
    if (now.members.length >= MEMBERS_MAX) throw groupFull('members in a group', MEMBERS_MAX);
    return { ...now, members: [...now.members, member] };
  }
  if (present.name === member.name && present.keyFingerprint === member.keyFingerprint) return now;
  const { address } = present;
  return { ...now, members: now.members.map((each) => (each === present ? { ...member, address } : each)) };
}

function withAddress(now: StoredGroup, gateway: GatewayRecord, address: MemberAddress | null): StoredGroup {
  const { gatewayId } = gateway;
  const known = now.members.some((member) => member.gatewayId === gatewayId) ? withMember(now, gateway) : now;
  const present = known.members.find((member) => member.gatewayId === gatewayId);
  if (present === undefined || JSON.stringify(present.address) === JSON.stringify(address)) return known;
  return { ...known, members: known.members.map((each) => (each === present ? { ...each, address } : each)) };
}

function withoutMember(now: StoredGroup, gatewayId: string): StoredGroup {
  if (!hasMember(gatewayId)(now)) return now;
  return {
    ...now,
    members: now.members.filter((member) => member.gatewayId !== gatewayId),
    volumes: now.volumes.map((volume) =>
      volume.preferredHolder === gatewayId ? { ...volume, preferredHolder: null } : volume,
    ),
  };
}

const withoutVolume = (now: StoredGroup, volumeId: VolumeId): StoredGroup =>
  hasVolume(volumeId)(now) ? { ...now, volumes: now.volumes.filter((volume) => volume.volumeId !== volumeId) } : now;

const memberOf = ({ gatewayId, gatewayName, publicKey }: GatewayRecord): GroupMember => ({
  ...{ gatewayId, name: gatewayName, keyFingerprint: fingerprintOf(publicKey) },
  address: null,
});

/** @throws conflict `not-a-member` */
function memberId(group: GroupDocument, ref: string): string {
  const member = group.members.find(({ gatewayId, name }) => gatewayId === ref || name === ref);
  if (member === undefined) throw notMember(ref, group);
  return member.gatewayId;
}

function nameKey(accountId: string, name: string): string {
  return serviceKeys.groupName(accountId, createHash('sha256').update(name, 'utf8').digest('hex').slice(0, 32));
}

function checkName(name: string): void {
  const problem = isGroupId(name) ? 'looks like an id' : problemOfName(name);
  if (problem !== undefined) throw new SgwError('invalid', 'bad-name', `the name of the group ${problem}`);
}
