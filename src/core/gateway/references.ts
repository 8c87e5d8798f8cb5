/**
 * Finds the volume or snapshot that a reference names: its id, its name, or the beginning of its id when that
 * is unique. Names are unique within a gateway's view, but two gateways may share a store and choose alike.
 */
import type { Catalog, SnapshotEntry, VolumeEntry } from '../blockstore/index.ts';
import { isSnapshotId, isVolumeId, SgwError } from '../kit/index.ts';

const ID_PREFIX_DIGITS_MIN = 4;

interface Kind {
  readonly what: 'volume' | 'snapshot';
  readonly idPrefix: 'vol-' | 'snap-';
}

const VOLUME: Kind = { what: 'volume', idPrefix: 'vol-' };
const SNAPSHOT: Kind = { what: 'snapshot', idPrefix: 'snap-' };

/** @throws notFound `volume-not-found`; conflict `ambiguous-name` listing the ids */
export async function resolveVolume(catalog: Catalog, ref: string, signal: AbortSignal): Promise<VolumeEntry> {
  if (isVolumeId(ref)) {
    const entry = await catalog.getVolume(ref, signal);
    if (entry.state === 'deleted') throw notFound(VOLUME, ref, 'was deleted');
    return entry;
  }
  return choose(VOLUME, ref, await catalog.listVolumes({ signal }), (entry) => entry.volumeId);
}

/** Failed and deleted snapshots give their name free. */
export const hasName = (snapshot: SnapshotEntry): boolean =>
  snapshot.state === 'pending' || snapshot.state === 'completed';

/** @throws notFound `snapshot-not-found`; conflict `ambiguous-name` listing the ids */
export async function resolveSnapshot(catalog: Catalog, ref: string, signal: AbortSignal): Promise<SnapshotEntry> {
  if (isSnapshotId(ref)) {
    const entry = await catalog.getSnapshot(ref, signal);
    if (entry.state === 'deleted') throw notFound(SNAPSHOT, ref, 'was deleted');
    return entry;
  }
  const snapshots = await catalog.listSnapshots({ signal });
  const owner = snapshots.filter((entry) => hasName(entry) && entry.name === ref);
  return choose(SNAPSHOT, ref, owner.length > 0 ? owner : snapshots, (entry) => entry.snapshotId);
}

function choose<T extends { readonly name: string }>(
  kind: Kind,
  ref: string,
  entries: readonly T[],
  idOf: (entry: T) => string,
): T {
  const named = entries.filter((entry) => entry.name === ref);
  const found =
    named.length > 0 ? named : entries.filter((entry) => isPrefix(kind, ref) && idOf(entry).startsWith(ref));
  const [first] = found;
  if (first === undefined) throw notFound(kind, ref, 'does not exist');
  if (found.length === 1) return first;
  const ids = found.map(idOf);
  throw new SgwError(
    'conflict',
    'ambiguous-name',
    `${String(found.length)} ${kind.what}s are called or begin with "${ref}": ${ids.join(', ')}`,
    {
      hint: `Give the id of the ${kind.what}.`,
      details: { ref, ids },
    },
  );
}

const isPrefix = (kind: Kind, ref: string): boolean =>
  ref.startsWith(kind.idPrefix) && ref.length >= kind.idPrefix.length + ID_PREFIX_DIGITS_MIN;

function notFound(kind: Kind, ref: string, says: string): SgwError {
  return new SgwError('notFound', `${kind.what}-not-found`, `${kind.what} "${ref}" ${says}`, {
    hint: `\`sgw ${kind.what} list\` shows what there is.`,
    details: { ref },
  });
}
