/** Whether an image can be shadowed in place: a raw file or block device that is not empty. */
import { detectImageFormat, openRawImage } from '../image/index.ts';
import { SgwError } from '../kit/index.ts';

/** @throws notFound; denied; invalid `not-an-image`, `image-empty`; unsupported `image-format` */
export async function inspectShadowImage(path: string): Promise<{ readonly sizeBytes: number }> {
  await using image = await openRawImage(path);
  const { sizeBytes, kind } = image;
  if (sizeBytes === 0 || sizeBytes % SECTOR_BYTES !== 0)
    throw new SgwError('invalid', 'image-size', `${path} has ${String(sizeBytes)} bytes, no whole number of sectors`, {
      hint: 'A raw image is a multiple of 512 bytes long: truncate -s SIZE FILE.',
      details: { path, sizeBytes },
    });
  if (kind === 'blockDevice') return { sizeBytes };
  const format = await detectImageFormat(path);
  if (format === 'raw') return { sizeBytes };
  throw new SgwError(
    'unsupported',
    'image-format',
    `${path} is a ${format} image; only raw ones are shadowed in place`,
    {
      hint: `Convert it first: qemu-img convert -O raw ${path} ${path.replace(/\.[a-z0-9]+$/i, '')}.raw`,
      details: { path, format },
    },
  );
}

const SECTOR_BYTES = 512;
