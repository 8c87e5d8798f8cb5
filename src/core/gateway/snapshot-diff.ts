/** What differs between two snapshots of one lineage. */
import { diffViews, openSnapshotView, PAGE_BYTES, type SnapshotEntry } from '../blockstore/index.ts';
import { SgwError } from '../kit/index.ts';
import type { CallContext, DiffDocument, Extent, Input } from '../localapi/index.ts';
import { resolveSnapshot } from './references.ts';
import type { Session } from './session.ts';

/**
 * Extents of `to` that differ from `from`, in bytes and cut at the larger size: `changed`, `zeroed`, and `added` for
 * data beyond the end of `from`. Costs what changed, not the size. Takes no lock.
 * @throws invalid `unrelated-snapshots` when they stem from different volumes
 */
export async function diffSnapshots(
  session: Session,
  input: Input<'snapshot.diff'>,
  call: CallContext,
): Promise<DiffDocument> {
  const { catalog, blocks } = session;
  const from = await resolveSnapshot(catalog, input.from, call.signal);
  const to = await resolveSnapshot(catalog, input.to, call.signal);
  requireOneLineage(from, to);
  const extents: Extent[] = [];
  let changedBytes = 0;
  let zeroedBytes = 0;
  for await (const extent of diffViews(openSnapshotView(blocks, from), openSnapshotView(blocks, to), {
    signal: call.signal,
  })) {
    for (const part of partsOf(extent, from.sizeBytes, to.sizeBytes)) {
      if (part.state === 'zeroed') zeroedBytes += part.length;
      else changedBytes += part.length;
      extents.push(part);
    }
  }
  return {
    from: from.snapshotId,
    to: to.snapshotId,
    fromSizeBytes: from.sizeBytes,
    toSizeBytes: to.sizeBytes,
    changedBytes,
    zeroedBytes,
    extents,
  };
}

/** Pages to bytes, parted at the end of `from`. */
function partsOf(
  extent: { firstPage: number; pageCount: number; state: 'changed' | 'zeroed' },
  fromBytes: number,
  toBytes: number,
): Extent[] {
  const start = extent.firstPage * PAGE_BYTES;
  const end = Math.min(start + extent.pageCount * PAGE_BYTES, Math.max(fromBytes, toBytes));
  if (extent.state === 'zeroed') return [{ offset: start, length: end - start, state: 'zeroed' }];
  // The page that holds the old end may have changed below it as well.
  const oldEnd = Math.ceil(fromBytes / PAGE_BYTES) * PAGE_BYTES;
  const border = Math.min(Math.max(start, oldEnd), end);
  const parts: Extent[] = [];
  if (border > start) parts.push({ offset: start, length: border - start, state: 'changed' });
  if (end > border) parts.push({ offset: border, length: end - border, state: 'added' });
  return parts;
}

function requireOneLineage(from: SnapshotEntry, to: SnapshotEntry): void {
  if (from.lineage === to.lineage) return;
  throw new SgwError(
    'invalid',
    'unrelated-snapshots',
    `snapshots "${from.name}" and "${to.name}" are of unrelated volumes, ${from.volumeName} and ${to.volumeName}`,
    {
      hint: 'Compare snapshots of one volume, or of volumes cloned from one another.',
      details: { from: from.snapshotId, to: to.snapshotId },
    },
  );
}
