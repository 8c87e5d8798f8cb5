/** Facts about the file systems under paths, for `status` and `store check`. */
import { stat, statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { toSgwError } from '../kit/index.ts';

/** The path itself, or its nearest parent that exists. */
async function nearest(path: string): Promise<{ readonly path: string; readonly device: number }> {
  for (let at = resolve(path); ; at = dirname(at)) {
    try {
      return { path: at, device: (await stat(at)).dev };
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if ((code !== 'ENOENT' && code !== 'ENOTDIR') || at === dirname(at)) throw toSgwError(error);
    }
  }
}

/** Whether both paths are, or would be, on one file system, so that one lost disk takes both. */
export async function sharesFileSystem(pathA: string, pathB: string): Promise<boolean> {
  const [a, b] = await Promise.all([nearest(pathA), nearest(pathB)]);
  return a.device === b.device;
}

/** Bytes that this user can still write on the file system of `path`, which need not exist yet. */
export async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs((await nearest(path)).path).catch((error: unknown) => {
    throw toSgwError(error);
  });
  return bavail * bsize;
}
