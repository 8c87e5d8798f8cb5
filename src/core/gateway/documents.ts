/** Turns catalog entries into the documents of the local API. */
import { PAGE_BYTES, type DamagedEntry, type Head, type SnapshotEntry, type VolumeEntry } from '../blockstore/index.ts';
import { Semaphore, SgwError, type SnapshotId, type VolumeId } from '../kit/index.ts';
import type { SnapshotSummary, VolumeSummary } from '../localapi/index.ts';
import { heldRemark, isHeldElsewhere, type Session } from './session.ts';

const READS_AT_ONCE = 16;

/**
 * The head is the truth about size and mapped pages; the catalog's size is a hint (C9). What this process serves is ahead of its
 * head, which is that of the last checkpoint.
 */
export function volumeSummary({ serving }: Session, entry: VolumeEntry, head: Head): VolumeSummary {
  const stats = serving?.ofVolume(entry.volumeId)?.volume?.stats;
  // An image that is served without the store (C22) knows nothing of what that has.
  const live = stats !== undefined && stats.epoch > 0 ? stats : undefined;
  return {
    volumeId: entry.volumeId,
    name: entry.name,
    state: entry.state === 'purging' ? 'deleted' : entry.state,
    sizeBytes: live?.sizeBytes ?? head.checkpoint.sizeBytes,
    mappedBytes: live?.mappedBytes ?? head.checkpoint.mappedPages * PAGE_BYTES,
    accountId: entry.accountId,
    createdAt: entry.createdAt,
    parentSnapshotId: entry.parentSnapshotId,
    tags: entry.tags,
  };
}

/** The volume as it is now in the store, or, when this process serves it, as it is served. */
export async function readVolumeSummary(
  session: Session,
  entry: VolumeEntry,
  signal: AbortSignal,
): Promise<VolumeSummary> {
  return volumeSummary(session, entry, await session.catalog.headOf(entry.volumeId, signal));
}

export interface VolumeSummaries {
  /** Those of damaged volumes last. */
  readonly summaries: VolumeSummary[];
  /** One for each damaged volume, and to a reader for each that somebody has open. */
  readonly remarks: string[];
  readonly unfinished: readonly VolumeEntry[];
}

/** All volumes, with a bounded number of reads at once. A volume whose documents are damaged hides no other. */
export async function readVolumeSummaries(
  session: Session,
  options: { readonly includeDeleted?: boolean; readonly signal: AbortSignal },
): Promise<VolumeSummaries> {
  const slots = new Semaphore(READS_AT_ONCE);
  const { entries, damaged } = await session.catalog.surveyVolumes(options);
  const remarks: string[] = [];
  const read = async (entry: VolumeEntry): Promise<VolumeSummary> => {
    const release = await slots.acquire(1, options.signal);
    try {
      const head = await session.catalog.headOf(entry.volumeId, options.signal);
      if (session.isReader === true && isHeldElsewhere(session, head))
        remarks.push(heldRemark(entry.name, head.holder));
      return volumeSummary(session, entry, head);
    } catch (error) {
      if (!(error instanceof SgwError) || error.kind !== 'corrupt') throw error;
      remarks.push(damageRemark('Volume', entry.volumeId, error));
      const { volumeId, name, sizeBytes, accountId, createdAt, parentSnapshotId, tags } = entry;
      return {
        volumeId,
        name,
        state: 'damaged',
        sizeBytes,
        mappedBytes: 0,
        accountId,
        createdAt,
        parentSnapshotId,
        tags,
      };
    } finally {
      release();
    }
  };
  const readable = await Promise.all(entries.map(read));
  return {
    summaries: [...readable, ...damaged.map(damagedVolume)],
    remarks: [...damaged.map(({ id, error }) => damageRemark('Volume', id, error)), ...remarks.sort()],
    unfinished: entries.filter((entry) => entry.unfinishedImport !== null),
  };
}

/** The beginning of time, where a document must have a time and none is known. */
const UNKNOWN_TIME = new Date(0).toISOString();
/** No name can be this. */
const UNKNOWN_NAME = '?';

const damagedVolume = ({ id }: DamagedEntry<VolumeId>): VolumeSummary => ({
  volumeId: id,
  name: UNKNOWN_NAME,
  state: 'damaged',
  sizeBytes: 0,
  mappedBytes: 0,
  accountId: '',
  createdAt: UNKNOWN_TIME,
  parentSnapshotId: null,
  tags: {},
});

export const damagedSnapshot = ({ id }: DamagedEntry<SnapshotId>): SnapshotSummary => ({
  snapshotId: id,
  name: UNKNOWN_NAME,
  state: 'damaged',
  volumeId: '',
  volumeName: UNKNOWN_NAME,
  sizeBytes: 0,
  mappedBytes: 0,
  seq: 0,
  accountId: '',
  createdAt: UNKNOWN_TIME,
  completedAt: null,
  description: '',
  tags: {},
  scheduleId: null,
  verified: null,
});

/** What to tell people of a damaged entry. */
export const damageRemark = (kind: 'Volume' | 'Snapshot', id: string, error: SgwError): string =>
  `${kind} ${id} is damaged: ${error.message}.`;

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
    scheduleId: entry.schedule?.scheduleId ?? null,
    verified: entry.verified ?? null,
  };
}
