/**
 * Watches everything that takes effect on the store, holds what the volumes and snapshots must read as, and throws a
 * Violation as soon as a rule is broken. It reads the store with code of its own (test/reader).
 */
import type { SnapshotId, VolumeId } from '../../src/core/kit/index.ts';
import type { Checkpoint, NodePointer } from '../reader/independent-formats.ts';
import { contentName, creatorBits, creatorsOf, describeState, type DiskState } from './disk-state.ts';
import type { StoreChange } from './observed-store.ts';
import { StoreReader, isMap, isSegment } from './store-reader.ts';
import type { Tally } from './tally.ts';
import { VolumeLedger, hold, type Tenure } from './volume-ledger.ts';

export interface HeadDocument {
  readonly epoch: number;
  readonly holder: object | null;
  readonly checkpoint: Checkpoint;
  readonly consistent: Checkpoint | null;
  readonly recovery?: { readonly points: readonly Checkpoint[] };
}

export interface VolumeDocument {
  readonly volumeId: VolumeId;
  readonly state: string;
  readonly deletedAt: string | null;
}

export interface SnapshotDocument {
  readonly snapshotId: SnapshotId;
  readonly volumeId: VolumeId;
  readonly state: string;
  readonly sizeBytes: number;
  readonly root: NodePointer | null;
  readonly creators: readonly string[];
}

/** A completed snapshot as it must read for ever. */
export interface SnapshotRecord {
  readonly snapshotId: SnapshotId;
  readonly volumeId: VolumeId;
  readonly state: DiskState;
  deletion: 'none' | 'asked' | 'deleted';
}

interface PinDocument {
  readonly purpose: string;
  readonly deadline: string;
  readonly roots: readonly NodePointer[];
  readonly objects: readonly string[];
}

/** A pin that is in force: it was made, and what it pins was there afterwards. */
interface HeldPin {
  readonly document: PinDocument;
  /** Whether its deadline once passed before it was renewed: from then on nothing is promised. */
  lapsed: boolean;
}

interface CondemnedDocument {
  readonly objects: readonly (readonly [key: string, etag: string, sizeBytes: number, sinceMs: number])[];
}

/** What of gc's promises needs its settings. */
export interface Periods {
  readonly graceMs: number;
  readonly undeleteMs: number;
}

export class Auditor {
  readonly reader = new StoreReader();
  readonly volumes = new Map<VolumeId, VolumeLedger>();
  readonly snapshots = new Map<SnapshotId, SnapshotRecord>();
  readonly #pins = new Map<string, HeldPin>();
  /** Recovery points that were held against what their volume was, by volume and log hash. */
  readonly #points = new Set<string>();
  readonly #tally: Tally;
  readonly #nowMs: () => number;
  readonly #periods: Periods;
  #purged = new Set<string>();
  /** Since when objects were condemned, by key; of the newest list. */
  #condemned = new Map<string, number>();

  constructor(tally: Tally, nowMs: () => number, periods: Periods) {
    this.#tally = tally;
    this.#nowMs = nowMs;
    this.#periods = periods;
  }

  /** Something took effect. */
  observe(change: StoreChange): void {
    const key = 'put' in change ? change.put : change.deleted;
    const was = this.reader.segment(key)?.segment.footer;
    const entryWas = key.endsWith('/volume.json')
      ? (this.reader.document(key) as VolumeDocument | undefined)
      : undefined;
    if (key.startsWith('pins/')) this.#pinChanges(key);
    this.reader.apply(change);
    const segment = this.reader.segment(key)?.segment.footer;
    if ('deleted' in change || (was !== undefined && was.kind !== 'tombstone' && segment?.kind === 'tombstone')) {
      this.#removed(key, 'deleted' in change, was?.kind);
    }
    if ('deleted' in change) return;
    if (key.endsWith('/head.json')) this.#headChanged(key);
    else if (key.endsWith('/snapshot.json')) this.#snapshotChanged(key);
    else if (key.endsWith('/volume.json')) this.#entryChanged(key, entryWas);
    else if (key === 'gc/condemned.json') this.#condemnedChanged(key);
  }

  #condemnedChanged(key: string): void {
    const { objects } = (this.reader.document(key) as CondemnedDocument | undefined) ?? { objects: [] };
    // Kept from before: a gc that was slow removes what an older list had.
    for (const [object, , , sinceMs] of objects)
      this.#condemned.set(object, Math.min(this.#condemned.get(object) ?? sinceMs, sinceMs));
  }

  /** Before a pin's document changes: a deadline that is over is over. */
  #pinChanges(key: string): void {
    const document = this.reader.document(key) as PinDocument | undefined;
    if (document === undefined || Date.parse(document.deadline) > this.#nowMs()) return;
    const pin = this.#pins.get(document.purpose);
    if (pin !== undefined) pin.lapsed = true;
  }

  #pinDocument(purpose: string): PinDocument | undefined {
    return this.reader
      .keys()
      .filter((key) => key.startsWith('pins/'))
      .map((key) => this.reader.document(key) as PinDocument | undefined)
      .find((document) => document?.purpose === purpose);
  }

  /** Work under a pin begins: what it pins is promised from now on. */
  pinned(purpose: string): void {
    const document = this.#pinDocument(purpose);
    // One that was lost before its work began promises nothing.
    if (document !== undefined) this.#pins.set(purpose, { document, lapsed: false });
    for (const root of document?.roots ?? []) {
      const missing = this.holds(purpose) ? this.reader.missingOf(root) : undefined;
      hold(missing === undefined, () => `C10 a pin was made of what is not there: ${missing ?? ''}`);
    }
    this.#tally.check('what is pinned is whole');
  }

  unpinned(purpose: string): void {
    this.#pins.delete(purpose);
  }

  /** Whether a pin still holds. */
  holds(purpose: string): boolean {
    const pin = this.#pins.get(purpose);
    if (pin === undefined || pin.lapsed) return false;
    const deadline = this.#pinDocument(purpose)?.deadline;
    pin.lapsed = deadline === undefined || Date.parse(deadline) <= this.#nowMs();
    return !pin.lapsed;
  }

  head(volumeId: VolumeId): HeadDocument | undefined {
    return this.reader.document(`volumes/${volumeId}/head.json`) as HeadDocument | undefined;
  }

  entry(volumeId: VolumeId): VolumeDocument | undefined {
    return this.reader.document(`volumes/${volumeId}/volume.json`) as VolumeDocument | undefined;
  }

  snapshot(id: SnapshotId): SnapshotDocument | undefined {
    return this.reader.document(`snapshots/${id}/snapshot.json`) as SnapshotDocument | undefined;
  }

  /** What a volume reads as now, by its log. */
  stateOf(volumeId: VolumeId): DiskState & { readonly seq: number; readonly epoch: number } {
    const head = this.head(volumeId);
    hold(head !== undefined, () => `C10 ${volumeId}: its head is gone`);
    return this.reader.replay(volumeId, head.checkpoint);
  }

  /** A volume's creation was acknowledged. */
  created(volumeId: VolumeId, state: DiskState): VolumeLedger {
    const ledger = new VolumeLedger(volumeId, state);
    ledger.acknowledged = true;
    this.volumes.set(volumeId, ledger);
    this.wholeVolume(volumeId);
    const found = this.stateOf(volumeId);
    hold(
      contentName(found) === contentName(state),
      () => `C11 ${volumeId} was created as ${describeState(found)}, and should be ${describeState(state)}`,
    );
    this.#tally.check('new volume reads as its source');
    return ledger;
  }

  /** A volume was undeleted: all of it is promised again. */
  undeleted(volumeId: VolumeId): void {
    this.#ledger(volumeId).deletion = 'none';
    hold(this.entry(volumeId)?.state === 'available', () => `C11 ${volumeId} was undeleted, and is not there`);
    this.wholeVolume(volumeId);
    this.#tally.check('an undeleted volume is whole');
  }

  /** A volume was opened for writing: what it found is settled. */
  opened(
    volumeId: VolumeId,
    epoch: number,
    seen?: { readonly sizeBytes: number; readonly mappedPages: number },
  ): Tenure {
    const ledger = this.#ledger(volumeId);
    const found = this.stateOf(volumeId);
    if (seen !== undefined && epoch > ledger.epoch) {
      hold(
        seen.sizeBytes === found.sizeBytes && seen.mappedPages === found.pages.size,
        () =>
          `C1 ${volumeId}: epoch ${String(epoch)} opened ${JSON.stringify(seen)}, the store has ${describeState(found)}`,
      );
    }
    const { certain } = ledger;
    const tenure = ledger.opened(epoch, found);
    this.#tally.check('opening finds what was acknowledged');
    if (tenure.fencedAt === null) this.#tally.event('unacknowledged commits adopted', ledger.certain - certain);
    else this.#tally.event('openings that were fenced before they ended');
    return tenure;
  }

  #ledger(volumeId: VolumeId): VolumeLedger {
    const ledger = this.volumes.get(volumeId);
    hold(ledger !== undefined, () => `nobody created ${volumeId}`);
    return ledger;
  }

  /** A view was read: it must be one of the states from `from` on that the volume had, or has. */
  checkRead(volumeId: VolumeId, from: number, found: DiskState, onlyConsistent = false): void {
    const ledger = this.#ledger(volumeId);
    const name = contentName(found);
    const fits = ledger.states.some(
      (state, i) => i >= from && (!onlyConsistent || state.consistent) && contentName(state) === name,
    );
    hold(
      fits,
      () =>
        `C5 ${volumeId} was read as ${describeState(found)}, which is no${onlyConsistent ? ' consistent' : ''} state from ${String(from)} on: ` +
        ledger.states
          .slice(from)
          .map((s) => `[${describeState(s)} ${String(s.consistent)}]`)
          .join(', '),
    );
    this.#tally.check('a view reads as a state of its volume');
  }

  /** A snapshot was read. */
  checkSnapshotRead(snapshotId: SnapshotId, found: Pick<DiskState, 'sizeBytes' | 'pages'>): void {
    const record = this.snapshots.get(snapshotId);
    hold(record !== undefined, () => `nobody completed ${snapshotId}`);
    hold(
      contentName(found) === contentName(record.state),
      () => `C8 ${snapshotId} was read as ${describeState(found)}, and is ${describeState(record.state)}`,
    );
    this.#tally.check('a snapshot reads as it was completed');
  }

  #headChanged(key: string): void {
    const volumeId = key.split('/')[1] as VolumeId;
    if (!this.isRoot(volumeId)) return;
    this.wholeVolume(volumeId);
    for (const point of this.head(volumeId)?.recovery?.points ?? []) this.#pointKept(volumeId, point);
  }

  /** A recovery point that is new must be a consistent state of its volume. */
  #pointKept(volumeId: VolumeId, { root, sizeBytes, consistent, logHash }: Checkpoint): void {
    const name = `${volumeId} ${logHash}`;
    if (this.#points.has(name) || !this.volumes.has(volumeId)) return;
    this.#points.add(name);
    hold(consistent, () => `C7 ${volumeId} keeps a recovery point that it never was`);
    this.checkRead(volumeId, 0, { sizeBytes, pages: this.reader.reach(root).pages, consistent }, true);
    this.#tally.check('a recovery point is a consistent state of its volume');
  }

  #entryChanged(key: string, was: VolumeDocument | undefined): void {
    const { volumeId, state } = (this.reader.document(key) as VolumeDocument | undefined) ?? {
      volumeId: '',
      state: '',
    };
    hold(
      was?.state !== 'purging' || state === 'purging',
      () => `C11 ${volumeId} was ${state} again while it was purged`,
    );
    if (was === undefined) this.wholeVolume(volumeId as VolumeId);
    if (state !== 'purging' || this.#purged.has(volumeId)) return;
    if (was !== undefined) {
      const deletedMs = Date.parse(was.deletedAt ?? '');
      hold(
        was.state === 'deleted' && deletedMs + this.#periods.undeleteMs <= this.#nowMs(),
        () => `C11 ${volumeId} was purged while it was ${was.state} and could be undeleted`,
      );
      this.#tally.check('a volume is purged only after its time for undelete');
    }
    this.#purged.add(volumeId);
    const ledger = this.volumes.get(volumeId as VolumeId);
    if (ledger === undefined) return;
    hold(ledger.deletion !== 'none', () => `C11 ${volumeId} is being purged, and nobody deleted it`);
    this.#tally.event('volumes purged');
  }

  /** Every root that appears, or moves, is whole. */
  wholeVolume(volumeId: VolumeId): void {
    const head = this.head(volumeId);
    if (head === undefined || !this.isRoot(volumeId)) return;
    for (const point of [head.checkpoint, head.consistent, ...(head.recovery?.points ?? [])]) {
      const missing = point === null ? undefined : this.reader.missingOf(point.root);
      hold(missing === undefined, () => `C10 ${volumeId}: its head needs what is not there: ${missing ?? ''}`);
    }
    this.#tally.check('a head that appears is whole');
  }

  #snapshotChanged(key: string): void {
    const document = this.reader.document(key) as SnapshotDocument | undefined;
    if (document?.state !== 'completed') return;
    const { snapshotId, volumeId, root, sizeBytes, creators } = document;
    const known = this.snapshots.get(snapshotId);
    const missing = this.reader.missingOf(root);
    if (missing !== undefined && known?.deletion === 'deleted') return;
    hold(missing === undefined, () => `C10 ${snapshotId} is completed, and needs what is not there: ${missing ?? ''}`);
    if (known !== undefined) return;
    const state = { sizeBytes, pages: this.reader.reach(root).pages, consistent: true };
    // From the first state on: whether it is new enough is judged by who asked for it.
    this.checkRead(volumeId, 0, state, true);
    this.snapshots.set(snapshotId, { snapshotId, volumeId, state, deletion: 'none' });
    this.#tally.check('a snapshot is a consistent state of its volume');
    hold(
      creatorBits(creators) === creatorsOf(state.pages),
      () => `C17 ${snapshotId} names the creators ${creators.join()}, and holds ${describeState(state)}`,
    );
    this.#tally.check('a snapshot names its creators');
  }

  #removed(key: string, deleted: boolean, was: string | undefined): void {
    if (isSegment(key) && deleted) {
      const volumeId = key.split('/')[1] as VolumeId;
      hold(
        this.entry(volumeId)?.state === 'purging' || this.entry(volumeId) === undefined,
        () => `C2 ${key} was deleted while its volume exists`,
      );
      this.#tally.event('segments deleted');
    } else if (isSegment(key)) this.#tally.event('tombstones');
    else if (isMap(key)) this.#tally.event('map objects deleted');
    else this.#tally.event('documents deleted');
    if (isSegment(key) || isMap(key)) {
      if (was !== 'tombstone') {
        const needed = this.neededBy(key);
        hold(needed === undefined, () => `C10 ${key} was removed, and ${needed ?? ''} needs it`);
      }
      this.#tally.check('what is removed is not reachable');
      const sinceMs = this.#condemned.get(key);
      hold(
        was === 'tombstone' || (sinceMs !== undefined && sinceMs + this.#periods.graceMs <= this.#nowMs()),
        () =>
          `C11 ${key} was removed, and was condemned ${sinceMs === undefined ? 'never' : new Date(sinceMs).toISOString()}`,
      );
      this.#tally.check('what is removed was condemned for the grace period');
    } else this.#documentRemoved(key);
  }

  #documentRemoved(key: string): void {
    const [folder, id = '', part] = key.split('/');
    if (folder === 'snapshots' && part === 'snapshot.json') {
      const record = this.snapshots.get(id as SnapshotId);
      hold(record?.deletion !== 'none', () => `C10 the completed snapshot ${id} was removed, and nobody deleted it`);
    }
    if (folder === 'volumes') {
      const ledger = this.volumes.get(id as VolumeId);
      hold(ledger?.deletion !== 'none', () => `C10 ${key} was removed, and nobody deleted the volume`);
    }
    this.#tally.check('only documents of what was deleted are removed');
  }

  /** Which root needs an object: undefined when none does. */
  neededBy(key: string): string | undefined {
    for (const volumeId of this.reader.volumeIds()) {
      const head = this.head(volumeId);
      if (head === undefined || !this.isRoot(volumeId)) continue;
      const seq = seqOf(key, volumeId);
      // What the log after the checkpoint holds is above it.
      if (seq !== undefined && seq > head.checkpoint.seq) return `${volumeId}, above its checkpoint`;
      const root = this.#rootOfHead(head, key);
      if (root !== undefined) return `${root} of ${volumeId}`;
    }
    for (const id of this.reader.snapshotIds()) {
      const snapshot = this.snapshot(id);
      if (snapshot?.state === 'completed' && this.#reaches(snapshot.root, key)) return `the snapshot ${id}`;
    }
    for (const [purpose, { document }] of this.#pins) {
      const isPinned = document.objects.includes(key) || document.roots.some((root) => this.#reaches(root, key));
      if (isPinned && this.holds(purpose)) return `the pin of ${purpose}`;
    }
    return undefined;
  }

  #rootOfHead({ checkpoint, consistent, recovery }: HeadDocument, key: string): string | undefined {
    if (this.#reaches(checkpoint.root, key)) return 'the checkpoint';
    if (consistent !== null && this.#reaches(consistent.root, key)) return 'the consistent state';
    const point = recovery?.points.find(({ root }) => this.#reaches(root, key));
    return point === undefined ? undefined : `recovery point ${String(point.seq)}`;
  }

  /** Whether a volume is there, deleted or not, and not being purged. */
  isRoot(volumeId: VolumeId): boolean {
    const state = this.entry(volumeId)?.state;
    return state !== undefined && state !== 'purging';
  }

  #reaches(root: NodePointer | null, key: string): boolean {
    const { maps, segments } = this.reader.reach(root);
    return maps.has(key) || segments.has(key);
  }
}

function seqOf(key: string, volumeId: string): number | undefined {
  const match = /^volumes\/([^/]+)\/(?:log|map)\/([0-9a-f]{16})$/.exec(key);
  return match?.[1] === volumeId ? Number.parseInt(match[2] ?? '', 16) : undefined;
}
