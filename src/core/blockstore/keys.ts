/** The keys of format 1 (DESIGN section 5, docs/formats/README.md). The only place that spells them. */
import { isSnapshotId, isVolumeId, type SnapshotId, type VolumeId } from '../kit/index.ts';

/** 16 lower-case hex digits, so that byte order is numeric order. */
const seqName = (seq: number): string => seq.toString(16).padStart(16, '0');

/** 8 lower-case hex digits. */
const blockName = (block: number): string => block.toString(16).padStart(8, '0');

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
  /** Blocks of snapshots that are written through the API (C29). */
  uploads: 'uploads/',
  uploadsOf: (id: SnapshotId) => `uploads/${id}/`,
  /** All writes of one block of an upload begin so. */
  uploadedBlock: (id: SnapshotId, block: number) => `uploads/${id}/${blockName(block)}-`,
  /** The write of that number, from 0, of a block of an upload. */
  uploadedWrite: (id: SnapshotId, block: number, write: number) =>
    `uploads/${id}/${blockName(block)}-${write.toString(16).padStart(4, '0')}`,
  /** A part of the map of an upload, but the last one, which is the snapshot's map. Sorts behind all blocks. */
  uploadMap: (id: SnapshotId, name: string) => `uploads/${id}/map-${name}`,
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

/** What an object of the store is, by its key. */
export type KeyPlace =
  | { readonly kind: 'store' | 'pin' | 'purged' }
  | { readonly kind: 'volume' | 'head' | 'volumeKey'; readonly volumeId: VolumeId }
  | { readonly kind: 'log'; readonly volumeId: VolumeId; readonly seq: number }
  | { readonly kind: 'map'; readonly volumeId: VolumeId; readonly seq: number }
  | { readonly kind: 'snapshot'; readonly snapshotId: SnapshotId }
  | { readonly kind: 'snapshotMap'; readonly snapshotId: SnapshotId }
  | { readonly kind: 'upload'; readonly snapshotId: SnapshotId }
  | { readonly kind: 'restore'; readonly restoreId: string; readonly snapshotId: SnapshotId }
  | { readonly kind: 'accountKey'; readonly keyId: string };

const VOLUME_PARTS: Readonly<Record<string, 'volume' | 'head' | 'volumeKey'>> = {
  'volume.json': 'volume',
  'head.json': 'head',
  'key.json': 'volumeKey',
};

/** Undefined for what no gateway reads or writes: other keys, and what only gc and the service keep. */
export function placeOfKey(key: string): KeyPlace | undefined {
  if (key === keys.store) return { kind: 'store' };
  const [folder = '', id = '', ...rest] = key.split('/');
  if (folder === 'volumes') return isVolumeId(id) ? placeInVolume(key, id, rest.join('/')) : undefined;
  if (folder === 'snapshots' && isSnapshotId(id)) {
    if (rest.join('/') === 'snapshot.json') return { kind: 'snapshot', snapshotId: id };
    return rest.join('/') === 'map' ? { kind: 'snapshotMap', snapshotId: id } : undefined;
  }
  if (folder === 'uploads') {
    const upload = uploadOfKey(key);
    return upload === undefined ? undefined : { kind: 'upload', snapshotId: upload.snapshotId };
  }
  if (rest.length === 0) return placeInFolder(folder, id);
  return folder === 'gc' && id === 'purged' && rest.length === 1 ? { kind: 'purged' } : undefined;
}

function placeInVolume(key: string, volumeId: VolumeId, name: string): KeyPlace | undefined {
  const part = VOLUME_PARTS[name];
  if (part !== undefined) return { kind: part, volumeId };
  const seq = seqOfKey(key);
  return seq === undefined || !Number.isSafeInteger(seq.seq) ? undefined : { ...seq, volumeId };
}

function placeInFolder(folder: string, name: string): KeyPlace | undefined {
  if (folder === 'pins' && /^[0-9a-f]{3}\.json$/.test(name)) return { kind: 'pin' };
  const [, restoreId, snapshotId] = /^((snap-[0-9a-f]{17})-[0-9a-f]{8})\.json$/.exec(name) ?? [];
  if (folder === 'restores' && restoreId !== undefined && snapshotId !== undefined && isSnapshotId(snapshotId))
    return { kind: 'restore', restoreId, snapshotId };
  const keyId = /^(\d{12})\.json$/.exec(name)?.[1];
  return folder === 'keys' && keyId !== undefined ? { kind: 'accountKey', keyId } : undefined;
}

/** What an object under `uploads/` is; undefined for other keys. */
export type UploadName =
  | { readonly kind: 'block'; readonly snapshotId: SnapshotId; readonly block: number; readonly write: number }
  | { readonly kind: 'map'; readonly snapshotId: SnapshotId };

export function uploadOfKey(key: string): UploadName | undefined {
  const [folder, id = '', name = '', ...more] = key.split('/');
  if (`${folder ?? ''}/` !== keys.uploads || !isSnapshotId(id) || more.length > 0) return undefined;
  if (/^map-[0-9a-f]+$/.test(name)) return { kind: 'map', snapshotId: id };
  const [, block, write] = /^([0-9a-f]{8})-([0-9a-f]{4})$/.exec(name) ?? [];
  if (block === undefined || write === undefined) return undefined;
  return { kind: 'block', snapshotId: id, block: Number.parseInt(block, 16), write: Number.parseInt(write, 16) };
}
