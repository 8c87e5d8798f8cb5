/**
 * What changed since a snapshot, as NBD's meta contexts ask: `sgw:changed-since:<snapshot>`, and the same as
 * `qemu:dirty-bitmap:<snapshot>` for programs that know QEMU's.
 *
 * A served volume is compared as the store has it, after everything that was acknowledged before is there; what is written
 * from before that on counts as changed, whether it made a difference or not. So nothing that changed is ever missed.
 */
import { diffViews, openSnapshotView, openVolumeView, PAGE_BYTES, type SnapshotEntry } from '../../blockstore/index.ts';
import { SgwError } from '../../kit/index.ts';
import { resolveSnapshot } from '../references.ts';
import type { Session } from '../session.ts';
import type { ChangedExtent, ChangesContext } from './exports.ts';
import type { Opened } from './opened.ts';
import { PageSet } from './page-set.ts';

export const CHANGES_PREFIXES = ['sgw:changed-since:', 'qemu:dirty-bitmap:'] as const;

export interface ChangesSource {
  /** Who asks for the state of the store. */
  readonly openSession: (signal?: AbortSignal) => Promise<Session>;
}

/** Names of contexts that begin with `query`; a namespace alone, such as `sgw:`, asks for all in it. */
export async function listChanges(
  source: ChangesSource,
  opened: Opened,
  query: string,
  signal?: AbortSignal,
): Promise<string[]> {
  const prefixes = CHANGES_PREFIXES.filter((prefix) => prefix.startsWith(query) || query.startsWith(prefix));
  if (prefixes.length === 0) return [];
  const session = await source.openSession(signal);
  const snapshots = await session.catalog.listSnapshots(signal === undefined ? {} : { signal });
  const usable = snapshots.filter((entry) => entry.state === 'completed' && entry.lineage === opened.lineage);
  return prefixes.flatMap((prefix) => usable.map(({ name }) => prefix + name)).filter((name) => name.startsWith(query));
}

/**
 * Compares what is served with the snapshot that `name` names. Costs what changed.
 * @throws notFound `context-not-found`, `snapshot-not-found`; invalid `unrelated-snapshots`; unavailable when what was
 * acknowledged does not get to the store
 */
export async function changesOf(
  source: ChangesSource,
  opened: Opened,
  name: string,
  signal: AbortSignal = new AbortController().signal,
): Promise<ChangesContext> {
  const prefix = CHANGES_PREFIXES.find((known) => name.startsWith(known) && name.length > known.length);
  if (prefix === undefined)
    throw new SgwError('notFound', 'context-not-found', `there is no meta context "${name}"`, { details: { name } });
  const session = await source.openSession(signal);
  const snapshot = await resolveSnapshot(session.catalog, name.slice(prefix.length), signal);
  requireLineage(snapshot, opened);
  const changed = new PageSet();
  const stop = opened.watched?.watch(changed) ?? ((): void => undefined);
  try {
    await compare(session, snapshot, opened, changed, signal);
  } catch (error) {
    stop();
    throw error;
  }
  return {
    name,
    extents: (offset, length, piecesMax) => Promise.resolve(extentsOf(changed, offset, length, piecesMax)),
    close: stop,
  };
}

async function compare(
  session: Session,
  snapshot: SnapshotEntry,
  opened: Opened,
  changed: PageSet,
  signal: AbortSignal,
): Promise<void> {
  const { blocks } = session;
  const { volume } = opened;
  if (volume !== undefined) await volume.drain({ signal });
  const now = volume === undefined ? opened.view : await openVolumeView(blocks, volume.volumeId, { signal });
  if (now === undefined) throw new SgwError('internal', 'assertion', 'an export without a volume has a view');
  const before = openSnapshotView(blocks, snapshot, now);
  for await (const { firstPage, pageCount } of diffViews(before, now, { signal })) changed.add(firstPage, pageCount);
}

/** Pieces in order that cover the extent, or a beginning of it. */
function extentsOf(changed: PageSet, offset: number, length: number, piecesMax: number): ChangedExtent[] {
  const pieces: ChangedExtent[] = [];
  const end = offset + length;
  for (let at = offset; at < end && pieces.length < piecesMax;) {
    const page = Math.floor(at / PAGE_BYTES);
    const isChanged = changed.has(page);
    const stop = Math.min(end, changed.endOf(isChanged, page, Math.ceil(end / PAGE_BYTES)) * PAGE_BYTES);
    pieces.push({ length: stop - at, isChanged });
    at = stop;
  }
  return pieces;
}

function requireLineage(snapshot: SnapshotEntry, { lineage, description }: Opened): void {
  if (snapshot.lineage === lineage) return;
  throw new SgwError(
    'invalid',
    'unrelated-snapshots',
    `snapshot "${snapshot.name}" and ${description} are of unrelated volumes`,
    { details: { snapshotId: snapshot.snapshotId } },
  );
}
