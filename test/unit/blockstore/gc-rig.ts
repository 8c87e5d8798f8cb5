/** A small store that gc is tried on: volumes of a few pages, a clock that is set, and a judge of its own. */
import {
  Catalog,
  PAGE_BYTES,
  createSnapshot,
  createStore,
  openSnapshotView,
  openVolumeView,
  openVolumeWriter,
  type BlockStoreOptions,
  type SnapshotEntry,
  type VolumeEntry,
  type VolumeView,
} from '../../../src/core/blockstore/index.ts';
import { collectGarbage, type GcReport } from '../../../src/core/blockstore/gc/index.ts';
import type { Head } from '../../../src/core/blockstore/index.ts';
import { readSegmentIndex } from '../../../src/core/blockstore/segment-reader.ts';
import { MIB, seededRandom, type Clock } from '../../../src/core/kit/index.ts';
import {
  memoryStore,
  type CallOptions,
  type GetOptions,
  type ListOptions,
  type ObjectBody,
  type ObjectInfo,
  type ObjectStore,
  type PutBody,
  type PutOptions,
  type PutResult,
} from '../../../src/core/objectstore/index.ts';
import { StoreLayer, type DeleteOptions } from '../../../src/core/objectstore/layer.ts';
import { ACCOUNT, encodeBlocks, holder, readAll, stamp } from './volume-model.ts';

export const HOUR = 60 * 60_000;
export const DAY = 24 * HOUR;

/** Stands still until it is told to move. */
class SetClock implements Clock {
  #nowMs = Date.UTC(2026, 0, 1);
  nowMs = (): number => this.#nowMs;
  monotonicMs = (): number => this.#nowMs;
  sleep = (): Promise<void> => Promise.resolve();
  move(ms: number): void {
    this.#nowMs += ms;
  }
}

/** A volume with what it should read as. */
export interface Model {
  readonly entry: VolumeEntry;
  image: Buffer;
}

export class GcRig {
  readonly clock = new SetClock();
  readonly below: ObjectStore;
  readonly options: BlockStoreOptions;
  readonly catalog: Catalog;

  private constructor(below: ObjectStore, seed: number) {
    this.below = below;
    this.options = { objects: below, clock: this.clock, random: seededRandom(seed) };
    this.catalog = new Catalog(this.options);
  }

  static async start(seed = 1, below = memoryStore()): Promise<GcRig> {
    const rig = new GcRig(below, seed);
    await createStore(rig.options);
    return rig;
  }

  /** As it is now, so that it can be gone on with in several ways. */
  async copy(): Promise<GcRig> {
    const below = memoryStore();
    for await (const { key } of this.below.list('')) {
      const object = await this.below.get(key);
      if (object !== undefined) await below.put(key, object.bytes);
    }
    const rig = new GcRig(below, 2);
    rig.clock.move(this.clock.nowMs() - rig.clock.nowMs());
    return rig;
  }

  /** The same store as another process sees it, over `objects`. */
  over(objects: ObjectStore, seed = 99): BlockStoreOptions {
    return { ...this.options, objects, random: seededRandom(seed) };
  }

  async volume(name: string, from?: SnapshotEntry, image: Buffer = Buffer.alloc(MIB)): Promise<Model> {
    const entry = await this.catalog.createVolume({
      name,
      sizeBytes: MIB,
      accountId: ACCOUNT,
      ...(from === undefined ? {} : { from }),
    });
    return { entry, image: Buffer.from(image) };
  }

  /** Fills blocks with a number, one commit, and closes. */
  async write(model: Model, value: number, blocks: readonly number[]): Promise<void> {
    const writer = await openVolumeWriter(this.options, model.entry.volumeId, { holder, accountId: ACCOUNT });
    for (const block of blocks) fillBlock(model.image, block, value);
    await writer.commit({ encoded: [encodeBlocks(model.image, blocks)], consistent: true });
    await writer.close();
  }

  async snapshot(model: Model, name: string): Promise<SnapshotEntry> {
    return await createSnapshot(this.options, { volume: model.entry, name, accountId: ACCOUNT });
  }

  async deleteSnapshot(snapshot: SnapshotEntry): Promise<void> {
    await this.catalog.updateSnapshot(snapshot.snapshotId, (now) => ({ ...now, state: 'deleted' }));
  }

  async deleteVolume({ entry }: Model): Promise<void> {
    const deletedAt = new Date(this.clock.nowMs()).toISOString();
    await this.catalog.updateVolume(entry.volumeId, (now) => ({ ...now, state: 'deleted', deletedAt }));
  }

  async gc(graceMs = 0, options = this.options): Promise<GcReport> {
    return await collectGarbage(options, { graceMs });
  }

  async keys(prefix = ''): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of this.below.list(prefix)) keys.push(key);
    return keys;
  }

  async readsAs(model: Model): Promise<boolean> {
    return (await readAll(await openVolumeView(this.options, model.entry.volumeId))).equals(model.image);
  }

  async snapshotReadsAs(snapshot: SnapshotEntry, image: Buffer): Promise<boolean> {
    return (await readAll(openSnapshotView(this.options, snapshot))).equals(image);
  }

  /** Every object of volumes and snapshots that is neither reached from a root nor a tombstone, found without gc. */
  async garbage(): Promise<string[]> {
    const wanted = new Set<string>();
    const volumes = await this.catalog.listVolumes({ includeDeleted: true });
    for (const { volumeId } of volumes) {
      const head = await this.catalog.headOf(volumeId);
      wanted.add(`volumes/${volumeId}/head.json`).add(`volumes/${volumeId}/volume.json`);
      await this.#reach(await openVolumeView(this.options, volumeId), head, wanted);
    }
    for (const snapshot of await this.catalog.listSnapshots({ includeDeleted: true })) {
      if (snapshot.state !== 'pending' && snapshot.state !== 'completed') continue;
      wanted.add(`snapshots/${snapshot.snapshotId}/snapshot.json`);
      if (snapshot.state === 'completed')
        await this.#reach(openSnapshotView(this.options, snapshot), undefined, wanted);
    }
    const found: string[] = [];
    for (const key of [...(await this.keys('volumes/')), ...(await this.keys('snapshots/'))]) {
      if (!wanted.has(key) && !(await this.isTombstone(key))) found.push(key);
    }
    return found;
  }

  async #reach(view: VolumeView, head: Head | undefined, wanted: Set<string>): Promise<void> {
    const enter = (pointer: { readonly key: string }): boolean => {
      wanted.add(pointer.key);
      return true;
    };
    for await (const leaf of view.map.leaves({ enter })) for (const run of leaf.runs) wanted.add(run.source.key);
    if (head === undefined) return;
    const root = head.checkpoint.root;
    if (root !== null) wanted.add(root.key);
  }

  async isTombstone(key: string): Promise<boolean> {
    return key.includes('/log/') && (await readSegmentIndex(this.options, key))?.footer.kind === 'tombstone';
  }
}

export interface StoreCall {
  readonly operation: 'put' | 'get' | 'head' | 'list' | 'delete';
  readonly key: string;
  /** Of a put that replaces something. */
  readonly replaces: boolean;
}

/** Runs a hook before each call, which may wait, or throw in the call's place. */
export class HookedStore extends StoreLayer {
  readonly #hook: (call: StoreCall) => Promise<void> | void;

  constructor(below: ObjectStore, hook: (call: StoreCall) => Promise<void> | void) {
    super(below);
    this.#hook = hook;
  }

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    const { condition } = options ?? {};
    await this.#hook({ operation: 'put', key, replaces: condition !== undefined && 'ifMatch' in condition });
    return super.put(key, body, options);
  }

  override async get(key: string, options?: GetOptions): Promise<ObjectBody | undefined> {
    await this.#hook({ operation: 'get', key, replaces: false });
    return super.get(key, options);
  }

  override async head(key: string, options?: CallOptions): Promise<ObjectInfo | undefined> {
    await this.#hook({ operation: 'head', key, replaces: false });
    return super.head(key, options);
  }

  override async delete(key: string, options?: DeleteOptions): Promise<boolean> {
    await this.#hook({ operation: 'delete', key, replaces: false });
    return super.delete(key, options);
  }

  override async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
    await this.#hook({ operation: 'list', key: prefix, replaces: false });
    yield* super.list(prefix, options);
  }

  override async *listFolders(prefix: string, options?: CallOptions): AsyncGenerator<string> {
    await this.#hook({ operation: 'list', key: prefix, replaces: false });
    yield* super.listFolders(prefix, options);
  }
}

/** Stops whoever comes to it until it is opened. */
export class Gate {
  /** Somebody waits, or has passed. */
  readonly reached: Promise<void>;
  readonly #opened: Promise<void>;
  #reach = (): void => undefined;
  #open = (): void => undefined;

  constructor() {
    this.reached = new Promise((resolve) => {
      this.#reach = resolve;
    });
    this.#opened = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  async pass(): Promise<void> {
    this.#reach();
    await this.#opened;
  }

  open(): void {
    this.#open();
  }
}

/** Fills all pages of a block with a number. */
export function fillBlock(image: Buffer, block: number, value: number): void {
  for (let page = 0; page < 16; page++) stamp(value).copy(image, block * 16 * PAGE_BYTES + page * PAGE_BYTES);
}
