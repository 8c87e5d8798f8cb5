/**
 * A shadowing volume over an image, a log and a folder that forget, and a store that fails when it is told to. Time passes
 * twenty times as fast as outside. Every consistent commit has to be a state that the image had, and once the store has
 * caught up it holds what the image holds.
 */
import { expect } from 'vitest';
import {
  Catalog,
  createPendingSnapshot,
  createStore,
  FramePool,
  PAGE_BYTES,
  popcount16,
  type EncodedFrames,
  listRecoveryPoints,
  openRecoveryPoint,
  type BlockStoreOptions,
  type SnapshotEntry,
  type VolumeEntry,
  type VolumeView,
} from '../../src/core/blockstore/index.ts';
import { decodeFrame } from '../../src/core/blockstore/frame-codec.ts';
import { encodePackedPages } from '../../src/core/blockstore/pages-encoder.ts';
import type { PagesTask } from '../../src/core/blockstore/frame-tasks.ts';
import { SgwError, systemClock, systemRandom, type Clock, type Random } from '../../src/core/kit/index.ts';
import { memoryStore, type ObjectStore } from '../../src/core/objectstore/index.ts';
import { StoreLayer } from '../../src/core/objectstore/layer.ts';
import {
  openCachedVolume,
  openShadowVolume,
  type ServedVolume,
  type VolumeEvent,
} from '../../src/core/volume/index.ts';
import { findLog, openLog, type LogDisk, type LogFile, type RecordSink } from '../../src/core/writelog/index.ts';
import { noCache } from '../../src/core/gateway/serving/no-cache.ts';
import { readSnapshot, readVolume, toBuffer } from '../reader/independent-reader.ts';
import { NotedImage, stateOf } from './noted-image.ts';
import { noteSame } from '../../src/core/volume/shadow/opening.ts';
import { RestoringNotedImage } from './restoring-noted-image.ts';
import { ForgetfulLogDisk } from './forgetful-log-disk.ts';
import { ForgetfulShadowDisk } from './forgetful-shadow-disk.ts';

const ACCOUNT = '000000000001';
const GATEWAY = 'sgw-00000001';
const SPEED = 20;
const LOG_FILE_BYTES = 64 * 1024;
const LOG_BYTES = 16 * LOG_FILE_BYTES;
const SETTLES_MS = 20_000;
const HASH_BYTES = 16;

const startedMs = systemClock.nowMs();
const fastClock: Clock = {
  ...systemClock,
  nowMs: () => startedMs + (systemClock.nowMs() - startedMs) * SPEED,
  monotonicMs: () => systemClock.monotonicMs() * SPEED,
  sleep: async (ms, signal) => systemClock.sleep(ms / SPEED, signal),
};

/** Fails every call while it is out, and for ever once its process is dead. */
class FailingStore extends StoreLayer {
  isOut = false;
  isDead = false;

  #meet(): void {
    if (this.isDead || this.isOut) throw new SgwError('unavailable', 'store-out', 'the store is out of reach');
  }

  override async put(...words: Parameters<ObjectStore['put']>): ReturnType<ObjectStore['put']> {
    this.#meet();
    return await this.below.put(...words);
  }

  override async get(...words: Parameters<ObjectStore['get']>): ReturnType<ObjectStore['get']> {
    this.#meet();
    return await this.below.get(...words);
  }
}

/** Its files have a path, so that the pool finds them. */
class PathedLogDisk implements LogDisk {
  readonly below: ForgetfulLogDisk;

  constructor(below: ForgetfulLogDisk) {
    this.below = below;
  }

  get bootId(): string {
    return this.below.bootId;
  }

  list = async (): Promise<string[]> => this.below.list();
  remove = async (name: string): Promise<void> => this.below.remove(name);
  setAside = async (reason: string): Promise<string> => this.below.setAside(reason);

  async open(name: string, sizeBytes: number): Promise<LogFile> {
    const file = await this.below.open(name, sizeBytes);
    return {
      name,
      sizeBytes: file.sizeBytes,
      path: name,
      readSync: (target, position) => {
        file.readSync(target, position);
      },
      writeSync: (pieces, position) => {
        file.writeSync(pieces, position);
      },
      sync: async () => file.sync(),
      close: async () => file.close(),
    };
  }
}

class LogPool extends FramePool {
  readonly #disk: ForgetfulLogDisk;

  constructor(disk: ForgetfulLogDisk) {
    super({ threads: 1 });
    this.#disk = disk;
  }

  override async encodePages(task: PagesTask): Promise<EncodedFrames> {
    await Promise.resolve();
    const given = task.pages.map((page) => {
      if ('bytes' in page) return page.bytes;
      const bytes = this.#disk.bytesOf(task.files[page.file] ?? '');
      return bytes.subarray(page.position, page.position + PAGE_BYTES);
    });
    return encodePackedPages({
      files: [],
      pages: Float64Array.from(task.pages, ({ page }) => page),
      places: Float64Array.from({ length: task.pages.length * 3 }, (_, i) => (i % 3 === 0 ? -1 : 0)),
      given: Buffer.concat(given),
      creators: task.creators,
      keepsPages: task.keepsPages ?? false,
    });
  }
}

export class ShadowScene {
  readonly objects = memoryStore();
  readonly random: Random;
  image: NotedImage;
  log = new ForgetfulLogDisk();
  disk = new ForgetfulShadowDisk(fastClock);
  entry!: VolumeEntry;
  volume!: ServedVolume;
  store!: FailingStore;
  /** Through which it acknowledges, where it is in a group. */
  sink: RecordSink | undefined;
  readonly events: VolumeEvent[] = [];
  readonly snapshots: SnapshotEntry[] = [];

  private constructor(random: Random, image: NotedImage) {
    this.random = random;
    this.image = image;
  }

  static async start(random: Random, sizeBytes: number, sink?: RecordSink): Promise<ShadowScene> {
    const bytes = Buffer.alloc(sizeBytes);
    for (let at = 0; at < sizeBytes; at += 65_536)
      if (random.float() < 0.5) random.bytes(Math.min(65_536, sizeBytes - at)).copy(bytes, at);
    const scene = new ShadowScene(random, new NotedImage(fastClock, bytes));
    scene.sink = sink;
    // The volume as it was created, which an opening may have put into its history.
    scene.image.states.add(stateOf(Buffer.alloc(sizeBytes)));
    scene.store = new FailingStore(scene.objects);
    await createStore(scene.blocks);
    scene.entry = await new Catalog(scene.blocks).createVolume({ name: 'v', sizeBytes, accountId: ACCOUNT });
    await scene.#freshLog();
    await scene.open();
    return scene;
  }

  /** The image is restored from a snapshot meanwhile, and the volume is a clone of that (C25). */
  static async startRestoring(random: Random, sizeBytes: number): Promise<ShadowScene> {
    const scene = await ShadowScene.start(random, sizeBytes);
    await scene.settled();
    await scene.snapshot();
    await scene.volume.drain();
    await scene.closeInOrder();
    const from = await scene.snapshotState(0);
    scene.snapshots.splice(0);
    const image = await RestoringNotedImage.over(scene.image.live, fastClock, random);
    scene.image = image;
    scene.log = new ForgetfulLogDisk();
    scene.disk = new ForgetfulShadowDisk(fastClock);
    await noteSame(scene.disk, image);
    scene.entry = await new Catalog(scene.blocks).createVolume({ name: 'c', sizeBytes, accountId: ACCOUNT, from });
    await scene.#freshLog();
    await scene.open();
    return scene;
  }

  get blocks(): BlockStoreOptions {
    return { objects: this.store, clock: fastClock, random: systemRandom };
  }

  /** A log keeps the size of the files that it was begun with. */
  async #freshLog(): Promise<void> {
    const disk = new PathedLogDisk(this.log);
    const begun = await openLog({
      disk,
      found: await findLog(disk),
      capacityBytes: LOG_BYTES,
      fileBytes: LOG_FILE_BYTES,
      clock: fastClock,
      incarnation: { incarnation: 'ab'.repeat(8), epoch: 0, baseSeq: 0, uploadedSequence: 0 },
    });
    await begun.close();
  }

  async open(): Promise<void> {
    await this.image.begin();
    this.volume = await openShadowVolume({
      blocks: this.blocks,
      volumeId: this.entry.volumeId,
      holder: { gatewayId: GATEWAY, name: GATEWAY },
      accountId: ACCOUNT,
      disk: new PathedLogDisk(this.log),
      cache: noCache(),
      pool: new LogPool(this.log),
      settings: { ack: 'log', bufferBytes: LOG_BYTES, sealIntervalMs: 1000, readAheadBytes: 0 },
      image: this.image,
      shadowDisk: this.disk,
      ...(this.sink === undefined ? {} : { sink: this.sink }),
      onEvent: (event) => this.events.push(event),
    });
  }

  /** The process ends, or the power does, at this moment. */
  async die(how: 'kill' | 'cut'): Promise<void> {
    const old = { volume: this.volume, store: this.store };
    old.store.isDead = true;
    const { random } = this;
    this.image = how === 'kill' ? this.image.afterKill() : this.image.afterCut(random);
    this.log = how === 'kill' ? this.log.afterKill() : this.log.afterCut(random, 512);
    this.disk = how === 'kill' ? this.disk.afterKill() : this.disk.afterCut(random);
    this.store = new FailingStore(this.objects);
    await old.volume.close().catch(() => undefined);
  }

  /** Another gateway takes the volume while it is closed, writes to it, and gives it back. */
  async writeElsewhere(at: number, bytes: Buffer): Promise<void> {
    const log = new ForgetfulLogDisk();
    const other = await openCachedVolume({
      blocks: this.blocks,
      volumeId: this.entry.volumeId,
      holder: { gatewayId: 'sgw-00000002', name: 'other' },
      accountId: ACCOUNT,
      disk: new PathedLogDisk(log),
      cache: noCache(),
      pool: new LogPool(log),
      settings: { ack: 'log', bufferBytes: 16 << 20, sealIntervalMs: 1000, readAheadBytes: 0 },
    });
    await other.write(at, bytes);
    await other.close({ drain: true });
    // A state that the volume had, though not this image.
    const get = async (key: string): Promise<Buffer | undefined> => (await this.objects.get(key))?.bytes;
    this.image.states.add(stateOf(await toBuffer(await readVolume(get, this.entry.volumeId))));
  }

  /** What the newest state in the store holds. */
  async storedBytes(at: number, length: number): Promise<Buffer> {
    const get = async (key: string): Promise<Buffer | undefined> => (await this.objects.get(key))?.bytes;
    return (await toBuffer(await readVolume(get, this.entry.volumeId))).subarray(at, at + length);
  }

  /** As far as the store alone tells. */
  async checkNow(): Promise<void> {
    const get = async (key: string): Promise<Buffer | undefined> => (await this.objects.get(key))?.bytes;
    const now = await toBuffer(await readVolume(get, this.entry.volumeId));
    const wrong = firstDifference(now, this.image.live);
    expect(wrong, `page ${String(wrong)} of the store is not that of the image`).toBeUndefined();
  }

  async closeInOrder(): Promise<void> {
    await this.volume.drain();
    await this.volume.close({ drain: true });
  }

  async snapshot(): Promise<void> {
    const { entry, completed } = await this.volume.snapshot(async (place) =>
      createPendingSnapshot(this.blocks, {
        ...{ volume: this.entry, name: `s${this.snapshots.length}`, accountId: ACCOUNT, maker: GATEWAY },
        ...place,
      }),
    );
    completed.catch(() => undefined);
    this.snapshots.push(entry);
  }

  async snapshotState(index: number): Promise<SnapshotEntry> {
    const entry = this.snapshots[index];
    if (entry === undefined) throw new Error(`there is no snapshot ${String(index)}`);
    return await new Catalog(this.blocks).getSnapshot(entry.snapshotId);
  }

  async deleteSnapshot(index: number): Promise<void> {
    const { snapshotId } = await this.snapshotState(index);
    const deletedAt = new Date().toISOString();
    await new Catalog(this.blocks).updateSnapshot(snapshotId, (now) => ({ ...now, state: 'deleted', deletedAt }));
  }

  /** The store is well, and has caught up. */
  async settled(): Promise<void> {
    this.store.isOut = false;
    const end = systemClock.monotonicMs() + SETTLES_MS;
    while (this.volume.stats.shadow?.phase !== 'steady' || this.volume.stats.dirtyBytes > 0) {
      if (this.volume.failure !== undefined) throw this.volume.failure;
      if (systemClock.monotonicMs() > end)
        throw new Error(
          `does not settle: ${JSON.stringify(this.volume.stats.shadow)} ${String(this.volume.stats.reason)}`,
        );
      await systemClock.sleep(5);
    }
    await this.volume.drain();
    for (const { snapshotId } of this.snapshots)
      while ((await new Catalog(this.blocks).getSnapshot(snapshotId)).state === 'pending') {
        if (systemClock.monotonicMs() > end) throw new Error(`snapshot ${snapshotId} is not completed`);
        await systemClock.sleep(5);
      }
  }

  /** Everything that can be had from the store is right; to be asked when it is settled. */
  async check(): Promise<void> {
    const get = async (key: string): Promise<Buffer | undefined> => {
      return (await this.objects.get(key))?.bytes;
    };
    const now = await toBuffer(await readVolume(get, this.entry.volumeId));
    expect(now.length).toBe(this.image.sizeBytes);
    const wrong = firstDifference(now, this.image.live);
    expect(wrong, `page ${String(wrong)} of the store is not that of the image`).toBeUndefined();
    for (const point of await listRecoveryPoints(this.blocks, this.entry.volumeId)) {
      const view = await openRecoveryPoint(this.blocks, this.entry.volumeId, { seq: point.seq });
      const bytes = await contentsOf(view);
      expect(
        this.image.states.has(stateOf(bytes)),
        `recovery point ${String(point.seq)} is no state of the image`,
      ).toBe(true);
    }
    for (const entry of this.snapshots) {
      const { state, reason } = await new Catalog(this.blocks).getSnapshot(entry.snapshotId);
      if (state === 'completed') {
        const bytes = await toBuffer(await readSnapshot(get, entry.snapshotId));
        expect(this.image.states.has(stateOf(bytes)), `snapshot ${entry.name} is no state of the image`).toBe(true);
      } else expect(state, `snapshot ${entry.name}: ${String(reason)}`).toBe('failed');
    }
  }
}

async function contentsOf(view: VolumeView): Promise<Buffer> {
  const bytes = Buffer.alloc(Math.ceil(view.sizeBytes / PAGE_BYTES) * PAGE_BYTES);
  for await (const leaf of view.map.leaves())
    for (const run of leaf.runs) {
      const index = await view.segments.index(run.source);
      const hashes = await view.segments.pageHashes(run.source);
      const entry = index.frame(run.frame);
      const stored = await view.segments.readSpan(run.source, entry.offset, entry.storedLength);
      const pages = decodeFrame(
        index.footer.segmentId,
        entry,
        stored,
        hashes.subarray(entry.hashIndex * HASH_BYTES, (entry.hashIndex + popcount16(entry.mask)) * HASH_BYTES),
        index.opening(run.frame),
      );
      Buffer.from(pages).copy(bytes, run.page * PAGE_BYTES, run.slot * PAGE_BYTES, (run.slot + run.count) * PAGE_BYTES);
    }
  return bytes.subarray(0, view.sizeBytes);
}

function firstDifference(a: Buffer, b: Buffer): number | undefined {
  for (let at = 0; at < a.length; at += PAGE_BYTES)
    if (!a.subarray(at, at + PAGE_BYTES).equals(b.subarray(at, at + PAGE_BYTES))) return at / PAGE_BYTES;
  return undefined;
}
