/**
 * A raw image that is read and written in place, while it is served: a regular file or a block device.
 *
 * States: open -> failed (a sync has failed: what was written before it may be gone, so every later sync fails too) -> closed.
 * Invariants: the size is the one found at opening; no call reaches beyond it. Writes are in the kernel's page cache when they
 * return, and survive the end of the process; they are on the disk after `sync`.
 */
import { closeSync, constants, fdatasync, fstatSync, openSync, read, readSync, statSync, writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { assert, SgwError, throwIfAborted } from '../kit/index.ts';
import { dataExtents, type Extent } from './data-extents.ts';
import { fileError, naming } from './file-errors.ts';
import { blockDeviceSize, refuseOtherKinds } from './raw-image.ts';
import { loadSystemCalls, type SystemCalls } from './system-calls.ts';
import { otherWriters } from './other-writers.ts';

const readAsync = promisify(read);
const syncAsync = promisify(fdatasync);
const ZEROES = Buffer.alloc(1 << 20);

/** What an image is known by, and what tells that it was changed. */
export interface ImageFacts {
  readonly sizeBytes: number;
  /** Number of the file system, or of the block device itself, in decimal. */
  readonly device: string;
  /** Number of the file in its file system, in decimal. */
  readonly inode: string;
  /** Times of the last change of contents, and of anything, nanoseconds since 1970. They say nothing for a block device. */
  readonly modifiedAtNs: bigint;
  readonly changedAtNs: bigint;
  /** Names that the file has: 0 once it was removed. */
  readonly links: number;
}

/** What serving and restoring need of an image. Tests have one in memory that forgets. */
export interface ImageFile {
  readonly path: string;
  readonly kind: 'file' | 'blockDevice';
  readonly sizeBytes: number;
  /** For worker threads, which read by position; undefined where there is none. */
  readonly fd: number | undefined;
  /** Fills `target` when that needs no waiting for the disk; false: nothing was done. */
  readNow(position: number, target: Uint8Array): boolean;
  /** Fills `target`. @throws conflict `image-changed` when the file has become shorter; unavailable on input/output errors */
  read(position: number, target: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** Fills `target`, waiting for the disk: for what was just written. @throws as `read` */
  readSync(position: number, target: Uint8Array): void;
  /** Writes all of `data`. @throws exhausted; readOnly; unavailable */
  write(position: number, data: Uint8Array): void;
  /** Makes bytes zero: as a hole with `mayTrim`, where the file system can. @throws as `write` */
  zero(position: number, length: number, mayTrim: boolean): void;
  /** Everything written before is on the disk when it resolves. @throws what the first failed sync threw, for ever after */
  sync(): Promise<void>;
  /** Where there is data in [from, to): in order, merged. Outside of it all is zero. */
  dataExtents(from: number, to: number, signal?: AbortSignal): AsyncIterable<Extent>;
  /** As they are now. */
  facts(): ImageFacts;
  /** Whether the path still leads to this file. */
  isInPlace(): boolean;
  /** Idempotent. Does not sync. */
  close(): Promise<void>;
}

/** Is given an image that is locked, and in use by nobody else: it may give a file another size. */
export type PrepareImage = (image: {
  readonly fd: number;
  readonly kind: ImageFile['kind'];
  readonly sizeBytes: number;
}) => Promise<void>;

/**
 * Opens a raw image for reading and writing, and locks it against other gateways until it is closed. Of a block device at most
 * `deviceBytesMax` bytes are the image.
 * @throws notFound; denied; readOnly; invalid `not-an-image`; conflict `image-in-use` when another gateway has it, or another
 * process has it open for writing, where that can be told; a block device also when it is mounted, or claimed by anybody else
 */
export async function openImageFile(
  path: string,
  prepare?: PrepareImage,
  deviceBytesMax = Number.MAX_SAFE_INTEGER,
): Promise<ImageFile> {
  const absolute = resolve(path);
  await refuseOtherKinds(absolute);
  const calls = await loadSystemCalls();
  return await naming(absolute, async () => {
    const fd = openExclusively(absolute);
    try {
      const facts = fstatSync(fd, { bigint: true });
      const isDevice = facts.isBlockDevice();
      if (calls?.lockExclusive(fd) === 'busy') throw inUse(absolute, 'another process holds its lock', undefined);
      const [other] = await otherWriters(facts);
      if (other !== undefined)
        throw inUse(absolute, `process ${String(other.pid)} (${other.name}) has it open for writing`, other.pid);
      const deviceBytes = isDevice
        ? Math.min(deviceBytesMax, await blockDeviceSize(absolute, { fd }, facts.rdev, calls))
        : undefined;
      const fileBytes = (): number => Number(fstatSync(fd, { bigint: true }).size);
      await prepare?.({ fd, kind: isDevice ? 'blockDevice' : 'file', sizeBytes: deviceBytes ?? fileBytes() });
      return new OpenImageFile(absolute, fd, deviceBytes ?? fileBytes(), isDevice, calls);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  });
}

/** On Linux a block device is claimed by its opening: what mounts it, swaps to it or builds on it is refused, and was not there. */
function openExclusively(path: string): number {
  const isDevice = statSync(path).isBlockDevice();
  try {
    return openSync(path, constants.O_RDWR | (isDevice ? constants.O_EXCL : 0));
  } catch (error) {
    if (!isDevice || (error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
    throw new SgwError(
      'conflict',
      'image-in-use',
      `the block device ${path} is in use: it is mounted, or claimed otherwise`,
      {
        hint: 'Unmount it, or end what else uses it (swap, RAID, LVM, another gateway): `lsblk` and `fuser -v` tell. Then try again.',
        details: { path },
        cause: error,
      },
    );
  }
}

function inUse(path: string, why: string, pid: number | undefined): SgwError {
  return new SgwError('conflict', 'image-in-use', `the image ${path} is in use: ${why}`, {
    hint: 'End what uses the image, such as a virtual machine or another gateway, and try again.',
    details: { path, ...(pid === undefined ? {} : { pid }) },
  });
}

class OpenImageFile implements ImageFile {
  readonly path: string;
  readonly kind: 'file' | 'blockDevice';
  readonly sizeBytes: number;
  readonly fd: number;
  readonly #calls: SystemCalls | undefined;
  #syncFailure: SgwError | undefined;
  #isClosed = false;

  constructor(path: string, fd: number, sizeBytes: number, isDevice: boolean, calls: SystemCalls | undefined) {
    this.path = path;
    this.fd = fd;
    this.sizeBytes = sizeBytes;
    this.kind = isDevice ? 'blockDevice' : 'file';
    this.#calls = calls;
  }

  readNow(position: number, target: Uint8Array): boolean {
    this.#check(position, target.length);
    return this.#calls?.readCached(this.fd, target, position) === true;
  }

  async read(position: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    this.#check(position, target.length);
    for (let done = 0; done < target.length;) {
      throwIfAborted(signal);
      const { bytesRead } = await naming(this.path, () =>
        readAsync(this.fd, target, done, target.length - done, position + done),
      );
      if (bytesRead === 0) throw this.#shorter();
      done += bytesRead;
    }
  }

  readSync(position: number, target: Uint8Array): void {
    this.#check(position, target.length);
    this.#naming(() => {
      for (let done = 0; done < target.length;) {
        const bytesRead = readSync(this.fd, target, done, target.length - done, position + done);
        if (bytesRead === 0) throw this.#shorter();
        done += bytesRead;
      }
    });
  }

  write(position: number, data: Uint8Array): void {
    this.#check(position, data.length);
    this.#naming(() => {
      for (let done = 0; done < data.length;)
        done += writeSync(this.fd, data, done, data.length - done, position + done);
    });
  }

  zero(position: number, length: number, mayTrim: boolean): void {
    this.#check(position, length);
    // A hole is made in far more time than it takes to see that there is one.
    if (mayTrim && this.#isHole(position, length)) return;
    if (this.#calls?.zeroRange(this.fd, position, length, mayTrim) === true) return;
    for (let done = 0; done < length; done += ZEROES.length)
      this.write(position + done, ZEROES.subarray(0, Math.min(ZEROES.length, length - done)));
  }

  #isHole(position: number, length: number): boolean {
    if (this.kind === 'blockDevice') return false;
    const data = this.#calls?.seekData(this.fd, position) ?? 'unknown';
    return data === 'end' || (data !== 'unknown' && data >= position + length);
  }

  async sync(): Promise<void> {
    if (this.#syncFailure !== undefined) throw this.#syncFailure;
    try {
      await syncAsync(this.fd);
    } catch (error) {
      this.#syncFailure ??= fileError(error, this.path);
    }
    // Also one that succeeded while another failed: the kernel tells a loss of writes to one caller only.
    if (this.#syncFailure !== undefined) throw this.#syncFailure;
  }

  dataExtents(from: number, to: number, signal?: AbortSignal): AsyncIterable<Extent> {
    const end = Math.min(to, this.sizeBytes);
    return dataExtents(this.fd, Math.min(from, end), end, this.#calls, signal === undefined ? {} : { signal });
  }

  facts(): ImageFacts {
    return this.#naming(() => {
      const facts = fstatSync(this.fd, { bigint: true });
      const isDevice = this.kind === 'blockDevice';
      return {
        sizeBytes: isDevice ? this.sizeBytes : Number(facts.size),
        device: String(isDevice ? facts.rdev : facts.dev),
        inode: String(facts.ino),
        modifiedAtNs: facts.mtimeNs,
        changedAtNs: facts.ctimeNs,
        links: Number(facts.nlink),
      };
    });
  }

  isInPlace(): boolean {
    try {
      const there = statSync(this.path, { bigint: true });
      const here = fstatSync(this.fd, { bigint: true });
      return there.dev === here.dev && there.ino === here.ino;
    } catch {
      return false;
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    this.#isClosed = true;
    closeSync(this.fd);
  }

  #check(position: number, length: number): void {
    assert(!this.#isClosed, `the image ${this.path} is used while open`);
    assert(position >= 0 && position + length <= this.sizeBytes, `${this.path} is used within its size`);
  }

  #naming<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw fileError(error, this.path);
    }
  }

  #shorter(): SgwError {
    return new SgwError('conflict', 'image-changed', `${this.path} became shorter while it was in use`, {
      hint: 'Something else has truncated the image. Detach the volume, put the image right or restore it, and attach it again.',
      details: { path: this.path, sizeBytes: this.sizeBytes },
    });
  }
}
