/**
 * An object store in a directory of a local file system, for any number of processes at once, without locks
 * (PROTOCOL C15). The format is docs/formats/directory-store.md; versions of an object are in directory-generations.ts.
 *
 * States: unopened (nothing was looked at), open (the layout file was seen or made). A store whose layout file has gone
 * afterwards, say because its disk was unmounted, answers `unavailable` and never "no such object".
 */
import { lstat, mkdir, readFile, readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { SgwError, systemClock, systemRandom, throwIfAborted, type Clock, type Random } from '../kit/index.ts';
import { checkFolder, checkKey, checkLimit, checkPrefix, etagMismatch, resolveSpan } from './arguments.ts';
import type {
  CallOptions,
  Etag,
  GetOptions,
  ListOptions,
  ObjectBody,
  ObjectInfo,
  ObjectStore,
  PutCondition,
  PutBody,
  PutOptions,
  PutResult,
  StreamedBody,
} from './contract.ts';
import { storeFailure } from './directory-failure.ts';
import { GenerationWriter, damaged, openCurrent, sizeOfFirst, type Current } from './directory-generations.ts';
import {
  DELETION,
  DIRECTORY_MODE,
  LAYOUT_FILE,
  LAYOUT_TEXT,
  OBJECT_END,
  TEMPORARY_DIRECTORY,
  objectPaths,
  type ObjectPaths,
} from './directory-layout.ts';
import { foldersIn, walkKeys } from './directory-list.ts';
import { DirectorySync, linkNewFile, makeDurableDirectory } from './directory-sync.ts';
import { TemporaryFiles, type TemporaryFile } from './directory-temporary.ts';

const READ_BYTES_MAX = 8 * 1024 * 1024;
/** Each try that fails means that another writer succeeded. */
const TRIES_MAX = 10_000;
const LIST_HEADS_AT_ONCE = 32;

export interface DirectoryStoreOptions {
  /** The directory; relative to the working directory of now. */
  readonly path: string;
  /** Make the directory, or use an empty one, at the first write. Default true; otherwise it must be a store already. */
  readonly create?: boolean;
  readonly clock?: Clock;
  readonly random?: Random;
}

class DirectoryStore implements ObjectStore {
  readonly description: string;
  readonly streamsUnhashed = true;
  readonly #root: string;
  readonly #mayCreate: boolean;
  readonly #directories: DirectorySync;
  readonly #temporaries: TemporaryFiles;
  readonly #writer: GenerationWriter;
  #isOpen = false;
  #creating: Promise<void> | undefined;

  constructor(options: DirectoryStoreOptions) {
    this.#root = resolve(options.path);
    this.description = this.#root;
    this.#mayCreate = options.create ?? true;
    this.#directories = new DirectorySync(this.#root);
    this.#temporaries = new TemporaryFiles(
      join(this.#root, TEMPORARY_DIRECTORY),
      options.clock ?? systemClock,
      options.random ?? systemRandom,
    );
    this.#writer = new GenerationWriter(this.#directories, this.#temporaries);
  }

  async put(key: string, body: PutBody, options: PutOptions = {}): Promise<PutResult> {
    const { condition, signal } = options;
    return this.#change(key, signal, {
      mayFollow: (current) => holds(condition, current),
      write: async () => this.#temporaries.write(body, OBJECT_END, signal),
      refused: (): PutResult => ({ outcome: 'preconditionFailed' }),
      changed: (generation): PutResult => ({ outcome: 'stored', etag: etagOf(generation) }),
    });
  }

  /** Into a temporary file first, as every put; it gets its name once all of it is there. */
  async putStream(key: string, body: StreamedBody, options: PutOptions = {}): Promise<PutResult> {
    const { condition, signal } = options;
    return this.#change(key, signal, {
      mayFollow: (current) => holds(condition, current),
      write: async () => this.#temporaries.writeAll(body.pieces, OBJECT_END, signal),
      refused: (): PutResult => ({ outcome: 'preconditionFailed' }),
      changed: (generation): PutResult => ({ outcome: 'stored', etag: etagOf(generation) }),
    });
  }

  async delete(key: string, options: CallOptions & { readonly ifMatch?: Etag } = {}): Promise<boolean> {
    const { ifMatch, signal } = options;
    return this.#change(key, signal, {
      mayFollow: (current) => {
        if (!exists(current)) return false;
        if (ifMatch !== undefined && ifMatch !== etagOf(current.generation)) throw etagMismatch(key);
        return true;
      },
      write: async () => this.#temporaries.write(new Uint8Array(0), DELETION, signal),
      refused: () => false,
      changed: () => true,
    });
  }

  /** Compare-and-set until `mayFollow` refuses what is current, or the change is its successor. */
  async #change<T>(key: string, signal: AbortSignal | undefined, change: Change<T>): Promise<T> {
    checkKey(key);
    const paths = objectPaths(this.#root, key);
    let file: TemporaryFile | undefined;
    return this.#attempt(signal, async () => {
      try {
        await this.#prepareToWrite();
        for (let tries = 0; tries < TRIES_MAX; tries++) {
          throwIfAborted(signal);
          const current = await openCurrent(paths);
          try {
            if (!change.mayFollow(current)) {
              await this.#writer.settle(paths, current);
              return change.refused();
            }
            file ??= await change.write();
            if (await this.#writer.succeed(paths, current, file)) return change.changed((current?.generation ?? 0) + 1);
          } finally {
            await current?.handle.close();
          }
        }
        throw new SgwError('unavailable', 'store-busy', `${key} is changed too fast by others`, { details: { key } });
      } finally {
        if (file !== undefined) await this.#temporaries.discard(file);
      }
    });
  }

  async get(key: string, options: GetOptions = {}): Promise<ObjectBody | undefined> {
    checkKey(key);
    const { signal, span } = options;
    const paths = objectPaths(this.#root, key);
    return this.#attempt(signal, async () => {
      const current = await openCurrent(paths);
      try {
        if (current === undefined) await this.#checkPresent();
        if (!exists(current)) return undefined;
        const { start, end } = resolveSpan(key, span, current.sizeBytes);
        const bytes = await readBody(paths, current, start, end, signal);
        return { key, sizeBytes: current.sizeBytes, etag: etagOf(current.generation), bytes };
      } finally {
        await current?.handle.close();
      }
    });
  }

  async head(key: string, options: CallOptions = {}): Promise<ObjectInfo | undefined> {
    checkKey(key);
    return this.#attempt(options.signal, async () => {
      const info = await this.#listed(key);
      if (info === undefined) await this.#checkPresent();
      return info;
    });
  }

  async #info(key: string): Promise<ObjectInfo | undefined> {
    const paths = objectPaths(this.#root, key);
    const sizeBytes = await sizeOfFirst(paths);
    if (sizeBytes === undefined) return undefined;
    if (sizeBytes !== 'superseded') return { key, sizeBytes, etag: etagOf(1) };
    const current = await openCurrent(paths);
    await current?.handle.close();
    return exists(current) ? { key, sizeBytes: current.sizeBytes, etag: etagOf(current.generation) } : undefined;
  }

  /** One whose own files are damaged hides no other: it is listed, and reading it tells. */
  async #listed(key: string): Promise<ObjectInfo | undefined> {
    try {
      return await this.#info(key);
    } catch (error) {
      if (!(error instanceof SgwError) || error.kind !== 'corrupt') throw error;
      return { key, sizeBytes: 0, etag: DAMAGED_ETAG };
    }
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    const { startAfter = '', limit = Number.POSITIVE_INFINITY, signal } = options;
    checkPrefix(prefix);
    checkLimit(options.limit);
    await this.#attempt(signal, async () => this.#checkPresent());
    let left = limit;
    let keys: string[] = [];
    const heads = async (): Promise<ObjectInfo[]> => {
      const infos = await this.#attempt(signal, async () => Promise.all(keys.map(async (key) => this.#listed(key))));
      keys = [];
      return infos.filter((info) => info !== undefined).slice(0, left);
    };
    const walk = walkKeys(this.#root, { prefix, startAfter, signal });
    while (left > 0) {
      const next = await this.#attempt(signal, async () => walk.next());
      if (next.done !== true) keys.push(next.value);
      if (next.done !== true && keys.length < Math.min(LIST_HEADS_AT_ONCE, left)) continue;
      const infos = await heads();
      left -= infos.length;
      yield* infos;
      if (next.done === true) return;
    }
  }

  async *listFolders(prefix: string, options: CallOptions = {}): AsyncGenerator<string> {
    checkFolder(prefix);
    const { signal } = options;
    await this.#attempt(signal, async () => this.#checkPresent());
    yield* await this.#attempt(signal, async () => foldersIn(this.#root, prefix));
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }

  /** Runs one call: the signal first, every failure as an SgwError. */
  async #attempt<T>(signal: AbortSignal | undefined, call: () => Promise<T>): Promise<T> {
    try {
      throwIfAborted(signal);
      const result = await call();
      return result;
    } catch (error) {
      throw storeFailure(error, this.#root);
    }
  }

  /** @throws notFound `store-missing` when there is no store, unavailable `store-gone` when there was one. */
  async #checkPresent(): Promise<void> {
    const found = await readLayout(this.#root);
    if (found) this.#isOpen = true;
    else if (this.#isOpen) {
      throw new SgwError('unavailable', 'store-gone', `the object store in ${this.#root} is not there any more`, {
        hint: 'Check that its disk is mounted.',
        details: { path: this.#root },
      });
    } else if (!this.#mayCreate) throw storeMissing(this.#root);
  }

  async #prepareToWrite(): Promise<void> {
    if (this.#isOpen) {
      // One look at a cached inode: a write into the empty mount point of a lost disk must not begin a second store.
      if ((await lstat(join(this.#root, LAYOUT_FILE)).catch(() => undefined)) === undefined) await this.#checkPresent();
      return;
    }
    await this.#checkPresent();
    this.#creating ??= this.#create().finally(() => {
      this.#creating = undefined;
    });
    await this.#creating;
  }

  async #create(): Promise<void> {
    if (!this.#isOpen) {
      await makeDurableDirectory(this.#root);
      const foreign = (await readdir(this.#root)).filter((name) => !name.startsWith('@') && name !== 'lost+found');
      // Another process may have made the store, and begun to fill it, since this one looked.
      if (foreign.length > 0 && !(await readLayout(this.#root))) throw notEmpty(this.#root, foreign);
    }
    await mkdir(join(this.#root, TEMPORARY_DIRECTORY), { mode: DIRECTORY_MODE, recursive: true });
    await linkNewFile(this.#root, LAYOUT_FILE, LAYOUT_TEXT);
    this.#isOpen = true;
  }
}

interface Change<T> {
  readonly mayFollow: (current: Current | undefined) => boolean;
  readonly write: () => Promise<TemporaryFile>;
  readonly refused: () => T;
  readonly changed: (generation: number) => T;
}

const etagOf = (generation: number): Etag => String(generation);
/** No version of an object has it. */
const DAMAGED_ETAG: Etag = 'damaged';

function exists(current: Current | undefined): current is Current {
  return current !== undefined && !current.deleted;
}

function holds(condition: PutCondition | undefined, current: Current | undefined): boolean {
  if (condition === undefined) return true;
  if ('ifAbsent' in condition) return !exists(current);
  return exists(current) && condition.ifMatch === etagOf(current.generation);
}

async function readBody(
  paths: ObjectPaths,
  current: Current,
  start: number,
  end: number,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  // A read to the end takes the byte after the body along, which tells whether the file is whole.
  const length = end - start;
  const wanted = end === current.sizeBytes ? length + 1 : length;
  const bytes = Buffer.allocUnsafeSlow(wanted);
  for (let done = 0; done < wanted;) {
    throwIfAborted(signal);
    const count = Math.min(READ_BYTES_MAX, wanted - done);
    const { bytesRead } = await current.handle.read(bytes, done, count, start + done);
    if (bytesRead === 0) throw damaged(paths, 'its file became shorter while it was read');
    done += bytesRead;
  }
  if (wanted > length && bytes[length] !== OBJECT_END) throw damaged(paths, 'its file does not end as it should');
  return bytes.subarray(0, length);
}

/** @returns whether `root` is a store of this layout. @throws unsupported for another one. */
async function readLayout(root: string): Promise<boolean> {
  const text = await readFile(join(root, LAYOUT_FILE), 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return false;
  if (text === LAYOUT_TEXT) return true;
  throw new SgwError('unsupported', 'store-layout', `${root} is a store of a layout that this version does not know`, {
    hint: 'Use the version of sgw that made it, or a newer one.',
    details: { path: root },
  });
}

function storeMissing(root: string): SgwError {
  return new SgwError('notFound', 'store-missing', `there is no object store in ${root}`, {
    hint: 'Check the path, and that its disk is mounted.',
    details: { path: root },
  });
}

function notEmpty(root: string, names: readonly string[]): SgwError {
  return new SgwError(
    'conflict',
    'store-not-empty',
    `${root} holds other files, so it can not become an object store`,
    {
      hint: 'Name an empty or a new directory.',
      details: { path: root, found: names.slice(0, 5) },
    },
  );
}

/** A store in the directory `options.path`. Does no I/O yet. */
export function directoryStore(options: DirectoryStoreOptions): ObjectStore {
  return new DirectoryStore(options);
}
