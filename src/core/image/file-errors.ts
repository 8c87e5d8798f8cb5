import type { SgwError } from '../kit/index.ts';
import { toSgwError } from '../kit/index.ts';

/** Node's errors from an open file lack its path: the same error as an SgwError that names `path`. */
export function fileError(error: unknown, path: string): SgwError {
  if (error instanceof Error && 'code' in error && !('path' in error)) Object.assign(error, { path });
  return toSgwError(error);
}

/** Runs `work`; what it throws becomes an SgwError that names `path`. */
export async function naming<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw fileError(error, path);
  }
}

/** Resolves with what `lookUp` finds, or undefined when the file does not exist. */
export async function ifPresent<T>(lookUp: Promise<T>): Promise<T | undefined> {
  try {
    return await lookUp;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
