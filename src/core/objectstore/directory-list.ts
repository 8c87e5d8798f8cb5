/**
 * Walks the keys of a directory store in byte order. A directory's names are read and sorted as a whole: a level with a
 * million objects costs about 100 bytes of memory for each while it is walked.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { throwIfAborted } from '../kit/index.ts';
import { isComponent } from './arguments.ts';
import { parseEntry } from './directory-layout.ts';

export interface WalkOptions {
  readonly prefix: string;
  readonly startAfter: string;
  readonly signal: AbortSignal | undefined;
}

/** Yields keys that have, or had, an object: the caller asks for each whether it is still there. */
export async function* walkKeys(root: string, options: WalkOptions): AsyncGenerator<string> {
  const parents = options.prefix.split('/').slice(0, -1);
  yield* walkLevel(root, parents.map((component) => `${component}/`).join(''), options);
}

async function* walkLevel(root: string, level: string, options: WalkOptions): AsyncGenerator<string> {
  throwIfAborted(options.signal);
  const paths: string[] = [];
  for (const name of await namesIn(join(root, level))) {
    const entry = parseEntry(name);
    if (entry === undefined || !isComponent(entry.component)) continue;
    const path = `${level}${entry.component}${entry.isObject ? '' : '/'}`;
    if (mayYield(path, options)) paths.push(path);
  }
  paths.sort();
  for (const path of paths) {
    if (path.endsWith('/')) yield* walkLevel(root, path, options);
    else yield path;
  }
}

/** The folders right under `level`, which is empty or ends in `/`, in byte order. */
export async function foldersIn(root: string, level: string): Promise<string[]> {
  const folders: string[] = [];
  for (const name of await namesIn(join(root, level))) {
    const entry = parseEntry(name);
    if (entry !== undefined && !entry.isObject && isComponent(entry.component)) folders.push(entry.component);
  }
  return folders.sort();
}

/** Whether an object at `path`, or one below it when it ends in `/`, can be in the list. */
function mayYield(path: string, { prefix, startAfter }: WalkOptions): boolean {
  if (!path.endsWith('/')) return path.startsWith(prefix) && path > startAfter;
  const overlapsPrefix = path.startsWith(prefix) || prefix.startsWith(path);
  return overlapsPrefix && (path > startAfter || startAfter.startsWith(path));
}

async function namesIn(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // A foreign file among the directories, or a level that no key ever had.
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw error;
  }
}
