/** Deletes what a schedule made and does not keep any more. */
import { listRestores, type SnapshotEntry } from '../../blockstore/index.ts';
import { readPins } from '../../blockstore/gc/index.ts';
import type { CallContext } from '../../localapi/index.ts';
import type { ScheduleState } from '../../state/index.ts';
import { timestamp, type Session } from '../session.ts';
import { retained } from './retention.ts';

/**
 * Deletes the snapshots that this schedule of this volume made, and that its rules do not keep. One that was renamed is the
 * schedule's no more. One that is shared, attached, being exported, verified or restored stays for now, and is looked at again
 * after the next run. Each deletion is durable by itself, so that it may be stopped anywhere and done again.
 * `isWanted` is asked before each: whoever has said that more is kept loses no more of them.
 * @returns those deleted
 */
export async function thin(
  session: Session,
  volumeId: string,
  { scheduleId, keep }: Pick<ScheduleState, 'scheduleId' | 'keep'>,
  { signal }: CallContext,
  isWanted: () => boolean,
): Promise<SnapshotEntry[]> {
  if (keep === null) return [];
  const { catalog, blocks } = session;
  const own = (await catalog.listSnapshots({ signal })).filter(
    (entry) => entry.volumeId === volumeId && entry.schedule?.scheduleId === scheduleId && entry.state === 'completed',
  );
  const points = own.map((entry) => ({ atMs: Date.parse(entry.createdAt), id: entry.snapshotId, entry }));
  const kept = new Set(retained(points, blocks.clock.nowMs(), keep).map(({ id }) => id));
  const surplus = own.filter(({ snapshotId }) => !kept.has(snapshotId));
  if (surplus.length === 0) return [];
  const isUsed = await usesOf(session, signal);
  const deleted: SnapshotEntry[] = [];
  for (const { snapshotId, root } of surplus) {
    if (!isWanted()) break;
    if (isUsed(snapshotId, root)) continue;
    const deletedAt = timestamp(session);
    // By what it is at that moment: it may have been shared, or renamed.
    const remove = (now: SnapshotEntry): SnapshotEntry =>
      now.state === 'completed' && now.schedule?.scheduleId === scheduleId && (now.grants ?? []).length === 0
        ? { ...now, state: 'deleted', deletedAt }
        : now;
    const after = await catalog.updateSnapshot(snapshotId, remove, signal);
    if (after.state === 'deleted') deleted.push(after);
  }
  return deleted;
}

type IsUsed = (snapshotId: string, root: SnapshotEntry['root']) => boolean;

/** What is pinned, being restored, or attached here, whether it is open or not. */
async function usesOf({ blocks, serving, settings }: Session, signal: AbortSignal): Promise<IsUsed> {
  const places = (await readPins(blocks, signal)).flatMap(({ document }) => document.value.roots.map(placeOf));
  const pinned = new Set(places);
  const restores = await listRestores(blocks, undefined, signal);
  const named = new Set([
    ...restores.flatMap(({ state, snapshotId }) => (state === 'restoring' ? [snapshotId] : [])),
    ...settings.attachments.map(({ snapshotId }) => snapshotId),
  ]);
  return (snapshotId, root) =>
    named.has(snapshotId) ||
    (serving?.ofSnapshot(snapshotId) ?? []).length > 0 ||
    (root !== null && pinned.has(placeOf(root)));
}

const placeOf = ({ key, offset }: NonNullable<SnapshotEntry['root']>): string => `${key}@${String(offset)}`;
