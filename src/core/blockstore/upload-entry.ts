/** What a snapshot's entry says of how it is written through the API (C29). */
import type { SnapshotEntry, UploadRecord } from './entries.ts';

/** A snapshot with an upload. */
export type UploadEntry = SnapshotEntry & { readonly upload: UploadRecord };

export const isUpload = (entry: SnapshotEntry): entry is UploadEntry => entry.upload !== undefined;

/**
 * What is written to a volume of the block API, and is no snapshot yet. Nobody but the service looks at it: not for snapshots
 * are such listed, nor found by their ids.
 */
export const isOpenSession = ({ state, upload }: SnapshotEntry): boolean =>
  upload?.session !== undefined && state === 'pending';

/** The entry as it is to be at that time: failed once its deadline is over. */
export function expired<E extends SnapshotEntry>(entry: E, nowMs: number): E {
  const { upload } = entry;
  if (upload === undefined || entry.state !== 'pending' || Date.parse(upload.deadline) > nowMs) return entry;
  const minutes = String(Math.round(upload.timeoutMs / 60_000));
  const reason =
    upload.state === 'open' ? `no block was written to it for ${minutes} minutes` : 'no server completed it in time';
  return { ...entry, state: 'failed', reason };
}
