/** The log's files in a real folder: files 0600, folder 0700, every name durable before it counts. */
import { closeSync, fdatasync, openSync, readFileSync, readSync, writevSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { SgwError, withSgwErrors } from '../kit/index.ts';
import { makeFolder, syncFolder } from '../state/index.ts';
import type { LogDisk, LogFile } from './contract.ts';

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const ZEROES = Buffer.alloc(1024 ** 2);
/** Linux takes at most so many pieces in one call. */
const PIECES_MAX = 1024;
const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id';

const fdatasyncAsync = promisify(fdatasync);

/**
 * The write log's folder at `path`, which is made when it is first listed.
 * @param asideFolder where a log goes that is set aside for a reason; beside `path` when it says nothing
 */
export function directoryDisk(path: string, asideFolder?: (reason: string) => string | undefined): LogDisk {
  return new DirectoryDisk(path, asideFolder);
}

/** The name with this prefix and the number after the greatest of those that are there: the newest is told from older ones. */
function nextName(prefix: string, names: readonly string[]): string {
  const numbers = names.filter((name) => name.startsWith(prefix)).map((name) => Number(name.slice(prefix.length)));
  return `${prefix}${String(1 + Math.max(0, ...numbers.filter(Number.isInteger)))}`;
}

class DirectoryDisk implements LogDisk {
  readonly bootId = bootId();
  readonly #path: string;
  readonly #asideFolder: ((reason: string) => string | undefined) | undefined;

  constructor(path: string, asideFolder: ((reason: string) => string | undefined) | undefined) {
    this.#path = path;
    this.#asideFolder = asideFolder;
  }

  async list(): Promise<string[]> {
    return withSgwErrors(async () => {
      await makeFolder(this.#path, FOLDER_MODE);
      return await readdir(this.#path);
    });
  }

  async open(name: string, sizeBytes: number): Promise<LogFile> {
    return withSgwErrors(async () => {
      const path = join(this.#path, name);
      try {
        return new DirectoryFile(name, path, (await stat(path)).size);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
      await makeFolder(this.#path, FOLDER_MODE);
      await this.#create(path, sizeBytes);
      return new DirectoryFile(name, path, sizeBytes);
    });
  }

  /** Blocks are given to the file for good, so that a later fdatasync has only data to write. */
  async #create(path: string, sizeBytes: number): Promise<void> {
    const temporary = `${path}.new`;
    try {
      const handle = await open(temporary, 'w', FILE_MODE);
      try {
        for (let at = 0; at < sizeBytes; at += ZEROES.length) {
          const piece = ZEROES.subarray(0, Math.min(ZEROES.length, sizeBytes - at));
          const { bytesWritten } = await handle.write(piece, 0, piece.length, at);
          if (bytesWritten < piece.length) at -= ZEROES.length - bytesWritten;
        }
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    await syncFolder(this.#path);
  }

  async remove(name: string): Promise<void> {
    await withSgwErrors(async () => {
      await rm(join(this.#path, name));
      await syncFolder(this.#path);
    });
  }

  async setAside(reason: string): Promise<string> {
    return withSgwErrors(async () => {
      const word = reason.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
      const parent = dirname(this.#path);
      const aside = this.#asideFolder?.(reason) ?? parent;
      await makeFolder(aside, FOLDER_MODE);
      const target = join(aside, nextName(`${basename(this.#path)}-${word}-`, await readdir(aside)));
      await rename(this.#path, target);
      await mkdir(this.#path, { mode: FOLDER_MODE });
      await syncFolder(aside);
      if (aside !== parent) await syncFolder(parent);
      return target;
    });
  }
}

class DirectoryFile implements LogFile {
  readonly name: string;
  readonly path: string;
  readonly sizeBytes: number;
  readonly #fd: number;
  #isClosed = false;

  constructor(name: string, path: string, sizeBytes: number) {
    this.name = name;
    this.path = path;
    this.sizeBytes = sizeBytes;
    this.#fd = openSync(path, 'r+');
  }

  readSync(target: Uint8Array, position: number): void {
    for (let done = 0; done < target.length;) {
      const count = readSync(this.#fd, target, done, target.length - done, position + done);
      if (count === 0) {
        throw new SgwError(
          'corrupt',
          'log-damaged',
          `${this.path} ends at byte ${position + done}, in the middle of data`,
        );
      }
      done += count;
    }
  }

  writeSync(pieces: readonly Uint8Array[], position: number): void {
    for (let at = 0; at < pieces.length; at += PIECES_MAX) {
      const part = pieces.length <= PIECES_MAX ? pieces : pieces.slice(at, at + PIECES_MAX);
      position += this.#writeAll(part, position);
    }
  }

  #writeAll(pieces: readonly Uint8Array[], position: number): number {
    let total = 0;
    for (const piece of pieces) total += piece.length;
    let done = writevSync(this.#fd, pieces, position);
    while (done < total) {
      // The kernel took a part: the rest, from inside of a piece on.
      let skip = done;
      const rest = pieces.flatMap((piece) => {
        const from = Math.min(skip, piece.length);
        skip -= from;
        return from < piece.length ? [piece.subarray(from)] : [];
      });
      const count = writevSync(this.#fd, rest, position + done);
      if (count === 0) throw new SgwError('unavailable', 'log-write-failed', `${this.path} takes no more bytes`);
      done += count;
    }
    return total;
  }

  async sync(): Promise<void> {
    await fdatasyncAsync(this.#fd);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.#fd);
  }
}

function bootId(): string {
  try {
    const text = readFileSync(BOOT_ID_FILE, 'utf8').replaceAll('-', '').trim();
    return /^[0-9a-f]{32}$/.test(text) ? text : '0'.repeat(32);
  } catch {
    return '0'.repeat(32);
  }
}
