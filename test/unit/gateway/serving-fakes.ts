/** Parts of serving in memory: volumes that keep their bytes by id, a cache that keeps nothing, failures on demand. */
import { mkdirSync } from 'node:fs';
import type { BlockDevice, DeviceExtent } from '../../../src/core/blockdevice/index.ts';
import type { CacheLimits, FrameCache } from '../../../src/core/cache/index.ts';
import type { ServingParts, VolumeRequest } from '../../../src/core/gateway/serving/parts.ts';
import type { SgwError, VolumeId } from '../../../src/core/kit/index.ts';
import type {
  ServedSnapshot,
  ServedState,
  ServedVolume,
  VolumeSettings,
  VolumeStats,
} from '../../../src/core/volume/index.ts';

const LIMITS = { blockBytesMin: 1, blockBytesPreferred: 4096, payloadBytesMax: 32 << 20 };

class MemoryDevice {
  readonly limits = LIMITS;
  readonly isReadOnly: boolean = false;
  bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  get sizeBytes(): number {
    return this.bytes.length;
  }

  read(offset: number, target: Buffer): undefined {
    this.bytes.copy(target, 0, offset, offset + target.length);
  }

  write(offset: number, data: Buffer): undefined {
    data.copy(this.bytes, offset);
  }

  trim(offset: number, length: number): undefined {
    this.bytes.fill(0, offset, offset + length);
  }

  writeZeroes(offset: number, length: number): undefined {
    this.bytes.fill(0, offset, offset + length);
  }

  flush(): undefined {
    return undefined;
  }

  prefetch(): undefined {
    return undefined;
  }

  async extents(_offset: number, length: number): Promise<DeviceExtent[]> {
    return Promise.resolve([{ length, isHole: false, isZero: false }]);
  }
}

export class FakeVolume extends MemoryDevice implements ServedVolume {
  readonly volumeId: VolumeId;
  readonly request: VolumeRequest;
  settings: VolumeSettings;
  state: ServedState = 'available';
  failure: SgwError | undefined;
  dirtyBytes = 0;
  /** What draining fails with, for as long as it is set. */
  drainFailure: SgwError | undefined;
  readonly events: string[] = [];

  constructor(request: VolumeRequest, bytes: Buffer) {
    super(bytes);
    this.request = request;
    this.volumeId = request.volumeId;
    this.settings = request.settings;
  }

  override write(offset: number, data: Buffer): undefined {
    this.dirtyBytes += data.length;
    super.write(offset, data);
  }

  get stats(): VolumeStats {
    return {
      state: this.state,
      reason: this.failure?.message ?? null,
      sizeBytes: this.sizeBytes,
      mappedBytes: 0,
      seq: 0,
      epoch: 1,
      ack: this.settings.ack,
      readOps: 1,
      readBytes: 4096,
      writeOps: 2,
      writeBytes: 8192,
      flushOps: 3,
      readMs: 1,
      writeMs: 2,
      flushMs: 3,
      logHits: 0,
      cacheHits: 1,
      storeReads: 0,
      dirtyBytes: this.dirtyBytes,
      dirtyMs: this.dirtyBytes > 0 ? 1500 : 0,
      bufferBytes: this.settings.bufferBytes,
      fullInMs: null,
      uploadedBytes: 0,
      downloadedBytes: 0,
      commits: 0,
      uploadErrors: 0,
      lastCommitMs: null,
      modelledCommits: [],
      waitingWrites: 0,
      shadow: null,
    };
  }

  async snapshot(create: Parameters<ServedVolume['snapshot']>[0]): Promise<ServedSnapshot> {
    const entry = await create({ barrier: { incarnation: '0'.repeat(16), sequence: 1 } });
    return { entry, completed: Promise.resolve(entry) };
  }

  async resize(sizeBytes: number): Promise<void> {
    this.bytes = Buffer.concat([this.bytes, Buffer.alloc(Math.max(0, sizeBytes - this.bytes.length))], sizeBytes);
    return Promise.resolve();
  }

  async configure(settings: Partial<VolumeSettings>): Promise<void> {
    this.settings = { ...this.settings, ...settings };
    return Promise.resolve();
  }

  async checkHeld(): Promise<void> {
    this.events.push('checkHeld');
    return Promise.resolve();
  }

  fence(): void {
    throw new Error('nobody fences it');
  }

  async drain(): Promise<void> {
    this.events.push('drain');
    if (this.drainFailure !== undefined) throw this.drainFailure;
    this.dirtyBytes = 0;
    return Promise.resolve();
  }

  async close({ drain = true }: { readonly drain?: boolean } = {}): Promise<void> {
    if (this.state === 'closed') return;
    if (drain) await this.drain();
    this.events.push(drain ? 'close' : 'close undrained');
    this.state = 'closed';
  }
}

export class FakeServing {
  /** By volume id, newest opening last. */
  readonly opened: FakeVolume[] = [];
  readonly contents = new Map<string, Buffer>();
  /** What opening a volume fails with, by volume id. */
  readonly failures = new Map<string, SgwError>();
  /** What goes before the opening of an image. */
  beforeShadow: (request: VolumeRequest) => Promise<void> = async () => Promise.resolve();
  readonly cacheLimits: CacheLimits[] = [];
  cachesOpen = 0;
  viewsOpen = 0;

  volume(volumeId: string): FakeVolume {
    const volume = this.opened.findLast((one) => one.volumeId === volumeId);
    if (volume === undefined) throw new Error(`volume ${volumeId} was not opened`);
    return volume;
  }

  get parts(): ServingParts {
    return {
      openCache: async (_folder, limits) => Promise.resolve(this.#openCache(limits)),
      openVolume: async (request) => Promise.resolve(this.#openVolume(request)),
      openShadow: async (request) => {
        // What is served is in memory.
        await request.image.close();
        await this.beforeShadow(request);
        return this.#openVolume(request);
      },
      openView: async ({ view }) => {
        this.viewsOpen += 1;
        const device = new MemoryDevice(Buffer.alloc(view.sizeBytes));
        const close = async (): Promise<void> => {
          this.viewsOpen -= 1;
          return Promise.resolve();
        };
        return Promise.resolve(Object.assign(device as BlockDevice, { isReadOnly: true, close }));
      },
      close: async () => Promise.resolve(),
    };
  }

  #openVolume(request: VolumeRequest): FakeVolume {
    const failure = this.failures.get(request.volumeId);
    if (failure !== undefined && !(failure.code === 'volume-held' && request.takeOver)) throw failure;
    mkdirSync(request.logFolder, { recursive: true });
    const bytes = this.contents.get(request.volumeId) ?? Buffer.alloc(1 << 20);
    this.contents.set(request.volumeId, bytes);
    const volume = new FakeVolume(request, bytes);
    this.opened.push(volume);
    return volume;
  }

  #openCache(limits: CacheLimits): FrameCache {
    this.cachesOpen += 1;
    this.cacheLimits.push(limits);
    const now = { limits, fileUsedBytes: 0, ramUsedBytes: 0, frames: 0, ramHits: 5, fileHits: 3, misses: 2 };
    return {
      stats: { ...now, evictedFrames: 0, damagedFrames: 0, writingBytes: 0, unwrittenFrames: 0, fileProblem: null },
      numberOf: () => 1,
      read: () => false,
      has: () => false,
      put: () => undefined,
      putUnread: () => undefined,
      resize: async (next) => {
        this.cacheLimits.push(next);
        return Promise.resolve();
      },
      clear: async () => Promise.resolve(),
      close: async () => {
        this.cachesOpen -= 1;
        return Promise.resolve();
      },
    };
  }
}
