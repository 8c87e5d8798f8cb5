/** The keys of format 1 (DESIGN section 5, docs/formats/README.md). The only place that spells them. */
import type { SnapshotId, VolumeId } from '../kit/index.ts';

/** 16 lower-case hex digits, so that byte order is numeric order. */
const seqName = (seq: number): string => seq.toString(16).padStart(16, '0');

export const keys = {
  store: 'sgw.json',
  volumes: 'volumes/',
  volume: (id: VolumeId) => `volumes/${id}/volume.json`,
  head: (id: VolumeId) => `volumes/${id}/head.json`,
  log: (id: VolumeId, seq: number) => `volumes/${id}/log/${seqName(seq)}`,
  checkpoint: (id: VolumeId, seq: number) => `volumes/${id}/map/${seqName(seq)}`,
  snapshots: 'snapshots/',
  snapshot: (id: SnapshotId) => `snapshots/${id}/snapshot.json`,
  snapshotMap: (id: SnapshotId) => `snapshots/${id}/map`,
} as const;
