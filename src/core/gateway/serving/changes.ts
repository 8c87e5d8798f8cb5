/**
 * What changed since a snapshot, as NBD's meta contexts ask: `sgw:changed-since:<snapshot>`, and the same as
 * `qemu:dirty-bitmap:<snapshot>` for programs that know QEMU's.
 *
 * A served volume is compared as the store has it, after everything that was acknowledged before is there; what is written
 * from before that on counts as changed, whether it made a difference or not. So nothing that changed is ever missed.
 */
import { diffViews, openSnapshotView, openVolumeView, PAGE_BYTES, type SnapshotEntry } from '../../blockstore/index.ts';
import { SgwError } from '../../kit/index.ts';
import type { MetaContext, StatusExtent } from '../../nbd/index.ts';
import { resolveSnapshot } from '../references.ts';
import type { Session } from '../session.ts';
import type { Opened } from './opened.ts';
import { PageSet } from './page-set.ts';

/** The one flag of both contexts. */
const CHANGED = 1;
const CHANGES_PREFIXES = ['sgw:changed-since:', 'qemu:dirty-bitmap:'] as const;

export interface ChangesSource {
  /** Who asks for the state of the store. */
  readonly openSession: (signal: AbortSignal) => Promise<Session>;
}

/** Names of contexts that a query begins, or names in full: also by the snapshot's id. */
export async function listChanges(
  source: ChangesSource,
  { lineage }: Opened,
  query: string,
  signal: AbortSignal,
): Promise<string[]> {
  const prefixes = CHANGES_PREFIXES.filter((prefix) => prefix.startsWith(query) || query.startsWith(prefix));
  if (prefixes.length === 0) return [];
  const session = await source.openSession(signal);
  const snapshots = await session.catalog.listSnapshots({ signal });
  const usable = snapshots.filter((entry) => entry.state === 'completed' && entry.lineage === lineage);
  const names = usable.flatMap(({ name, snapshotId }) =>
    prefixes.flatMap((prefix) => (prefix + snapshotId === query ? [query] : [prefix + name])),
  );
  return names.filter((name) => name.startsWith(query));
}

/** A context of one client; the comparing begins with its first question. */
export class ChangesContext implements MetaContext {
  readonly name: string;
  readonly #source: ChangesSource;
  readonly #opened: Opened;
  readonly #ended = new AbortController();
  #comparison: Promise<Comparison> | undefined;

  constructor(name: string, source: ChangesSource, opened: Opened) {
    this.name = name;
    this.#source = source;
    this.#opened = opened;
  }

  /** @throws notFound `snapshot-not-found`; unavailable when what was acknowledged does not get to the store */
  async query(offset: number, length: number, extentsMax: number): Promise<readonly StatusExtent[]> {
    this.#comparison ??= changesOf(this.#source, this.#opened, this.name, this.#ended.signal).catch(
      (error: unknown) => {
        this.#comparison = undefined;
        throw error;
      },
    );
    return (await this.#comparison).extents(offset, length, extentsMax);
  }

  /** Nobody asks any more. */
  close(): void {
    this.#ended.abort(new SgwError('aborted', 'aborted', 'the client is gone'));
    void this.#comparison?.then((comparison) => {
      comparison.stop();
    }, ignore);
  }
}

const ignore = (): void => undefined;

interface Comparison {
  readonly extents: (offset: number, length: number, extentsMax: number) => StatusExtent[];
  readonly stop: () => void;
}

/** Compares what is served with the snapshot that `name` names. Costs what changed. */
async function changesOf(
  source: ChangesSource,
  opened: Opened,
  name: string,
  signal: AbortSignal,
): Promise<Comparison> {
  const prefix = CHANGES_PREFIXES.find((known) => name.startsWith(known)) ?? '';
  const session = await source.openSession(signal);
  const snapshot = await resolveSnapshot(session.catalog, name.slice(prefix.length), signal);
  requireLineage(snapshot, opened);
  const changed = new PageSet();
  const stop = opened.watched?.watch(changed) ?? ignore;
  try {
    await compare(session, snapshot, opened, changed, signal);
  } catch (error) {
    stop();
    throw error;
  }
  return { extents: (offset, length, extentsMax) => extentsOf(changed, offset, length, extentsMax), stop };
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
function extentsOf(changed: PageSet, offset: number, length: number, extentsMax: number): StatusExtent[] {
  const pieces: StatusExtent[] = [];
  const end = offset + length;
  for (let at = offset; at < end && pieces.length < extentsMax;) {
    const page = Math.floor(at / PAGE_BYTES);
    const isChanged = changed.has(page);
    const stop = Math.min(end, changed.endOf(isChanged, page, Math.ceil(end / PAGE_BYTES)) * PAGE_BYTES);
    pieces.push({ length: stop - at, flags: isChanged ? CHANGED : 0 });
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
