/** One mark of a store: reads the roots, marks what they reach, and goes through all objects that gc looks after. */
import { SgwError, toSgwError, type SnapshotId, type VolumeId } from '../../kit/index.ts';
import type { Etag, ObjectInfo } from '../../objectstore/index.ts';
import type { SnapshotEntry } from '../entries.ts';
import { keys, seqOfKey, uploadOfKey } from '../keys.ts';
import type { NodePointer } from '../node-codec.ts';
import { withSignal, type BlockStoreOptions } from '../options.ts';
import { isUpload } from '../upload-entry.ts';
import { Mark, SHARED, type RootName } from './mark.ts';
import { readRoots, type Roots, type SnapshotRoot, type VolumeRoot } from './roots.ts';
import { readTombstones, type SeqSet } from './tombstones.ts';

export interface Counted {
  readonly objects: number;
  readonly bytes: number;
}

/**
 * - `log`, `map`: of a volume. - `snapshotMap`. - `upload`: a block, or a part of a map, of a snapshot that was written through
 * the API. - `document`: of a purged volume, or of a deleted or failed snapshot.
 */
export type UnreachableKind = 'log' | 'map' | 'snapshotMap' | 'upload' | 'document';

export interface Unreachable {
  readonly key: string;
  readonly etag: Etag;
  readonly sizeBytes: number;
  readonly kind: UnreachableKind;
  readonly volume: VolumeRoot | undefined;
  readonly snapshot: SnapshotRoot | undefined;
}

/** A segment that the head of its volume alone reaches. */
export interface OwnSegment {
  readonly key: string;
  readonly seq: number;
  readonly livePages: number;
  readonly sizeBytes: number;
}

export interface Survey {
  readonly roots: Roots;
  readonly live: Counted;
  readonly unreachable: readonly Unreachable[];
  readonly pending: readonly SnapshotId[];
  readonly creating: readonly VolumeId[];
  /** Log and map objects that others still need, of volumes that are purged. */
  readonly neededOf: ReadonlyMap<VolumeId, number>;
  /** Segments that a consistent, stored head alone reaches, for rewriting (C12). */
  readonly ownSegments: ReadonlyMap<VolumeId, readonly OwnSegment[]>;
  /** Bytes that nothing but the root asked about needs. */
  readonly exclusiveBytes: number;
  readonly remarks: readonly string[];
}

export interface SurveyOptions {
  /** Counts what only this root needs. */
  readonly exclusiveTo?: RootName;
  /**
   * Waits a little for snapshots that are pending, but for those that an earlier mark saw so already. Without it, waits for
   * none: who removes nothing may miss something.
   */
  readonly waitForPendingBut?: ReadonlySet<SnapshotId>;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Changes nothing.
 * @throws corrupt `gc-stopped` when a root can't be read; `entry-missing`; unsupported `unknown-roots`
 */
export async function surveyStore(options: BlockStoreOptions, how: SurveyOptions = {}): Promise<Survey> {
  const roots = await readRoots(options, how.waitForPendingBut, how.signal);
  const surveyor = new Surveyor(options, roots, how);
  await surveyor.mark();
  for (const volume of roots.volumes.values()) await surveyor.volume(volume);
  await surveyor.uploads();
  for (const snapshot of roots.snapshots.values()) await surveyor.snapshot(snapshot);
  return surveyor.finish();
}

/** What a newer sgw keeps there may be a root. */
function unknownRoots(key: string): SgwError {
  return new SgwError('unsupported', 'unknown-roots', `the store has ${key}, which this sgw can not follow`, {
    hint: 'Use a newer sgw for gc.',
    details: { key },
  });
}

/** The root of what a snapshot reaches, as far as it keeps that; undefined when it keeps nothing. */
function rootKeptBy(entry: SnapshotEntry): NodePointer | null | undefined {
  if (entry.state === 'completed') return entry.root;
  return entry.state === 'pending' ? entry.upload?.parent?.root : undefined;
}

class Surveyor {
  readonly #options: BlockStoreOptions;
  readonly #roots: Roots;
  readonly #how: SurveyOptions;
  readonly #mark: Mark;
  readonly #owners = new Map<string, number>();
  readonly #unreachable: Unreachable[] = [];
  readonly #ownSegments = new Map<VolumeId, OwnSegment[]>();
  readonly #neededOf = new Map<VolumeId, number>();
  /** Snapshots of which something under `uploads/` is needed. */
  readonly #neededUploads = new Set<SnapshotId>();
  readonly #remarks: string[] = [];
  #live = { objects: 0, bytes: 0 };
  #exclusiveBytes = 0;

  constructor(options: BlockStoreOptions, roots: Roots, how: SurveyOptions) {
    this.#options = options;
    this.#roots = roots;
    this.#how = how;
    this.#mark = new Mark(options);
  }

  async mark(): Promise<void> {
    const volumes = [...this.#roots.volumes.values()];
    for (const root of volumes) if (root.state === 'live') await this.#markVolume(root);
    for (const { snapshotId, entry } of this.#roots.snapshots.values()) {
      const root = entry === undefined ? undefined : rootKeptBy(entry.value);
      if (root === undefined) continue;
      await this.#marking(`snapshot ${snapshotId}`, () =>
        this.#mark.reach(root, this.#numberOf('snapshot', snapshotId), this.#how.signal),
      );
    }
    for (const { key, document } of this.#roots.pins) {
      const number = this.#numberOf('pin', key);
      for (const object of document.value.objects) this.#mark.reachSegment(object, number, 0);
      for (const root of document.value.roots)
        await this.#marking(`pin ${key}`, () => this.#mark.reach(root, number, this.#how.signal));
    }
    for (const { restoreId, root } of this.#roots.restores)
      await this.#marking(`restore ${restoreId}`, () =>
        this.#mark.reach(root, this.#numberOf('restore', restoreId), this.#how.signal),
      );
    // Last: a walk that damage ends half-way would make the others pass by what it did not come to.
    for (const root of volumes) if (root.state !== 'live') await this.#markVolume(root);
  }

  async #markVolume({ volumeId, state, head }: VolumeRoot): Promise<void> {
    if (head === undefined) return;
    const number = this.#numberOf('volume', volumeId);
    const { checkpoint, consistent, recovery } = head.value;
    const reach = async (): Promise<void> => {
      await this.#mark.reach(checkpoint.root, number, this.#how.signal);
      await this.#mark.reach(consistent?.root ?? null, number, this.#how.signal);
      for (const { root } of recovery?.points ?? [])
        await this.#mark.reach(root, this.#numberOfPast(volumeId), this.#how.signal);
    };
    if (state === 'live') {
      await this.#marking(`volume ${volumeId}`, reach);
      return;
    }
    try {
      await reach();
    } catch (error) {
      // Its creator will find that the snapshot was deleted, and undo it.
      if (toSgwError(error).kind !== 'corrupt') throw error;
      this.#remarks.push(
        `Volume ${volumeId} is being created from a snapshot that is gone: ${toSgwError(error).message}.`,
      );
    }
  }

  async #marking(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const failure = toSgwError(error);
      if (failure.kind !== 'corrupt') throw error;
      throw new SgwError('corrupt', 'gc-stopped', `gc stops, since ${what} can not be read: ${failure.message}`, {
        hint: `Nothing was removed. ${failure.hint ?? 'See what is damaged: sgw store scrub'}`,
        details: { ...failure.details, root: what },
        cause: error,
      });
    }
  }

  /**
   * What recovery points reach as well is not the head's alone, and rewriting it would free nothing (C12). Deleting the
   * volume ends both.
   */
  #numberOfPast(volumeId: VolumeId): number {
    return this.#numberOf(this.#how.exclusiveTo?.kind === 'volume' ? 'volume' : 'recovery', volumeId);
  }

  #numberOf(kind: RootName['kind'], id: string): number {
    const name = `${kind} ${id}`;
    const number = this.#owners.get(name) ?? this.#owners.size;
    this.#owners.set(name, number);
    return number;
  }

  async volume(root: VolumeRoot): Promise<void> {
    const prefix = `${keys.volumes}${root.volumeId}/`;
    let tombstones: SeqSet | undefined;
    for await (const info of this.#options.objects.list(prefix, withSignal(this.#how.signal))) {
      const place = seqOfKey(info.key);
      if (place === undefined) {
        if (root.state === 'live' || root.state === 'creating') this.#keep(info, this.#ownerOf(root));
        else this.#condemn(info, 'document', root, undefined);
        continue;
      }
      const owner = this.#ownerOfPlace(root, info.key, place.seq);
      if (owner !== undefined) {
        this.#keep(info, owner);
        if (root.head === undefined) this.#neededOf.set(root.volumeId, (this.#neededOf.get(root.volumeId) ?? 0) + 1);
        if (place.kind === 'log') this.#noteOwnSegment(root, info, place.seq, owner);
        continue;
      }
      if (place.kind === 'log' && root.head !== undefined) {
        tombstones ??= await readTombstones(this.#options, root.volumeId, this.#how.signal);
        if (tombstones.has(place.seq)) continue;
      }
      this.#condemn(info, place.kind, root, undefined);
    }
  }

  /** What stands above the newest checkpoint is never looked at: its writer may be about to need it. */
  #ownerOfPlace(root: VolumeRoot, key: string, seq: number): number | undefined {
    const marked = this.#mark.ownerOf(key);
    if (root.head === undefined || seq <= root.head.value.checkpoint.seq) return marked;
    const own = this.#ownerOf(root);
    return marked === undefined || marked === own ? own : SHARED;
  }

  #ownerOf({ volumeId }: VolumeRoot): number {
    return this.#numberOf('volume', volumeId);
  }

  #noteOwnSegment(root: VolumeRoot, info: ObjectInfo, seq: number, owner: number): void {
    const head = root.head?.value;
    const { volumeId, entry } = root;
    if (head === undefined || entry?.value.state !== 'available' || owner !== this.#ownerOf(root)) return;
    if (seq > head.checkpoint.seq || head.consistent?.seq !== head.checkpoint.seq) return;
    const segments = this.#ownSegments.get(volumeId) ?? [];
    segments.push({ key: info.key, seq, livePages: this.#mark.livePagesOf(info.key), sizeBytes: info.sizeBytes });
    this.#ownSegments.set(volumeId, segments);
  }

  async snapshot(root: SnapshotRoot): Promise<void> {
    const { snapshotId, entry } = root;
    const prefix = `${keys.snapshots}${snapshotId}/`;
    const ended = entry === undefined || entry.value.state === 'failed' || entry.value.state === 'deleted';
    const number = this.#numberOf('snapshot', snapshotId);
    const mapKey = keys.snapshotMap(snapshotId);
    const mapOwner = this.#mark.ownerOf(mapKey);
    const hasNeededBlocks = this.#neededUploads.has(snapshotId);
    for await (const info of this.#options.objects.list(prefix, withSignal(this.#how.signal))) {
      if (info.key === mapKey) {
        if (mapOwner !== undefined || !ended) this.#keep(info, mapOwner ?? number);
        else this.#condemn(info, 'snapshotMap', undefined, root);
      } else if (info.key === keys.snapshot(snapshotId) && ended && mapOwner === undefined && !hasNeededBlocks)
        this.#condemn(info, 'document', undefined, root);
      else this.#keep(info, number);
    }
  }

  /**
   * What was written through the API. While its snapshot is pending all of it is needed; then what maps name, so neither blocks
   * that were written anew nor those that came too late. Of a snapshot that is newer than the roots, all.
   */
  async uploads(): Promise<void> {
    for await (const info of this.#options.objects.list(keys.uploads, withSignal(this.#how.signal))) {
      const name = uploadOfKey(info.key);
      if (name === undefined) throw unknownRoots(info.key);
      const { snapshotId } = name;
      const root = this.#roots.snapshots.get(snapshotId);
      const isHeld = root === undefined || root.entry?.value.state === 'pending';
      const owner = this.#mark.ownerOf(info.key) ?? (isHeld ? this.#numberOf('snapshot', snapshotId) : undefined);
      if (owner === undefined) this.#condemn(info, 'upload', undefined, root);
      else {
        this.#keep(info, owner);
        this.#neededUploads.add(snapshotId);
      }
    }
  }

  #keep({ sizeBytes }: ObjectInfo, owner: number): void {
    this.#live = { objects: this.#live.objects + 1, bytes: this.#live.bytes + sizeBytes };
    const { exclusiveTo } = this.#how;
    if (exclusiveTo !== undefined && owner === this.#numberOf(exclusiveTo.kind, exclusiveTo.id))
      this.#exclusiveBytes += sizeBytes;
  }

  #condemn(
    { key, etag, sizeBytes }: ObjectInfo,
    kind: UnreachableKind,
    volume: VolumeRoot | undefined,
    snapshot: SnapshotRoot | undefined,
  ): void {
    this.#unreachable.push({ key, etag, sizeBytes, kind, volume, snapshot });
  }

  finish(): Survey {
    const snapshots = [...this.#roots.snapshots.values()];
    const volumes = [...this.#roots.volumes.values()];
    return {
      roots: this.#roots,
      live: this.#live,
      unreachable: this.#unreachable,
      // One that is written through the API is followed while it is pending: a mark misses nothing that it reaches.
      pending: snapshots
        .filter(({ entry }) => entry?.value.state === 'pending' && !isUpload(entry.value))
        .map((root) => root.snapshotId),
      creating: volumes.filter((root) => root.state === 'creating').map((root) => root.volumeId),
      neededOf: this.#neededOf,
      ownSegments: this.#ownSegments,
      exclusiveBytes: this.#exclusiveBytes,
      remarks: this.#remarks,
    };
  }
}
