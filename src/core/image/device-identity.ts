/**
 * What tells one block device from another that has its number after the machine was started anew: Linux gives numbers in the
 * order in which it finds devices. From /sys: the device mapper's name of it, the world-wide name, the serial number, or the
 * file behind a loop device; of a part of a disk, that of the disk and where the part begins.
 */
import { readFile, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { deviceFolder } from './raw-image.ts';

/** In this order: the first that is there counts. Those of a disk's hardware are beside its device. */
const NAMES = ['dm/uuid', 'md/uuid', 'wwid', 'device/wwid', 'serial', 'device/serial', 'loop/backing_file'] as const;
const NAME_MAX = 300;

/**
 * The identity of the device of this number: alike for the same device after any start of the machine, as far as the device
 * has a name of its own. One that has none is known until the machine is started anew.
 */
export async function deviceIdentity(rdev: bigint, sys = '/sys/dev/block'): Promise<string> {
  const folder = await realpath(deviceFolder(rdev, sys)).catch(() => undefined);
  const name = folder === undefined ? undefined : await nameOf(folder);
  if (name !== undefined) return name;
  const boot = (await readText('/proc/sys/kernel/random/boot_id')) ?? 'unknown';
  return `boot:${boot}:${String(rdev)}`;
}

async function nameOf(folder: string): Promise<string | undefined> {
  const start =
    (await readText(join(folder, 'partition'))) === undefined ? undefined : await readText(join(folder, 'start'));
  if (start !== undefined) {
    const disk = await nameOf(dirname(folder));
    return disk === undefined ? undefined : `${disk}+${start}`;
  }
  for (const name of NAMES) {
    const text = await readText(join(folder, name));
    if (text !== undefined) return `${name}:${text}`.slice(0, NAME_MAX);
  }
  return undefined;
}

/** Undefined where there is none, or an empty one. */
async function readText(path: string): Promise<string | undefined> {
  const text = (await readFile(path, 'utf8').catch(() => '')).trim();
  return text === '' ? undefined : text;
}
