/** A local image as a block device: what is written is in the kernel's page cache when it is acknowledged, and on the disk after a flush. */
import type {
  BlockDevice,
  Completion,
  DeviceCall,
  DeviceExtent,
  DeviceLimits,
  WriteCall,
  ZeroCall,
} from '../blockdevice/index.ts';
import type { ImageFile } from '../image/index.ts';
import { assert, MIB } from '../kit/index.ts';
import { SharedSync } from './shared-sync.ts';

export class ImageDevice implements BlockDevice {
  readonly limits: DeviceLimits = { blockBytesMin: 1, blockBytesPreferred: 4096, payloadBytesMax: 32 * MIB };
  readonly isReadOnly = false;
  readonly sizeBytes: number;
  readonly #image: ImageFile;
  readonly #syncs: SharedSync;

  constructor(image: ImageFile, sizeBytes: number, syncs = new SharedSync(image)) {
    this.#image = image;
    this.#syncs = syncs;
    this.sizeBytes = sizeBytes;
  }

  read(offset: number, target: Buffer, call?: DeviceCall): Completion {
    assert(offset + target.length <= this.sizeBytes, 'a read lies within the image');
    if (target.length === 0 || this.#image.readNow(offset, target)) return undefined;
    return this.#image.read(offset, target, call?.signal);
  }

  write(offset: number, data: Buffer, call?: WriteCall): Completion {
    assert(offset + data.length <= this.sizeBytes, 'a write lies within the image');
    if (data.length > 0) this.#image.write(offset, data);
    return call?.fua === true ? this.flush() : undefined;
  }

  trim(offset: number, length: number, call?: WriteCall): Completion {
    return this.writeZeroes(offset, length, { ...call, mayTrim: true });
  }

  writeZeroes(offset: number, length: number, call?: ZeroCall): Completion {
    assert(offset + length <= this.sizeBytes, 'zeroes lie within the image');
    if (length > 0) this.#image.zero(offset, length, call?.mayTrim === true);
    return call?.fua === true ? this.flush() : undefined;
  }

  flush(): Completion {
    return this.#syncs.sync();
  }

  prefetch(): Completion {
    return undefined;
  }

  async extents(offset: number, length: number, piecesMax: number, call?: DeviceCall): Promise<DeviceExtent[]> {
    const pieces: DeviceExtent[] = [];
    for await (const piece of imageExtents(this.#image, offset, offset + length, call?.signal)) {
      if (pieces.length === piecesMax) break;
      if (piece.length > 0) pieces.push(piece);
    }
    return pieces;
  }
}

/** Data and holes from `from` up to `to`, in order; pieces may be empty. */
export async function* imageExtents(
  image: Pick<ImageFile, 'dataExtents'>,
  from: number,
  to: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<DeviceExtent> {
  let at = from;
  for await (const { offset, length } of image.dataExtents(from, to, signal)) {
    yield { length: offset - at, isHole: true, isZero: true };
    yield { length, isHole: false, isZero: false };
    at = offset + length;
  }
  yield { length: to - at, isHole: true, isZero: true };
}
