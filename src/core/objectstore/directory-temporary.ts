/**
 * The files of a directory store before they have their name: written whole and synced in `@tmp`, then linked by the
 * caller. Those that a killed process left behind are swept by the next writer.
 */
import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { lstat, open, readdir, symlink, unlink, type FileHandle } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { throwIfAborted, type Clock, type Random } from '../kit/index.ts';
import { FILE_MODE } from './directory-layout.ts';
import { bodyPieces, type PutBody } from './contract.ts';

const WRITE_BYTES_MAX = 4 * 1024 * 1024;
/** After this, a file is abandoned whoever made it: nothing takes so long to write. */
const ABANDONED_AFTER_MS = 24 * 60 * 60 * 1000;

/** A finished file without a name in the store. The handle stays open until it is discarded. */
export interface TemporaryFile {
  readonly path: string;
  readonly handle: FileHandle;
}

export class TemporaryFiles {
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #random: Random;
  #swept: Promise<void> | undefined;

  constructor(directory: string, clock: Clock, random: Random) {
    this.#directory = directory;
    this.#clock = clock;
    this.#random = random;
  }

  /** Writes `body` and the byte `end` after it. Durable but nameless when it resolves. */
  async write(body: PutBody, end: number, signal: AbortSignal | undefined): Promise<TemporaryFile> {
    return await this.writeAll(bodyPieces(body), end, signal);
  }

  /** The same of pieces that may come one by one. What they throw is thrown, and no file is left. */
  async writeAll(
    pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    end: number,
    signal: AbortSignal | undefined,
  ): Promise<TemporaryFile> {
    await this.#sweepOnce();
    const path = this.#newPath();
    const handle = await open(path, 'wx', FILE_MODE);
    const file = { path, handle };
    try {
      let position = 0;
      for await (const piece of pieces) position = await writePiece(handle, piece, position, signal);
      await handle.write(Buffer.of(end), 0, 1, position);
      throwIfAborted(signal);
      await handle.datasync();
      throwIfAborted(signal);
      return file;
    } catch (error) {
      await this.discard(file);
      throw error;
    }
  }

  /** Closes the file and removes its temporary name. Never fails: what stays is swept later. */
  async discard(file: TemporaryFile): Promise<void> {
    await file.handle.close().catch(ignore);
    await unlink(file.path).catch(ignore);
  }

  /** A symbolic link with a text that no other ever had, to be renamed over what it replaces. */
  async marker(): Promise<string> {
    await this.#sweepOnce();
    const path = this.#newPath();
    await symlink(`superseded-${this.#random.bytes(12).toString('hex')}`, path);
    return path;
  }

  async dropMarker(path: string): Promise<void> {
    await unlink(path).catch(ignore);
  }

  #newPath(): string {
    return join(this.#directory, `${processSpace()}-${String(process.pid)}-${this.#random.bytes(12).toString('hex')}`);
  }

  async #sweepOnce(): Promise<void> {
    this.#swept ??= this.#sweep();
    await this.#swept;
  }

  async #sweep(): Promise<void> {
    for (const name of await readdir(this.#directory).catch(() => [])) {
      const path = join(this.#directory, name);
      const [space, pid] = name.split('-');
      if (space === processSpace() && isGone(Number(pid))) await unlink(path).catch(ignore);
      else {
        const info = await lstat(path).catch(() => undefined);
        if (info !== undefined && this.#clock.nowMs() - info.mtimeMs > ABANDONED_AFTER_MS)
          await unlink(path).catch(ignore);
      }
    }
  }
}

/** Writes a piece at `position`; returns the position behind it. */
async function writePiece(
  handle: FileHandle,
  piece: Uint8Array,
  position: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  for (let done = 0; done < piece.length;) {
    throwIfAborted(signal);
    const count = Math.min(WRITE_BYTES_MAX, piece.length - done);
    done += (await handle.write(piece, done, count, position + done)).bytesWritten;
  }
  return position + piece.length;
}

function ignore(): void {
  /* The file is only litter. */
}

let space: string | undefined;

/** Names the machine, its boot and the container that process ids belong to: elsewhere they say nothing. */
function processSpace(): string {
  space ??= createHash('sha256').update(describeSpace()).digest('hex').slice(0, 12);
  return space;
}

function describeSpace(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8');
    return `${hostname()}\n${boot}\n${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return hostname();
  }
}

function isGone(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
