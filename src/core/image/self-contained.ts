/**
 * Refuses images that name other files. A qcow2 or VMDK image can tell its reader to take bytes from any
 * path or network address (a backing file, a data file, extents), so importing one from a stranger could
 * copy /etc/shadow into a volume. The headers are judged here, before any other program opens the image:
 * even `qemu-img info` follows data files and extents.
 */
import { SgwError } from '../kit/index.ts';
import { hasMagicOf, type ImageFormat } from './format.ts';
import { openRawImage, type RawImage } from './raw-image.ts';

type ContainerFormat = Exclude<ImageFormat, 'raw'>;

const QCOW2 = {
  version: 4,
  backingOffset: 8,
  cryptMethod: 32,
  incompatibleFeatures: 72,
  dataFileFeature: 1n << 2n,
  /** The header of version 2, the shortest. */
  headerBytes: 72,
  bytes: 80,
};
/** qemu looks for the parent in the embedded descriptor from byte 512 on, 20 sectors long. */
const VMDK = {
  magic: 'KDMV',
  capacity: 12,
  headerBytes: 512,
  bytes: 0x200 + 20 * 512,
  parentName: 'parentFileNameHint',
};

/**
 * Checks by the header that `path` is an image of `format` that consists of this one file.
 * @throws invalid `image-format-mismatch` or `image-truncated`, denied `image-names-other-files` with how to flatten it,
 *   unsupported `image-encrypted`, and what `openRawImage` throws.
 */
export async function refuseLinkedImage(path: string, format: ContainerFormat, signal?: AbortSignal): Promise<void> {
  await using image = await openRawImage(path, signal === undefined ? {} : { signal });
  if (!(await hasMagicOf(image, format, signal))) {
    throw new SgwError('invalid', 'image-format-mismatch', `${path} is not a ${format} image`, {
      hint: "Leave --format out to have the format found by the file's first bytes.",
      details: { path, format },
    });
  }
  if (format === 'qcow2') await checkQcow2(image, signal);
  if (format === 'vmdk') await checkVmdk(image, signal);
}

/** The refusal, also for what `qemu-img info` reports. `what` says which part is elsewhere. */
export function linkedImageError(path: string, format: ContainerFormat, what: string): SgwError {
  return new SgwError('denied', 'image-names-other-files', `${path} is not complete: ${what}`, {
    hint: `If you trust the image, make one file of it first: qemu-img convert -f ${format} -O qcow2 IMAGE FLAT.qcow2, then import FLAT.qcow2.`,
    details: { path, format },
  });
}

function requireHeader(image: RawImage, format: ContainerFormat, headerBytes: number): void {
  if (image.sizeBytes >= headerBytes) return;
  throw new SgwError('invalid', 'image-truncated', `${image.path} ends within its ${format} header`, {
    hint: 'Copy the image again: it is not whole.',
    details: { path: image.path, sizeBytes: image.sizeBytes },
  });
}

async function checkQcow2(image: RawImage, signal: AbortSignal | undefined): Promise<void> {
  requireHeader(image, 'qcow2', QCOW2.headerBytes);
  const header = Buffer.alloc(QCOW2.bytes);
  await image.read(header, 0, signal);
  if (header.readBigUInt64BE(QCOW2.backingOffset) !== 0n)
    throw linkedImageError(image.path, 'qcow2', 'it has a backing file');
  const isVersion3 = header.readUInt32BE(QCOW2.version) >= 3;
  if (isVersion3 && (header.readBigUInt64BE(QCOW2.incompatibleFeatures) & QCOW2.dataFileFeature) !== 0n) {
    throw linkedImageError(image.path, 'qcow2', 'its data is in another file');
  }
  if (header.readUInt32BE(QCOW2.cryptMethod) !== 0) {
    throw new SgwError('unsupported', 'image-encrypted', `${image.path} is encrypted`, {
      hint: 'Decrypt it with qemu-img convert first, which asks for its secret.',
      details: { path: image.path },
    });
  }
}

async function checkVmdk(image: RawImage, signal: AbortSignal | undefined): Promise<void> {
  const header = Buffer.alloc(VMDK.bytes);
  await image.read(header, 0, signal);
  const text = header.toString('latin1');
  if (!text.startsWith(VMDK.magic)) throw linkedImageError(image.path, 'vmdk', 'it is a list of other files');
  requireHeader(image, 'vmdk', VMDK.headerBytes);
  if (header.readBigUInt64LE(VMDK.capacity) === 0n)
    throw linkedImageError(image.path, 'vmdk', 'it holds only a list of other files');
  if (text.includes(VMDK.parentName)) throw linkedImageError(image.path, 'vmdk', 'it has a parent image');
}
