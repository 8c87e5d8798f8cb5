/** A home of the simulation: the files of one gateway, which outlive its processes, and a process that serves a volume from it. */
import type { BlockStoreOptions, VolumeEntry } from '../../../src/core/blockstore/index.ts';
import { openFrameCache, type FrameCache } from '../../../src/core/cache/index.ts';
import { openCachedVolume, type ServedVolume, type VolumeSettings } from '../../../src/core/volume/index.ts';
import { findLog, openLog } from '../../../src/core/writelog/index.ts';
import { ForgetfulLogDisk } from '../../fault/forgetful-log-disk.ts';
import { ACCOUNTS } from '../disk-state.ts';
import type { Choices } from '../random.ts';
import type { Process, World } from '../world.ts';
import { ForgetfulCacheDisk, simCacheDisk } from './forgetful-cache-disk.ts';
import { InlinePool } from './inline-pool.ts';
import type { HomeView } from './oracle.ts';
import { DiskSteps, SimLogDisk } from './sim-log-disk.ts';

/** Small files, so that a run fills, recycles and removes many. */
const FILE_BYTES = 16 * 4096;
export const CACHE_LIMITS = { fileBytes: 40 * 16 * 4096, ramBytes: 12 * 16 * 4096 };

export interface Home {
  readonly view: HomeView;
  readonly gatewayId: string;
  log: ForgetfulLogDisk;
  readonly cache: ForgetfulCacheDisk;
}

/** Files that nobody has used. */
export async function newHome(view: HomeView, gatewayId: string, options: BlockStoreOptions): Promise<Home> {
  const log = new ForgetfulLogDisk();
  // A log keeps the size of the files that it was begun with.
  const begun = await openLog({
    disk: log,
    found: await findLog(log),
    capacityBytes: 4 * FILE_BYTES,
    fileBytes: FILE_BYTES,
    clock: options.clock,
    incarnation: { incarnation: options.random.bytes(8).toString('hex'), epoch: 0, baseSeq: 0, uploadedSequence: 0 },
  });
  await begun.close();
  return { view, gatewayId, log, cache: new ForgetfulCacheDisk() };
}

export interface HomeProcess {
  readonly world: World;
  readonly process: Process;
  readonly options: BlockStoreOptions;
  readonly choices: Choices;
  readonly crashRate: number;
}

/** The cache and the disks of a home, as one process has them open. */
export class OpenHome {
  readonly home: Home;
  readonly cache: FrameCache;
  readonly #pool: InlinePool;
  readonly #disk: SimLogDisk;
  readonly #parts: HomeProcess;

  private constructor(home: Home, parts: HomeProcess, disk: SimLogDisk, steps: DiskSteps, cache: FrameCache) {
    this.home = home;
    this.cache = cache;
    this.#parts = parts;
    this.#disk = disk;
    this.#pool = new InlinePool(disk, steps);
  }

  static async open(home: Home, parts: HomeProcess): Promise<OpenHome> {
    const steps = new DiskSteps(parts);
    const disk = new SimLogDisk(home.log, steps, () => {
      home.view.isSetAside = true;
      home.view.wasSetAside = true;
    });
    const cache = await openFrameCache({
      directory: '',
      limits: CACHE_LIMITS,
      clock: parts.options.clock,
      random: parts.options.random,
      disk: simCacheDisk(home.cache, steps),
    });
    return new OpenHome(home, parts, disk, steps, cache);
  }

  async openVolume(
    entry: VolumeEntry,
    settings: VolumeSettings,
    how: { readonly takeOver: boolean },
    onFailed: () => void,
  ): Promise<ServedVolume> {
    const { world, process, options } = this.#parts;
    const { gatewayId } = this.home;
    return await openCachedVolume({
      blocks: options,
      volumeId: entry.volumeId,
      holder: { gatewayId, name: gatewayId },
      accountId: ACCOUNTS[0],
      disk: this.#disk,
      cache: this.cache,
      pool: this.#pool,
      settings,
      ...how,
      onEvent: (event) => {
        world.note(`${process.name} ${event.kind}`);
        world.tally.event(`volume ${event.kind}`);
        if (event.kind === 'failed') onFailed();
      },
    });
  }

  async close(): Promise<void> {
    await this.cache.close();
  }
}
