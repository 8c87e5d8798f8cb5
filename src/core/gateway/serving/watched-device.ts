/** A device whose changes can be watched: who compares a volume with a snapshot notes what is written meanwhile. */
import type {
  BlockDevice,
  Completion,
  DeviceCall,
  DeviceExtent,
  DeviceLimits,
  WriteCall,
  ZeroCall,
} from '../../blockdevice/index.ts';
import { PAGE_BYTES } from '../../blockstore/index.ts';
import type { PageSet } from './page-set.ts';

export class WatchedDevice implements BlockDevice {
  readonly #device: BlockDevice;
  readonly #watchers = new Set<PageSet>();

  constructor(device: BlockDevice) {
    this.#device = device;
  }

  get sizeBytes(): number {
    return this.#device.sizeBytes;
  }

  get isReadOnly(): boolean {
    return this.#device.isReadOnly;
  }

  get limits(): DeviceLimits {
    return this.#device.limits;
  }

  /** From now on, every change is noted in `pages` before it is made. Returns the function that ends that. */
  watch(pages: PageSet): () => void {
    this.#watchers.add(pages);
    return () => {
      this.#watchers.delete(pages);
    };
  }

  /** Notes that an extent changes in another way than through this device. */
  note(offset: number, length: number): void {
    if (length === 0) return;
    const first = Math.floor(offset / PAGE_BYTES);
    const count = Math.ceil((offset + length) / PAGE_BYTES) - first;
    for (const pages of this.#watchers) pages.add(first, count);
  }

  read(offset: number, target: Buffer, call?: DeviceCall): Completion {
    return this.#device.read(offset, target, call);
  }

  write(offset: number, data: Buffer, call?: WriteCall): Completion {
    if (this.#watchers.size > 0) this.note(offset, data.length);
    return this.#device.write(offset, data, call);
  }

  trim(offset: number, length: number, call?: WriteCall): Completion {
    if (this.#watchers.size > 0) this.note(offset, length);
    return this.#device.trim(offset, length, call);
  }

  writeZeroes(offset: number, length: number, call?: ZeroCall): Completion {
    if (this.#watchers.size > 0) this.note(offset, length);
    return this.#device.writeZeroes(offset, length, call);
  }

  flush(call?: DeviceCall): Completion {
    return this.#device.flush(call);
  }

  prefetch(offset: number, length: number, call?: DeviceCall): Completion {
    return this.#device.prefetch(offset, length, call);
  }

  async extents(offset: number, length: number, piecesMax: number, call?: DeviceCall): Promise<DeviceExtent[]> {
    return await this.#device.extents(offset, length, piecesMax, call);
  }
}
