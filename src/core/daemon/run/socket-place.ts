/**
 * Where the sockets of a home are: in the home, or, where that path is longer than a socket's can be, in a folder of its own in the
 * place for such things. Called by the holder of the lock `gateway`, so whatever is there is of a process that is no more.
 */
import { mkdtemp, rmdir, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { toSgwError } from '../../kit/index.ts';

const SOCKET_NAME = 'gateway.sock';
/** That of NBD, beside it. */
const NBD_SOCKET_NAME = 'nbd.sock';
const FOLDER_PREFIX = 'sgw-';
/** `sun_path` has 108 bytes on Linux and 104 elsewhere, one of them for the end. */
const PATH_BYTES_MAX = 103;

export interface SocketPlace {
  /** Of the local API. */
  readonly path: string;
  /** Of NBD, unless the settings name another. */
  readonly nbdPath: string;
  /** Removes the sockets, and their folder if they have one. */
  remove(): Promise<void>;
}

/** A free place; `before` is the socket of the process that held the lock last. */
export async function takeSocketPlace(
  home: string,
  before: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Promise<SocketPlace> {
  try {
    if (before !== undefined) await removeSocket(home, before);
    const inHome = join(home, SOCKET_NAME);
    await unlinkIfThere(inHome);
    const path = Buffer.byteLength(inHome) <= PATH_BYTES_MAX ? inHome : await newPlace(env);
    return {
      path,
      nbdPath: join(dirname(path), NBD_SOCKET_NAME),
      remove: async () => {
        await removeSocket(home, path);
      },
    };
  } catch (error) {
    throw toSgwError(error);
  }
}

/** The folder that is made is for its owner alone. */
async function newPlace(env: Readonly<Record<string, string | undefined>>): Promise<string> {
  const runtime = env['XDG_RUNTIME_DIR'];
  const folder = runtime !== undefined && isAbsolute(runtime) ? runtime : tmpdir();
  return join(await mkdtemp(join(folder, FOLDER_PREFIX)), SOCKET_NAME);
}

async function removeSocket(home: string, path: string): Promise<void> {
  const folder = dirname(path);
  // The text of a file says what to remove: only what sgw names so.
  if (basename(path) !== SOCKET_NAME || (folder !== home && !basename(folder).startsWith(FOLDER_PREFIX))) return;
  await unlinkIfThere(path);
  await unlinkIfThere(join(folder, NBD_SOCKET_NAME));
  // A folder that somebody else put something into stays.
  if (folder !== home) await rmdir(folder).catch(() => undefined);
}

async function unlinkIfThere(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (!['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  });
}
