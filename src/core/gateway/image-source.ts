/**
 * The image file that an import reads: its format and size, found before anything is changed, and its raw form,
 * which for container formats is a temporary file in the home.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { RawImage } from '../image/index.ts';
import type { VolumeId } from '../kit/index.ts';
import type { CallContext, ImageFormat } from '../localapi/index.ts';
import { progressOf, type Session } from './session.ts';

export interface ImageSource {
  /** Absolute. */
  readonly path: string;
  readonly format: ImageFormat;
  /** Of the disk that the image holds. */
  readonly sizeBytes: number;
}

/** Room `image` is loaded only by what reads or writes images. */
const loadImages = async (): Promise<typeof import('../image/index.ts')> => await import('../image/index.ts');

/** @throws notFound, denied; invalid `not-an-image`, `image-format-mismatch`; unsupported `image-format`, `qemu-img-missing` */
export async function inspectSource(
  path: string,
  format: ImageFormat | undefined,
  signal: AbortSignal,
): Promise<ImageSource> {
  const images = await loadImages();
  const found = format ?? (await images.detectImageFormat(path, { signal }));
  if (found !== 'raw')
    return { path, format: found, sizeBytes: (await images.inspectImage(path, found, { signal })).virtualSizeBytes };
  await using image = await images.openRawImage(path, { signal });
  return { path, format: found, sizeBytes: image.sizeBytes };
}

/** Opens the image's raw form. What was made for that is removed when the image is disposed. */
export async function openSource(
  session: Session,
  source: ImageSource,
  volumeId: VolumeId,
  call: CallContext,
): Promise<RawImage> {
  const images = await loadImages();
  if (source.format === 'raw') return await images.openRawImage(source.path, { signal: call.signal });
  const directory = join(session.home, 'imports');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const raw = join(directory, `${volumeId}.raw`);
  await images.convertToRaw(source.path, source.format, raw, {
    force: true,
    signal: call.signal,
    onProgress: progressOf(call, `converting ${source.path}`),
  });
  const image = await images.openRawImage(raw, { signal: call.signal });
  return Object.assign(image, {
    [Symbol.asyncDispose]: async (): Promise<void> => {
      await image.close();
      await rm(raw, { force: true });
    },
  });
}
