/** Sharing a snapshot with another account. The service decides who may, and keeps what was granted. */
import { isSnapshotId } from '../kit/index.ts';
import type { CallContext, Input, SnapshotSharing } from '../localapi/index.ts';
import { resolveSnapshot } from './references.ts';
import type { Session } from './session.ts';

/**
 * Lets an account see, clone and export a snapshot, as far as this account owns it or has blocks in it. Durable when it
 * resolves; `changed` is false when it was so already.
 * @throws notFound `account-not-found`, `snapshot-not-found`; denied `not-owner`; invalid `share-with-self`
 */
export async function shareSnapshot(
  session: Session,
  input: Input<'snapshot.share'>,
  call: CallContext,
): Promise<SnapshotSharing> {
  return await change(session, 'snapshot.share', input, call);
}

/** Takes back what this account granted. Durable when it resolves. @throws as `shareSnapshot` */
export async function unshareSnapshot(
  session: Session,
  input: Input<'snapshot.unshare'>,
  call: CallContext,
): Promise<SnapshotSharing> {
  return await change(session, 'snapshot.unshare', input, call);
}

async function change(
  session: Session,
  message: 'snapshot.share' | 'snapshot.unshare',
  { snapshot, accountId: withAccountId }: Input<'snapshot.share'>,
  call: CallContext,
): Promise<SnapshotSharing> {
  const { catalog, identity, service } = session;
  // By its id one can also name a snapshot that one does not see but has blocks in.
  const id = snapshot.toLowerCase();
  const snapshotId = isSnapshotId(id) ? id : (await resolveSnapshot(catalog, snapshot, call.signal)).snapshotId;
  const { accountId } = identity;
  const { name, grants, changed } = await service.ask(message, { accountId, snapshotId, withAccountId }, call);
  return { snapshotId, name, grants: [...grants], changed };
}
