/** Waits until a snapshot is final. */
import { SgwError, systemClock, type Clock } from '../kit/index.ts';
import type { SnapshotCreated } from '../localapi/index.ts';
import type { Session } from './session.ts';

const PERIOD_MS = 200;

/**
 * Returns the snapshot once it is `completed`; at once when it is already.
 * @throws unavailable `snapshot-failed`; timeout `deadline-passed` after `timeoutMs`; the signal's reason.
 */
export async function waitForSnapshot(
  session: Session,
  snapshot: SnapshotCreated,
  timeoutMs: number | undefined,
  clock: Clock = systemClock,
): Promise<SnapshotCreated> {
  const startMs = clock.monotonicMs();
  let now = snapshot;
  while (now.state !== 'completed') {
    const { state } = now;
    if (state !== 'pending') {
      throw new SgwError('unavailable', 'snapshot-failed', `snapshot "${snapshot.name}" is ${state}`, {
        hint: 'Take another one with: sgw snapshot create',
        details: { snapshotId: snapshot.snapshotId },
      });
    }
    if (timeoutMs !== undefined && clock.monotonicMs() - startMs > timeoutMs) {
      throw new SgwError('timeout', 'deadline-passed', `snapshot "${snapshot.name}" is still pending`, {
        hint: 'It goes on; look at it with: sgw snapshot show',
        details: { snapshotId: snapshot.snapshotId },
      });
    }
    await clock.sleep(PERIOD_MS, session.signal);
    const shown = await session.call('snapshot.show', { snapshot: snapshot.snapshotId });
    const { creators: _creators, clones: _clones, exportable: _exportable, grants: _grants, ...summary } = shown;
    now = { ...summary, created: snapshot.created };
  }
  return now;
}
