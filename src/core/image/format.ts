/**
 * Tells the format of a disk image from its first bytes.
 *
 * A raw image has no header of its own: its first bytes are the guest's. A guest that writes a qcow2
 * header at the start of its disk makes the raw image look like qcow2. Detection therefore serves only
 * where a person chose the file and gave no format; whoever knows the format says so and does not detect.
 */
import { SgwError } from '../kit/index.ts';
import { openRawImage, type RawImage } from './raw-image.ts';

/** Formats that can be imported and exported. */
export type ImageFormat = 'raw' | 'qcow2' | 'vmdk' | 'vhdx' | 'vdi';

interface Magic {
  readonly format: Exclude<ImageFormat, 'raw'> | 'refused';
  /** What a refused file is, in words. */
  readonly says?: string;
  /** Position of the first byte; below zero it counts from the end. */
  readonly at: number;
  readonly bytes: Buffer;
  /** What to run before importing a refused file. */
  readonly hint?: string;
}

const convertHint = (driver: string): string =>
  `Convert it first: qemu-img convert -f ${driver} -O qcow2 FILE NEW.qcow2. To take its bytes as they are, give --format raw.`;
const unpackHint = 'Unpack it first. To take its bytes as they are, give --format raw.';

/** In the order of trial: the more exact first. */
const MAGICS: readonly Magic[] = [
  {
    format: 'refused',
    says: 'a qcow image of version 1',
    at: 0,
    bytes: Buffer.from('QFI\xfb\0\0\0\x01', 'latin1'),
    hint: convertHint('qcow'),
  },
  { format: 'qcow2', at: 0, bytes: Buffer.from('QFI\xfb', 'latin1') },
  { format: 'vmdk', at: 0, bytes: Buffer.from('KDMV') },
  { format: 'vmdk', at: 0, bytes: Buffer.from('# Disk DescriptorFile') },
  { format: 'vhdx', at: 0, bytes: Buffer.from('vhdxfile') },
  { format: 'vdi', at: 0x40, bytes: Buffer.from([0x7f, 0x10, 0xda, 0xbe]) },
  {
    format: 'refused',
    says: 'a VMDK image of version 3',
    at: 0,
    bytes: Buffer.from('COWD'),
    hint: convertHint('vmdk'),
  },
  { format: 'refused', says: 'a QED image', at: 0, bytes: Buffer.from('QED\0'), hint: convertHint('qed') },
  { format: 'refused', says: 'a VHD image', at: 0, bytes: Buffer.from('conectix'), hint: convertHint('vpc') },
  { format: 'refused', says: 'a VHD image', at: -512, bytes: Buffer.from('conectix'), hint: convertHint('vpc') },
  { format: 'refused', says: 'compressed with gzip', at: 0, bytes: Buffer.from([0x1f, 0x8b, 0x08]), hint: unpackHint },
  {
    format: 'refused',
    says: 'compressed with xz',
    at: 0,
    bytes: Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]),
    hint: unpackHint,
  },
  {
    format: 'refused',
    says: 'compressed with zstd',
    at: 0,
    bytes: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]),
    hint: unpackHint,
  },
];

/**
 * The format of the image at `path` by its magic; `raw` when it has none. A block device that a guest
 * partitioned is raw as well.
 * @throws unsupported `image-format` for formats that are known but not taken, with what to do; and what `openRawImage` throws.
 */
export async function detectImageFormat(
  path: string,
  options: { readonly signal?: AbortSignal } = {},
): Promise<ImageFormat> {
  await using image = await openRawImage(path, options);
  for (const magic of MAGICS) {
    if (!(await carries(image, magic, options.signal))) continue;
    if (magic.format !== 'refused') return magic.format;
    throw new SgwError('unsupported', 'image-format', `${path} is ${magic.says ?? 'of another format'}`, {
      ...(magic.hint === undefined ? {} : { hint: magic.hint }),
      details: { path },
    });
  }
  return 'raw';
}

/** True when the open image carries a magic of `format`. */
export async function hasMagicOf(
  image: RawImage,
  format: Exclude<ImageFormat, 'raw'>,
  signal?: AbortSignal,
): Promise<boolean> {
  for (const magic of MAGICS) {
    if (magic.format === format && (await carries(image, magic, signal))) return true;
  }
  return false;
}

async function carries(image: RawImage, magic: Magic, signal: AbortSignal | undefined): Promise<boolean> {
  const position = magic.at < 0 ? image.sizeBytes + magic.at : magic.at;
  if (position < 0) return false;
  const bytes = Buffer.alloc(magic.bytes.length);
  const length = await image.read(bytes, position, signal);
  return length === bytes.length && bytes.equals(magic.bytes);
}
