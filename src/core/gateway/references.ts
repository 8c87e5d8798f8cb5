/**
 * Finds the volume or snapshot that a reference names: its id, its name, or the beginning of its id when that
 * is unique. Names are unique within an account's view of one gateway, but two gateways may share a store and choose alike,
 * and so may accounts that share snapshots.
 */
import type { DamagedEntry, SnapshotEntry, VolumeEntry } from '../blockstore/index.ts';
import { isSnapshotId, isVolumeId, SgwError } from '../kit/index.ts';
import type { AccountCatalog } from './account-catalog.ts';

const ID_PREFIX_DIGITS_MIN = 4;

interface Kind {
  readonly what: 'volume' | 'snapshot';
  readonly idPrefix: 'vol-' | 'snap-';
}

const VOLUME: Kind = { what: 'volume', idPrefix: 'vol-' };
const SNAPSHOT: Kind = { what: 'snapshot', idPrefix: 'snap-' };

const UNDELETE_HINT = 'While there is time, `sgw volume undelete` brings it back: `sgw volume list --deleted`.';

/** @throws notFound `volume-not-found`; conflict `ambiguous-name` listing the ids */
export async function resolveVolume(catalog: AccountCatalog, ref: string, signal: AbortSignal): Promise<VolumeEntry> {
  const id = ref.toLowerCase();
  if (isVolumeId(id)) {
    const entry = await catalog.getVolume(id, signal);
    if (entry.state === 'deleted') throw notFound(VOLUME, ref, 'was deleted', UNDELETE_HINT);
    return entry;
  }
  const { entries, damaged } = await catalog.surveyVolumes({ includeDeleted: true, signal });
  const living = entries.filter((entry) => entry.state !== 'deleted');
  const isDeleted = entries.some((entry) => entry.state === 'deleted' && entry.name === ref);
  const missing = isDeleted ? notFound(VOLUME, ref, 'was deleted', UNDELETE_HINT) : undefined;
  return choose(VOLUME, ref, living, damaged, (entry) => entry.volumeId, missing);
}

/** One of the account's deleted volumes. @throws notFound `volume-not-found`; conflict `ambiguous-name` listing the ids */
export async function resolveDeletedVolume(
  catalog: AccountCatalog,
  ref: string,
  signal: AbortSignal,
): Promise<VolumeEntry> {
  const { entries, damaged } = await catalog.surveyVolumes({ includeDeleted: true, signal });
  const deleted = entries.filter((entry) => entry.state === 'deleted');
  const id = ref.toLowerCase();
  if (isVolumeId(id)) return deleted.find((entry) => entry.volumeId === id) ?? (await catalog.getVolume(id, signal));
  const hint = '`sgw volume list --deleted` shows what can be brought back.';
  const missing = notFound(VOLUME, ref, 'is not among the deleted ones', hint);
  return choose(VOLUME, ref, deleted, damaged, (entry) => entry.volumeId, missing);
}

/** Failed and deleted snapshots give their name free. */
export const hasName = (snapshot: SnapshotEntry): boolean =>
  snapshot.state === 'pending' || snapshot.state === 'completed';

/** @throws notFound `snapshot-not-found`; conflict `ambiguous-name` listing the ids */
export async function resolveSnapshot(
  catalog: AccountCatalog,
  ref: string,
  signal: AbortSignal,
): Promise<SnapshotEntry> {
  const id = ref.toLowerCase();
  if (isSnapshotId(id)) {
    const entry = await catalog.getSnapshot(id, signal);
    if (entry.state === 'deleted') throw notFound(SNAPSHOT, ref, 'was deleted', hintOf(SNAPSHOT, []));
    return entry;
  }
  const { entries, damaged } = await catalog.surveySnapshots({ signal });
  const named = entries.filter((entry) => hasName(entry) && entry.name === ref);
  // A name that this account gave is not made ambiguous by what others share with it.
  const own = named.filter((entry) => catalog.owns(entry));
  const first = own.length > 0 ? own : named;
  return choose(SNAPSHOT, ref, first.length > 0 ? first : entries, damaged, (entry) => entry.snapshotId);
}

function choose<T extends { readonly name: string }>(
  kind: Kind,
  ref: string,
  entries: readonly T[],
  damaged: readonly DamagedEntry<string>[],
  idOf: (entry: T) => string,
  missing = notFound(kind, ref, 'does not exist', hintOf(kind, damaged)),
): T {
  const named = entries.filter((entry) => entry.name === ref);
  if (named.length > 1) throw ambiguous(kind, ref, named.map(idOf));
  if (named[0] !== undefined) return named[0];
  const prefix = idPrefixOf(kind, ref);
  if (prefix === undefined) throw missing;
  const beginning = entries.filter((entry) => idOf(entry).startsWith(prefix));
  const unreadable = damaged.filter(({ id }) => id.startsWith(prefix));
  const ids = [...beginning.map(idOf), ...unreadable.map(({ id }) => id)];
  if (ids.length > 1) throw ambiguous(kind, ref, ids);
  if (ids.length === 1 && prefix.length < kind.idPrefix.length + ID_PREFIX_DIGITS_MIN)
    throw notFound(kind, ref, 'is too short for the beginning of an id', 'Give at least 4 digits of the id.');
  if (unreadable[0] !== undefined) throw unreadable[0].error;
  if (beginning[0] === undefined) throw missing;
  return beginning[0];
}

/** `ref` as the beginning of an id, in lower case as ids are; undefined when it can't be one. */
function idPrefixOf(kind: Kind, ref: string): string | undefined {
  const prefix = ref.toLowerCase();
  return prefix.startsWith(kind.idPrefix) && /^[0-9a-f]{1,17}$/.test(prefix.slice(kind.idPrefix.length))
    ? prefix
    : undefined;
}

function ambiguous(kind: Kind, ref: string, ids: readonly string[]): SgwError {
  return new SgwError(
    'conflict',
    'ambiguous-name',
    `${String(ids.length)} ${kind.what}s are called or begin with "${ref}": ${ids.join(', ')}`,
    {
      hint: `Give the id of the ${kind.what}.`,
      details: { ref, ids },
    },
  );
}

function hintOf({ what }: Kind, damaged: readonly unknown[]): string {
  const list = `\`sgw ${what} list\` shows what there is.`;
  return damaged.length === 0 ? list : `${list} Names of damaged ${what}s are not known: give the id.`;
}

function notFound(kind: Kind, ref: string, says: string, hint: string): SgwError {
  return new SgwError('notFound', `${kind.what}-not-found`, `${kind.what} "${ref}" ${says}`, {
    hint,
    details: { ref },
  });
}
