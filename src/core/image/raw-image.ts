/**
 * A raw image opened for reading: a regular file or a block device whose bytes are the volume's bytes.
 *
 * States: open, closed. The size is the one found at opening; a file that shrinks below it under the
 * reader gives `image-changed`, never a short read. Reads are positional and may run side by side.
 */
import { open, readFile, stat, type FileHandle } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { assert, SgwError, throwIfAborted } from '../kit/index.ts';
import { dataExtents, type DataExtentOptions, type Extent } from './data-extents.ts';
import { fileError, naming } from './file-errors.ts';
import { loadSystemCalls, type SystemCalls } from './system-calls.ts';

export interface OpenImageOptions {
  readonly signal?: AbortSignal;
  /** In place of the machine's own; undefined stands for a machine that has none. */
  readonly systemCalls?: SystemCalls | undefined;
}

/** An open raw image. Close it, or bind it with `await using`. */
export interface RawImage {
  /** Absolute path, as opened. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly kind: 'file' | 'blockDevice';
  /** Number of the file system that the file lies on, in decimal. */
  readonly device: string;
  /** Number of the file in its file system, in decimal. */
  readonly inode: string;
  /** Time of the last change of the contents when it was opened, nanoseconds since 1970. Says nothing for a block device. */
  readonly modifiedAtNs: bigint;
  /** The read-only descriptor, for positional reads by others; its own offset moves at will. */
  readonly fd: number;
  /**
   * Where the image has data in [from, to): in order, aligned, merged. Outside of them it reads as zeroes.
   * A range beyond the end is cut.
   * @throws aborted
   */
  dataExtents(from: number, to: number, options?: DataExtentOptions): AsyncIterable<Extent>;
  /**
   * Fills `buffer` from `position` on and returns how many bytes that were: fewer only at the image's end.
   * @throws conflict `image-changed` when the file has become shorter; unavailable on input/output errors.
   */
  read(buffer: Uint8Array, position: number, signal?: AbortSignal): Promise<number>;
  /**
   * True when the file was written since it was opened: its size, or the times of its last change, are not what they were.
   * A change of its owner, mode or number of links counts as well. Always false for a block device.
   */
  changedSinceOpen(): Promise<boolean>;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Opens a regular file or block device read-only; symbolic links are followed.
 * @throws notFound, denied; invalid `not-an-image` for directories, pipes and other devices.
 */
export async function openRawImage(path: string, options: OpenImageOptions = {}): Promise<RawImage> {
  throwIfAborted(options.signal);
  const absolute = resolve(path);
  await refuseOtherKinds(absolute);
  const calls = 'systemCalls' in options ? options.systemCalls : await loadSystemCalls();
  const handle = await naming(absolute, () => open(absolute, 'r'));
  try {
    const facts = await handle.stat({ bigint: true });
    const isDevice = facts.isBlockDevice();
    const sizeBytes = isDevice ? await blockDeviceSize(absolute, handle, facts.rdev, calls) : Number(facts.size);
    return new OpenRawImage(handle, calls, {
      path: absolute,
      sizeBytes,
      kind: isDevice ? 'blockDevice' : 'file',
      device: String(facts.dev),
      inode: String(facts.ino),
      modifiedAtNs: facts.mtimeNs,
      statusChangedAtNs: facts.ctimeNs,
    });
  } catch (error) {
    await handle.close();
    throw fileError(error, absolute);
  }
}

/** Bytes that the file occupies on its file system, holes left out: `st_blocks` x 512. */
export async function allocatedBytes(path: string): Promise<number> {
  return (await naming(path, () => stat(path))).blocks * 512;
}

/** Before opening, since opening a named pipe would wait for its writer. */
export async function refuseOtherKinds(path: string): Promise<void> {
  const facts = await naming(path, () => stat(path));
  if (facts.isFile() || facts.isBlockDevice()) return;
  throw new SgwError(
    'invalid',
    'not-an-image',
    `${path} is ${facts.isDirectory() ? 'a directory' : 'neither a file nor a block device'}`,
    {
      hint: 'Give the path of a disk image or of a block device.',
      details: { path },
    },
  );
}

/** @throws unsupported `device-size-unknown` */
export async function blockDeviceSize(
  path: string,
  handle: Pick<FileHandle, 'fd'>,
  rdev: bigint,
  calls: SystemCalls | undefined,
): Promise<number> {
  const sizeBytes = calls?.seekEnd(handle.fd) ?? (await sizeOfDeviceNumber(rdev));
  if (sizeBytes !== undefined) return sizeBytes;
  throw new SgwError(
    'unsupported',
    'device-size-unknown',
    `the size of the block device ${path} can not be found out`,
    {
      hint: 'Copy the device to a file first, then use the file.',
      details: { path },
    },
  );
}

/** Where Linux tells of the block device of this number. */
export function deviceFolder(rdev: bigint, sys = '/sys/dev/block'): string {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & ~0xffn);
  return join(sys, `${String(major)}:${String(minor)}`);
}

/** What Linux tells in /sys about the block device of this number: its size in bytes, undefined when there is none. */
export async function sizeOfDeviceNumber(rdev: bigint): Promise<number | undefined> {
  try {
    const sectors = Number(await readFile(join(deviceFolder(rdev), 'size'), 'utf8'));
    return Number.isSafeInteger(sectors) ? sectors * 512 : undefined;
  } catch {
    return undefined;
  }
}

interface ImageFacts extends Pick<RawImage, 'path' | 'sizeBytes' | 'kind' | 'device' | 'inode' | 'modifiedAtNs'> {
  /** Unlike the time of modification, no program can put it back. */
  readonly statusChangedAtNs: bigint;
}

class OpenRawImage implements RawImage {
  readonly path: string;
  readonly sizeBytes: number;
  readonly kind: 'file' | 'blockDevice';
  readonly device: string;
  readonly inode: string;
  readonly modifiedAtNs: bigint;
  readonly #statusChangedAtNs: bigint;
  readonly #handle: FileHandle;
  readonly #calls: SystemCalls | undefined;
  #closing: Promise<void> | undefined;

  constructor(handle: FileHandle, calls: SystemCalls | undefined, facts: ImageFacts) {
    this.#handle = handle;
    this.#calls = calls;
    this.path = facts.path;
    this.sizeBytes = facts.sizeBytes;
    this.kind = facts.kind;
    this.device = facts.device;
    this.inode = facts.inode;
    this.modifiedAtNs = facts.modifiedAtNs;
    this.#statusChangedAtNs = facts.statusChangedAtNs;
  }

  get fd(): number {
    return this.#handle.fd;
  }

  dataExtents(from: number, to: number, options: DataExtentOptions = {}): AsyncIterable<Extent> {
    this.#assertOpen();
    const end = Math.min(to, this.sizeBytes);
    return dataExtents(this.fd, Math.min(from, end), end, this.#calls, options);
  }

  async read(buffer: Uint8Array, position: number, signal?: AbortSignal): Promise<number> {
    this.#assertOpen();
    assert(position >= 0, `images are read from position 0 on, not ${String(position)}`);
    const wanted = Math.max(0, Math.min(buffer.length, this.sizeBytes - position));
    for (let done = 0; done < wanted;) {
      throwIfAborted(signal);
      const { bytesRead } = await naming(this.path, () =>
        this.#handle.read(buffer, done, wanted - done, position + done),
      );
      if (bytesRead === 0) throw this.#changed();
      done += bytesRead;
    }
    return wanted;
  }

  async changedSinceOpen(): Promise<boolean> {
    this.#assertOpen();
    if (this.kind === 'blockDevice') return false;
    const facts = await naming(this.path, () => this.#handle.stat({ bigint: true }));
    const isSame =
      facts.mtimeNs === this.modifiedAtNs &&
      facts.ctimeNs === this.#statusChangedAtNs &&
      Number(facts.size) === this.sizeBytes;
    return !isSame;
  }

  async close(): Promise<void> {
    this.#closing ??= this.#handle.close();
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #assertOpen(): void {
    assert(this.#closing === undefined, `the image ${this.path} is used while open`);
  }

  #changed(): SgwError {
    return new SgwError('conflict', 'image-changed', `${this.path} became shorter while it was read`, {
      hint: 'Stop whatever writes to the image, then run the same command again.',
      details: { path: this.path, sizeBytes: this.sizeBytes },
    });
  }
}
