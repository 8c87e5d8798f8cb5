/** Whether an image can be shadowed in place: a raw file or block device of whole sectors. */
import { detectImageFormat, openImageFile, openRawImage } from '../image/index.ts';
import { SgwError } from '../kit/index.ts';

const SECTOR_BYTES = 512;

/** @throws notFound; denied; invalid `not-an-image`, `image-size`; unsupported `image-format` */
export async function inspectShadowImage(path: string): Promise<{ readonly sizeBytes: number }> {
  await using image = await openRawImage(path);
  const { sizeBytes, kind } = image;
  const format = kind === 'blockDevice' ? 'raw' : await detectImageFormat(path);
  if (format !== 'raw')
    throw new SgwError('unsupported', 'image-format', `${path} is a ${format} image; only raw ones are shadowed`, {
      hint: `Convert it first: qemu-img convert -O raw ${path} ${path.replace(/\.[a-z0-9]+$/i, '')}.raw`,
      details: { path, format },
    });
  if (sizeBytes === 0 || sizeBytes % SECTOR_BYTES !== 0)
    throw new SgwError('invalid', 'image-size', `${path} has ${String(sizeBytes)} bytes, no whole number of sectors`, {
      hint: `A raw image is a multiple of ${String(SECTOR_BYTES)} bytes long: truncate -s SIZE FILE.`,
      details: { path, sizeBytes },
    });
  return { sizeBytes };
}

/** @throws denied when it can not be written; conflict `image-in-use` */
export async function requireUsable(path: string): Promise<void> {
  const image = await openImageFile(path);
  await image.close();
}
