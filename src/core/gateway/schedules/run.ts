/** One run of a schedule: a snapshot, made once however often it is tried. */
import type { SnapshotEntry, VolumeEntry } from '../../blockstore/index.ts';
import { SgwError, toSgwError, type VolumeId } from '../../kit/index.ts';
import type { CallContext } from '../../localapi/index.ts';
import type { ScheduleState } from '../../state/index.ts';
import type { Session } from '../session.ts';
import { takeScheduled } from '../snapshots.ts';

const POLL_FIRST_MS = 250;
const POLL_MAX_MS = 30_000;

export interface Run {
  readonly volume: VolumeEntry;
  /** Pending still where the volume's holder has to bring it to the store first. */
  readonly snapshot: SnapshotEntry;
}

/**
 * Makes the snapshot of the run that is owed for `slotMs`. Durable when it resolves.
 * @throws notFound `volume-not-found`, also of a deleted volume; what `snapshot create` throws
 */
export async function beginRun(
  session: Session,
  volumeId: VolumeId,
  { scheduleId, runs }: Pick<ScheduleState, 'scheduleId' | 'runs'>,
  slotMs: number,
  call: CallContext,
): Promise<Run> {
  const volume = await session.catalog.getVolume(volumeId, call.signal);
  if (volume.state === 'deleted')
    throw new SgwError('notFound', 'volume-not-found', `volume ${volume.name} was deleted`, { details: { volumeId } });
  const mark = { scheduleId, run: runs + 1, dueAt: new Date(slotMs).toISOString() };
  return { volume, snapshot: await takeScheduled(session, volume, mark, call) };
}

/**
 * Waits until what is in the snapshot is in the store. One that was deleted meanwhile is done as well.
 * @throws unavailable `snapshot-failed`, `snapshot-pending` when nobody is left who could complete it
 */
export async function untilCompleted(
  session: Session,
  begun: SnapshotEntry,
  onWait: (waitedMs: number) => void,
  { signal }: CallContext,
): Promise<SnapshotEntry> {
  const { clock } = session.blocks;
  const startedMs = clock.monotonicMs();
  let snapshot = begun;
  for (let pollMs = POLL_FIRST_MS; snapshot.state === 'pending'; pollMs = Math.min(POLL_MAX_MS, pollMs * 2)) {
    const { snapshotId, name } = snapshot;
    if (session.serving?.ofVolume(snapshot.volumeId) === undefined) throw leftPending(name, snapshotId);
    await clock.sleep(pollMs, signal);
    try {
      snapshot = await session.catalog.getSnapshot(snapshotId, signal);
    } catch (error) {
      // The store may be away: then the volume waits for it too.
      if (!['unavailable', 'timeout'].includes(toSgwError(error).kind)) throw error;
    }
    onWait(clock.monotonicMs() - startedMs);
  }
  if (snapshot.state !== 'failed') return snapshot;
  const why = snapshot.reason ?? 'no reason was given';
  throw new SgwError('unavailable', 'snapshot-failed', `snapshot ${snapshot.name} failed: ${why}`, {
    hint: 'Run the command again.',
    details: { snapshotId: snapshot.snapshotId },
  });
}

const leftPending = (name: string, snapshotId: string): SgwError =>
  new SgwError('unavailable', 'snapshot-pending', `snapshot ${name} is pending, and its volume is not attached`, {
    hint: 'Attach the volume: what it acknowledged goes to the store then.',
    details: { snapshotId },
  });
