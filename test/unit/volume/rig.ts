/** A cached volume over a store in memory and a write log in a folder of its own. */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {
  Catalog,
  createStore,
  FramePool,
  type BlockStoreOptions,
  type InSyncWriter,
  type VolumeEntry,
} from '../../../src/core/blockstore/index.ts';
import { openFrameCache, type FrameCache } from '../../../src/core/cache/index.ts';
import { systemClock, systemRandom } from '../../../src/core/kit/index.ts';
import { memoryStore, type ObjectStore } from '../../../src/core/objectstore/index.ts';
import {
  openCachedVolume,
  type ServedVolume,
  type VolumeEvent,
  type VolumeSettings,
} from '../../../src/core/volume/index.ts';
import { directoryDisk, type LogDisk, type RecordSink } from '../../../src/core/writelog/index.ts';

export const ACCOUNT = '000000000001';
export const MIB = 1024 * 1024;

export class VolumeRig implements AsyncDisposable {
  readonly folder = mkdtempSync(path.join(os.tmpdir(), 'sgw-volume-'));
  readonly blocks: BlockStoreOptions;
  readonly pool = new FramePool({ threads: 1 });
  readonly events: VolumeEvent[] = [];
  entry!: VolumeEntry;
  cache!: FrameCache;

  private constructor(objects: ObjectStore) {
    this.blocks = { objects, clock: systemClock, random: systemRandom };
  }

  static async start(sizeBytes: number, objects: ObjectStore = memoryStore()): Promise<VolumeRig> {
    const rig = new VolumeRig(objects);
    await createStore(rig.blocks);
    rig.entry = await new Catalog(rig.blocks).createVolume({ name: 'v', sizeBytes, accountId: ACCOUNT });
    await rig.freshCache();
    return rig;
  }

  /** An empty cache in place of the one there is. */
  async freshCache(limits = { fileBytes: 8 * MIB, ramBytes: 2 * MIB }): Promise<void> {
    const directory = mkdtempSync(path.join(this.folder, 'cache-'));
    await (this.cache as FrameCache | undefined)?.close();
    this.cache = await openFrameCache({ directory, limits });
  }

  async open(
    settings: Partial<VolumeSettings> = {},
    more: {
      gateway?: string;
      takeOver?: boolean;
      log?: string;
      objects?: ObjectStore;
      disk?: LogDisk;
      sink?: RecordSink;
      onWriter?: (writer: InSyncWriter) => void;
    } = {},
  ): Promise<ServedVolume> {
    const { gateway = 'sgw-00000001', takeOver = false, log = 'log', objects = this.blocks.objects } = more;
    return await openCachedVolume({
      blocks: { ...this.blocks, objects },
      volumeId: this.entry.volumeId,
      holder: { gatewayId: gateway, name: gateway },
      accountId: ACCOUNT,
      disk: more.disk ?? directoryDisk(path.join(this.folder, log)),
      cache: this.cache,
      pool: this.pool,
      settings: { ack: 'log', bufferBytes: 64 * MIB, sealIntervalMs: 60_000, readAheadBytes: MIB, ...settings },
      takeOver,
      ...(more.sink === undefined ? {} : { sink: more.sink }),
      ...(more.onWriter === undefined ? {} : { onWriter: more.onWriter }),
      onEvent: (event) => this.events.push(event),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cache.close();
    await this.pool[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export async function readBytes(volume: ServedVolume, offset: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length, 0xee);
  await volume.read(offset, bytes);
  return bytes;
}
