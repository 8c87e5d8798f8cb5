/**
 * Where a snapshot is served while a command looks at it: a folder for its owner alone, with a socket that speaks NBD and, where
 * the command wants a file, an image that is one by FUSE or, where that can't be had, a sparse copy. What a kill left is
 * removed at the next start.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlockDevice } from '../../../blockdevice/index.ts';
import { formatSize, GIB, SgwError, type Clock } from '../../../kit/index.ts';
import { NbdServer, type ExportDirectory } from '../../../nbd/index.ts';
import { freeBytes } from '../../../objectstore/index.ts';
import { plainEnvironment } from '../../run-command.ts';
import { endCommandsIn } from './left-behind.ts';

const SOCKET_NAME = 'nbd.sock';
/** `sun_path` has 104 bytes where it has the least, one of them for the end. */
const PATH_BYTES_MAX = 103;
const MOUNT_NAME = 'mnt';
const IMAGE_NAME = 'image';
const MOUNT_WAIT_MS = 10_000;
const POLL_MS = 50;
/** What a copy leaves free. */
const ROOM_BYTES = GIB;

const verifyFolder = (home: string): string => join(home, 'verify');
/** Where the home's path is too long for a socket. */
const shortPrefix = (gatewayId: string): string => `sgw-verify-${gatewayId}-`;

/** A folder, and a server in it. */
export class VerifyPlace implements AsyncDisposable {
  readonly folder: string;
  readonly uri: string;
  readonly #server: NbdServer;
  readonly #socketFolder: string;
  readonly #clock: Clock;
  #fuse: ChildProcess | undefined;

  private constructor(folder: string, socketFolder: string, server: NbdServer, clock: Clock) {
    this.folder = folder;
    this.#socketFolder = socketFolder;
    this.#server = server;
    this.#clock = clock;
    this.uri = `nbd+unix:///?socket=${encodeURIComponent(join(socketFolder, SOCKET_NAME)).replaceAll('%2F', '/')}`;
  }

  /** Serves `device` for reading. */
  static async open(home: string, gatewayId: string, device: BlockDevice, clock: Clock): Promise<VerifyPlace> {
    await mkdir(verifyFolder(home), { recursive: true, mode: 0o700 });
    const folder = await mkdtemp(join(verifyFolder(home), 'run-'));
    const fits = Buffer.byteLength(join(folder, SOCKET_NAME)) <= PATH_BYTES_MAX;
    const socketFolder = fits ? folder : await mkdtemp(join(tmpdir(), shortPrefix(gatewayId)));
    const server = new NbdServer({ directory: only(device), clock });
    const place = new VerifyPlace(folder, socketFolder, server, clock);
    try {
      await server.listen({ kind: 'unix', path: join(socketFolder, SOCKET_NAME) });
      return place;
    } catch (error) {
      await place[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * The path of a file that reads as the device. Where FUSE is not to be had, `copy` makes it, of `dataBytes`.
   * @throws exhausted `no-room`; what `copy` throws
   */
  async image(dataBytes: number, copy: (path: string) => Promise<void>, signal: AbortSignal): Promise<string> {
    const mounted = await this.#mount(signal);
    if (mounted !== undefined) return mounted;
    const free = await freeBytes(this.folder);
    if (dataBytes + ROOM_BYTES > free)
      throw new SgwError(
        'exhausted',
        'no-room',
        `a copy for the command to look at takes ${formatSize(dataBytes)}, and ${formatSize(free)} are free`,
        {
          hint: 'Install nbdfuse, which needs no copy; or let the command read SGW_NBD_URI and not SGW_IMAGE.',
          details: { wantedBytes: dataBytes, freeBytes: free },
        },
      );
    const path = join(this.folder, IMAGE_NAME);
    await copy(path);
    return path;
  }

  /** Undefined where there is no nbdfuse, or it may not mount. */
  async #mount(signal: AbortSignal): Promise<string | undefined> {
    const mount = join(this.folder, MOUNT_NAME);
    const path = join(mount, IMAGE_NAME);
    await mkdir(mount, { mode: 0o700 });
    const child = spawn('nbdfuse', ['-r', path, this.uri], {
      stdio: 'ignore',
      detached: true,
      env: plainEnvironment(),
    });
    const ended = new AbortController();
    const end = (): void => {
      ended.abort();
    };
    child.once('error', end).once('exit', end);
    this.#fuse = child;
    for (let waitedMs = 0; waitedMs < MOUNT_WAIT_MS && !ended.signal.aborted; waitedMs += POLL_MS) {
      const found = await stat(path).catch(() => undefined);
      if (found?.isFile() === true) return path;
      await this.#clock.sleep(POLL_MS, signal);
    }
    await this.#unmount();
    return undefined;
  }

  async #unmount(): Promise<void> {
    const child = this.#fuse;
    if (child === undefined) return;
    this.#fuse = undefined;
    const gone =
      child.exitCode !== null || child.signalCode !== null || child.pid === undefined
        ? Promise.resolve()
        : new Promise<void>((resolve) =>
            child.once('exit', () => {
              resolve();
            }),
          );
    await unmount(join(this.folder, MOUNT_NAME));
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), 2000);
    await gone;
    clearTimeout(late);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#unmount();
    await this.#server.close({ deadlineMs: 1000 });
    await rm(this.folder, { recursive: true, force: true });
    if (this.#socketFolder !== this.folder) await rm(this.#socketFolder, { recursive: true, force: true });
  }
}

/** Removes what a process of this home that was killed has left. To be called while nobody else verifies. */
export async function tidyPlaces(home: string, gatewayId: string): Promise<void> {
  const runs = await readdir(verifyFolder(home)).catch(() => []);
  if (runs.length > 0) await endCommandsIn(verifyFolder(home));
  for (const name of runs) await unmount(join(verifyFolder(home), name, MOUNT_NAME));
  await rm(verifyFolder(home), { recursive: true, force: true });
  for (const name of await readdir(tmpdir()).catch(() => []))
    if (name.startsWith(shortPrefix(gatewayId))) await rm(join(tmpdir(), name), { recursive: true, force: true });
}

/** What is not mounted stays as it is. */
async function unmount(path: string): Promise<void> {
  await new Promise<void>((resolve) => {
    const child = spawn('fusermount3', ['-u', '-z', '-q', path], { stdio: 'ignore' });
    child
      .once('error', () => {
        resolve();
      })
      .once('close', () => {
        resolve();
      });
  });
}

/** One export, whatever it is asked for by. */
function only(device: BlockDevice): ExportDirectory {
  const opened = {
    ...{
      device,
      name: '',
      description: 'a snapshot that is verified',
      isReadOnly: true,
      isMultiConn: true,
      contexts: [],
    },
    release: async (): Promise<void> => Promise.resolve(),
  };
  return {
    isListed: true,
    list: async () => Promise.resolve([{ name: '', description: opened.description }]),
    open: async () => Promise.resolve(opened),
  };
}
