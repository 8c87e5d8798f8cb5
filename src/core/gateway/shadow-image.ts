/** Whether an image can be shadowed in place: a raw file or block device of whole sectors. The volume that is made for one. */
import { rm } from 'node:fs/promises';
import { openVolumeView, type VolumeEntry } from '../blockstore/index.ts';
import { detectImageFormat, openImageFile, openRawImage } from '../image/index.ts';
import { SgwError, toSgwError, withAdvice } from '../kit/index.ts';
import type { CallContext } from '../localapi/index.ts';
import { volumeFolder } from './serving/settings.ts';
import type { Session } from './session.ts';
import { deleteVolume } from './volumes.ts';

const SECTOR_BYTES = 512;
/** How long a failed attaching waits for the store to take away what it made. */
const REMOVING_MS = 10_000;

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

/**
 * Deletes a volume that was made to be attached, which then failed, unless something of it is in the store already.
 * @returns the failure, which says when the volume stays
 */
export async function removeUnused(
  session: Session,
  volume: VolumeEntry,
  failure: SgwError,
  call: CallContext,
): Promise<SgwError> {
  const { volumeId } = volume;
  const own = { ...call, signal: AbortSignal.timeout(REMOVING_MS) };
  try {
    if (session.serving?.ofVolume(volumeId) !== undefined) return withRest(failure, volume, 'it is attached still');
    const { seq } = await openVolumeView(session.blocks, volumeId, own);
    if (seq > 0) return withRest(failure, volume, 'a part of the image is in the store');
    await deleteVolume(session, { volume: volumeId }, own);
    await rm(volumeFolder(session.home, volumeId), { recursive: true, force: true });
    return failure;
  } catch (error) {
    return withRest(failure, volume, toSgwError(error).message);
  }
}

function withRest(failure: SgwError, { volumeId, name }: VolumeEntry, why: string): SgwError {
  const rest = `Volume ${name}, which was made for it, stays, since ${why}. Attach it again, or: sgw volume delete ${name}`;
  return withAdvice(failure, rest, { volumeId });
}
