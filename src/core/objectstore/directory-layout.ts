/**
 * Where the parts of a directory store are: docs/formats/directory-store.md. Names with `@` belong to the store itself;
 * `@` is not in the alphabet of keys, so no key can collide with them.
 */
import { dirname, join } from 'node:path';

/** The file that marks a directory as a store, and its only contents. */
export const LAYOUT_FILE = '@layout';
export const LAYOUT_TEXT = 'sgw directory store 1\n';
/** Files being written, on the file system that they will be linked on. */
export const TEMPORARY_DIRECTORY = '@tmp';

export const FILE_MODE = 0o600;
export const DIRECTORY_MODE = 0o700;
/** The mode of a generation that a successor was built on: see directory-generations.ts. */
export const CONFIRMED_MODE = 0o400;

/** The last byte of a generation's file: after a body, or alone in the file of a deletion. */
export const OBJECT_END = 0x0a;
export const DELETION = 0x2d;

/** The generations of one object; generation 0 is none. */
export interface ObjectPaths {
  readonly key: string;
  /** Holds the first two generations. */
  readonly directory: string;
  /** Holds the generations from the third on. */
  readonly laterDirectory: string;
  readonly first: string;
  readonly second: string;
}

export function objectPaths(root: string, key: string): ObjectPaths {
  const path = join(root, key);
  return {
    key,
    directory: dirname(path),
    laterDirectory: `${path}@`,
    first: `${path}@1`,
    second: `${path}@2`,
  };
}

export function generationPath(paths: ObjectPaths, generation: number): string {
  if (generation === 1) return paths.first;
  return generation === 2 ? paths.second : join(paths.laterDirectory, String(generation));
}

/** The generation that a name in `laterDirectory` stands for; undefined for any other file. */
export function parseGeneration(name: string): number | undefined {
  return /^[1-9][0-9]{0,14}$/.test(name) ? Number(name) : undefined;
}

/** What a name in a directory of keys stands for; undefined for what is no first generation and no further level. */
export function parseEntry(name: string): { readonly component: string; readonly isObject: boolean } | undefined {
  const at = name.indexOf('@');
  if (at < 0) return { component: name, isObject: false };
  return name.slice(at) === '@1' && at > 0 ? { component: name.slice(0, at), isObject: true } : undefined;
}
