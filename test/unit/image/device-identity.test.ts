/** A block device is told from another that has its number later. */
import { mkdir, mkdtemp, readdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RestoreEntry } from '../../../src/core/blockstore/index.ts';
import { recogniseEntry } from '../../../src/core/gateway/restoring/begin.ts';
import { deviceIdentity, mayBeSameDevice } from '../../../src/core/image/index.ts';
import { requireThat } from '../../requirements.ts';

let sys: string;
beforeEach(async () => {
  sys = await mkdtemp(join(tmpdir(), 'sgw-sys-'));
});
afterEach(async () => {
  await rm(sys, { recursive: true });
});

/** As Linux encodes it. */
const numberOf = (major: number, minor: number): bigint => (BigInt(major) << 8n) | BigInt(minor);

/** A device as /sys shows it. */
async function device(number: string, folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  const path = join(sys, 'devices', folder);
  await mkdir(path, { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(path, name)), { recursive: true });
    await writeFile(join(path, name), `${text}\n`);
  }
  await symlink(path, join(sys, number));
}

describe('the identity of a block device', () => {
  it('is that of the device, whatever its number', async () => {
    await device('8:0', 'sda', { 'device/wwid': 'naa.5000c500a1b2c3d4', 'device/serial': 'ZA1', size: '100' });
    await device('8:16', 'sdb', { serial: 'ZA2', 'device/wwid': '' });
    await device('253:0', 'dm-0', { 'dm/uuid': 'LVM-abc', size: '100' });
    const disk = await deviceIdentity(numberOf(8, 0), sys);
    expect(disk).toMatch(/^device\/wwid:naa\.5000c500a1b2c3d4@./);
    expect(await deviceIdentity(numberOf(8, 16), sys)).toMatch(/^serial:ZA2@./);
    expect(await deviceIdentity(numberOf(253, 0), sys)).toMatch(/^dm\/uuid:LVM-abc@./);
    await rm(join(sys, '8:0'));
    await symlink(join(sys, 'devices', 'sda'), join(sys, '8:32'));
    expect(await deviceIdentity(numberOf(8, 32), sys)).toBe(disk);
  });

  it('is not that of one with the same name in another machine, which it may be all the same', () => {
    expect(mayBeSameDevice('wwid:t10.QEMU@m1', 'wwid:t10.QEMU@m2')).toBe(true);
    expect(mayBeSameDevice('wwid:t10.QEMU@m1', 'wwid:t10.OTHER@m1')).toBe(false);
    expect(mayBeSameDevice('boot:b1:2048', 'boot:b2:2048')).toBe(false);
  });

  it('of a loop device is that of the file behind it, and not of one that had its path before', async () => {
    const file = join(sys, 'disk.img');
    await writeFile(file, '1');
    await device('7:0', 'loop0', { 'loop/backing_file': file });
    const before = await deviceIdentity(numberOf(7, 0), sys);
    expect(await deviceIdentity(numberOf(7, 0), sys)).toBe(before);
    await writeFile(join(sys, 'other.img'), '2');
    await rename(join(sys, 'other.img'), file);
    expect(await deviceIdentity(numberOf(7, 0), sys)).not.toBe(before);
  });

  it('of a part of a disk is that of the disk, and where the part begins', async () => {
    await device('8:0', 'sda', { wwid: 'naa.1' });
    await device('8:1', 'sda/sda1', { partition: '1', start: '2048' });
    await device('8:2', 'sda/sda2', { partition: '2', start: '9000' });
    expect(await deviceIdentity(numberOf(8, 1), sys)).toMatch(/^wwid:naa\.1\+2048@./);
    expect(await deviceIdentity(numberOf(8, 2), sys)).toMatch(/^wwid:naa\.1\+9000@./);
  });

  it('of one without a name is that of its number until the machine is started anew', async () => {
    await device('254:0', 'vda', { size: '100' });
    await device('254:1', 'vda/vda1', { partition: '1', start: '2048' });
    const [disk, part, absent] = [numberOf(254, 0), numberOf(254, 1), numberOf(9, 9)];
    for (const number of [disk, part, absent])
      expect(await deviceIdentity(number, sys)).toMatch(new RegExp(`^boot:[0-9a-f-]{36}:${String(number)}$`));
  });
});

const names = await readdir('/dev').catch(() => []);
const kinds = await Promise.all(
  names.map(async (name) => ((await stat(join('/dev', name)).catch(() => undefined))?.isBlockDevice() ? [name] : [])),
);
const [blockDevice] = kinds.flat();

requireThat(blockDevice !== undefined, 'no block device is there').it(
  'an image on a block device that carries no mark is that of a restore only while it is the same device',
  async () => {
    const path = join('/dev', blockDevice ?? '');
    const { rdev } = await stat(path, { bigint: true });
    const image = {
      path,
      sizeBytes: 1 << 20,
      readNow: () => false,
      read: async (_: number, target: Uint8Array) => {
        target.fill(0);
        return Promise.resolve();
      },
    };
    const place = { path, device: String(rdev), inode: '0', bornAtNs: '0' };
    const entry = (of: RestoreEntry['image']): RestoreEntry =>
      ({
        ...{ restoreId: 'snap-00000000000000001-00000000', sizeBytes: 1 << 20, blockBytes: 1 << 18, isFinishing: true },
        ...{ secret: '00'.repeat(32), image: of },
      }) as unknown as RestoreEntry;
    const find = async (of: RestoreEntry['image']) =>
      await recogniseEntry(image, [entry(of)], new AbortController().signal);
    const identity = await deviceIdentity(rdev);
    expect(await find({ ...place, identity })).toBeDefined();
    // Another number after a start, and the same device.
    expect(await find({ ...place, device: '1', identity })).toBeDefined();
    expect(await find({ ...place, identity: 'wwid:another' })).toBeUndefined();
    // Its image was overwritten since.
    expect(await find({ ...place, device: '', inode: '', identity })).toBeUndefined();
    expect(await find(place)).toBeDefined();
  },
);
