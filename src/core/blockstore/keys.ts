/** The keys of format 1 (DESIGN section 5, docs/formats/README.md). The only place that spells them. */
import { isVolumeId, type SnapshotId, type VolumeId } from '../kit/index.ts';

/** 16 lower-case hex digits, so that byte order is numeric order. */
const seqName = (seq: number): string => seq.toString(16).padStart(16, '0');

export const keys = {
  store: 'sgw.json',
  /** In the place that a store was copied to: how far that is. */
  copy: 'copy.json',
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
  /** What the last mark of gc found unreachable. */
  condemned: 'gc/condemned.json',
  /** Which seqs of a volume are known to be tombstones. */
  tombstones: (id: VolumeId) => `gc/tombstones/${id}.json`,
  /** What gc has purged, by day. */
  purged: 'gc/purged/',
  pins: 'pins/',
  restores: 'restores/',
  restore: (id: string) => `restores/${id}.json`,
  snapshotMap: (id: SnapshotId) => `snapshots/${id}/map`,
} as const;

/** The volume that an object under `volumes/` belongs to; undefined for other keys. */
export function volumeOfKey(key: string): VolumeId | undefined {
  const [folder, id] = key.split('/');
  return folder === keys.volumes.slice(0, -1) && id !== undefined && isVolumeId(id) ? id : undefined;
}

/** What a log or map object of a volume is; undefined for other keys. */
export function seqOfKey(key: string): { readonly kind: 'log' | 'map'; readonly seq: number } | undefined {
  const match = /^volumes\/[^/]+\/(log|map)\/([0-9a-f]{16})$/.exec(key);
  const [, kind, digits] = match ?? [];
  if (kind === undefined || digits === undefined) return undefined;
  return { kind: kind === 'log' ? 'log' : 'map', seq: Number.parseInt(digits, 16) };
}
