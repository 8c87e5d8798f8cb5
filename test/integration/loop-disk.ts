/** A disk of the kernel's own over an NBD export: nbdfuse makes a file of the export, a loop device a disk of the file. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { toolPath } from '../requirements.ts';
import { client, exitCode, inFolder } from './nbd-checks.ts';

const READY_MS = 20_000;

export const LOOP_DISK_TOOLS = ['nbdfuse', 'losetup', 'mount', 'umount'] as const;

/** What it takes that no package brings: a container may be without, so that does not fail even where tools are required. */
export const lacking: readonly string[] = [
  ...['/dev/fuse', '/dev/loop-control'].filter((device) => !isUsable(device)),
  ...(process.getuid?.() === 0 ? [] : ['root']),
];

function isUsable(device: string): boolean {
  try {
    accessSync(device, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Runs `use` with a loop device over the export; what was set up is taken down in every case. */
export async function withDisk(uri: string, use: (disk: string, folder: string) => Promise<void>): Promise<void> {
  await inFolder(async (folder) => {
    const [point, pidFile] = [path.join(folder, 'fuse'), path.join(folder, 'pid')];
    await mkdir(point);
    const fuse = spawn(toolPath('nbdfuse') ?? '', ['-P', pidFile, path.join(point, 'nbd'), uri], { stdio: 'inherit' });
    const gone = new Promise((resolve) => fuse.once('exit', resolve));
    let disk: string | undefined;
    try {
      const end = Date.now() + READY_MS;
      while (!existsSync(pidFile)) {
        if (fuse.exitCode !== null || Date.now() > end) throw new Error('nbdfuse did not begin');
        await delay(10);
      }
      disk = (await client('losetup', ['--find', '--show', '--direct-io=on', path.join(point, 'nbd')])).trim();
      await use(disk, folder);
    } finally {
      if (disk !== undefined) await exitCode('losetup', ['-d', disk]);
      if ((await exitCode('umount', [point])) !== 0) {
        await exitCode('umount', ['-l', point]);
        fuse.kill('SIGKILL');
      }
      await gone;
    }
  });
}

export async function mounted<T>(disk: string, folder: string, use: (root: string) => Promise<T>): Promise<T> {
  const root = path.join(folder, 'mnt');
  await mkdir(root, { recursive: true });
  await client('mount', [disk, root]);
  try {
    return await use(root);
  } finally {
    await client('umount', [root]);
  }
}

export async function hashFiles(root: string, names: readonly string[]): Promise<Map<string, string>> {
  const hashes = new Map<string, string>();
  for (const name of names)
    hashes.set(
      name,
      createHash('sha256')
        .update(await readFile(path.join(root, name)))
        .digest('hex'),
    );
  return hashes;
}
