/**
 * What tells one block device from another that has its number after the machine was started anew: Linux gives numbers in the
 * order in which it finds devices. From /sys: the device mapper's name of it, the world-wide name, the serial number, or the
 * file behind a loop device; of a part of a disk, that of the disk and where the part begins. Behind it stands the machine:
 * virtual disks of different machines often have one name.
 */
import { readFile, realpath, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { deviceFolder } from './raw-image.ts';

/** In this order: the first that is there counts. Those of a disk's hardware are beside its device. */
const LOOP_FILE = 'loop/backing_file';
const NAMES = ['dm/uuid', 'md/uuid', 'wwid', 'device/wwid', 'serial', 'device/serial', LOOP_FILE] as const;
const NAME_MAX = 300;
const MACHINE_FILES = ['/etc/machine-id', '/var/lib/dbus/machine-id'] as const;

/**
 * The identity of the device of this number: alike for the same device after any start of the machine, as far as the device
 * has a name of its own. One that has none is known until the machine is started anew.
 */
export async function deviceIdentity(rdev: bigint, sys = '/sys/dev/block'): Promise<string> {
  const folder = await realpath(deviceFolder(rdev, sys)).catch(() => undefined);
  const name = folder === undefined ? undefined : await nameOf(folder);
  if (name !== undefined) return `${name}@${await machineId()}`;
  const boot = (await readText('/proc/sys/kernel/random/boot_id')) ?? 'unknown';
  return `boot:${boot}:${String(rdev)}`;
}

/**
 * Whether these can be of one device, in this machine or moved to another: for who looks at what is on the device next, and
 * changes nothing by this alone.
 */
export const mayBeSameDevice = (one: string, other: string): boolean => withoutMachine(one) === withoutMachine(other);

const withoutMachine = (identity: string): string => identity.replace(/@[^@]*$/, '');

async function machineId(): Promise<string> {
  for (const path of MACHINE_FILES) {
    const id = await readText(path);
    if (id !== undefined) return id;
  }
  return hostname();
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
    if (text === undefined) continue;
    const file = name === LOOP_FILE ? await fileFacts(text) : '';
    return `${name}:${text}`.slice(0, NAME_MAX) + file;
  }
  return undefined;
}

/** Tells a file from one that had its path before. */
async function fileFacts(path: string): Promise<string> {
  const facts = await stat(path, { bigint: true }).catch(() => undefined);
  return facts === undefined ? '' : `:${String(facts.dev)}:${String(facts.ino)}:${String(facts.birthtimeNs)}`;
}

/** Undefined where there is none, or an empty one. */
async function readText(path: string): Promise<string | undefined> {
  const text = (await readFile(path, 'utf8').catch(() => '')).trim();
  return text === '' ? undefined : text;
}
