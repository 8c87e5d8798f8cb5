/**
 * Snapshots that a verb needs for a while: of a volume as it is or was, so that it can be cloned or served. They have a tag, and
 * go when nobody needs them any more; one that a kill left behind is listed as any other, and can be deleted.
 */
import { createSnapshot, type SnapshotEntry, type VolumeEntry } from '../blockstore/index.ts';
import { SgwError, type SnapshotId } from '../kit/index.ts';
import type { CallContext } from '../localapi/index.ts';
import { timestamp, type Session } from './session.ts';
import { takeSnapshot } from './snapshots.ts';

/** Tells what a snapshot is for. */
const HELPER_TAG = 'sgw:for';
const POLL_MS = 50;

/**
 * A completed snapshot of the volume, as it was at a time when that is given.
 * @throws as `takeSnapshot`; unavailable `snapshot-failed`
 */
export async function makeHelperSnapshot(
  session: Session,
  { volumeId }: VolumeEntry,
  { purpose, recoveryPoint }: { readonly purpose: string; readonly recoveryPoint?: string | undefined },
  call: CallContext,
): Promise<SnapshotEntry> {
  const { catalog, blocks } = session;
  const at = recoveryPoint === undefined ? {} : { recoveryPoint };
  const created = await takeSnapshot(session, { volume: volumeId, tags: { [HELPER_TAG]: purpose }, ...at }, call);
  for (;;) {
    const entry = await catalog.getSnapshot(created.snapshotId as SnapshotId, call.signal);
    if (entry.state === 'completed') return entry;
    if (entry.state !== 'pending')
      throw new SgwError(
        'unavailable',
        'snapshot-failed',
        `the state of the volume could not be had: ${entry.reason ?? entry.state}`,
        {
          hint: 'Run the command again.',
          details: { snapshotId: entry.snapshotId },
        },
      );
    await blocks.clock.sleep(POLL_MS, call.signal);
  }
}

/** The same of a commit that is kept, whatever is being written to the volume. @throws notFound `recovery-point-not-found` */
export async function helperSnapshotOfCommit(
  session: Session,
  volume: VolumeEntry,
  { purpose, seq }: { readonly purpose: string; readonly seq: number },
  call: CallContext,
): Promise<SnapshotEntry> {
  const { blocks, identity, locks } = session;
  const name = `recover-${blocks.random.bytes(6).toString('hex')}`;
  return await locks.withNames('snapshots', call, async () =>
    createSnapshot(blocks, {
      volume,
      name,
      accountId: identity.accountId,
      maker: identity.gatewayId,
      tags: { [HELPER_TAG]: purpose },
      recoveryPoint: { seq },
      signal: call.signal,
    }),
  );
}

/** Deletes a snapshot that was made so; another one stays. */
export async function dropHelperSnapshot(session: Session, snapshotId: SnapshotId): Promise<void> {
  const deletedAt = timestamp(session);
  const drop = (now: SnapshotEntry): SnapshotEntry =>
    HELPER_TAG in now.tags && now.state === 'completed' ? { ...now, state: 'deleted', deletedAt } : now;
  await session.catalog.updateSnapshot(snapshotId, drop);
}
