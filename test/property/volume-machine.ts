/**
 * Volumes and snapshots as plain byte arrays beside real ones: every step is done to both, and both must read the same.
 * Zeroes and unmapped pages are one thing in the model; pages past the end do not exist in it.
 */
import { expect } from 'vitest';
import {
  Catalog,
  PAGE_BYTES,
  createSnapshot,
  createStore,
  diffViews,
  openConsistentView,
  openSnapshotView,
  openVolumeView,
  openVolumeWriter,
  pagesOf,
  type BlockStoreOptions,
  type SnapshotEntry,
  type VolumeEntry,
  type VolumeWriter,
} from '../../src/core/blockstore/index.ts';
import { collectGarbage, rewriteVolume } from '../../src/core/blockstore/gc/index.ts';
import { SgwError } from '../../src/core/kit/index.ts';
import { readSnapshot, readVolume, type GetObject } from '../reader/independent-reader.ts';
import { unlock, type StoreKeys } from '../reader/independent-sealing.ts';
import { FILE_KEY, fileSecret, sealedStore } from '../unit/blockstore/sealed-store.ts';
import { ACCOUNT, holder, optionsOver, otherHolder, readAll } from '../unit/blockstore/volume-model.ts';
import { collect, creatorsOf, expectSame, expectSameContents } from './volume-checks.ts';
import { dataPages, diffOf, prepare, resized, type Change, type State } from './volume-state.ts';

const MAX_SNAPSHOTS = 8;
const MAX_VOLUMES = 4;

export type Step =
  | { readonly do: 'commit'; readonly volume: number; readonly change: Change; readonly consistent: boolean }
  | {
      readonly do: 'pipeline';
      readonly volume: number;
      readonly changes: readonly Change[];
      readonly then: 'wait' | 'close' | 'checkpoint';
    }
  | {
      readonly do: 'pipelineThenResize';
      readonly volume: number;
      readonly changes: readonly Change[];
      readonly sizeBytes: number;
    }
  | { readonly do: 'resize'; readonly volume: number; readonly sizeBytes: number }
  | { readonly do: 'checkpoint' | 'close' | 'reopen' | 'crash' | 'takeOver' | 'snapshot'; readonly volume: number }
  | {
      readonly do: 'crashInFlight';
      readonly volume: number;
      readonly changes: readonly Change[];
      readonly turns: number;
      readonly takeOver: boolean;
    }
  | { readonly do: 'clone'; readonly snapshot: number; readonly growBytes: number }
  | { readonly do: 'deleteVolume' | 'rewrite'; readonly volume: number }
  | { readonly do: 'undelete' }
  | { readonly do: 'deleteSnapshot'; readonly snapshot: number }
  | { readonly do: 'gc'; readonly purge: boolean };

/** Steps on one volume. */
type VolumeStep = Extract<Step, { readonly volume: number }>;

interface ModelVolume {
  readonly entry: VolumeEntry;
  state: State;
  /** The last consistent state. */
  kept: State;
  writer: VolumeWriter | undefined;
  /** Which gateway has it, or had it last. */
  who: typeof holder;
}

interface ModelSnapshot {
  readonly entry: SnapshotEntry;
  readonly state: State;
}

export class VolumeMachine {
  readonly #options: BlockStoreOptions;
  readonly #catalog: Catalog;
  /** What the independent reader opens a sealed store with. */
  readonly #keys: StoreKeys | undefined;
  readonly #volumes: ModelVolume[] = [];
  /** Those that can be undeleted. */
  readonly #deleted: ModelVolume[] = [];
  readonly #snapshots: ModelSnapshot[] = [];
  readonly #get: GetObject = async (key) => (await this.#options.objects.get(key))?.bytes;

  private constructor(options: BlockStoreOptions, keys: StoreKeys | undefined) {
    this.#options = options;
    this.#catalog = new Catalog(options);
    this.#keys = keys;
  }

  /** A store with a key, or without, and nothing in it. */
  static async #begin(sealed: boolean): Promise<VolumeMachine> {
    const options = optionsOver();
    if (!sealed) {
      await createStore(options);
      return new VolumeMachine(options, undefined);
    }
    const store = await sealedStore(options, fileSecret);
    const get: GetObject = async (key) => (await options.objects.get(key))?.bytes;
    return new VolumeMachine(store.options, await unlock(get, { kind: 'keyFile', bytes: FILE_KEY }));
  }

  /** Starts with one empty volume. */
  static async start(sizeBytes: number, sealed = false): Promise<VolumeMachine> {
    const machine = await VolumeMachine.#begin(sealed);
    const entry = await machine.#catalog.createVolume({ name: 'v0', sizeBytes, accountId: ACCOUNT });
    machine.#add(entry, { bytes: Buffer.alloc(pagesOf(sizeBytes) * PAGE_BYTES), sizeBytes, consistent: true });
    return machine;
  }

  #add(entry: VolumeEntry, state: State): void {
    this.#volumes.push({ entry, state, kept: state, writer: undefined, who: holder });
  }

  async run(step: Step): Promise<void> {
    if (!('volume' in step)) return this.#runOnStore(step);
    const volume = this.#volumes[step.volume % this.#volumes.length];
    if (volume === undefined) throw new Error('a machine has at least one volume');
    await this.#runOn(volume, step);
    if (volume.writer !== undefined) await expectSame(volume.writer, volume.state);
  }

  async #runOnStore(step: Exclude<Step, VolumeStep>): Promise<void> {
    switch (step.do) {
      case 'clone':
        return this.#clone(step.snapshot, step.growBytes);
      case 'undelete':
        return this.#undelete();
      case 'deleteSnapshot':
        return this.#deleteSnapshot(step.snapshot);
      case 'gc':
        await collectGarbage(this.#options, { graceMs: 0, ...(step.purge ? { undeleteMs: 0 } : {}) });
        if (step.purge) this.#deleted.length = 0;
    }
  }

  async #runOn(volume: ModelVolume, step: VolumeStep): Promise<void> {
    switch (step.do) {
      case 'deleteVolume':
        return this.#deleteVolume(volume);
      case 'rewrite':
        return this.#rewrite(volume);
      case 'commit':
        return this.#commit(volume, step.change, step.consistent);
      case 'pipeline':
        return this.#pipeline(volume, step.changes, step.then);
      case 'pipelineThenResize':
        return this.#pipelineThenResize(volume, step.changes, step.sizeBytes);
      case 'resize':
        await (await this.#open(volume)).resize(step.sizeBytes);
        become(volume, resized(volume.state, step.sizeBytes));
        return;
      case 'checkpoint':
        return (await this.#open(volume)).checkpoint();
      case 'close':
        await volume.writer?.close();
        volume.writer = undefined;
        return;
      case 'reopen':
        await volume.writer?.close();
        volume.writer = undefined;
        await this.#open(volume);
        return;
      case 'crash':
        return this.#replaceWriter(volume, false);
      case 'takeOver':
        return this.#replaceWriter(volume, true);
      case 'crashInFlight':
        return this.#crashInFlight(volume, step);
      case 'snapshot':
        return this.#snapshot(volume);
    }
  }

  async #open(volume: ModelVolume): Promise<VolumeWriter> {
    volume.writer ??= await openVolumeWriter(this.#options, volume.entry.volumeId, {
      holder: volume.who,
      accountId: ACCOUNT,
    });
    return volume.writer;
  }

  async #commit(volume: ModelVolume, change: Change, consistent: boolean): Promise<void> {
    const writer = await this.#open(volume);
    const { batch, after } = prepare(volume.state, change, consistent);
    await writer.commit(batch);
    become(volume, after);
  }

  async #pipeline(
    volume: ModelVolume,
    changes: readonly Change[],
    then: 'wait' | 'close' | 'checkpoint',
  ): Promise<void> {
    const writer = await this.#open(volume);
    const pending: Promise<void>[] = [];
    for (const change of changes) {
      const { batch, after } = prepare(volume.state, change, true);
      pending.push(writer.commit(batch));
      become(volume, after);
    }
    if (then === 'close') pending.push(writer.close());
    if (then === 'checkpoint') pending.push(writer.checkpoint());
    await Promise.all(pending);
    if (then === 'close') volume.writer = undefined;
  }

  async #pipelineThenResize(volume: ModelVolume, changes: readonly Change[], sizeBytes: number): Promise<void> {
    const writer = await this.#open(volume);
    const pending: Promise<void>[] = [];
    for (const change of changes) {
      const { batch, after } = prepare(volume.state, change, true);
      pending.push(writer.commit(batch));
      become(volume, after);
    }
    pending.push(writer.resize(sizeBytes));
    become(volume, resized(volume.state, sizeBytes));
    await Promise.all(pending);
  }

  /** Opens again without closing; the writer before it must then be fenced, and change nothing. */
  async #replaceWriter(volume: ModelVolume, takeOver: boolean): Promise<void> {
    const before = await this.#open(volume);
    if (takeOver) volume.who = volume.who === holder ? otherHolder : holder;
    const { entry, who } = volume;
    volume.writer = await openVolumeWriter(this.#options, entry.volumeId, {
      holder: who,
      accountId: ACCOUNT,
      takeOver,
    });
    const { batch } = prepare(volume.state, { writes: [{ page: 0, filling: 3 }], unmap: [], creators: 0 }, true);
    await expect(before.commit(batch)).rejects.toMatchObject({ kind: 'fenced' });
  }

  /** Opens while commits of the writer before are under way: some prefix of them happened, with all that were told done. */
  async #crashInFlight(volume: ModelVolume, step: Extract<Step, { do: 'crashInFlight' }>): Promise<void> {
    const before = await this.#open(volume);
    const states = [volume.state];
    const commits: Promise<void>[] = [];
    for (const change of step.changes) {
      const { batch, after } = prepare(states.at(-1) ?? volume.state, change, true);
      commits.push(before.commit(batch));
      states.push(after);
    }
    const settled = Promise.allSettled(commits);
    for (let turn = 0; turn < step.turns; turn++) await Promise.resolve();
    if (step.takeOver) volume.who = volume.who === holder ? otherHolder : holder;
    const { who, entry } = volume;
    const writer = await openVolumeWriter(this.#options, entry.volumeId, {
      holder: who,
      accountId: ACCOUNT,
      takeOver: step.takeOver,
    });
    const results = await settled;
    const done = results.findIndex((result) => result.status === 'rejected');
    for (const result of done < 0 ? [] : results.slice(done)) {
      expect(result.status === 'rejected' && result.reason instanceof SgwError && result.reason.kind).toBe('fenced');
    }
    const now = await readAll(writer);
    const isNow = (state: State): boolean =>
      state.consistent === writer.consistent && now.equals(state.bytes.subarray(0, state.sizeBytes));
    const found = states.findIndex((state, i) => i >= (done < 0 ? commits.length : done) && isNow(state));
    expect(found, 'the volume is a prefix of the commits, with every one that was done').toBeGreaterThanOrEqual(0);
    become(volume, states[found] ?? volume.state);
    volume.writer = writer;
  }

  async #snapshot(volume: ModelVolume): Promise<void> {
    if (this.#snapshots.length >= MAX_SNAPSHOTS) return;
    const name = `s${String(this.#snapshots.length)}`;
    const entry = await createSnapshot(this.#options, { volume: volume.entry, name, accountId: ACCOUNT });
    this.#snapshots.push({ entry, state: volume.kept });
  }

  async #deleteSnapshot(number: number): Promise<void> {
    const [snapshot] = this.#snapshots.splice(number % Math.max(1, this.#snapshots.length), 1);
    if (snapshot === undefined) return;
    await this.#catalog.updateSnapshot(snapshot.entry.snapshotId, (now) => ({ ...now, state: 'deleted' }));
  }

  /** A machine keeps one volume at least. A writer that is open is left as a killed process leaves it. */
  async #deleteVolume(volume: ModelVolume): Promise<void> {
    if (this.#volumes.length === 1) return;
    const deletedAt = new Date(this.#options.clock.nowMs()).toISOString();
    await this.#catalog.updateVolume(volume.entry.volumeId, (now) => ({ ...now, state: 'deleted', deletedAt }));
    await volume.writer?.abandon();
    volume.writer = undefined;
    this.#volumes.splice(this.#volumes.indexOf(volume), 1);
    this.#deleted.push(volume);
  }

  async #undelete(): Promise<void> {
    const volume = this.#deleted.pop();
    if (volume === undefined) return;
    const { volumeId } = volume.entry;
    await this.#catalog.updateVolume(volumeId, (now) => ({ ...now, state: 'available', deletedAt: null }));
    this.#volumes.push(volume);
  }

  /** Changes nothing that can be read, whoever wrote it included. */
  async #rewrite(volume: ModelVolume): Promise<void> {
    await volume.writer?.close();
    volume.writer = undefined;
    const { volumeId } = volume.entry;
    const { ownSegments, snapshotIds } = await collectGarbage(this.#options, { graceMs: 0 });
    const before = await openVolumeView(this.#options, volumeId);
    const creators = await creatorsOf(before);
    await rewriteVolume(this.#options, volumeId, {
      candidates: ownSegments.get(volumeId) ?? [],
      snapshotIds,
      holder: volume.who,
      accountId: ACCOUNT,
    });
    const after = await openVolumeView(this.#options, volumeId);
    expect(await collect(diffViews(before, after))).toEqual([]);
    expect(await creatorsOf(after)).toEqual(creators);
  }

  async #clone(number: number, growBytes: number): Promise<void> {
    const from = this.#snapshots[number % Math.max(1, this.#snapshots.length)];
    if (from === undefined || this.#volumes.length >= MAX_VOLUMES) return;
    const sizeBytes = from.state.sizeBytes + growBytes;
    const name = `v${String(this.#volumes.length)}`;
    const entry = await this.#catalog.createVolume({ name, sizeBytes, accountId: ACCOUNT, from: from.entry });
    this.#add(entry, resized({ ...from.state, consistent: true }, sizeBytes));
  }

  /** Reads everything back, by the product and by the independent reader, and compares snapshots with each other. */
  async finish(): Promise<void> {
    await collectGarbage(this.#options, { graceMs: 0 });
    for (const { entry, state, kept } of this.#volumes) {
      await expectSame(await openVolumeView(this.#options, entry.volumeId), state);
      await expectSame(await openConsistentView(this.#options, entry.volumeId), kept);
      await expectSameContents(await readVolume(this.#get, entry.volumeId, 'newest', this.#keys), state);
      await expectSameContents(await readVolume(this.#get, entry.volumeId, 'consistent', this.#keys), kept);
    }
    for (const { entry, state } of this.#snapshots) {
      expect(entry.mappedPages).toBe(dataPages(state));
      await expectSame(openSnapshotView(this.#options, entry), state);
      await expectSameContents(await readSnapshot(this.#get, entry.snapshotId, this.#keys), state);
    }
    for (const [i, a] of this.#snapshots.entries()) {
      for (const b of this.#snapshots.slice(i)) {
        await this.#expectDiff(a, b);
        await this.#expectDiff(b, a);
      }
    }
  }

  async #expectDiff(a: ModelSnapshot, b: ModelSnapshot): Promise<void> {
    const diff = diffViews(openSnapshotView(this.#options, a.entry), openSnapshotView(this.#options, b.entry));
    expect(await collect(diff)).toEqual(diffOf(a.state.bytes, b.state.bytes));
  }
}

function become(volume: ModelVolume, state: State): void {
  volume.state = state;
  if (state.consistent) volume.kept = state;
}
