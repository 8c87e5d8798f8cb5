/** What a shadowing volume keeps, in a folder of the home: files 0600, folder 0700. */
import { closeSync, fdatasync, openSync, readSync, utimesSync, writeSync } from 'node:fs';
import { open, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { toSgwError, withSgwErrors } from '../../kit/index.ts';
import { makeFolder, syncFolder } from '../../state/index.ts';
import type { MarksFile, ShadowDisk, ShadowRecord } from './contract.ts';

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const RECORD = 'shadow.json';
/** Without it the whole image is compared when it is opened. */
export const MARKS_FILE = 'marks';
const STATES: readonly unknown[] = ['clean', 'compared', 'comparing'] satisfies ShadowRecord['state'][];

const syncAsync = promisify(fdatasync);

/** The folder is made when something is written first. */
export const directoryShadowDisk = (folder: string): ShadowDisk => new DirectoryShadowDisk(folder);

class DirectoryShadowDisk implements ShadowDisk {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async readRecord(): Promise<ShadowRecord | undefined> {
    try {
      return checkedRecord(JSON.parse(await readFile(join(this.#folder, RECORD), 'utf8')));
    } catch (error) {
      if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw toSgwError(error);
    }
  }

  async writeRecord(record: ShadowRecord, durable: boolean): Promise<void> {
    await withSgwErrors(async () => {
      await makeFolder(this.#folder, FOLDER_MODE);
      const path = join(this.#folder, RECORD);
      const handle = await open(`${path}.new`, 'w', FILE_MODE);
      try {
        await handle.writeFile(`${JSON.stringify(record)}\n`);
        // Without it a name can come before its contents.
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(`${path}.new`, path);
      if (durable) await syncFolder(this.#folder);
    });
  }

  touch(): void {
    const now = new Date();
    try {
      utimesSync(join(this.#folder, RECORD), now, now);
    } catch {
      // Then more is compared than has to be.
    }
  }

  async touchedMs(): Promise<number | undefined> {
    const times = await Promise.all(
      [RECORD, MARKS_FILE].map(async (name) => (await stat(join(this.#folder, name)).catch(() => undefined))?.mtimeMs),
    );
    return times.reduce((latest, time) => (time === undefined || (latest ?? 0) > time ? latest : time), undefined);
  }

  async openMarks(bytes: number, fresh: boolean): Promise<MarksFile | undefined> {
    return await withSgwErrors(async () => {
      await makeFolder(this.#folder, FOLDER_MODE);
      const path = join(this.#folder, MARKS_FILE);
      if (fresh) await this.#makeMarks(path, bytes);
      const fd = openIfThere(path);
      if (fd === undefined) return undefined;
      const file = new DirectoryMarks(fd, bytes);
      if (file.isWhole) return file;
      file.close();
      return undefined;
    });
  }

  async #makeMarks(path: string, bytes: number): Promise<void> {
    const handle = await open(`${path}.new`, 'w', FILE_MODE);
    try {
      await handle.writeFile(Buffer.alloc(bytes));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(`${path}.new`, path);
    await syncFolder(this.#folder);
  }
}

class DirectoryMarks implements MarksFile {
  readonly #fd: number;
  readonly #bytes: number;

  constructor(fd: number, bytes: number) {
    this.#fd = fd;
    this.#bytes = bytes;
  }

  /** Whether it has just as many bytes as are asked for. */
  get isWhole(): boolean {
    const more = Buffer.alloc(this.#bytes + 1);
    return readSync(this.#fd, more, 0, more.length, 0) === this.#bytes;
  }

  read(): Buffer {
    const bytes = Buffer.alloc(this.#bytes);
    readSync(this.#fd, bytes, 0, bytes.length, 0);
    return bytes;
  }

  write(position: number, bytes: Uint8Array): void {
    try {
      for (let done = 0; done < bytes.length;)
        done += writeSync(this.#fd, bytes, done, bytes.length - done, position + done);
    } catch (error) {
      throw toSgwError(error);
    }
  }

  async sync(): Promise<void> {
    await withSgwErrors(() => syncAsync(this.#fd));
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, 'r+');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function checkedRecord(value: unknown): ShadowRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const record = value as Partial<Record<keyof ShadowRecord, unknown>>;
  const { version, state, cursorPage, behindSince, image } = record;
  if (version !== 1 || !STATES.includes(state) || !Number.isSafeInteger(cursorPage)) return undefined;
  if (behindSince !== null && !Number.isSafeInteger(behindSince)) return undefined;
  if (typeof image !== 'object' || image === null) return undefined;
  const texts = image as Partial<Record<string, unknown>>;
  const fields = ['sizeBytes', 'device', 'inode', 'modifiedAtNs', 'changedAtNs'];
  return fields.every((field) => typeof texts[field] === 'string') ? (value as ShadowRecord) : undefined;
}
