/** The files of a cache, injected so that a test can tear, fill and break them. */
import { readSync, writev } from 'node:fs';
import { mkdir, open, rename, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';

export interface CacheFile {
  /** Reads into `target` from `offset`; the bytes read, fewer at the end of the file. @throws what the system says */
  readSync(target: Buffer, offset: number, length: number, position: number): number;
  /** Writes all of `pieces`, one after the other: in the kernel's page cache when it resolves. */
  write(pieces: readonly Buffer[], position: number): Promise<void>;
  /** Makes it so long; new bytes need no room on the disk until they are written. */
  truncate(sizeBytes: number): Promise<void>;
  sizeBytes(): Promise<number>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface CacheDisk {
  /** Opens the file of frames, made when it is missing, for nobody but its owner. */
  openFrames(): Promise<CacheFile>;
  /** The saved index; undefined when there is none. */
  readIndex(): Promise<Buffer | undefined>;
  /** Removes the saved index, durably. */
  removeIndex(): Promise<void>;
  /** Saves an index in one step, durably. */
  writeIndex(pieces: Iterable<Buffer>): Promise<void>;
}

/** Buffers that one call to the system takes. */
const PIECES_MAX = 8;
const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;

class SystemFile implements CacheFile {
  readonly #handle: FileHandle;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  readSync(target: Buffer, offset: number, length: number, position: number): number {
    return readSync(this.#handle.fd, target, offset, length, position);
  }

  async write(pieces: readonly Buffer[], position: number): Promise<void> {
    // Handing over a piece costs more than copying a small one.
    let rest = pieces.length > PIECES_MAX ? [Buffer.concat(pieces)] : [...pieces];
    let at = position;
    while (rest.length > 0) {
      const written = await this.#writeSome(rest, at);
      at += written;
      rest = withoutFirst(rest, written);
    }
  }

  async #writeSome(pieces: Buffer[], position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      writev(this.#handle.fd, pieces, position, (error, written) => {
        if (error !== null) reject(error);
        else resolve(written);
      });
    });
  }

  async truncate(sizeBytes: number): Promise<void> {
    await this.#handle.truncate(sizeBytes);
  }

  async sizeBytes(): Promise<number> {
    return (await this.#handle.stat()).size;
  }

  async sync(): Promise<void> {
    await this.#handle.datasync();
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** What is left of `pieces` behind the first `bytes`. */
function withoutFirst(pieces: readonly Buffer[], bytes: number): Buffer[] {
  const rest: Buffer[] = [];
  let skip = bytes;
  for (const piece of pieces) {
    if (skip < piece.length) rest.push(skip === 0 ? piece : piece.subarray(skip));
    skip = Math.max(0, skip - piece.length);
  }
  return rest;
}

/** The files `frames` and `index` in a folder, which is made when it is missing. */
export class SystemDisk implements CacheDisk {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async openFrames(): Promise<CacheFile> {
    await mkdir(this.#directory, { recursive: true, mode: DIRECTORY_MODE });
    const path = join(this.#directory, 'frames');
    return new SystemFile(
      await open(path, 'r+').catch(async (error: unknown) => {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
        return open(path, 'wx+', FILE_MODE);
      }),
    );
  }

  async readIndex(): Promise<Buffer | undefined> {
    let handle: FileHandle;
    try {
      handle = await open(join(this.#directory, 'index'), 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    try {
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  }

  async removeIndex(): Promise<void> {
    try {
      await unlink(join(this.#directory, 'index'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    await this.#syncDirectory();
  }

  async writeIndex(pieces: Iterable<Buffer>): Promise<void> {
    const path = join(this.#directory, 'index');
    const handle = await open(`${path}.new`, 'w', FILE_MODE);
    try {
      for (const piece of pieces) await handle.appendFile(piece);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(`${path}.new`, path);
    await this.#syncDirectory();
  }

  async #syncDirectory(): Promise<void> {
    const handle = await open(this.#directory, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}
