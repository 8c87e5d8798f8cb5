/**
 * Refuses container images that are damaged or cut off. A conversion alone would not: what lies behind the end of
 * a truncated qcow2, vmdk or vdi file is read as zeroes, without a word, and half a volume would be lost quietly.
 * What no format can tell is a change of bytes within the data, or the loss of part of the last cluster of a
 * qcow2 or vmdk file.
 */
import { SgwError } from '../kit/index.ts';
import type { ImageFormat } from './format.ts';
import { complaint, endOfQemuImg, sourceArgument, type QemuImgOptions } from './qemu-img.ts';
import { openRawImage } from './raw-image.ts';

type ContainerFormat = Exclude<ImageFormat, 'raw'>;

/** Exit codes of `qemu-img check` that leave the data right: no error, clusters leaked, format without a check. */
const SOUND_EXIT_CODES: readonly (number | null)[] = [0, 3, 63];
/** Fields of a VDI header, little-endian, 32 bits. */
const VDI = { dataOffset: 0x158, blockBytes: 0x178, blocksAllocated: 0x184, headerBytes: 0x188 };

/**
 * Checks the structure of the image at `path`; reads its metadata, not its data.
 * @throws corrupt `image-damaged` with what was found; unavailable `image-in-use`; unsupported `qemu-img-missing`; aborted.
 */
export async function refuseDamagedImage(
  path: string,
  format: ContainerFormat,
  options: QemuImgOptions = {},
): Promise<void> {
  if (format === 'vdi') await checkVdiLength(path, options.signal);
  const ended = await endOfQemuImg(['check', '-q', '--', await sourceArgument(path, format)], options);
  if (SOUND_EXIT_CODES.includes(ended.exitCode)) return;
  const firstLine = ended.stderr.split('\n')[0] ?? '';
  throw (
    complaint('check', ended) ??
    damaged(path, firstLine === '' ? 'qemu-img check found errors' : firstLine, ended.stderr)
  );
}

/** `qemu-img check` does not look whether the blocks of a VDI file lie within it. */
async function checkVdiLength(path: string, signal: AbortSignal | undefined): Promise<void> {
  await using image = await openRawImage(path, signal === undefined ? {} : { signal });
  const header = Buffer.alloc(VDI.headerBytes);
  await image.read(header, 0, signal);
  const blocksBytes = header.readUInt32LE(VDI.blocksAllocated) * header.readUInt32LE(VDI.blockBytes);
  const neededBytes = Math.max(VDI.headerBytes, header.readUInt32LE(VDI.dataOffset) + blocksBytes);
  if (image.sizeBytes >= neededBytes) return;
  throw damaged(path, `it has ${String(image.sizeBytes)} bytes of at least ${String(neededBytes)}`, '');
}

function damaged(path: string, what: string, stderr: string): SgwError {
  return new SgwError('corrupt', 'image-damaged', `${path} is damaged or not whole: ${what}`, {
    hint: 'Copy the image again from where it came. If that is the only copy, qemu-img check -r all may repair it.',
    details: { path, stderr },
  });
}
