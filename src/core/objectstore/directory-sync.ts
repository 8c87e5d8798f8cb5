/**
 * Makes directory entries durable: fsync of directories, shared by callers that wait for the same one, and directories
 * made so that they survive loss of power.
 *
 * Invariant: a path in `#durable` existed and was reachable through durable entries from the root when it was added;
 * the store never removes directories.
 */
import { randomBytes } from 'node:crypto';
import { link, mkdir, open, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DIRECTORY_MODE, FILE_MODE, TEMPORARY_DIRECTORY } from './directory-layout.ts';

/** Above this the set of known directories starts again; it only saves work. */
const KNOWN_DIRECTORIES_MAX = 10_000;

interface Sync {
  running: Promise<void>;
  next: Promise<void> | undefined;
}

/** Makes the entries of the directory `path` durable. */
async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export class DirectorySync {
  readonly #root: string;
  readonly #syncs = new Map<string, Sync>();
  readonly #durable = new Map<string, Promise<void>>();

  constructor(root: string) {
    this.#root = root;
  }

  /** Makes every entry durable that was made before the call. Concurrent callers share one fsync. */
  async sync(path: string): Promise<void> {
    const sync = this.#syncs.get(path);
    if (sync === undefined) {
      await this.#start(path);
      return;
    }
    // The running fsync may have begun before this caller's change, so it waits for the following one.
    sync.next ??= sync.running.then(
      async () => this.#start(path),
      async () => this.#start(path),
    );
    await sync.next;
  }

  async #start(path: string): Promise<void> {
    const sync: Sync = { running: syncDirectory(path), next: undefined };
    this.#syncs.set(path, sync);
    try {
      await sync.running;
    } finally {
      if (sync.next === undefined) this.#syncs.delete(path);
    }
  }

  /** Makes the directory `path` below the root, and its parents, and all their entries durable. */
  async ensure(path: string): Promise<void> {
    if (path === this.#root) return;
    let made = this.#durable.get(path);
    if (made === undefined) {
      if (this.#durable.size >= KNOWN_DIRECTORIES_MAX) this.#durable.clear();
      made = this.#make(path);
      this.#durable.set(path, made);
    }
    try {
      await made;
    } catch (error) {
      if (this.#durable.get(path) === made) this.#durable.delete(path);
      throw error;
    }
  }

  async #make(path: string): Promise<void> {
    const parent = dirname(path);
    await this.ensure(parent);
    await mkdir(path, { mode: DIRECTORY_MODE }).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    });
    // Also when it was there already: whoever made it may not have come to this.
    await this.sync(parent);
  }
}

/** Makes `path` and its missing parents durable, wherever it is. */
export async function makeDurableDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: DIRECTORY_MODE });
  if (first === undefined) return;
  for (let made = path; made.length >= first.length; made = dirname(made)) await syncDirectory(dirname(made));
}

/** Makes the file `root/name` with `text` unless it is there. Durable when it resolves. */
export async function linkNewFile(root: string, name: string, text: string): Promise<void> {
  const temporary = join(root, TEMPORARY_DIRECTORY, `${name}-${randomBytes(12).toString('hex')}`);
  const handle = await open(temporary, 'wx', FILE_MODE);
  try {
    await handle.writeFile(text);
    await handle.sync();
    await link(temporary, join(root, name)).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    });
  } finally {
    await handle.close();
    await unlink(temporary);
  }
  await syncDirectory(root);
}
