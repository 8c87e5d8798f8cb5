/** What the operating system refuses inside a directory store, told in terms of the store: users don't know its files. */
import { SgwError, toSgwError } from '../kit/index.ts';

/** Any failure of a call on the store in `root`. The file inside that the system complained of is in the details. */
export function storeFailure(error: unknown, root: string): SgwError {
  const failure = toSgwError(error);
  if (!failure.code.startsWith('system-')) return failure;
  const details = { ...failure.details, store: root };
  if (failure.code === 'system-enoent') {
    // What is expected to be missing was answered already: here something vanished under the call.
    return new SgwError('unavailable', 'store-gone', `a part of the store in ${root} vanished while it was used`, {
      hint: 'Check that its disk is mounted, then run the same command again.',
      details,
      cause: error,
    });
  }
  const named = toSgwError(namingRoot(failure.cause, root));
  const hint =
    named.kind === 'exhausted'
      ? `Free space on the file system of ${root}, then run the same command again.`
      : named.hint;
  return new SgwError(named.kind, named.code, named.message, {
    ...(hint === undefined ? {} : { hint }),
    details,
    cause: error,
  });
}

function namingRoot(cause: unknown, root: string): Error {
  const { code, syscall } = cause as NodeJS.ErrnoException;
  return Object.assign(new Error(), { code, syscall, path: root });
}
