/** Where an image that is being restored has data: as the snapshot has it, or as the file system says. */
import type { BlockDevice, DeviceExtent } from '../blockdevice/index.ts';
import type { ImageFile } from '../image/index.ts';
import type { Blocks } from './geometry.ts';
import { imageExtents } from './image-device.ts';

export interface ExtentsFrom {
  readonly image: Pick<ImageFile, 'dataExtents'>;
  readonly source: BlockDevice;
  readonly blocks: Blocks;
  readonly isInImage: (block: number) => Promise<boolean>;
}

class Pieces {
  readonly list: { length: number; isHole: boolean; isZero: boolean }[] = [];
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  /** False when there is no room for another piece. */
  add({ length, isHole, isZero }: DeviceExtent): boolean {
    const last = this.list.at(-1);
    if (length === 0) return true;
    if (last?.isHole === isHole && last.isZero === isZero) last.length += length;
    else if (this.list.length === this.#max) return false;
    else this.list.push({ length, isHole, isZero });
    return true;
  }
}

/** As `BlockDevice.extents`. @throws what reading image or snapshot throws */
export async function deviceExtents(
  from: ExtentsFrom,
  asked: { readonly offset: number; readonly length: number; readonly piecesMax: number },
  signal: AbortSignal,
): Promise<DeviceExtent[]> {
  const { blocks } = from;
  const { offset, length, piecesMax } = asked;
  const end = offset + length;
  const pieces = new Pieces(piecesMax);
  for (let at = offset; at < end;) {
    const block = blocks.at(at);
    const isInImage = await from.isInImage(block);
    const next = Math.min(end, blocks.endOf(block));
    const found = isInImage
      ? imageExtents(from.image, at, next, signal)
      : await from.source.extents(at, next - at, piecesMax, { signal });
    let covered = at;
    for await (const piece of found) {
      if (!pieces.add(piece)) return pieces.list;
      covered += piece.length;
    }
    // The snapshot may have told only of a beginning: the rest is asked for next.
    at = covered;
  }
  return pieces.list;
}
