/** Turns catalog entries into the documents of the local API. */
import { PAGE_BYTES, type Head, type SnapshotEntry, type VolumeEntry } from '../blockstore/index.ts';
import { Semaphore } from '../kit/index.ts';
import type { SnapshotSummary, VolumeSummary } from '../localapi/index.ts';
import type { Session } from './session.ts';

const READS_AT_ONCE = 16;

/** The head is the truth about size and mapped pages; the catalog's size is a hint (C9). */
export function volumeSummary(entry: VolumeEntry, head: Head): VolumeSummary {
  return {
    volumeId: entry.volumeId,
    name: entry.name,
    state: entry.state,
    sizeBytes: head.checkpoint.sizeBytes,
    mappedBytes: head.checkpoint.mappedPages * PAGE_BYTES,
    accountId: entry.accountId,
    createdAt: entry.createdAt,
    parentSnapshotId: entry.parentSnapshotId,
    tags: entry.tags,
  };
}

/** The volume as it is now in the store. */
export async function readVolumeSummary(
  session: Session,
  entry: VolumeEntry,
  signal: AbortSignal,
): Promise<VolumeSummary> {
  return volumeSummary(entry, await session.catalog.headOf(entry.volumeId, signal));
}

/** The same for many, with a bounded number of reads at once. */
export async function readVolumeSummaries(
  session: Session,
  entries: readonly VolumeEntry[],
  signal: AbortSignal,
): Promise<VolumeSummary[]> {
  const slots = new Semaphore(READS_AT_ONCE);
  return await Promise.all(
    entries.map(async (entry) => {
      const release = await slots.acquire(1, signal);
      try {
        return await readVolumeSummary(session, entry, signal);
      } finally {
        release();
      }
    }),
  );
}

export function snapshotSummary(entry: SnapshotEntry): SnapshotSummary {
  return {
    snapshotId: entry.snapshotId,
    name: entry.name,
    state: entry.state,
    volumeId: entry.volumeId,
    volumeName: entry.volumeName,
    sizeBytes: entry.sizeBytes,
    mappedBytes: entry.mappedPages * PAGE_BYTES,
    seq: entry.seq,
    accountId: entry.accountId,
    createdAt: entry.createdAt,
    completedAt: entry.completedAt,
    description: entry.description,
    tags: entry.tags,
  };
}
