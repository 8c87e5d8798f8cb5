/**
 * A raw image that is to be filled: a new sparse file, or what is there, emptied, or a block device as it is.
 *
 * The caller says what is overwritten: without `force`, only what is new or empty is taken.
 */
import { constants, fsyncSync, ftruncateSync } from 'node:fs';
import { open, stat, unlink } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { SgwError, throwIfAborted } from '../kit/index.ts';
import { ifPresent, naming } from './file-errors.ts';
import { openImageFile, type ImageFile } from './image-file.ts';
import { syncDirectory } from './target.ts';

export interface NewImageOptions {
  readonly sizeBytes: number;
  /** Also over a file that has something in it, or a block device. */
  readonly force: boolean;
  /** Waited for before anything of what was there is changed, while the image is locked. */
  readonly beforeOverwriting: () => Promise<void>;
  readonly signal?: AbortSignal;
}

export interface NewImage {
  readonly image: ImageFile;
  /** Undoes the creation of a file that was not there before; else it only closes. */
  discard(): Promise<void>;
}

/**
 * Opens an image of `sizeBytes` that reads as zeroes, if it is a file. Its name is durable when it resolves.
 * @throws conflict `file-exists` without `force`; invalid `image-too-small` for a block device; what `openImageFile` throws
 */
export async function openNewImage(path: string, options: NewImageOptions): Promise<NewImage> {
  const { force, signal } = options;
  throwIfAborted(signal);
  const absolute = resolve(path);
  const present = await ifPresent(stat(absolute));
  if (present !== undefined && !force && (present.size > 0 || !present.isFile())) throw exists(absolute);
  if (present === undefined) await create(absolute);
  try {
    const image = await openEmptied(absolute, options);
    return {
      image,
      discard: async () => {
        await image.close();
        if (present === undefined) await unlink(absolute).catch(() => undefined);
      },
    };
  } catch (error) {
    if (present === undefined) await unlink(absolute).catch(() => undefined);
    throw error;
  }
}

async function create(path: string): Promise<void> {
  await naming(path, async () => {
    const handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
    await handle.close();
    await syncDirectory(dirname(path));
  });
}

async function openEmptied(path: string, { sizeBytes, beforeOverwriting }: NewImageOptions): Promise<ImageFile> {
  return await openImageFile(path, async (image) => {
    if (image.kind === 'blockDevice' && image.sizeBytes < sizeBytes) throw tooSmall(path, image.sizeBytes, sizeBytes);
    await beforeOverwriting();
    if (image.kind === 'blockDevice') return;
    ftruncateSync(image.fd, 0);
    ftruncateSync(image.fd, sizeBytes);
    fsyncSync(image.fd);
  });
}

const exists = (path: string): SgwError =>
  new SgwError('conflict', 'file-exists', `${path} exists`, {
    hint: 'Give another file, or --force to replace what is in it.',
    details: { path },
  });

const tooSmall = (path: string, sizeBytes: number, wanted: number): SgwError =>
  new SgwError(
    'invalid',
    'image-too-small',
    `${path} has ${String(sizeBytes)} bytes, and ${String(wanted)} are needed`,
    {
      hint: 'Choose a larger device, or a file.',
      details: { path, sizeBytes, wantedBytes: wanted },
    },
  );
