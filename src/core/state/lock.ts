/**
 * Locks between processes: files in `<home>/locks`. A lock is held while its file exists and its owner lives.
 *
 * The file is a symbolic link whose text is the owner: made in one step that fails when the name is taken, so nobody
 * ever sees half of it. A dead owner's lock is removed only under a guard, `<file>.<token of the dead lock>`, which is
 * itself such a lock:
 * - whoever holds the guard looks again; if the lock still has that token it is still the dead one, since only the
 *   guard's holder may remove it. So a process that judged the lock long ago can never remove a living one.
 * - a guard whose owner died is removed in the same way, under a guard of its own.
 * Tokens never return, so a guard that a killed process left behind guards nothing and is swept.
 */
import { mkdir, readdir, readlink, symlink, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import {
  SgwError,
  systemClock,
  systemRandom,
  throwIfAborted,
  toSgwError,
  type Clock,
  type Random,
} from '../kit/index.ts';
import { isDead, newOwner, parseOwner, type LockOwner } from './lock-owner.ts';

const LOCK_TIMEOUT_DEFAULT_MS = 30_000;
const POLL_FIRST_MS = 2;
const POLL_MAX_MS = 200;

export interface LockRequest {
  /** The home directory; made when it is missing. */
  readonly home: string;
  /** `home`, or a kind and an id such as `volume:vol-0123`: letters, digits, `_`, `-`, `:`. */
  readonly name: string;
  /** What the holder does, for the message to those who wait. */
  readonly purpose: string;
  /** How long to wait for another holder; 0 fails at once. Default 30 000. */
  readonly timeoutMs?: number;
  /** The longest pause between two looks; default 200. Shorter where the holder is known to let go soon. */
  readonly pollMaxMs?: number;
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** A held lock. Releasing is idempotent, and happens by itself when the process ends in any way. */
export interface Lock extends AsyncDisposable {
  readonly name: string;
  release(): Promise<void>;
}

/**
 * Takes the lock, waiting for its holder. Not fair, not reentrant: the same process waits for itself too.
 * @throws unavailable `locked` after the timeout, naming the holder's pid, purpose and since when. - aborted.
 */
export async function acquireLock(request: LockRequest): Promise<Lock> {
  const { home, name, purpose, signal, clock = systemClock, random = systemRandom } = request;
  const { timeoutMs = LOCK_TIMEOUT_DEFAULT_MS, pollMaxMs = POLL_MAX_MS } = request;
  const path = lockPath(home, name);
  const token = random.bytes(8).toString('hex');
  const startedMs = clock.monotonicMs();
  try {
    for (let pollMs = POLL_FIRST_MS; ; pollMs = Math.min(pollMaxMs, pollMs * 1.5)) {
      throwIfAborted(signal);
      if (await create(path, newOwner(token, purpose, clock.nowMs()))) return held(path, name, token);
      const owner = await readOwner(path);
      if (owner === undefined) continue;
      if (isDead(owner)) {
        if (await removeDead(path, owner, clock, random)) continue;
      }
      const leftMs = timeoutMs - (clock.monotonicMs() - startedMs);
      if (leftMs <= 0) throw locked(path, name, owner);
      await clock.sleep(Math.min(leftMs, pollMs * (0.5 + random.float())), signal);
    }
  } catch (error) {
    throwIfAborted(signal);
    throw toSgwError(error);
  }
}

/** Who holds the lock now; undefined when nobody living does. Takes no lock. */
export async function lockHolder(home: string, name: string): Promise<LockOwner | undefined> {
  try {
    const owner = await readOwner(lockPath(home, name));
    return owner === undefined || isDead(owner) ? undefined : owner;
  } catch (error) {
    throw toSgwError(error);
  }
}

function lockPath(home: string, name: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9_:-]{0,99}$/.test(name))
    throw new SgwError('internal', 'assertion', `"${name}" is no lock's name`);
  return join(home, 'locks', `${name.replaceAll(':', '+')}.lock`);
}

function held(path: string, name: string, token: string): Lock {
  let released: Promise<void> | undefined;
  const release = async (): Promise<void> => {
    released ??= removeOwn(path, token);
    await released;
  };
  return { name, release, [Symbol.asyncDispose]: release };
}

async function create(path: string, owner: LockOwner): Promise<boolean> {
  const text = JSON.stringify(owner);
  for (let tries = 0; ; tries++) {
    try {
      await symlink(text, path);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST') return false;
      // The error's own path is the text of the link.
      if (code !== 'ENOENT' || tries > 0) throw Object.assign(error as NodeJS.ErrnoException, { path });
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    }
  }
}

/** @throws unavailable `lock-unreadable` for a file that no version of sgw made. */
async function readOwner(path: string): Promise<LockOwner | undefined> {
  let text = '';
  try {
    text = await readlink(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    if (code !== 'EINVAL') throw error;
  }
  const owner = parseOwner(text);
  if (owner !== undefined) return owner;
  throw new SgwError('unavailable', 'lock-unreadable', `${path} is not a lock that this version can read`, {
    hint: 'Make sure that no sgw process uses this home, then remove the file.',
    details: { path },
  });
}

/** Removes the lock of a dead owner; false when another process is at it, or its guard could not be had. */
async function removeDead(path: string, dead: LockOwner, clock: Clock, random: Random): Promise<boolean> {
  const guard = `${path}.${dead.token}`;
  const token = random.bytes(8).toString('hex');
  if (!(await create(guard, newOwner(token, `removing the lock of process ${String(dead.pid)}`, clock.nowMs())))) {
    const other = await readOwner(guard);
    return other !== undefined && isDead(other) && (await removeDead(guard, other, clock, random));
  }
  try {
    if ((await readOwner(path))?.token === dead.token) {
      // Before the lock goes: as long as it stands, no guard but this one can matter.
      await sweepGuards(path, dead.token);
      await unlinkIfThere(path);
    }
  } finally {
    await unlinkIfThere(guard);
  }
  return true;
}

/** Removes what killed processes left of guards of earlier locks: see the header. */
async function sweepGuards(path: string, token: string): Promise<void> {
  const folder = dirname(path);
  for (const name of await readdir(folder)) {
    if (!name.startsWith(`${basename(path)}.`) || name.startsWith(`${basename(path)}.${token}`)) continue;
    const owner = await readOwner(join(folder, name));
    if (owner !== undefined && isDead(owner)) await unlinkIfThere(join(folder, name));
  }
}

async function removeOwn(path: string, token: string): Promise<void> {
  try {
    // Nobody removes the lock of a living process, but a person may have.
    if ((await readOwner(path))?.token === token) await unlinkIfThere(path);
  } catch (error) {
    throw toSgwError(error);
  }
}

async function unlinkIfThere(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  });
}

function locked(path: string, name: string, owner: LockOwner): SgwError {
  const what = name === 'home' ? 'the home' : name.replace(':', ' ');
  return new SgwError(
    'unavailable',
    'locked',
    `${what} is locked by process ${String(owner.pid)} (${owner.purpose}) since ${owner.since}`,
    {
      hint: 'Wait for that process, or give a longer --lock-timeout.',
      details: { lock: name, pid: owner.pid, purpose: owner.purpose, since: owner.since, path },
    },
  );
}
