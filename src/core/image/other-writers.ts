/** Who else has a file open for writing, where the system tells: Linux, of the processes that the user may look into. */
import type { BigIntStats } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';

export interface OtherWriter {
  readonly pid: number;
  readonly name: string;
}

/** Access mode in the flags of /proc/PID/fdinfo/FD: O_WRONLY or O_RDWR. */
const WRITE_MODES = 0o3;

/**
 * Processes other than this one that have the file, or the block device, open for writing; nothing where that can not be told.
 * A device may have been opened by any of its names.
 */
export async function otherWriters(of: BigIntStats): Promise<OtherWriter[]> {
  const found: OtherWriter[] = [];
  for (const pid of (await list('/proc')).filter((name) => /^\d+$/.test(name))) {
    if (Number(pid) === process.pid) continue;
    for (const fd of await list(`/proc/${pid}/fd`)) {
      if (!(await isSame(`/proc/${pid}/fd/${fd}`, of))) continue;
      if (!(await isForWriting(`/proc/${pid}/fdinfo/${fd}`))) continue;
      const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '?');
      found.push({ pid: Number(pid), name: name.trim() });
      break;
    }
  }
  return found;
}

const list = async (folder: string): Promise<string[]> => await readdir(folder).catch(() => []);

async function isSame(path: string, of: BigIntStats): Promise<boolean> {
  const facts = await stat(path, { bigint: true }).catch(() => undefined);
  if (of.isBlockDevice()) return facts?.isBlockDevice() === true && facts.rdev === of.rdev;
  return facts?.dev === of.dev && facts.ino === of.ino;
}

async function isForWriting(path: string): Promise<boolean> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const flags = /^flags:\s*([0-7]+)/m.exec(text)?.[1];
  return flags !== undefined && (Number.parseInt(flags, 8) & WRITE_MODES) !== 0;
}
