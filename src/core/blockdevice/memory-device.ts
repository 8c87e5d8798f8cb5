/** A block device in memory: for tests, and to measure protocol servers without a disk. Nothing of it is durable. */
import { assert, SgwError } from '../kit/index.ts';
import type { BlockDevice, Completion, DeviceExtent, DeviceLimits, ZeroCall } from './contract.ts';

const PAGE_BYTES = 4096;
const ZERO_PAGE = Buffer.alloc(PAGE_BYTES);

export class MemoryDevice implements BlockDevice {
  readonly limits: DeviceLimits = {
    blockBytesMin: 1,
    blockBytesPreferred: PAGE_BYTES,
    payloadBytesMax: 32 << 20,
    atomic: { unitBytes: 1, bytesMax: 1 << 20 },
  };
  readonly isReadOnly: boolean;
  readonly bytes: Buffer;

  constructor(sizeBytes: number, options: { readonly isReadOnly?: boolean } = {}) {
    this.bytes = Buffer.alloc(sizeBytes);
    this.isReadOnly = options.isReadOnly ?? false;
  }

  get sizeBytes(): number {
    return this.bytes.length;
  }

  read(offset: number, target: Buffer): Completion {
    assert(offset + target.length <= this.sizeBytes, 'a read lies within the device');
    this.bytes.copy(target, 0, offset, offset + target.length);
    return undefined;
  }

  write(offset: number, data: Buffer): Completion {
    this.#checkWritable();
    assert(offset + data.length <= this.sizeBytes, 'a write lies within the device');
    data.copy(this.bytes, offset);
    return undefined;
  }

  trim(offset: number, length: number): Completion {
    return this.writeZeroes(offset, length);
  }

  writeZeroes(offset: number, length: number, _call?: ZeroCall): Completion {
    this.#checkWritable();
    assert(offset + length <= this.sizeBytes, 'zeroes lie within the device');
    this.bytes.fill(0, offset, offset + length);
    return undefined;
  }

  flush(): Completion {
    return undefined;
  }

  prefetch(): Completion {
    return undefined;
  }

  /** Pages that are all zeroes count as holes. */
  async extents(offset: number, length: number, piecesMax: number): Promise<DeviceExtent[]> {
    const pieces: { length: number; isHole: boolean; isZero: boolean }[] = [];
    for (let at = offset; at < offset + length;) {
      const end = Math.min(offset + length, (Math.floor(at / PAGE_BYTES) + 1) * PAGE_BYTES);
      const isZero = ZERO_PAGE.subarray(0, end - at).equals(this.bytes.subarray(at, end));
      const last = pieces.at(-1);
      if (last?.isZero === isZero) last.length += end - at;
      else if (pieces.length === piecesMax) break;
      else pieces.push({ length: end - at, isHole: isZero, isZero });
      at = end;
    }
    return pieces;
  }

  #checkWritable(): void {
    if (this.isReadOnly) throw new SgwError('readOnly', 'device-read-only', 'the device is read-only');
  }
}
