/**
 * A file to be made: where it is written meanwhile, that nobody else makes it at the same time, and how it
 * appears under its name.
 *
 * It is written under a hidden name beside the final one, guarded by a lock file that the kernel unlocks when
 * the process ends, however it ends. Where there are no such locks, the hidden name is random instead: two
 * writers never meet, but what a killed one left is not found again.
 *
 * Invariants: the final name always shows either what was there before or the whole new file; without `force`
 * an existing file is never replaced, also when it appears at the last moment.
 */
import { createHash, randomBytes } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { link, lstat, open, realpath, rename, rm, stat, unlink, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { SgwError, toSgwError } from '../kit/index.ts';
import { fileError, ifPresent, naming } from './file-errors.ts';
import { readPartialState, removeState, statePath } from './partial-state.ts';
import { loadSystemCalls, type SystemCalls } from './system-calls.ts';

export interface ClaimOptions {
  /** End of the hidden name; work under different suffixes does not exclude each other. */
  readonly suffix: string;
  /** Allow an existing file to be replaced. */
  readonly force: boolean;
  /** In place of the machine's own; undefined stands for a machine that has none. */
  readonly systemCalls?: SystemCalls | undefined;
}

export interface ClaimedTarget {
  /** Absolute; a symbolic link is followed, so that the file it points to is the one replaced. */
  readonly finalPath: string;
  /** Where to write. May hold what an earlier, killed process left. */
  readonly temporaryPath: string;
  /** True when a later process finds the same `temporaryPath`. */
  readonly resumable: boolean;
  /**
   * Gives the complete and synced temporary file its final name; durable when this returns.
   * @throws conflict `file-exists`; the temporary file is then still there.
   */
  publish(): Promise<void>;
  /** Removes the temporary file, if any. */
  remove(): Promise<void>;
  /** Lets others claim the target. Idempotent. */
  close(): Promise<void>;
}

const NAME_BYTES_MAX = 255;
const NAME_BYTES_KEPT = 180;
const LOCK_TRIES_MAX = 100;

/**
 * Claims `path` before any work is done for it.
 * @throws conflict `file-exists`; unavailable `target-in-use`; notFound `target-directory-missing`; denied;
 *   invalid `target-is-directory`, `target-name-too-long`; unsupported `target-not-a-file` for devices and pipes.
 */
export async function claimTarget(path: string, options: ClaimOptions): Promise<ClaimedTarget> {
  const calls = 'systemCalls' in options ? options.systemCalls : await loadSystemCalls();
  let finalPath: string;
  try {
    finalPath = await checkTarget(path, options.force);
  } catch (error) {
    // What is in the way of tidying up is no answer to the question whether the file can be made.
    if (toSgwError(error).code === 'file-exists') {
      await tidyPublished(resolve(path), options, calls).catch(() => undefined);
    }
    throw error;
  }
  const hidden = hiddenPath(finalPath, options);
  const lock = await takeLock(`${hidden}.lock`, finalPath, calls);
  const temporaryPath = lock === undefined ? `${hidden}.${randomBytes(4).toString('hex')}` : hidden;
  const release = async (): Promise<void> => {
    if (lock === undefined) return;
    await rm(`${hidden}.lock`, { force: true });
    await lock.close();
  };
  try {
    await checkTarget(finalPath, options.force);
  } catch (error) {
    await release();
    throw error;
  }
  let releasing: Promise<void> | undefined;
  return {
    finalPath,
    temporaryPath,
    resumable: lock !== undefined,
    publish: () => publish(temporaryPath, finalPath, options.force),
    remove: () => naming(temporaryPath, () => rm(temporaryPath, { force: true })),
    close: async () => {
      releasing ??= release();
      await releasing;
    },
  };
}

const hiddenPath = (finalPath: string, { suffix }: ClaimOptions): string =>
  join(dirname(finalPath), `.${boundedName(basename(finalPath))}.${suffix}`);

/**
 * Removes what a process left that was killed after the file had its name and before it had tidied up: a second link to the
 * file, a state that tells of it, a lock that nobody holds. Anything else stays, and so does all while another one works.
 */
async function tidyPublished(finalPath: string, options: ClaimOptions, calls: SystemCalls | undefined): Promise<void> {
  const hidden = hiddenPath(finalPath, options);
  if ((await findPublished(finalPath, hidden)) === undefined) return;
  const lock = await takeLock(`${hidden}.lock`, finalPath, calls).catch(() => undefined);
  if (lock === undefined) return;
  try {
    // Only what is seen with the lock held counts: another one may have been at work until then.
    const left = await findPublished(finalPath, hidden);
    if (left === undefined) return;
    // The kill may have come before the name was durable, and a power cut must not find both names gone.
    await syncDirectory(dirname(finalPath));
    if (left.hasLink) await rm(hidden, { force: true });
    if (left.hasState) await removeState(hidden);
  } finally {
    await rm(`${hidden}.lock`, { force: true });
    await lock.close();
  }
}

interface Published {
  readonly hasLink: boolean;
  readonly hasState: boolean;
}

/** What is left beside a finished file, undefined when that is nothing, or belongs to work that waits for the name. */
async function findPublished(finalPath: string, hidden: string): Promise<Published | undefined> {
  const final = await ifPresent(lstat(finalPath, { bigint: true }));
  const link = await ifPresent(lstat(hidden, { bigint: true }));
  const state = await readPartialState(statePath(hidden));
  const isLocked = (await ifPresent(lstat(`${hidden}.lock`))) !== undefined;
  const hasLink = link !== undefined && link.ino === final?.ino && link.dev === final.dev;
  const hasState = final !== undefined && state?.inode === String(final.ino) && (hasLink || link === undefined);
  const hasLockOnly = isLocked && link === undefined && state === undefined;
  return hasLink || hasState || hasLockOnly ? { hasLink, hasState } : undefined;
}

/** Makes what was renamed, linked or removed in `path` durable, where directories can be synced. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await naming(path, () => open(path, 'r'));
  try {
    await handle.sync();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (!['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(code)) throw fileError(error, path);
  } finally {
    await handle.close();
  }
}

async function checkTarget(path: string, force: boolean): Promise<string> {
  const requested = resolve(path);
  if (Buffer.byteLength(basename(requested)) > NAME_BYTES_MAX) {
    throw new SgwError(
      'invalid',
      'target-name-too-long',
      `the file name of ${requested} is longer than ${String(NAME_BYTES_MAX)} bytes`,
    );
  }
  await checkDirectory(dirname(requested));
  const facts = await naming(requested, () => ifPresent(lstat(requested)));
  if (facts === undefined) {
    if (path.endsWith('/')) throw directoryError(requested);
    return requested;
  }
  const pointed = facts.isSymbolicLink() ? await naming(requested, () => ifPresent(stat(requested))) : facts;
  if (pointed !== undefined) refuseOtherKinds(requested, pointed);
  if (!force) throw existsError(requested);
  return pointed === undefined ? requested : realpath(requested);
}

async function checkDirectory(directory: string): Promise<void> {
  const facts = await naming(directory, () => ifPresent(stat(directory)));
  if (facts === undefined) {
    throw new SgwError('notFound', 'target-directory-missing', `the directory ${directory} does not exist`, {
      hint: 'Create it, or give another path.',
      details: { path: directory },
    });
  }
  if (!facts.isDirectory()) {
    throw new SgwError('invalid', 'target-directory-missing', `${directory} is not a directory`, {
      details: { path: directory },
    });
  }
}

function refuseOtherKinds(path: string, facts: Stats): void {
  if (facts.isFile()) return;
  if (facts.isDirectory()) throw directoryError(path);
  const kind = facts.isBlockDevice() ? 'a block device' : 'not a regular file';
  throw new SgwError('unsupported', 'target-not-a-file', `${path} is ${kind}, and only regular files are written`, {
    hint: facts.isBlockDevice()
      ? 'Write a file first, then copy it: dd if=FILE of=DEVICE bs=4M conv=fsync.'
      : 'Give the path of a new file.',
    details: { path },
  });
}

const directoryError = (path: string): SgwError =>
  new SgwError('invalid', 'target-is-directory', `${path} is a directory`, {
    hint: 'Give the name of the file to write in it.',
    details: { path },
  });

const existsError = (path: string): SgwError =>
  new SgwError('conflict', 'file-exists', `${path} exists already`, {
    hint: 'Give another path, or --force to replace it.',
    details: { path },
  });

/** Leaves room for suffixes: a long name is represented by its hash. */
function boundedName(name: string): string {
  return Buffer.byteLength(name) <= NAME_BYTES_KEPT
    ? name
    : createHash('sha256').update(name).digest('hex').slice(0, 32);
}

/**
 * Opens and locks `lockPath`, or answers undefined where files can't be locked. A lock counts only while its file
 * still has the name: the former holder removes the file before it unlocks.
 */
async function takeLock(
  lockPath: string,
  finalPath: string,
  calls: SystemCalls | undefined,
): Promise<FileHandle | undefined> {
  for (let tries = 0; tries < LOCK_TRIES_MAX; tries++) {
    const handle = await openInDirectory(lockPath);
    const answer = calls?.lockExclusive(handle.fd) ?? 'unknown';
    if (answer === 'locked' && (await stillNamed(handle, lockPath))) return handle;
    if (answer === 'unknown') await rm(lockPath, { force: true });
    await handle.close();
    if (answer === 'unknown') return undefined;
    if (answer === 'busy') break;
  }
  throw new SgwError('unavailable', 'target-in-use', `${finalPath} is being written by another process`, {
    hint: 'Wait for it to end, or give another path.',
    details: { path: finalPath },
  });
}

async function openInDirectory(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    throw toSgwError(Object.assign(error as Error, { path: dirname(path) }));
  }
}

async function stillNamed(handle: FileHandle, path: string): Promise<boolean> {
  const [held, named] = [await handle.stat({ bigint: true }), await ifPresent(stat(path, { bigint: true }))];
  return named?.ino === held.ino && named.dev === held.dev;
}

async function publish(temporaryPath: string, finalPath: string, force: boolean): Promise<void> {
  if (force) await naming(finalPath, () => rename(temporaryPath, finalPath));
  else await moveIfAbsent(temporaryPath, finalPath);
  await syncDirectory(dirname(finalPath));
}

/** `link` fails where the name is taken, which `rename` does not. File systems without links get a placeholder first. */
async function moveIfAbsent(temporaryPath: string, finalPath: string): Promise<void> {
  try {
    await link(temporaryPath, finalPath);
    await unlink(temporaryPath);
    return;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (code === 'EEXIST') throw existsError(finalPath);
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(code)) throw fileError(error, finalPath);
  }
  try {
    const placeholder = await open(finalPath, 'wx');
    await placeholder.close();
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'EEXIST' ? existsError(finalPath) : fileError(error, finalPath);
  }
  await naming(finalPath, () => rename(temporaryPath, finalPath));
}
