/**
 * The two system calls that Node.js does not offer: `lseek` with SEEK_DATA and SEEK_HOLE, and `flock`.
 * They come from the C library through koffi, which is loaded at first use. Where koffi or the platform
 * lacks them, `loadSystemCalls` answers undefined and the callers do without: every byte counts as data,
 * and an export can't be resumed. Nothing fails because koffi is missing.
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
}

const SEEK_END = 2;
const LOCK_EXCLUSIVE_NO_WAIT = 2 | 4;
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
    };
  } catch {
    return undefined;
  }
}
