/** The verbs of groups: what the service keeps, and what a daemon of a member tells or does. */
import type { VolumeEntry } from '../../blockstore/index.ts';
import { SgwError, toSgwError } from '../../kit/index.ts';
import type {
  CallContext,
  GroupChanged,
  GroupCreated,
  GroupDeleted,
  GroupFailover,
  GroupList,
  GroupShown,
  Input,
} from '../../localapi/index.ts';
import type { GroupDocument } from '../../protocol/index.ts';
import type { Replication } from '../../replication/index.ts';
import { openState } from '../../state/index.ts';
import { daemonNeeded } from '../daemon-needed.ts';
import { resolveVolume } from '../references.ts';
import { millisecondsSince, type Session } from '../session.ts';
import { groupOf } from './ungrouped.ts';
import { groupKnownHere, settingsOf, shownGroup, sizeRemark } from './documents.ts';

const TOKEN_BYTES = 16;

export interface GroupSources {
  readonly openSession: (call: CallContext) => Promise<Session>;
  /** Of a daemon whose gateway is in a group. */
  readonly replication: () => Replication | undefined;
  /** Has a daemon find out which group it is in, and with which volumes. */
  readonly regroup: () => Promise<void>;
}

export class GroupVerbs {
  readonly #sources: GroupSources;

  constructor(sources: GroupSources) {
    this.#sources = sources;
  }

  /** Durable when it resolves. @throws conflict `group-exists`, `client-token-reused`; exhausted `group-full` */
  async create(input: Input<'group.create'>, call: CallContext): Promise<GroupCreated> {
    const session = await this.#sources.openSession(call);
    const { name, ifNotExists = false } = input;
    // So that asking again after a lost answer makes no second one.
    const clientToken = input.clientToken ?? session.blocks.random.bytes(TOKEN_BYTES).toString('hex');
    try {
      const body = { ...acting(session), name, clientToken };
      const { group, created } = await session.service.ask('group.create', body, call);
      return { ...settingsOf(group), created };
    } catch (error) {
      if (!ifNotExists || toSgwError(error).code !== 'group-exists') throw error;
      return { ...settingsOf(await this.#find(session, name, call)), created: false };
    }
  }

  async list(call: CallContext): Promise<GroupList> {
    const session = await this.#sources.openSession(call);
    const { groups } = await session.service.ask('group.list', acting(session), call);
    return {
      groups: groups.map((group) => {
        const { members, volumes, ...rest } = settingsOf(group);
        return { ...rest, members: members.length, volumes: volumes.length };
      }),
    };
  }

  /**
   * While the store is out of reach, a member that runs tells what it knows of its own group.
   * @throws notFound `group-not-found`, also of a gateway that is in none, when none is named
   */
  async show({ group: ref }: Input<'group.show'>, call: CallContext): Promise<GroupShown> {
    const session = await this.#sources.openSession(call);
    try {
      return await this.#show(session, ref, call);
    } catch (error) {
      const replication = this.#sources.replication();
      const known = replication?.group();
      const isIt = ref === undefined || known?.groupId === ref || known?.name === ref;
      if (toSgwError(error).kind !== 'unavailable' || replication === undefined || known === undefined || !isIt)
        throw error;
      return await groupKnownHere(replication, known, session.identity.gatewayId);
    }
  }

  async #show(session: Session, ref: string | undefined, call: CallContext): Promise<GroupShown> {
    const group = ref === undefined ? await this.#own(session, call) : await this.#find(session, ref, call);
    const isMember = group.members.some(({ gatewayId }) => gatewayId === session.identity.gatewayId);
    // It was added while its daemon ran.
    if (isMember && this.#sources.replication() === undefined) await this.#reload();
    return await shownGroup(session, this.#sources.replication(), group, call.signal);
  }

  /** Durable when it resolves. @throws notFound `group-not-found`; conflict `group-in-use` */
  async delete({ group, ifExists = false }: Input<'group.delete'>, call: CallContext): Promise<GroupDeleted> {
    const session = await this.#sources.openSession(call);
    try {
      const removed = await session.service.ask('group.delete', { ...acting(session), group }, call);
      await this.#reload();
      return { groupId: removed.group.groupId, name: removed.group.name, deleted: true };
    } catch (error) {
      if (!ifExists || toSgwError(error).code !== 'group-not-found') throw error;
      return { groupId: null, name: null, deleted: false };
    }
  }

  /** Durable when it resolves. @throws notFound `group-not-found`, `gateway-not-found`; conflict `gateway-in-group` */
  async add({ group, gateway }: Input<'group.add'>, call: CallContext): Promise<GroupChanged> {
    const session = await this.#sources.openSession(call);
    return await this.#changed(await session.service.ask('group.add', { ...acting(session), group, gateway }, call));
  }

  /** Durable when it resolves. @throws notFound `group-not-found`; conflict `not-a-member`, `member-holds-volumes` */
  async remove({ group, gateway, ifExists = false }: Input<'group.remove'>, call: CallContext): Promise<GroupChanged> {
    const session = await this.#sources.openSession(call);
    try {
      return await this.#changed(
        await session.service.ask('group.remove', { ...acting(session), group, gateway }, call),
      );
    } catch (error) {
      if (!ifExists || toSgwError(error).code !== 'not-a-member') throw error;
      return { ...settingsOf(await this.#find(session, group, call)), changed: false, remarks: [] };
    }
  }

  /**
   * Durable when it resolves. Members hear of it within seconds.
   * @throws notFound `group-not-found`, `volume-not-found`; conflict `volume-in-group`, `not-a-member`, `export-exists`
   */
  async assign(input: Input<'group.assign'>, call: CallContext): Promise<GroupChanged> {
    const session = await this.#sources.openSession(call);
    const { group, replicas, holder, whenDegraded, allowLoss, exportName } = input;
    if (replicas === 0) return await this.#unassign(session, input, call);
    const volume = await resolveVolume(session.catalog, input.volume, call.signal);
    const { volumeId } = volume;
    const ack = input.ack ?? (await ownAckKept(session, volume, call));
    const wish = {
      ...(replicas === undefined ? {} : { replicas }),
      ...(holder === undefined ? {} : { preferredHolder: holder }),
      ...(whenDegraded === undefined ? {} : { whenDegraded }),
      ...(ack === undefined ? {} : { ack }),
      ...(allowLoss === undefined ? {} : { allowLoss }),
      ...(exportName === undefined ? {} : { exportName }),
    };
    const done = await session.service.ask('group.assign', { ...acting(session), group, volumeId, wish }, call);
    const assigned = done.group.volumes.find((volume) => volume.volumeId === volumeId);
    return await this.#changed(done, assigned === undefined ? [] : sizeRemark(done.group, assigned));
  }

  /** Also of a volume that is gone. */
  async #unassign(
    session: Session,
    { group, volume }: Input<'group.assign'>,
    call: CallContext,
  ): Promise<GroupChanged> {
    const { volumes } = await this.#find(session, group, call);
    const id = volume.toLowerCase();
    const known = volumes.find(({ volumeId, exportName }) => volumeId === id || exportName === volume);
    const volumeId = known?.volumeId ?? (await resolveVolume(session.catalog, volume, call.signal)).volumeId;
    return await this.#changed(
      await session.service.ask('group.unassign', { ...acting(session), group, volumeId }, call),
    );
  }

  /**
   * Moves a volume to another member in order, or takes it over. Resolves when that one serves it.
   * @throws unavailable `daemon-needed`; conflict `volume-not-in-group`, `not-a-member`, and what the members refuse with
   */
  async failover(input: Input<'group.failover'>, call: CallContext): Promise<GroupFailover> {
    const { openSession } = this.#sources;
    const replication = this.#sources.replication();
    const session = await openSession(call);
    const { clock } = session.blocks;
    const startedMs = clock.monotonicMs();
    const { volumeId, name } = await resolveVolume(session.catalog, input.volume, call.signal);
    const { group } = await session.service.ask('group.of-volume', { ...acting(session), volumeId }, call);
    if (group === null) throw notInGroup(name, volumeId);
    const to = input.to === undefined ? undefined : memberOf(group, input.to);
    requireOwnGroup(session, group);
    const before = await session.catalog.headOf(volumeId, call.signal);
    const isThere = to !== undefined && before.holder?.gatewayId === to;
    if (!isThere) {
      if (replication === undefined) throw daemonNeeded('a take-over');
      await replication.failOver(volumeId, to, input.acceptLoss ?? false, call.signal);
    }
    const after = isThere ? before : await session.catalog.headOf(volumeId, call.signal);
    const named = (holder: typeof after.holder): GroupFailover['to'] =>
      holder === null ? null : { gatewayId: holder.gatewayId, name: holder.name };
    return {
      ...{ volumeId, name, groupId: group.groupId, from: named(before.holder), to: named(after.holder) },
      ...{ epoch: after.epoch, changed: !isThere, durationMs: millisecondsSince(session, startedMs) },
    };
  }

  async #find(session: Session, group: string, call: CallContext): Promise<GroupDocument> {
    return await session.service.ask('group.find', { ...acting(session), group }, call);
  }

  async #own(session: Session, call: CallContext): Promise<GroupDocument> {
    const { group } = await session.service.ask('group.mine', {}, call);
    if (group !== null && group.accountId === session.identity.accountId) return group;
    const { gatewayId, name } = session.identity;
    throw new SgwError('notFound', 'group-not-found', `gateway ${name} (${gatewayId}) is in no group`, {
      hint: '`sgw group list` shows the groups; `sgw group add GROUP GATEWAY` makes a gateway a member.',
      details: { gatewayId },
    });
  }

  async #changed(
    { group, changed }: { readonly group: GroupDocument; readonly changed: boolean },
    remarks: readonly string[] = [],
  ): Promise<GroupChanged> {
    if (changed) await this.#reload();
    return { ...settingsOf(group), changed, remarks: [...remarks] };
  }

  /** It is durable: what a member could not be told at once it hears with the next heartbeat. */
  async #reload(): Promise<void> {
    await this.#sources.regroup().catch(() => undefined);
  }
}

/** A volume that is new to groups is acknowledged no sooner than this gateway has done so far. */
async function ownAckKept(session: Session, volume: VolumeEntry, call: CallContext): Promise<'store' | undefined> {
  const { gateway } = await openState(session.home);
  if (gateway?.volumeSettings[volume.volumeId]?.ack !== 'store') return undefined;
  return (await groupOf(session, volume, call)) === null ? 'store' : undefined;
}

const acting = ({ identity }: Session): { readonly accountId: string } => ({ accountId: identity.accountId });

/** @throws conflict `not-a-member` */
function memberOf({ groupId, name, members }: GroupDocument, ref: string): string {
  const member = members.find((each) => each.gatewayId === ref || each.name === ref);
  if (member !== undefined) return member.gatewayId;
  throw new SgwError('conflict', 'not-a-member', `gateway ${ref} is not a member of group "${name}"`, {
    hint: `\`sgw group show ${name}\` lists the members.`,
    details: { groupId },
  });
}

/** Members do it among themselves. @throws conflict `not-a-member` */
function requireOwnGroup({ identity }: Session, { groupId, name, members }: GroupDocument): void {
  if (members.some(({ gatewayId }) => gatewayId === identity.gatewayId)) return;
  const names = members.map((member) => member.name).join(', ');
  const message = `gateway ${identity.name} is not a member of group "${name}", which looks after the volume`;
  throw new SgwError('conflict', 'not-a-member', message, {
    hint: `Ask a member of it: ${names}.`,
    details: { groupId, gatewayId: identity.gatewayId },
  });
}

const notInGroup = (name: string, volumeId: string): SgwError =>
  new SgwError('conflict', 'volume-not-in-group', `no group looks after volume "${name}"`, {
    hint: `Have one do so: sgw group assign GROUP ${name}`,
    details: { volumeId },
  });
