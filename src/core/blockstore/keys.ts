/** The keys of format 1 (DESIGN section 5, docs/formats/README.md). The only place that spells them. */
import { isVolumeId, type SnapshotId, type VolumeId } from '../kit/index.ts';

/** 16 lower-case hex digits, so that byte order is numeric order. */
const seqName = (seq: number): string => seq.toString(16).padStart(16, '0');

export const keys = {
  store: 'sgw.json',
  /** How the key of an account is kept; in a store with a key. */
  accountKey: (keyId: string) => `keys/${keyId}.json`,
  volumes: 'volumes/',
  volume: (id: VolumeId) => `volumes/${id}/volume.json`,
  /** The volume's data key, wrapped; in a store with a key. */
  volumeKey: (id: VolumeId) => `volumes/${id}/key.json`,
  head: (id: VolumeId) => `volumes/${id}/head.json`,
  /** The log as a whole: what its objects' keys begin with. */
  logOf: (id: VolumeId) => `volumes/${id}/log`,
  log: (id: VolumeId, seq: number) => `volumes/${id}/log/${seqName(seq)}`,
  checkpoint: (id: VolumeId, seq: number) => `volumes/${id}/map/${seqName(seq)}`,
  snapshots: 'snapshots/',
  snapshot: (id: SnapshotId) => `snapshots/${id}/snapshot.json`,
  /** What gc has purged, by day. */
  purged: 'gc/purged/',
  snapshotMap: (id: SnapshotId) => `snapshots/${id}/map`,
} as const;

/** The volume that an object under `volumes/` belongs to; undefined for other keys. */
export function volumeOfKey(key: string): VolumeId | undefined {
  const [folder, id] = key.split('/');
  return folder === keys.volumes.slice(0, -1) && id !== undefined && isVolumeId(id) ? id : undefined;
}
