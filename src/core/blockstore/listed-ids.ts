/** Which volumes and snapshots there are, or were when they were seen last. */
import { isSnapshotId, isVolumeId, type SnapshotId, type VolumeId } from '../kit/index.ts';
import { keys } from './keys.ts';
import { withSignal, type DocumentReading } from './options.ts';

/** Ids that have a folder, and those whose entry was seen before: reading such an entry tells whether it was lost or purged. */
export async function listVolumeIds(reading: DocumentReading, signal?: AbortSignal): Promise<VolumeId[]> {
  return await idsOf(reading, keys.volumes, isVolumeId, keys.volume, signal);
}

/** As `listVolumeIds`. */
export async function listSnapshotIds(reading: DocumentReading, signal?: AbortSignal): Promise<SnapshotId[]> {
  return await idsOf(reading, keys.snapshots, isSnapshotId, keys.snapshot, signal);
}

/** Snapshots that have blocks, or parts of a map, under `uploads/`. */
export async function listUploadIds({ objects }: DocumentReading, signal?: AbortSignal): Promise<SnapshotId[]> {
  return (await Array.fromAsync(objects.listFolders(keys.uploads, withSignal(signal)))).filter(isSnapshotId);
}

async function idsOf<I extends string>(
  { objects, witness }: DocumentReading,
  prefix: string,
  isId: (text: string) => text is I,
  entryOf: (id: I) => string,
  signal: AbortSignal | undefined,
): Promise<I[]> {
  const ids = new Set((await Array.fromAsync(objects.listFolders(prefix, withSignal(signal)))).filter(isId));
  for (const key of witness?.known() ?? []) {
    const id = key.startsWith(prefix) ? (key.split('/')[1] ?? '') : '';
    if (isId(id) && key === entryOf(id)) ids.add(id);
  }
  return [...ids].sort();
}
