/** The block status of an image: what its file system says is a hole. */
import type { DeviceExtent } from '../../blockdevice/index.ts';
import type { ImageFile } from '../../image/index.ts';

export async function imageExtents(
  image: ImageFile,
  offset: number,
  length: number,
  piecesMax: number,
  signal: AbortSignal | undefined,
): Promise<DeviceExtent[]> {
  const pieces: DeviceExtent[] = [];
  const end = offset + length;
  let at = offset;
  const add = (to: number, isHole: boolean): void => {
    if (to > at) pieces.push({ length: to - at, isHole, isZero: isHole });
    at = Math.max(at, to);
  };
  for await (const data of image.dataExtents(offset, end, signal)) {
    add(Math.min(data.offset, end), true);
    if (pieces.length >= piecesMax) return pieces.slice(0, piecesMax);
    add(Math.min(data.offset + data.length, end), false);
    if (pieces.length >= piecesMax) return pieces.slice(0, piecesMax);
  }
  add(end, true);
  return pieces.slice(0, piecesMax);
}
