/**
 * System calls that Node.js does not offer: `lseek` with SEEK_DATA and SEEK_HOLE, `flock`, `preadv2`, `fallocate`.
 * They come from the C library through koffi, which is loaded at first use. Where koffi or the platform
 * lacks them, `loadSystemCalls` answers undefined and the callers do without: every byte counts as data,
 * an export can't be resumed, reads wait in threads, and zeroes are written. Nothing fails because koffi is missing.
 *
 * The seeks move the descriptor's own offset, so whoever uses them reads and writes by position only.
 */
import { constants } from 'node:os';

/** What a seek finds: a position, `end` when there is none up to the end of the file, or that it can't tell. */
type SeekResult = number | 'end' | 'unknown';

/** System calls on an open file descriptor. Synchronous; each takes microseconds on a local file system. */
export interface SystemCalls {
  /** The first byte at or after `offset` that is data. */
  seekData(fd: number, offset: number): SeekResult;
  /** The first byte at or after `offset` that is in a hole; the end of a file counts as one. */
  seekHole(fd: number, offset: number): SeekResult;
  /** The size in bytes of a file or block device, undefined where it can't be told. */
  seekEnd(fd: number): number | undefined;
  /** Takes an exclusive lock that lasts until the descriptor is closed, also by kill -9. Never waits. */
  lockExclusive(fd: number): 'locked' | 'busy' | 'unknown';
  /** Fills `target` from the kernel's page cache; false when not all of it is there, or that can't be told. */
  readCached(fd: number, target: Uint8Array, offset: number): boolean;
  /** Makes an extent zero without writing it, within the file's size; false where the file system can't. */
  zeroRange(fd: number, offset: number, length: number, asHole: boolean): boolean;
}

const SEEK_END = 2;
const LOCK_EXCLUSIVE_NO_WAIT = 2 | 4;
/** For `preadv2`: fail with EAGAIN rather than wait for the disk. Linux. */
const NOWAIT = 8;
/** Modes of `fallocate`. Linux. */
const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
const ZERO_RANGE = 16;
/** Numbers of SEEK_DATA and SEEK_HOLE, and the platforms whose C library has a 64-bit `lseek`. */
const SEEKS: Partial<Record<NodeJS.Platform, { readonly data: number; readonly hole: number }>> = {
  linux: { data: 3, hole: 4 },
  freebsd: { data: 3, hole: 4 },
  darwin: { data: 4, hole: 3 },
};
const SIXTY_FOUR_BIT = new Set<string>(['x64', 'arm64', 'riscv64', 'loong64', 'ppc64', 's390x']);

let loading: Promise<SystemCalls | undefined> | undefined;

/** The system calls, loaded once for the process, or undefined where this platform or koffi has none. Never rejects. */
export async function loadSystemCalls(): Promise<SystemCalls | undefined> {
  loading ??= load();
  return loading;
}

async function load(): Promise<SystemCalls | undefined> {
  const seeks = SEEKS[process.platform];
  if (seeks === undefined || !SIXTY_FOUR_BIT.has(process.arch)) return undefined;
  try {
    const { default: koffi } = await import('koffi');
    const library = koffi.load(null);
    const lseek = library.func('int64 lseek(int fd, int64 offset, int whence)');
    const flock = library.func('int flock(int fd, int operation)');
    const linux = process.platform === 'linux' ? linuxCalls(koffi, library) : NO_LINUX_CALLS;
    const seek = (fd: number, offset: number, whence: number): SeekResult => {
      const found = Number(lseek(fd, offset, whence));
      if (found >= 0) return found;
      return koffi.errno() === constants.errno.ENXIO ? 'end' : 'unknown';
    };
    return {
      seekData: (fd, offset) => seek(fd, offset, seeks.data),
      seekHole: (fd, offset) => seek(fd, offset, seeks.hole),
      seekEnd: (fd) => {
        const size = seek(fd, 0, SEEK_END);
        return typeof size === 'number' ? size : undefined;
      },
      lockExclusive: (fd) => {
        if (Number(flock(fd, LOCK_EXCLUSIVE_NO_WAIT)) === 0) return 'locked';
        return koffi.errno() === constants.errno.EWOULDBLOCK ? 'busy' : 'unknown';
      },
      ...linux,
    };
  } catch {
    return undefined;
  }
}

type LinuxCalls = Pick<SystemCalls, 'readCached' | 'zeroRange'>;
type Koffi = typeof import('koffi').default;

const NO_LINUX_CALLS: LinuxCalls = { readCached: () => false, zeroRange: () => false };

function linuxCalls(koffi: Koffi, library: ReturnType<Koffi['load']>): LinuxCalls {
  try {
    const iovec = koffi.struct('sgw_iovec', { base: 'void *', length: 'size_t' });
    const preadv2 = library.func('preadv2', 'int64', ['int', koffi.pointer(iovec), 'int', 'int64', 'int']);
    const fallocate = library.func('int fallocate(int fd, int mode, int64 offset, int64 length)');
    return {
      readCached: (fd, target, offset) => {
        const read = Number(preadv2(fd, { base: target, length: target.length }, 1, offset, NOWAIT));
        return read === target.length;
      },
      zeroRange: (fd, offset, length, asHole) =>
        Number(fallocate(fd, KEEP_SIZE | (asHole ? PUNCH_HOLE : ZERO_RANGE), offset, length)) === 0,
    };
  } catch {
    return NO_LINUX_CALLS;
  }
}
