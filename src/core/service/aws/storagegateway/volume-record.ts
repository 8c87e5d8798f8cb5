/** What the API notes of a volume when it comes to do with it first. */
import type { Caller } from './caller.ts';
import type { VolumeRecord } from './records.ts';
import type { ApiVolume } from './volume-directory.ts';
import { timeOf } from '../../context.ts';

/** What a volume that the API created is called there; the gateway makes names of targets of it. */
export const TARGET_TAG = 'sgw:aws-target-name';

/** As noted, or as it can be told. */
export function recordOf(
  { parts }: Caller,
  { record, volumeId, gatewayId, isAttached, kind, entry }: ApiVolume,
): VolumeRecord {
  if (record !== undefined) return record;
  return {
    ...{ volumeId, gatewayId, isAttached, kind },
    targetName: entry.tags[TARGET_TAG] ?? entry.name.toLowerCase(),
    networkInterfaceId: '127.0.0.1',
    diskId: null,
    preservesData: true,
    sourceSnapshotId: entry.parentSnapshotId,
    scheduleDescription: null,
    scheduleTags: {},
    createdAt: timeOf(parts.context),
  };
}
