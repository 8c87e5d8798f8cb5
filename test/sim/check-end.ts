/** What must be left of a store once everything has ended and gc has run: what is needed, and nothing else. */
import type { SnapshotId, VolumeId } from '../../src/core/kit/index.ts';
import type { Auditor } from './auditor.ts';
import { isMap, isSegment } from './store-reader.ts';
import type { Tally } from './tally.ts';
import { hold } from './volume-ledger.ts';

export function checkEnd(auditor: Auditor, tally: Tally): void {
  for (const volumeId of auditor.reader.volumeIds()) auditor.wholeVolume(volumeId);
  for (const key of auditor.reader.keys()) {
    const why = leftover(auditor, key);
    hold(why === undefined, () => `C10 ${key} is left in the end: ${why ?? ''}`);
    tally.check('in the end an object is needed');
  }
}

/** Why an object should be gone; undefined when it may be there. */
function leftover(auditor: Auditor, key: string): string | undefined {
  const [folder = '', id = ''] = key.split('/');
  if (folder === 'pins') return 'nobody works any more';
  if (folder === 'snapshots') return leftoverOfSnapshot(auditor, key, id as SnapshotId);
  if (folder === 'volumes') return leftoverOfVolume(auditor, key, id as VolumeId);
  return undefined;
}

function leftoverOfSnapshot(auditor: Auditor, key: string, id: SnapshotId): string | undefined {
  if (isMap(key)) return auditor.neededBy(key) === undefined ? 'no root reaches it' : undefined;
  const state = auditor.snapshot(id)?.state;
  if (state === 'completed') return undefined;
  // Its entry stays while anybody needs its map.
  const map = `snapshots/${id}/map`;
  return auditor.reader.has(map) && auditor.neededBy(map) !== undefined ? undefined : `it is ${state ?? 'unknown'}`;
}

function leftoverOfVolume(auditor: Auditor, key: string, id: VolumeId): string | undefined {
  if (isSegment(key) || isMap(key)) {
    const kind = auditor.reader.segment(key)?.segment.footer.kind;
    if (kind === 'tombstone' && auditor.isRoot(id)) return undefined;
    if (auditor.neededBy(key) !== undefined) return undefined;
    return `no root reaches it, and it is ${kind === undefined ? 'a map object' : `a ${kind}`}`;
  }
  const state = auditor.entry(id)?.state;
  if (state === 'available' || state === 'importing') return undefined;
  if (state === 'deleted') return 'its time for undelete is over';
  return needsDocuments(auditor, id) ? undefined : `its volume is ${state ?? 'gone'}`;
}

/** Documents of a purged volume stay while somebody needs an object of it, or a snapshot of it is there. */
function needsDocuments(auditor: Auditor, id: VolumeId): boolean {
  const objects = auditor.reader
    .keys()
    .filter((key) => key.startsWith(`volumes/${id}/`) && (isSegment(key) || isMap(key)));
  if (objects.some((key) => auditor.neededBy(key) !== undefined)) return true;
  return auditor.reader.snapshotIds().some((snapshot) => auditor.snapshot(snapshot)?.volumeId === id);
}
