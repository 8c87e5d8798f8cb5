/** A volume that clients may read, and that goes on living below: it can be resized and its log is uploaded. */
import type { BlockDevice, Completion, DeviceCall, DeviceExtent, DeviceLimits } from '../../blockdevice/index.ts';
import { SgwError } from '../../kit/index.ts';

/** `device`, without the right to change it. */
export class ReadOnlyDevice implements BlockDevice {
  readonly isReadOnly = true;
  /** The device's, without what concerns writes only. */
  readonly limits: DeviceLimits;
  readonly #device: BlockDevice;

  constructor(device: BlockDevice) {
    this.#device = device;
    const { blockBytesMin, blockBytesPreferred, payloadBytesMax } = device.limits;
    this.limits = { blockBytesMin, blockBytesPreferred, payloadBytesMax };
  }

  get sizeBytes(): number {
    return this.#device.sizeBytes;
  }

  read(offset: number, target: Buffer, call?: DeviceCall): Completion {
    return this.#device.read(offset, target, call);
  }

  /** @throws readOnly `read-only` */
  write(): Completion {
    throw readOnly();
  }

  /** @throws readOnly `read-only` */
  trim(): Completion {
    throw readOnly();
  }

  /** @throws readOnly `read-only` */
  writeZeroes(): Completion {
    throw readOnly();
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

const readOnly = (): SgwError => new SgwError('readOnly', 'read-only', 'the export is read-only');
