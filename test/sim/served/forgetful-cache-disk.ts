/**
 * The files of a cache in memory, which outlive a process. Cutting the power keeps of the frames what was synced, and any part,
 * sector by sector, of what was written since. The saved index is there as a whole or not at all.
 */
import type { Random } from '../../../src/core/kit/index.ts';
import type { CacheDisk, CacheFile } from '../../../src/core/cache/index.ts';
import type { DiskSteps } from './sim-log-disk.ts';

const GRAIN_BYTES = 512;

export class ForgetfulCacheDisk {
  live: Buffer = Buffer.alloc(0);
  durable: Buffer = Buffer.alloc(0);
  index: Buffer | undefined;

  /** As it is found when the power is back. */
  cut(random: Random): void {
    const kept = random.float();
    const bytes = Buffer.alloc(this.live.length);
    this.durable.copy(bytes);
    for (let at = 0; at < bytes.length; at += GRAIN_BYTES)
      if (random.float() < kept) this.live.copy(bytes, at, at, at + GRAIN_BYTES);
    this.live = bytes;
    this.durable = Buffer.from(bytes);
  }
}

/** The cache's files as a process sees them. */
export function simCacheDisk(disk: ForgetfulCacheDisk, steps: DiskSteps): CacheDisk {
  return {
    openFrames: async () => {
      await steps.step('cache.open');
      return new SimCacheFile(disk, steps);
    },
    readIndex: async () => Promise.resolve(disk.index),
    removeIndex: async () => {
      await steps.step('cache.remove');
      disk.index = undefined;
    },
    writeIndex: async (pieces) => {
      await steps.step('cache.save');
      disk.index = Buffer.concat([...pieces]);
    },
  };
}

class SimCacheFile implements CacheFile {
  readonly #disk: ForgetfulCacheDisk;
  readonly #steps: DiskSteps;

  constructor(disk: ForgetfulCacheDisk, steps: DiskSteps) {
    this.#disk = disk;
    this.#steps = steps;
  }

  readSync(target: Buffer, offset: number, length: number, position: number): number {
    return this.#disk.live.copy(target, offset, position, position + length);
  }

  async write(pieces: readonly Buffer[], position: number): Promise<void> {
    const bytes = Buffer.concat(pieces);
    // Half of it is there before the step, and so may be all that is when the process ends.
    this.#put(bytes.subarray(0, Math.floor(bytes.length / 2)), position);
    await this.#steps.step('cache.write');
    this.#put(bytes, position);
  }

  #put(bytes: Buffer, position: number): void {
    if (!this.#steps.isAlive) return;
    const end = position + bytes.length;
    if (end > this.#disk.live.length) this.#disk.live = resized(this.#disk.live, end);
    bytes.copy(this.#disk.live, position);
  }

  async truncate(sizeBytes: number): Promise<void> {
    await this.#steps.step('cache.truncate');
    this.#disk.live = resized(this.#disk.live, sizeBytes);
    this.#disk.durable = resized(this.#disk.durable, sizeBytes);
  }

  async sizeBytes(): Promise<number> {
    return Promise.resolve(this.#disk.live.length);
  }

  async sync(): Promise<void> {
    const bytes = Buffer.from(this.#disk.live);
    await this.#steps.step('cache.sync');
    this.#disk.durable = bytes;
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }
}

function resized(bytes: Buffer, sizeBytes: number): Buffer {
  const result = Buffer.alloc(sizeBytes);
  bytes.copy(result);
  return result;
}
