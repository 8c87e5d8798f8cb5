/**
 * Converts images between raw and the container formats through qemu-img.
 *
 * A conversion writes a temporary file beside its target and publishes it only when complete and synced,
 * so that the target either is whole or was not touched. The temporary name is fixed and locked: what a
 * killed conversion left behind is replaced by the next one to the same target.
 */
import { open, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { SgwError, TIB, formatSize } from '../kit/index.ts';
import { ifPresent, naming } from './file-errors.ts';
import type { ImageFormat } from './format.ts';
import { claimTarget } from './target.ts';
import { qemuImgVersion, runQemuImg, sourceArgument, type QemuImgOptions } from './qemu-img.ts';
import { linkedImageError, refuseLinkedImage } from './self-contained.ts';
import { allocatedBytes, openRawImage, type RawImage } from './raw-image.ts';
import { refuseDamagedImage } from './soundness.ts';

export interface InspectOptions extends QemuImgOptions {
  /** Images that claim to be larger are refused. Default 64 TiB. */
  readonly virtualSizeBytesMax?: number;
}

export interface ConvertOptions extends InspectOptions {
  /** Called while it works, with bytes of the virtual disk. `doneBytes` never goes back. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  /** Replace an existing target file. */
  readonly force?: boolean;
}

/** What an image holds, found without following anything it names. */
export interface ImageInspection {
  readonly format: ImageFormat;
  /** Size of the disk that the image holds, bytes. */
  readonly virtualSizeBytes: number;
  /** Bytes that the image file occupies. */
  readonly allocatedBytes: number;
}

const INSPECT_TIMEOUT_MS = 60_000;
const OUTPUT_OPTIONS: Readonly<Record<ImageFormat, readonly string[]>> = {
  raw: [],
  qcow2: [],
  vmdk: [],
  vhdx: ['-o', 'subformat=dynamic'],
  vdi: [],
};

/**
 * Reads the size of a container image, and refuses one that is not complete in itself.
 * @throws invalid `image-format-mismatch` or `image-too-large`; denied `image-names-other-files`;
 *   unsupported `qemu-img-missing` or `image-encrypted`; timeout `qemu-img-timeout`; what `openRawImage` throws.
 */
export async function inspectImage(
  path: string,
  format: Exclude<ImageFormat, 'raw'>,
  options: InspectOptions = {},
): Promise<ImageInspection> {
  const absolute = resolve(path);
  await refuseLinkedImage(absolute, format, options.signal);
  const report = await readInfo(absolute, format, options);
  refuseReportedLinks(absolute, format, report);
  const virtualSizeBytes = report['virtual-size'];
  const limitBytes = options.virtualSizeBytesMax ?? 64 * TIB;
  if (
    typeof virtualSizeBytes !== 'number' ||
    !Number.isSafeInteger(virtualSizeBytes) ||
    virtualSizeBytes > limitBytes
  ) {
    throw new SgwError(
      'invalid',
      'image-too-large',
      `${absolute} holds a disk of ${String(virtualSizeBytes)} bytes, more than ${formatSize(limitBytes)}`,
      {
        details: { path: absolute, limitBytes },
      },
    );
  }
  return { format, virtualSizeBytes, allocatedBytes: await allocatedBytes(absolute) };
}

/**
 * Writes the disk held by `source` as a raw, sparse file to `target`, durable when this returns.
 * Returns its size in bytes. After a failure `target` is what it was before.
 * @throws conflict `file-exists`, `image-changed` when the source was written meanwhile; unavailable `target-in-use`; corrupt `image-damaged`; invalid `qemu-img-failed`;
 *   what `inspectImage` throws; aborted.
 */
export async function convertToRaw(
  source: string,
  format: Exclude<ImageFormat, 'raw'>,
  target: string,
  options: ConvertOptions = {},
): Promise<{ readonly sizeBytes: number }> {
  await qemuImgVersion(options);
  await using image = await openRawImage(source, options.signal === undefined ? {} : { signal: options.signal });
  const { virtualSizeBytes } = await inspectImage(source, format, options);
  await refuseDamagedImage(resolve(source), format, options);
  const beforePublishing = (): Promise<void> => refuseChangedSource(image);
  await convert(
    { source, sourceFormat: format, target, targetFormat: 'raw', virtualSizeBytes, beforePublishing },
    options,
  );
  return { sizeBytes: virtualSizeBytes };
}

/**
 * Writes the raw image `source` as an image of `format` to `target`, durable when this returns.
 * The container formats hold whole sectors: a size that is no multiple of 512 bytes is rounded up, with zeroes.
 * @throws conflict `file-exists`; unavailable `target-in-use`; unsupported `qemu-img-missing` or `image-empty`; exhausted; aborted.
 */
export async function convertFromRaw(
  source: string,
  target: string,
  format: Exclude<ImageFormat, 'raw'>,
  options: ConvertOptions & { readonly sizeBytes: number },
): Promise<void> {
  if (format === 'vmdk' && options.sizeBytes === 0) {
    throw new SgwError('unsupported', 'image-empty', 'a vmdk image can not hold a disk of 0 bytes', {
      hint: 'Use the raw or the qcow2 format.',
    });
  }
  await convert(
    { source, sourceFormat: 'raw', target, targetFormat: format, virtualSizeBytes: options.sizeBytes },
    options,
  );
}

interface Conversion {
  readonly source: string;
  readonly sourceFormat: ImageFormat;
  readonly target: string;
  readonly targetFormat: ImageFormat;
  readonly virtualSizeBytes: number;
  /** A failure leaves the target as it was. */
  readonly beforePublishing?: () => Promise<void>;
}

/** What was converted may be a mixture otherwise: not every program that writes images locks them as qemu does. */
async function refuseChangedSource(image: RawImage): Promise<void> {
  const named = await naming(image.path, () => ifPresent(stat(image.path, { bigint: true })));
  const isSameFile = named !== undefined && String(named.ino) === image.inode && String(named.dev) === image.device;
  if (isSameFile && !(await image.changedSinceOpen())) return;
  throw new SgwError('conflict', 'image-changed', `${image.path} was written while it was converted`, {
    hint: 'Stop whatever writes to the image, then run the same command again.',
    details: { path: image.path },
  });
}

async function convert(work: Conversion, options: ConvertOptions): Promise<void> {
  const source = await sourceArgument(work.source, work.sourceFormat);
  const claim = await claimTarget(work.target, { suffix: 'sgw-convert', force: options.force ?? false });
  try {
    await claim.remove();
    const args = [
      'convert',
      '-p',
      ...OUTPUT_OPTIONS[work.targetFormat],
      '-O',
      work.targetFormat,
      '--',
      source,
      claim.temporaryPath,
    ];
    await runQemuImg(args, { ...options, onOutput: progressReader(work.virtualSizeBytes, options.onProgress) });
    await syncComplete(claim.temporaryPath, work);
    await work.beforePublishing?.();
    await claim.publish();
  } catch (error) {
    await claim.remove();
    throw error;
  } finally {
    await claim.close();
  }
}

async function syncComplete(path: string, work: Conversion): Promise<void> {
  const handle = await naming(path, () => open(path, 'r+'));
  try {
    const { size } = await handle.stat();
    if (work.targetFormat === 'raw' && size !== work.virtualSizeBytes) {
      throw new SgwError(
        'unavailable',
        'conversion-incomplete',
        `qemu-img wrote ${String(size)} of ${String(work.virtualSizeBytes)} bytes to ${path}`,
        {
          hint: 'The image may have changed meanwhile: run the same command again.',
          details: { sizeBytes: size, expectedBytes: work.virtualSizeBytes },
        },
      );
    }
    await naming(path, () => handle.sync());
  } finally {
    await handle.close();
  }
}

/** Reads `    (12.34/100%)\r`, which may arrive in pieces. */
function progressReader(totalBytes: number, onProgress: ConvertOptions['onProgress']): (text: string) => void {
  let tail = '';
  let doneBytes = 0;
  return (text) => {
    tail = (tail + text).slice(-256);
    const percent = [...tail.matchAll(/\((\d+\.\d+)\/100%\)/g)].at(-1)?.[1];
    if (percent === undefined) return;
    doneBytes = Math.max(doneBytes, Math.min(totalBytes, Math.floor((Number(percent) / 100) * totalBytes)));
    onProgress?.(doneBytes, totalBytes);
  };
}

type InfoReport = Readonly<Record<string, unknown>>;

async function readInfo(path: string, format: ImageFormat, options: InspectOptions): Promise<InfoReport> {
  const deadline = AbortSignal.timeout(INSPECT_TIMEOUT_MS);
  const signal = options.signal === undefined ? deadline : AbortSignal.any([options.signal, deadline]);
  const args = ['info', '--output=json', '--', await sourceArgument(path, format)];
  try {
    const report: unknown = JSON.parse(await runQemuImg(args, { ...options, signal }));
    return isRecord(report) ? report : {};
  } catch (error) {
    if (deadline.aborted && options.signal?.aborted !== true) {
      throw new SgwError(
        'timeout',
        'qemu-img-timeout',
        `qemu-img did not read the header of ${path} within ${String(INSPECT_TIMEOUT_MS / 1000)} s`,
        {
          details: { path },
          cause: error,
        },
      );
    }
    if (error instanceof SyntaxError)
      throw new SgwError('unsupported', 'qemu-img-failed', 'qemu-img info gave no JSON', { cause: error });
    throw error;
  }
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

/** The second look, at what qemu itself found in the header. */
function refuseReportedLinks(path: string, format: Exclude<ImageFormat, 'raw'>, report: InfoReport): void {
  if (report['backing-filename'] !== undefined) throw linkedImageError(path, format, 'it has a backing file');
  const specific = isRecord(report['format-specific']) ? report['format-specific']['data'] : undefined;
  if (!isRecord(specific)) return;
  if (specific['data-file'] !== undefined) throw linkedImageError(path, format, 'its data is in another file');
  const extents: unknown = specific['extents'];
  if (!Array.isArray(extents)) return;
  const isElsewhere = extents.some(
    (extent) => isRecord(extent) && extent['filename'] !== undefined && extent['filename'] !== path,
  );
  if (isElsewhere || extents.length > 1) throw linkedImageError(path, format, 'its data is in other files');
}
