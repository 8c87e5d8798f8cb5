/**
 * The versions of one object in a directory store, and the lock-free compare-and-set on them (PROTOCOL C15).
 *
 * Generation n is current until n+1 takes effect. A generation is made by `link`, which fails when the name is taken.
 *
 * - Names of generations 1 and 2 are never free again: when superseded they become a symbolic link, the marker.
 *   Generation 2 takes effect when 1 is a marker, 3 when 2 is. Whoever finds a successor linked but its predecessor
 *   not yet a marker finishes that, so a writer that died in between stops nobody.
 * - From 3 on, superseded files are removed, so a name can be free again, and a writer that stalled with an old `current`
 *   can link there. Such a file is always below the current generation. Two rules keep it harmless:
 *   1. *Reading*: the newest is the highest that a scan finds, and the scan counts only if the marker of generation 2
 *      has the same text before and after. Whoever removes first gives the marker a new text, so a scan during which
 *      the current generation could have been removed is repeated.
 *   2. *Winning*: a writer makes its predecessor read-only (confirms it) before linking the successor. After linking,
 *      a writer that is the newest has won; one that is not has won only if a successor confirmed its file.
 */
import { constants } from 'node:fs';
import { link, lstat, open, readdir, readlink, rename, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { SgwError, assert, toSgwError } from '../kit/index.ts';
import {
  CONFIRMED_MODE,
  DELETION,
  FILE_MODE,
  generationPath,
  parseGeneration,
  type ObjectPaths,
} from './directory-layout.ts';
import type { DirectorySync } from './directory-sync.ts';
import type { TemporaryFile, TemporaryFiles } from './directory-temporary.ts';

/** Each repetition means that another writer got on; so many in a row mean that something else is wrong. */
const SCANS_MAX = 1000;

/** The current generation, open for reading. The owner closes the handle. */
export interface Current {
  readonly generation: number;
  readonly handle: FileHandle;
  /** Size of the body. */
  readonly sizeBytes: number;
  /** The newest change of the object was its removal. */
  readonly deleted: boolean;
}

/** The generation in force; undefined when there never was one. @throws corrupt when the files contradict the layout. */
export async function openCurrent(paths: ObjectPaths): Promise<Current | undefined> {
  const first = await openGeneration(paths.first);
  if (first === 'absent') return undefined;
  if (first !== 'marker') return describe(paths, 1, first);
  const second = await openGeneration(paths.second);
  if (second === 'absent') throw damaged(paths, 'its second generation is missing');
  if (second !== 'marker') return describe(paths, 2, second);
  return openNewest(paths);
}

/** Size of the body when the first generation is in force, without opening it; undefined when there is no object. */
export async function sizeOfFirst(paths: ObjectPaths): Promise<number | 'superseded' | undefined> {
  try {
    const info = await lstat(paths.first);
    if (info.isSymbolicLink()) return 'superseded';
    if (info.size === 0) throw damaged(paths, 'its file is empty');
    return info.size - 1;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Rule 1 of the header. */
async function openNewest(paths: ObjectPaths): Promise<Current> {
  for (let scan = 0; scan < SCANS_MAX; scan++) {
    const marker = await readlink(paths.second);
    const newest = Math.max(0, ...(await laterGenerations(paths)));
    const handle = newest === 0 ? 'absent' : await openGeneration(generationPath(paths, newest));
    const isStable = (await readlink(paths.second)) === marker;
    if (isStable && handle !== 'absent' && handle !== 'marker') return describe(paths, newest, handle);
    if (typeof handle !== 'string') await handle.close();
    if (isStable && newest === 0) throw damaged(paths, 'its newest generation is missing');
  }
  throw new SgwError('unavailable', 'store-busy', `${paths.key} is changed faster than it can be read`, {
    details: { key: paths.key },
  });
}

async function laterGenerations(paths: ObjectPaths): Promise<number[]> {
  const names = await readdir(paths.laterDirectory).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  });
  return names.flatMap((name) => parseGeneration(name) ?? []);
}

async function openGeneration(path: string): Promise<FileHandle | 'absent' | 'marker'> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 'absent';
    if (codeOf(error) === 'ELOOP') return 'marker';
    throw error;
  }
}

async function describe(paths: ObjectPaths, generation: number, handle: FileHandle): Promise<Current> {
  try {
    const { size } = await handle.stat();
    if (size === 0) throw damaged(paths, 'its file is empty');
    let deleted = false;
    if (generation > 1 && size === 1) {
      const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, 0);
      deleted = buffer[0] === DELETION;
    }
    return { generation, handle, sizeBytes: size - 1, deleted };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Adds generations to objects. One per store; holds nothing of an object between calls. */
export class GenerationWriter {
  readonly #directories: DirectorySync;
  readonly #temporaries: TemporaryFiles;

  constructor(directories: DirectorySync, temporaries: TemporaryFiles) {
    this.#directories = directories;
    this.#temporaries = temporaries;
  }

  /**
   * Makes `file` the successor of `current`; false when somebody else was first, whose success is then durable too.
   * @throws unavailable `outcome-unknown` when something fails after the file got its name.
   */
  async succeed(paths: ObjectPaths, current: Current | undefined, file: TemporaryFile): Promise<boolean> {
    const generation = (current?.generation ?? 0) + 1;
    const target = generationPath(paths, generation);
    await this.#directories.ensure(generation >= 3 ? paths.laterDirectory : paths.directory);
    if (generation >= 3) await file.handle.chmod(FILE_MODE);
    if (current !== undefined && current.generation >= 3) await current.handle.chmod(CONFIRMED_MODE);
    // Made before the link, so that a full disk is noticed while nothing has changed.
    const marker = generation === 2 || generation === 3 ? await this.#temporaries.marker() : undefined;
    let linked = false;
    try {
      linked = await linkExclusively(file.path, target);
      await this.#directories.sync(generation >= 3 ? paths.laterDirectory : paths.directory);
      if (marker !== undefined) await rename(marker, generationPath(paths, generation - 1));
      // From generation 4 on for the sake of a writer that died before this, when the marker was new.
      if (generation >= 2) await this.#directories.sync(paths.directory);
      return linked && (generation < 3 || (await this.#hasWon(paths, generation, target, file)));
    } catch (error) {
      if (marker !== undefined) await this.#temporaries.dropMarker(marker);
      throw linked ? outcomeUnknown(paths, error) : error;
    }
  }

  /** Rule 2 of the header. */
  async #hasWon(paths: ObjectPaths, generation: number, target: string, file: TemporaryFile): Promise<boolean> {
    const newest = await openNewest(paths);
    await newest.handle.close();
    assert(newest.generation >= generation, `${paths.key} went back below generation ${String(generation)}`);
    if (newest.generation === generation) {
      await this.#removeBelow(paths, generation);
      return true;
    }
    const { mode } = await file.handle.stat();
    if ((mode & 0o777) === CONFIRMED_MODE) return true;
    await unlinkIfThere(target);
    return false;
  }

  /** Frees the room of superseded generations. What fails here is left to the next writer: the change is durable already. */
  async #removeBelow(paths: ObjectPaths, generation: number): Promise<void> {
    try {
      const older = (await laterGenerations(paths)).filter((other) => other < generation);
      if (older.length === 0) return;
      await rename(await this.#temporaries.marker(), paths.second);
      for (const other of older) await unlinkIfThere(join(paths.laterDirectory, String(other)));
    } catch {
      return;
    }
  }

  /** Makes durable that `current` is the current generation, before somebody acts upon having lost against it. */
  async settle(paths: ObjectPaths, current: Current | undefined): Promise<void> {
    if (current === undefined) return;
    await this.#directories.ensure(paths.directory);
    await this.#directories.sync(paths.directory);
    if (current.generation >= 3) await this.#directories.sync(paths.laterDirectory);
  }
}

async function linkExclusively(existing: string, path: string): Promise<boolean> {
  try {
    await link(existing, path);
    return true;
  } catch (error) {
    const code = codeOf(error) ?? '';
    if (code === 'EEXIST') return false;
    if (['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EXDEV'].includes(code)) {
      throw new SgwError(
        'unsupported',
        'store-without-links',
        `the file system of ${path} can not link files (${code})`,
        {
          hint: 'Put the store in a directory of a local file system such as ext4, xfs or btrfs, all of it on one.',
          cause: error,
        },
      );
    }
    throw error;
  }
}

async function unlinkIfThere(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (codeOf(error) !== 'ENOENT') throw error;
  });
}

function outcomeUnknown(paths: ObjectPaths, cause: unknown): SgwError {
  const { message, hint } = toSgwError(cause);
  return new SgwError('unavailable', 'outcome-unknown', `it is not known whether ${paths.key} was stored: ${message}`, {
    ...(hint === undefined ? {} : { hint }),
    details: { key: paths.key },
    cause,
  });
}

export function damaged(paths: ObjectPaths, what: string): SgwError {
  return new SgwError('corrupt', 'object-damaged', `the object ${paths.key} is damaged: ${what}`, {
    hint: `Look at ${paths.first} and its neighbours; a copy of the store may have them.`,
    details: { key: paths.key, path: paths.first },
  });
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}
