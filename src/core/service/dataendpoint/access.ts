/**
 * What of other accounts' data an account may read: the roots that give it a right, and what they reach.
 *
 * Roots of an account:
 * - `granted`: of snapshots that its volumes were cloned from, when the service had decided on that; as long as the volume, or
 *   a snapshot of it, is there. And of restores that it began.
 * - `exportable`: of snapshots that are shared with it, while every creator agrees.
 * - `seen`: of the other snapshots that are shared with it: their maps, and no frame.
 *
 * Invariant: what is taken back ends within twice `FRESH_MS` and the time of a listing, on every server.
 */
import type { RestoreEntry, SnapshotEntry } from '../../blockstore/index.ts';
import { keys, Reach, type NodeLoader, type NodePointer } from '../../blockstore/inspect/index.ts';
import { untilAborted, type Clock, type SnapshotId, type VolumeId } from '../../kit/index.ts';
import type { ServiceContext } from '../context.ts';
import { judge } from '../exportcontrol/rights.ts';
import { Book } from './book.ts';
import { asSnapshot, asVolume, type Records, type Stored } from './records.ts';

export interface AccessRoot {
  readonly use: 'granted' | 'exportable' | 'seen';
  readonly snapshotId: string;
  readonly lineage: string;
  readonly root: NodePointer;
}

/** What some roots reach; frames name the root that reached them first by its number, from 1. */
export interface Reached {
  readonly reach: Reach;
  readonly roots: readonly AccessRoot[];
}

/** How old what is known of roots may be. */
const FRESH_MS = 2000;
const KNOWN_MAX = 4096;
const REACH_BYTES_MAX = 256 << 20;

/** What is kept of snapshots: no names, no tags. */
type SnapshotNote = Pick<
  SnapshotEntry,
  'snapshotId' | 'accountId' | 'volumeId' | 'lineage' | 'state' | 'root' | 'creators' | 'grants'
>;

/** What is kept of a restore that goes on. */
interface RestoreNote {
  readonly accountId: string;
  readonly snapshotId: SnapshotId;
  readonly root: NodePointer;
}

interface Built extends Reached {
  readonly names: readonly string[];
  reach: Reach;
}

export class Access {
  readonly #clock: Clock;
  readonly #records: Records;
  readonly #load: NodeLoader;
  readonly #snapshots: Book<SnapshotNote>;
  readonly #restores: Book<RestoreNote>;
  readonly #stop = new AbortController();
  /** By account and lineage, the oldest first. */
  readonly #known = new Map<string, { readonly roots: readonly AccessRoot[]; readonly askedMs: number }>();
  /** By account and lineage, the least recently used first. */
  readonly #built = new Map<string, Built>();
  readonly #building = new Map<string, Promise<void>>();

  constructor(context: ServiceContext, records: Records, load: NodeLoader) {
    this.#clock = context.blocks.clock;
    this.#records = records;
    this.#load = load;
    this.#snapshots = new Book(context, keys.snapshots, (_key, stored) => {
      const { snapshotId, accountId, volumeId, lineage, state, root, creators, grants } = asSnapshot(stored);
      const bare = { snapshotId, accountId, volumeId, lineage, state, root: bareRoot(root), creators };
      return { ...bare, ...(grants && { grants }) };
    });
    this.#restores = new Book(context, keys.restores, (_key, stored) => restoreNote(stored));
  }

  /** Snapshots that an account sees: its own and those shared with it. */
  async visibleSnapshots(accountId: string, signal: AbortSignal): Promise<readonly SnapshotNote[]> {
    const all = await this.#snapshots.all(signal);
    return all.filter((note) => note.accountId === accountId || isShared(accountId, note));
  }

  /** What an account has a right to of a lineage, as it is now or was at most `freshMs` ago. */
  async roots(
    accountId: string,
    lineage: string,
    signal: AbortSignal,
    freshMs = FRESH_MS,
  ): Promise<readonly AccessRoot[]> {
    const name = `${accountId} ${lineage}`;
    const askedMs = this.#clock.monotonicMs();
    const known = this.#known.get(name);
    if (known !== undefined && askedMs - known.askedMs <= freshMs) return known.roots;
    const roots = await this.#findRoots(accountId, lineage, signal, freshMs);
    this.#known.delete(name);
    this.#known.set(name, { roots, askedMs });
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= KNOWN_MAX) break;
      this.#known.delete(oldest);
    }
    return roots;
  }

  /** Something was granted to the account, or taken from it, by this server. */
  forget(accountId: string): void {
    for (const name of this.#known.keys()) if (name.startsWith(`${accountId} `)) this.#known.delete(name);
  }

  async #findRoots(accountId: string, lineage: string, signal: AbortSignal, freshMs: number): Promise<AccessRoot[]> {
    const snapshots = (await this.#snapshots.all(signal, freshMs)).filter((note) => note.lineage === lineage);
    const granted: AccessRoot[] = [];
    for (const volumeId of await this.#records.grantedVolumes(accountId, signal)) {
      const roots = (await this.#records.grantsOf(accountId, volumeId, signal)).filter(
        (root) => root.lineage === lineage,
      );
      if (roots.length === 0 || !(await this.#isNeeded(accountId, volumeId, snapshots, signal))) continue;
      granted.push(...roots.map((root) => ({ use: 'granted', ...root }) as const));
    }
    const foreign = snapshots.filter((note) => note.accountId !== accountId && note.state === 'completed');
    granted.push(...(await this.#restoredRoots(accountId, lineage, signal, freshMs)));
    const shared = foreign.flatMap((note): AccessRoot[] => {
      const { snapshotId, root } = note;
      if (root === null || !isShared(accountId, note)) return [];
      const use = judge(accountId, note).mayExport ? 'exportable' : 'seen';
      return [{ use, snapshotId, lineage, root }];
    });
    const byId = (a: AccessRoot, b: AccessRoot): number => (a.snapshotId < b.snapshotId ? -1 : 1);
    const ofUse = (use: AccessRoot['use']): AccessRoot[] => shared.filter((root) => root.use === use).sort(byId);
    return [...granted, ...ofUse('exportable'), ...ofUse('seen')];
  }

  async #isNeeded(
    accountId: string,
    volumeId: VolumeId,
    snapshots: readonly SnapshotNote[],
    signal: AbortSignal,
  ): Promise<boolean> {
    const isHeld = snapshots.some(
      (note) => note.volumeId === volumeId && note.accountId === accountId && note.state === 'completed',
    );
    if (isHeld) return true;
    const stored = await this.#records.entry(volumeId, signal);
    if (stored === undefined) return false;
    const { state } = asVolume(stored);
    return state !== 'purging' && stored['accountId'] === accountId;
  }

  async #restoredRoots(
    accountId: string,
    lineage: string,
    signal: AbortSignal,
    freshMs: number,
  ): Promise<AccessRoot[]> {
    const restores = (await this.#restores.all(signal, freshMs)).filter((restore) => restore.accountId === accountId);
    const roots: AccessRoot[] = [];
    for (const { snapshotId, root } of restores) {
      // Its entry stays as long as anything that it reaches.
      const stored = await this.#records.entry(snapshotId, signal);
      if (stored === undefined || asSnapshot(stored).lineage !== lineage) continue;
      roots.push({ use: 'granted', snapshotId, lineage, root });
    }
    return roots;
  }

  /**
   * What an account's roots in a lineage reach. The first time, and after one is gone, their maps are walked, which goes on
   * when the signal fires. @throws corrupt when one of them is damaged
   */
  async reached(accountId: string, lineage: string, signal: AbortSignal, freshMs?: number): Promise<Reached> {
    const name = `${accountId} ${lineage}`;
    for (;;) {
      const roots = await this.roots(accountId, lineage, signal, freshMs);
      const names = roots.map(nameOf);
      const built = this.#built.get(name);
      if (built?.names.length === names.length && built.names.every((one, i) => one === names[i])) {
        this.#built.delete(name);
        this.#built.set(name, built);
        return built;
      }
      let building = this.#building.get(name);
      if (building === undefined) {
        building = this.#build(name, roots, names).finally(() => this.#building.delete(name));
        this.#building.set(name, building);
      }
      await untilAborted(building, signal);
    }
  }

  async #build(name: string, roots: readonly AccessRoot[], names: readonly string[]): Promise<void> {
    const before = this.#built.get(name);
    const isAdded = before?.names.every((one, i) => one === names[i]) === true;
    // Nodes of those that count no frames are passed by later.
    const goneOn = isAdded && before.roots.every(({ use }) => use !== 'seen') ? before : undefined;
    this.#built.delete(name);
    const reach = goneOn?.reach ?? new Reach(this.#load);
    for (const [i, { root, use }] of roots.entries())
      if (i >= (goneOn?.names.length ?? 0)) await reach.add(root, i + 1, use !== 'seen', this.#stop.signal);
    this.#built.set(name, { names, roots, reach });
    let bytes = 0;
    for (const built of this.#built.values()) bytes += built.reach.sizeBytes;
    for (const [oldest, built] of this.#built) {
      if (bytes <= REACH_BYTES_MAX || oldest === name) break;
      bytes -= built.reach.sizeBytes;
      this.#built.delete(oldest);
    }
  }

  /** The lineage of a volume or snapshot; undefined when it has no entry, and so no object either. */
  async lineageOf(id: Parameters<Records['entry']>[0], signal: AbortSignal): Promise<string | undefined> {
    const lineage = (await this.#records.entry(id, signal))?.['lineage'];
    return typeof lineage === 'string' ? lineage : undefined;
  }

  close(): void {
    this.#stop.abort();
  }
}

/** Of a restore that gives a right; no more of it than that, since what else is in it is its account's to say. */
function restoreNote(stored: Stored): RestoreNote | undefined {
  const { accountId, snapshotId, state, snapshot } = stored as unknown as Partial<RestoreEntry>;
  const root = bareRoot(snapshot?.root);
  if (state !== 'restoring' || accountId === undefined || snapshotId === undefined || root === null) return undefined;
  return { accountId, snapshotId, root };
}

/** Without fields that a pointer does not have. */
function bareRoot(root: NodePointer | null | undefined): NodePointer | null {
  if (root === null || root === undefined) return null;
  const { key, offset, length, hash, mappedPages, creators } = root;
  return { key, offset, length, hash, mappedPages, creators };
}

const nameOf = ({ use, root, snapshotId }: AccessRoot): string =>
  `${use} ${snapshotId} ${root.key} ${String(root.offset)} ${root.hash}`;

/** Whether its owner lets the account see it. */
export const isShared = (accountId: string, note: Pick<SnapshotEntry, 'accountId' | 'grants'>): boolean =>
  (note.grants ?? []).some((grant) => grant.accountId === accountId && grant.by === note.accountId);
