/**
 * Throw-away clones: volumes of their own that go when they are detached. Each is created with a token that the state has
 * before it is there, so that one whose creation was interrupted is found again, and none is left behind.
 */
import { rm } from 'node:fs/promises';
import type { VolumeEntry } from '../../blockstore/index.ts';
import { SgwError, type SnapshotId, type VolumeId } from '../../kit/index.ts';
import type { CallContext } from '../../localapi/index.ts';
import type { AttachmentState } from '../../state/index.ts';
import { markDeleted } from '../garbage.ts';
import { orMissing } from '../missing.ts';
import type { Session } from '../session.ts';
import { volumeFolder } from './settings.ts';

/** Tells what a volume is for. */
const SCRATCH_TAG = 'sgw:scratch';

/** Finds the clone of `record`, or makes it. Durable when it resolves. */
export async function makeScratch(session: Session, record: AttachmentState, call: CallContext): Promise<VolumeId> {
  const existing = await findScratch(session, record, call.signal);
  if (existing !== undefined) return existing.volumeId;
  const { catalog, identity } = session;
  const token = record.scratchToken ?? '';
  if (record.snapshotId === null)
    throw new SgwError('unsupported', 'scratch-source', 'a throw-away clone is made of a snapshot', {
      hint: 'Make a snapshot, and attach that with --scratch.',
    });
  const from = await catalog.getSnapshot(record.snapshotId as SnapshotId, call.signal);
  const { volumeId } = await catalog.createVolume(
    {
      name: `${from.name.slice(0, 40)}-${token.slice(-8)}`,
      sizeBytes: from.sizeBytes,
      accountId: identity.accountId,
      clientToken: token,
      tags: { [SCRATCH_TAG]: record.exportName },
      from,
    },
    call.signal,
  );
  return volumeId;
}

async function findScratch(
  session: Session,
  { scratchToken }: AttachmentState,
  signal: AbortSignal,
): Promise<VolumeEntry | undefined> {
  const volumes = await session.catalog.listVolumes({ signal });
  return volumes.find((entry) => entry.clientToken !== null && entry.clientToken === scratchToken);
}

/** Deletes the clone of `record`, if it was ever made, with its local files. To be called while nobody serves it. */
export async function dropScratch(session: Session, record: AttachmentState, call: CallContext): Promise<void> {
  const volumeId = record.scratchVolumeId ?? (await findScratch(session, record, call.signal))?.volumeId;
  if (volumeId === undefined) return;
  const entry = await orMissing(true, async () => session.catalog.getVolume(volumeId as VolumeId, call.signal));
  if (entry !== undefined && entry.state !== 'deleted')
    await session.locks.withVolume(entry.volumeId, `deleting throw-away clone ${entry.name}`, call, () =>
      markDeleted(session, entry, true, call),
    );
  // Nothing of it is worth keeping.
  await rm(volumeFolder(session.home, volumeId), { recursive: true, force: true });
}
