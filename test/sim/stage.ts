/**
 * A stage for one scenario: programs over one store in memory, each of which can be stopped at a named failpoint and let
 * go on later, and the auditor of the simulation beside them. Nothing is left to chance.
 */
import {
  Catalog,
  createSnapshot,
  createStore,
  openVolumeWriter,
  type BlockStoreOptions,
  type SnapshotEntry,
  type VolumeEntry,
  type VolumeWriter,
} from '../../src/core/blockstore/index.ts';
import { collectGarbage } from '../../src/core/blockstore/gc/index.ts';
import { SgwError, type VolumeId } from '../../src/core/kit/index.ts';
import {
  memoryStore,
  type CallOptions,
  type GetOptions,
  type ObjectBody,
  type ObjectStore,
  type PutBody,
  type PutOptions,
  type PutResult,
} from '../../src/core/objectstore/index.ts';
import { StoreLayer, type DeleteOptions } from '../../src/core/objectstore/layer.ts';
import { Auditor } from './auditor.ts';
import { ACCOUNTS, batchOf, changed } from './disk-state.ts';
import { observed } from './observed-store.ts';
import { Choices } from './random.ts';
import { kindOfKey, putName } from './sim-store.ts';
import { Tally } from './tally.ts';
import type { Tenure } from './volume-ledger.ts';

const GRACE_MS = 3_600_000;
const UNDELETE_MS = 7 * 24 * 3_600_000;

/** A call that waits at a failpoint. */
export interface Held {
  /** Resolves once the program is there. */
  readonly reached: Promise<void>;
  readonly release: () => void;
}

interface Hold {
  readonly point: RegExp;
  skip: number;
  readonly arrive: () => void;
  readonly released: Promise<void>;
}

function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** A store whose calls can be held at failpoints: `segment.put.before`, `head.put.after`. */
class GatedStore extends StoreLayer {
  #holds: Hold[] = [];
  /** Names of the calls made, in order. */
  readonly calls: string[] = [];

  /** Holds the call that passes `point` next, or the one after `skip` others that do. */
  hold(point: RegExp, skip = 0): Held {
    const arrival = gate();
    const way = gate();
    this.#holds.push({ point, skip, arrive: arrival.open, released: way.opened });
    return { reached: arrival.opened, release: way.open };
  }

  async #pass(point: string): Promise<void> {
    const hold = this.#holds.find((each) => each.point.test(point));
    if (hold === undefined) return;
    if (hold.skip > 0) {
      hold.skip -= 1;
      return;
    }
    this.#holds = this.#holds.filter((other) => other !== hold);
    hold.arrive();
    await hold.released;
  }

  async #call<T>(name: string, execute: () => Promise<T>): Promise<T> {
    this.calls.push(name);
    await this.#pass(`${name}.before`);
    const result = await execute();
    await this.#pass(`${name}.after`);
    return result;
  }

  override async put(key: string, body: PutBody, options: PutOptions = {}): Promise<PutResult> {
    return this.#call(putName(key, options), async () => this.below.put(key, body, options));
  }

  override async get(key: string, options?: GetOptions): Promise<ObjectBody | undefined> {
    return this.#call(`${kindOfKey(key)}.get`, async () => this.below.get(key, options));
  }

  override async delete(key: string, options?: DeleteOptions): Promise<boolean> {
    return this.#call(`${kindOfKey(key)}.delete`, async () => this.below.delete(key, options));
  }

  override async *listFolders(prefix: string, options?: CallOptions): AsyncGenerator<string> {
    yield* await this.#call(`${kindOfKey(prefix)}.list`, async () =>
      Array.fromAsync(this.below.listFolders(prefix, options)),
    );
  }
}

/** A volume that a program has open. */
export interface Opened {
  readonly writer: VolumeWriter;
  readonly tenure: Tenure;
}

export class Program {
  readonly name: string;
  readonly store: GatedStore;
  readonly options: BlockStoreOptions;
  readonly #stage: Stage;

  constructor(stage: Stage, name: string, base: ObjectStore) {
    this.#stage = stage;
    this.name = name;
    this.store = new GatedStore(base);
    const clock = {
      nowMs: () => stage.nowMs,
      monotonicMs: () => stage.nowMs,
      sleep: async () => Promise.resolve(),
    };
    this.options = { objects: this.store, clock, random: Choices.named(1, name).random };
  }

  async open(volumeId: VolumeId, how: { readonly trustMs?: number } = {}): Promise<Opened> {
    const holder = { gatewayId: `sgw-${this.name}`, name: this.name };
    const request = { holder, accountId: ACCOUNTS[0], takeOver: true, ...how };
    const writer = await openVolumeWriter(this.options, volumeId, request);
    const { sizeBytes, map, epoch } = writer;
    const tenure = this.#stage.auditor.opened(volumeId, epoch, { sizeBytes, mappedPages: map.mappedPages });
    return { writer, tenure };
  }

  /** Commits pages; resolves when that is acknowledged, which the auditor then judges. */
  async commit({ writer, tenure }: Opened, pages: readonly number[]): Promise<void> {
    const change = { stamp: this.#stage.stamp(), account: 0, writes: pages, unmap: [], consistent: true };
    const before = tenure.view;
    const issued = tenure.ledger.issue(tenure, changed(before, change));
    await writer.commit(batchOf(before, change));
    tenure.ledger.acknowledge(issued);
  }
}

export class Stage {
  nowMs = Date.UTC(2026, 0, 1);
  readonly auditor: Auditor;
  readonly base: ObjectStore;
  /** The store below the auditor's eyes. */
  readonly raw: ObjectStore;
  readonly #stamps = { last: 0 };

  private constructor() {
    this.auditor = new Auditor(new Tally(), () => this.nowMs, { graceMs: GRACE_MS, undeleteMs: UNDELETE_MS });
    this.raw = memoryStore();
    this.base = observed(this.raw, (change) => {
      this.auditor.observe(change);
    });
  }

  static async start(): Promise<Stage> {
    const stage = new Stage();
    await createStore(stage.program('setup').options);
    return stage;
  }

  stamp(): number {
    return (this.#stamps.last += 1);
  }

  program(name: string, base: ObjectStore = this.base): Program {
    return new Program(this, name, base);
  }

  async createVolume(pages = 64): Promise<VolumeEntry> {
    const sizeBytes = pages * 4096;
    const catalog = new Catalog(this.program('setup').options);
    const entry = await catalog.createVolume({ name: 'v', sizeBytes, accountId: ACCOUNTS[0] });
    this.auditor.created(entry.volumeId, { sizeBytes, pages: new Map(), consistent: true });
    return entry;
  }

  async snapshot(volume: VolumeEntry): Promise<SnapshotEntry> {
    return await createSnapshot(this.program('snapshotter').options, { volume, name: 's', accountId: ACCOUNTS[0] });
  }

  async deleteSnapshot(snapshot: SnapshotEntry): Promise<void> {
    const record = this.auditor.snapshots.get(snapshot.snapshotId);
    if (record === undefined) throw new Error('the auditor knows every snapshot');
    record.deletion = 'asked';
    const catalog = new Catalog(this.program('deleter').options);
    await catalog.updateSnapshot(snapshot.snapshotId, (now) => ({ ...now, state: 'deleted' }));
    record.deletion = 'deleted';
  }

  /** gc runs twice, a grace period apart: what was dead before is gone afterwards. */
  async collect(): Promise<void> {
    const { options } = this.program('gc');
    for (let run = 0; run < 2; run++) {
      await collectGarbage(options, { graceMs: GRACE_MS });
      this.nowMs += GRACE_MS + 1;
    }
    await collectGarbage(options, { graceMs: GRACE_MS });
  }
}

/** What a promise came to: undefined when it was kept. */
export async function outcome(promise: Promise<unknown>): Promise<SgwError | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    if (error instanceof SgwError) return error;
    throw error;
  }
}
