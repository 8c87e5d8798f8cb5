/** Snapshots as the block API shows them: an account's own, whoever made them, and to be read those that others share. */
import {
  Catalog,
  listSnapshotIds,
  isOpenSession,
  readSnapshotOrSession,
  type SnapshotEntry,
} from '../../blockstore/index.ts';
import { isSnapshotId, SgwError, toSgwError, type SnapshotId } from '../../kit/index.ts';
import { timeOf, type ServiceContext } from '../context.ts';
import { notFound, type Asker, type ExportControl } from '../exportcontrol/export-control.ts';
import { judge } from '../exportcontrol/rights.ts';

/** Entries that are read for one page at most: there is no list of an account's alone. */
const SCANNED_MAX = 2000;
const READS_AT_ONCE = 32;

export interface ShownSnapshot {
  readonly entry: SnapshotEntry;
  /** Whether export control lets the account read it. */
  readonly readable: boolean;
}

export class ApiSnapshots {
  readonly #context: ServiceContext;
  readonly #exports: ExportControl;
  readonly #catalog: Catalog;

  constructor(context: ServiceContext, exports: ExportControl) {
    this.#context = context;
    this.#exports = exports;
    this.#catalog = new Catalog(context.blocks);
  }

  /** The account's own, in the order of ids. A page may hold fewer than `max`, and another one follow. Leaves one record. */
  async list(
    asker: Asker,
    { volumeId, after, max }: { readonly volumeId: string | null; readonly after: string | null; readonly max: number },
    signal: AbortSignal,
  ): Promise<{ readonly snapshots: readonly ShownSnapshot[]; readonly nextToken: string | null }> {
    const ids = (await listSnapshotIds(this.#context.blocks, signal)).filter((id) => after === null || id > after);
    const isWanted = (entry: SnapshotEntry): boolean =>
      entry.accountId === asker.accountId && (volumeId === null || entry.volumeId === volumeId);
    const found: SnapshotEntry[] = [];
    let at = 0;
    while (at < Math.min(ids.length, SCANNED_MAX) && found.length < max) {
      const batch = ids.slice(at, at + Math.min(READS_AT_ONCE, max - found.length));
      const entries = await Promise.all(batch.map(async (id) => await this.#find(id, signal)));
      found.push(
        ...entries.filter((entry) => entry !== undefined && isWanted(entry)).filter((entry) => entry !== undefined),
      );
      at += batch.length;
    }
    const exportable = new Set(
      await this.#exports.list(
        asker,
        found.map(({ snapshotId }) => snapshotId),
        signal,
      ),
    );
    return {
      snapshots: found.map((entry) => ({ entry, readable: exportable.has(entry.snapshotId) })),
      nextToken: at < ids.length ? (ids[at - 1] ?? null) : null,
    };
  }

  /** @throws notFound `snapshot-not-found` */
  async show({ accountId }: Asker, snapshotId: string, signal: AbortSignal): Promise<ShownSnapshot> {
    const entry = isSnapshotId(snapshotId) ? await this.#find(snapshotId, signal) : undefined;
    if (entry === undefined) throw notFound(snapshotId);
    return this.shown(accountId, entry);
  }

  /** @throws notFound `snapshot-not-found` where the account may not see it */
  shown(accountId: string, entry: SnapshotEntry): ShownSnapshot {
    const { isVisible, mayExport } = judge(accountId, entry);
    if (!isVisible) throw notFound(entry.snapshotId);
    return { entry, readable: mayExport && entry.state === 'completed' };
  }

  /**
   * Deletes a snapshot of the account's own; false when it was deleted before. Durable when it resolves.
   * @throws notFound `snapshot-not-found`; conflict `snapshot-not-completed` while it is made
   */
  async delete({ accountId }: Asker, snapshotId: string, signal: AbortSignal): Promise<boolean> {
    const there = isSnapshotId(snapshotId) ? await this.#read(snapshotId, signal) : undefined;
    if (there?.accountId !== accountId || isUnasked(there)) throw notFound(snapshotId);
    let isFirst = false;
    await this.#catalog.updateSnapshot(
      there.snapshotId,
      (now) => {
        isFirst = now.state !== 'deleted';
        if (!isFirst) return now;
        if (now.state === 'pending') throw stillMade(now);
        return { ...now, state: 'deleted', deletedAt: timeOf(this.#context) };
      },
      signal,
    );
    return isFirst;
  }

  /** Undefined where it is deleted, or no snapshot yet. */
  async #find(id: SnapshotId, signal: AbortSignal): Promise<SnapshotEntry | undefined> {
    const entry = await this.#read(id, signal);
    return entry === undefined || entry.state === 'deleted' || isUnasked(entry) ? undefined : entry;
  }

  async #read(id: SnapshotId, signal: AbortSignal): Promise<SnapshotEntry | undefined> {
    try {
      return await readSnapshotOrSession(this.#context.blocks, id, signal);
    } catch (error) {
      // One that can not be read hides no other.
      const { kind } = toSgwError(error);
      if (kind !== 'notFound' && kind !== 'corrupt') throw error;
      return undefined;
    }
  }
}

/** What is written to a volume, and nobody has asked to be a snapshot: also once the volume is deleted. */
const isUnasked = (entry: SnapshotEntry): boolean =>
  entry.upload?.session !== undefined &&
  entry.upload.sealed === undefined &&
  (isOpenSession(entry) || entry.state === 'deleted');

const stillMade = ({ snapshotId, state }: SnapshotEntry): SgwError =>
  new SgwError('conflict', 'snapshot-not-completed', `snapshot ${snapshotId} is ${state}`, {
    hint: 'Try again when it is completed.',
    details: { snapshotId, state },
  });
