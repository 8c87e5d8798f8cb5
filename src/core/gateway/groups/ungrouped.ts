/** What is not for a volume that a group looks after: what takes it from everybody, and what the group decides. */
import { SgwError, toSgwError } from '../../kit/index.ts';
import type { VolumeEntry } from '../../blockstore/index.ts';
import type { AckClass, CallContext } from '../../localapi/index.ts';
import type { GroupDocument } from '../../protocol/index.ts';
import type { Session } from '../session.ts';

/** A service that knows no groups; a key that is lost, or a gateway that the service has let go: what is its own it may delete. */
const MEANS_NONE: ReadonlySet<string> = new Set(['message-refused', 'identity-missing', 'gateway-deregistered']);

type Volume = Pick<VolumeEntry, 'volumeId' | 'name'>;

/** The group that looks after a volume. */
export async function groupOf(
  session: Session,
  { volumeId }: Volume,
  call: CallContext,
): Promise<GroupDocument | null> {
  const { accountId } = session.identity;
  try {
    return (await session.service.ask('group.of-volume', { accountId, volumeId }, call)).group;
  } catch (error) {
    if (MEANS_NONE.has(toSgwError(error).code)) return null;
    throw error;
  }
}

/** @throws conflict `volume-in-group` */
export async function requireUngrouped(session: Session, volume: Volume, call: CallContext): Promise<void> {
  const group = await groupOf(session, volume, call);
  if (group === null) return;
  throw inGroup(group, volume, `Take it out first: sgw group assign ${group.name} ${volume.volumeId} --replicas 0`);
}

/**
 * That an ack class is for one gateway alone to say: a group says its own, which holds at each holder. Where the service can't be
 * asked it is taken as said, and does nothing for a volume of a group.
 * @throws conflict `volume-in-group`, `ack-needs-group`
 */
export async function requireOwnAck(session: Session, volume: Volume, ack: AckClass, call: CallContext): Promise<void> {
  const group = await groupOf(session, volume, call).catch((error: unknown) => {
    if (toSgwError(error).kind === 'unavailable') return null;
    throw error;
  });
  if (group !== null)
    throw inGroup(group, volume, `Say it to the group: sgw group assign ${group.name} ${volume.name} --ack ${ack}`);
  if (ack !== 'peer') return;
  const { ackNeedsGroup } = await import('../../volume/index.ts');
  throw ackNeedsGroup();
}

const inGroup = ({ name: groupName, groupId }: GroupDocument, { volumeId, name }: Volume, hint: string): SgwError =>
  new SgwError('conflict', 'volume-in-group', `group "${groupName}" looks after volume "${name}"`, {
    hint,
    details: { volumeId, groupId },
  });
