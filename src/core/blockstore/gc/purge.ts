/**
 * What gc ends before it marks: things that were begun and left, and volumes whose time for undelete is over. Each is one
 * compare-and-set, so that whoever goes on with it at the same moment either is first, or learns that it is over (C11).
 */
import { toSgwError, type SnapshotId, type VolumeId } from '../../kit/index.ts';
import { Catalog } from '../catalog.ts';
import { changeDocument, createDocument, readDocument } from '../documents.ts';
import type { SnapshotEntry, VolumeEntry } from '../entries.ts';
import { keys } from '../keys.ts';
import { withSignal, type BlockStoreOptions } from '../options.ts';
import { eachRestore, removeRestore } from '../restores.ts';
import { expired, isUpload } from '../upload-entry.ts';
import type { CondemnedList } from './condemned.ts';

/** How long a deleted volume can be undeleted. */
export const UNDELETE_MS = 7 * 24 * 60 * 60_000;

/** Until when a volume that was deleted then can be undeleted. */
export const undeleteUntil = (deletedAt: string, undeleteMs = UNDELETE_MS): Date =>
  new Date(Date.parse(deletedAt) + undeleteMs);

/** Ends the snapshots and creations that earlier marks have seen under way since that time or before. */
export async function endInterrupted(
  options: BlockStoreOptions,
  list: CondemnedList,
  untilMs: number,
  signal?: AbortSignal,
): Promise<void> {
  for (const [id, sinceMs] of list.pending) if (sinceMs <= untilMs) await failPending(options, id, signal);
  for (const [id, sinceMs] of list.creating) if (sinceMs <= untilMs) await refuseCreation(options, id, signal);
}

async function failPending(options: BlockStoreOptions, id: SnapshotId, signal?: AbortSignal): Promise<void> {
  const fail = (now: SnapshotEntry): SnapshotEntry =>
    now.state === 'pending' && !isUpload(now)
      ? { ...now, state: 'failed', reason: 'the process that made it was stopped' }
      : now;
  await changeIfPresent<SnapshotEntry>(options, keys.snapshot(id), fail, signal);
}

/** Gives up the snapshots that were being written through the API (C29), and whose time is over. Returns how many. */
export async function endExpiredUploads(
  options: BlockStoreOptions,
  snapshots: Iterable<SnapshotEntry>,
  signal?: AbortSignal,
): Promise<number> {
  let ended = 0;
  for (const entry of snapshots) {
    const nowMs = options.clock.nowMs();
    if (expired(entry, nowMs) === entry) continue;
    const change = (now: SnapshotEntry): SnapshotEntry => expired(now, nowMs);
    const now = await changeIfPresent(options, keys.snapshot(entry.snapshotId), change, signal);
    if (now?.state === 'failed') ended += 1;
  }
  return ended;
}

/** As `changeDocument`; undefined when another gc has removed the document. */
export async function changeIfPresent<T extends object>(
  options: BlockStoreOptions,
  key: string,
  change: (value: T) => T,
  signal?: AbortSignal,
): Promise<T | undefined> {
  try {
    return await changeDocument<T>(options, key, change, signal);
  } catch (error) {
    if (toSgwError(error).code !== 'document-not-found') throw error;
    return undefined;
  }
}

/** Takes the place of the entry that the volume's creator has not written, so that it can't be written any more. */
async function refuseCreation(options: BlockStoreOptions, volumeId: VolumeId, signal?: AbortSignal): Promise<void> {
  const at = new Date(options.clock.nowMs()).toISOString();
  const entry: VolumeEntry = {
    volumeId,
    name: volumeId,
    state: 'purging',
    sizeBytes: 0,
    accountId: '',
    createdAt: at,
    deletedAt: at,
    parentSnapshotId: null,
    lineage: volumeId,
    tags: {},
    clientToken: null,
    unfinishedImport: null,
  };
  await createDocument(options, keys.volume(volumeId), entry, signal);
}

/** Takes the volumes whose time for undelete is over out of the roots, for good. Returns their ids. */
export async function purgeDeleted(
  options: BlockStoreOptions,
  undeleteMs: number,
  signal?: AbortSignal,
): Promise<VolumeId[]> {
  const nowMs = options.clock.nowMs();
  const isOver = ({ state, deletedAt }: VolumeEntry): boolean =>
    state === 'deleted' && deletedAt !== null && undeleteUntil(deletedAt, undeleteMs).getTime() <= nowMs;
  const { entries } = await new Catalog(options).surveyVolumes({ includeDeleted: true, ...withSignal(signal) });
  const purged: VolumeId[] = [];
  for (const { volumeId } of entries.filter(isOver)) {
    const purge = (now: VolumeEntry): VolumeEntry => (isOver(now) ? { ...now, state: 'purging' } : now);
    const now = await changeIfPresent<VolumeEntry>(options, keys.volume(volumeId), purge, signal);
    if (now?.state === 'purging') purged.push(volumeId);
  }
  return purged;
}

/** Removes restores that have ended, once their snapshot is gone: until then their profile is of use. */
export async function removeEndedRestores(options: BlockStoreOptions, signal?: AbortSignal): Promise<void> {
  for await (const { restoreId, snapshotId, state } of eachRestore(options, undefined, signal)) {
    if (state === 'restoring') continue;
    const snapshot = await readDocument<SnapshotEntry>(options, keys.snapshot(snapshotId), signal);
    if (snapshot?.value.state !== 'completed') await removeRestore(options, restoreId, signal);
  }
}
