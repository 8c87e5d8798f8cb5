/** What an object is, by its key (docs/formats/README.md). */
import { isSnapshotId, isVolumeId, type SnapshotId, type VolumeId } from '../../kit/index.ts';
import { keys, uploadOfKey } from '../keys.ts';

export type ObjectName =
  | { readonly kind: 'segment'; readonly volumeId: VolumeId; readonly seq: number }
  /** A block of a snapshot that is written, or was written, through the API: a segment as well. */
  | { readonly kind: 'upload'; readonly snapshotId: SnapshotId; readonly block: number }
  /** A checkpoint when it has a seq, else the own map of a snapshot, or a part of it. */
  | { readonly kind: 'map'; readonly owner: VolumeId | SnapshotId; readonly seq: number | undefined }
  | { readonly kind: 'document'; readonly owner: VolumeId | SnapshotId | undefined }
  /** Left by a probe or written by a later sgw. */
  | { readonly kind: 'unknown' };

const SEQ = /^[0-9a-f]{16}$/;
const UNKNOWN: ObjectName = { kind: 'unknown' };
const DOCUMENT_FOLDERS = new Set(['keys', 'gc', 'pins', 'restores', 'service']);

export function objectName(key: string): ObjectName {
  const [folder = '', id = '', part = '', seq = '', ...more] = key.split('/');
  if (key === keys.store || key === keys.copy) return { kind: 'document', owner: undefined };
  if (DOCUMENT_FOLDERS.has(folder)) return key.endsWith('.json') ? { kind: 'document', owner: undefined } : UNKNOWN;
  if (more.length > 0) return UNKNOWN;
  if (folder === 'volumes' && isVolumeId(id)) return volumeObject(id, part, seq);
  if (folder === 'snapshots' && isSnapshotId(id) && seq === '') return snapshotObject(id, part);
  return uploadObject(key);
}

function uploadObject(key: string): ObjectName {
  const upload = uploadOfKey(key);
  if (upload?.kind === 'block') return { kind: 'upload', snapshotId: upload.snapshotId, block: upload.block };
  if (upload?.kind === 'map') return { kind: 'map', owner: upload.snapshotId, seq: undefined };
  return UNKNOWN;
}

function snapshotObject(snapshotId: SnapshotId, part: string): ObjectName {
  if (part === 'snapshot.json') return { kind: 'document', owner: snapshotId };
  return part === 'map' ? { kind: 'map', owner: snapshotId, seq: undefined } : UNKNOWN;
}

function volumeObject(volumeId: VolumeId, part: string, name: string): ObjectName {
  if (name === '') return /^(?:volume|head|key)\.json$/.test(part) ? { kind: 'document', owner: volumeId } : UNKNOWN;
  const seq = SEQ.test(name) ? Number.parseInt(name, 16) : Number.NaN;
  if (!Number.isSafeInteger(seq)) return UNKNOWN;
  if (part === 'log') return { kind: 'segment', volumeId, seq };
  return part === 'map' ? { kind: 'map', owner: volumeId, seq } : UNKNOWN;
}
