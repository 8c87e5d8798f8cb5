/**
 * gc: finds what no root reaches and, once that was so for a grace period, removes it (C2, C10, C11,
 * docs/adr/0009-gc.md). It pauses nobody, takes no lock, and may be stopped anywhere, or run by several at once.
 */
import { throwIfAborted, toSgwError, type VolumeId } from '../../kit/index.ts';
import type { BlockStoreOptions } from '../options.ts';
import {
  contended,
  nextList,
  readCondemned,
  reliableUntil,
  writeCondemned,
  type CondemnedList,
  type StoredList,
} from './condemned.ts';
import { removeEndedPins } from './pins.ts';
import { prunePoints } from './prune.ts';
import { UNDELETE_MS, endExpiredUploads, endInterrupted, purgeDeleted, removeEndedRestores } from './purge.ts';
import { surveyStore, type Counted, type OwnSegment, type Survey, type Unreachable } from './survey.ts';
import { sweep } from './sweep.ts';

/** Marks of one call at most: without a grace period, what is found is looked for again and removed at once. */
const PASSES_MAX = 3;

export interface GcOptions {
  /** How long what is found unreachable is kept before it is removed. Without it, readers that pin nothing are not safe. */
  readonly graceMs: number;
  /** Changes nothing, and says what a run now would remove. */
  readonly preview?: boolean;
  /** How long a deleted volume stays a root. Default 7 days. */
  readonly undeleteMs?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface GcReport {
  readonly roots: {
    readonly volumes: number;
    readonly deletedVolumes: number;
    readonly snapshots: number;
    readonly pins: number;
    /** Under way. */
    readonly restores: number;
  };
  /** Reachable objects of volumes and snapshots. */
  readonly live: Counted;
  /** What was removed; of a preview, what would be. */
  readonly removed: Counted;
  readonly tombstones: number;
  /** Unreachable, and kept until its grace period is over. */
  readonly waiting: Counted;
  readonly removableAtMs: number | null;
  /** Volumes whose time for undelete turned out to be over. */
  readonly purgedVolumes: readonly VolumeId[];
  readonly remarks: readonly string[];
  /** For rewriting (C12): what heads alone reach, and the snapshots that there were. */
  readonly ownSegments: ReadonlyMap<VolumeId, readonly OwnSegment[]>;
  readonly snapshotIds: ReadonlySet<string>;
}

/**
 * Marks, condemns, and removes what was condemned a grace period ago. Durable when it resolves.
 * @throws corrupt `gc-stopped`, `entry-missing` when a root can't be read: then nothing was removed; unavailable
 * `gc-contended`, `store-restless`; unsupported `unknown-roots`
 */
export async function collectGarbage(options: BlockStoreOptions, how: GcOptions): Promise<GcReport> {
  return await new Collection(options, how).run();
}

class Collection {
  readonly #options: BlockStoreOptions;
  readonly #how: GcOptions;
  readonly #purged: VolumeId[] = [];
  readonly #removed: Unreachable[] = [];
  #tombstones = 0;

  constructor(options: BlockStoreOptions, how: GcOptions) {
    this.#options = options;
    this.#how = how;
  }

  async run(): Promise<GcReport> {
    let before = await readCondemned(this.#options, this.#how.signal);
    if (this.#how.preview === true) return await this.#preview(before);
    this.#purged.push(...(await purgeDeleted(this.#options, this.#how.undeleteMs ?? UNDELETE_MS, this.#how.signal)));
    await removeEndedPins(this.#options, this.#how.signal);
    await removeEndedRestores(this.#options, this.#how.signal);
    await prunePoints(this.#options, this.#how.signal);
    for (let pass = 1; ; pass++) {
      throwIfAborted(this.#how.signal);
      const done = await this.#pass(before);
      if (this.#how.graceMs > 0 || !done.fresh || pass === PASSES_MAX) return done.report;
      before = done.list;
    }
  }

  async #pass(before: StoredList): Promise<{ report: GcReport; list: StoredList; fresh: boolean }> {
    const { signal, graceMs } = this.#how;
    // One time for both: what was pending when an object was condemned is settled before that object can go.
    const startedMs = this.#options.clock.nowMs();
    await endInterrupted(this.#options, before.list, startedMs - graceMs, signal);
    const survey = await this.#survey(before);
    const written = [...survey.roots.snapshots.values()].flatMap(({ entry }) =>
      entry === undefined ? [] : [entry.value],
    );
    const ended = await endExpiredUploads(this.#options, written, signal);
    const reliable = reliableIn(survey, before.list);
    const next = nextList(before.list, survey, this.#options.clock.nowMs(), reliable);
    const removable = this.#removable(survey, before.list, startedMs, reliable);
    const isSame = removable.length === 0 && sameList(before.list, next);
    const list = isSame ? before : await writeCondemned(this.#options, before, next, signal);
    const swept = await sweep(this.#options, survey, removable, signal);
    this.#removed.push(...swept.removed);
    this.#tombstones += swept.tombstones;
    const gone = new Set(swept.removed.map(({ key }) => key));
    const waiting = survey.unreachable.filter(({ key }) => !gone.has(key));
    return { report: this.#report(survey, next, waiting), list, fresh: ended > 0 || hasFresh(before.list, next) };
  }

  async #preview(before: StoredList): Promise<GcReport> {
    const survey = await surveyStore(this.#options, { signal: this.#how.signal });
    const nowMs = this.#options.clock.nowMs();
    const reliable = reliableIn(survey, before.list);
    const next = nextList(before.list, survey, nowMs, reliable);
    const removable =
      this.#how.graceMs === 0 ? [...survey.unreachable] : this.#removable(survey, before.list, nowMs, reliable);
    this.#removed.push(...removable);
    this.#tombstones = removable.filter(({ kind, volume }) => kind === 'log' && volume?.head !== undefined).length;
    const kept = new Set(removable.map(({ key }) => key));
    return this.#report(
      survey,
      next,
      survey.unreachable.filter(({ key }) => !kept.has(key)),
    );
  }

  /** A mark that met damage because another gc removed what it was reading is no damage. */
  async #survey(before: StoredList): Promise<Survey> {
    const { signal } = this.#how;
    try {
      return await surveyStore(this.#options, { waitForPendingBut: new Set(before.list.pending.keys()), signal });
    } catch (error) {
      if (toSgwError(error).kind !== 'corrupt') throw error;
      const now = await readCondemned(this.#options, signal);
      if (now.version?.version !== before.version?.version) throw contended();
      throw error;
    }
  }

  /** What the list before had already, unchanged, and for long enough. */
  #removable(survey: Survey, before: CondemnedList, nowMs: number, reliableUntilMs: number): Unreachable[] {
    return survey.unreachable.filter(({ key, etag }) => {
      const condemned = before.objects.get(key);
      if (condemned?.etag !== etag || condemned.sinceMs >= reliableUntilMs) return false;
      return condemned.sinceMs + this.#how.graceMs <= nowMs;
    });
  }

  #report(survey: Survey, list: ReturnType<typeof nextList>, waiting: readonly Unreachable[]): GcReport {
    const { graceMs } = this.#how;
    const roots = [...survey.roots.volumes.values()].filter(({ head }) => head !== undefined);
    const isDeleted = (root: (typeof roots)[number]): boolean => root.entry?.value.state === 'deleted';
    const completed = [...survey.roots.snapshots.values()].filter(({ entry }) => entry?.value.state === 'completed');
    const times = waiting.map(({ key }) => list.objects.get(key)?.sinceMs).filter((time) => time !== undefined);
    const more = 'More is unreachable than one list can hold: the rest waits for a later run.';
    return {
      roots: {
        volumes: roots.filter((root) => !isDeleted(root)).length,
        deletedVolumes: roots.filter(isDeleted).length,
        snapshots: completed.length,
        pins: survey.roots.pins.length,
        restores: survey.roots.restores.length,
      },
      live: survey.live,
      removed: counted(this.#removed),
      tombstones: this.#tombstones,
      waiting: counted(waiting),
      removableAtMs: times.length === 0 ? null : times.reduce((a, b) => Math.min(a, b)) + graceMs,
      purgedVolumes: this.#purged,
      remarks: [...survey.remarks, ...(list.full ? [more] : [])],
      ownSegments: survey.ownSegments,
      snapshotIds: new Set(survey.roots.snapshots.keys()),
    };
  }
}

const reliableIn = (survey: Survey, before: CondemnedList): number =>
  reliableUntil(before, (id) => survey.roots.snapshots.get(id)?.entry?.value.state);

const counted = (objects: readonly { readonly sizeBytes: number }[]): Counted => ({
  objects: objects.length,
  bytes: objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
});

/** Whether a mark found what the one before did not: something that another mark can remove. */
function hasFresh(before: CondemnedList, now: CondemnedList): boolean {
  const isNew = [...now.objects.values()].some(({ key, etag }) => before.objects.get(key)?.etag !== etag);
  return (
    isNew ||
    [...now.pending.keys()].some((id) => !before.pending.has(id)) ||
    [...now.creating.keys()].some((id) => !before.creating.has(id))
  );
}

function sameList(before: CondemnedList, now: CondemnedList): boolean {
  const sameSize =
    before.objects.size === now.objects.size &&
    before.pending.size === now.pending.size &&
    before.creating.size === now.creating.size;
  return (
    sameSize &&
    !hasFresh(before, now) &&
    [...now.objects.values()].every(({ key, sinceMs }) => before.objects.get(key)?.sinceMs === sinceMs)
  );
}
