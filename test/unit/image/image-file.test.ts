import { execFileSync, spawn } from 'node:child_process';
import {
  accessSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openImageFile, openNewImage, type ImageFile } from '../../../src/core/image/index.ts';
import { toolPath } from '../../requirements.ts';
import { temporaryFolder } from './temporary-folder.ts';

const MIB = 1 << 20;

const inFolder = temporaryFolder();
let images = 0;

async function withImage(use: (image: ImageFile, file: string) => Promise<void>): Promise<void> {
  const file = inFolder(`disk-${++images}.img`);
  writeFileSync(file, Buffer.alloc(2 * MIB, 7));
  await withImageAt(file, async (image) => use(image, file));
}

async function withImageAt(path: string, use: (image: ImageFile) => Promise<void>): Promise<void> {
  const image = await openImageFile(path);
  try {
    await use(image);
  } finally {
    await image.close();
  }
}

/** While another process has a file open for writing. */
async function withWriter(path: string, use: (pid: number | undefined) => Promise<void>): Promise<void> {
  const script = `const fd = fs.openSync(process.argv[1], 'r+'); console.log('open'); setTimeout(() => {}, 60_000)`;
  const other = spawn(process.execPath, ['-e', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await new Promise((resolve) => other.stdout.once('data', resolve));
    await use(other.pid);
  } finally {
    other.kill('SIGKILL');
    await new Promise((resolve) => other.once('exit', resolve));
  }
}

/** Why there is no loop device to try it with; undefined when there is. */
function lackOfLoopDevices(): string | undefined {
  if (process.getuid?.() !== 0) return ' (root is lacking)';
  for (const name of ['losetup', 'mkfs.ext4']) if (toolPath(name) === undefined) return ` (${name} is lacking)`;
  try {
    accessSync('/dev/loop-control', constants.R_OK | constants.W_OK);
    return undefined;
  } catch {
    return ' (/dev/loop-control is lacking)';
  }
}
const withoutLoopDevices = lackOfLoopDevices();

describe('an image in place', () => {
  it('reads what was written, at once or after waiting for the disk', async () => {
    await withImage(async (image, file) => {
      image.write(4096 + 17, Buffer.from('written'));
      const bytes = Buffer.alloc(7);
      await image.read(4096 + 17, bytes);
      expect(bytes.toString()).toBe('written');
      expect(image.readNow(4096 + 17, bytes.fill(0))).toBe(true);
      expect(bytes.toString()).toBe('written');
      await image.sync();
      expect(
        readFileSync(file)
          .subarray(4096 + 17, 4096 + 24)
          .toString(),
      ).toBe('written');
    });
  });

  it('makes zeroes as holes, and without', async () => {
    await withImage(async (image, file) => {
      const before = statSync(file).blocks;
      image.zero(MIB, MIB, false);
      expect(readFileSync(file).subarray(MIB).equals(Buffer.alloc(MIB))).toBe(true);
      image.zero(100, MIB, true);
      const bytes = readFileSync(file);
      expect(bytes.length).toBe(2 * MIB);
      expect(bytes.subarray(100, 2 * MIB).equals(Buffer.alloc(2 * MIB - 100))).toBe(true);
      expect(bytes[99]).toBe(7);
      expect(statSync(file).blocks).toBeLessThan(before);
    });
  });

  it('is refused while another gateway, or a program that writes, has it', async () => {
    await withImage(async (image, file) => {
      await expect(openImageFile(file)).rejects.toMatchObject({ code: 'image-in-use', kind: 'conflict' });
      await image.close();
      await withWriter(file, async (pid) => {
        await expect(openImageFile(file)).rejects.toMatchObject({ code: 'image-in-use', details: { pid } });
      });
      // Whoever only reads does no harm.
      const fd = openSync(file, 'r');
      await (await openImageFile(file)).close();
      closeSync(fd);
    });
  });

  it.skipIf(withoutLoopDevices !== undefined)(
    `a block device is refused while it is mounted, or a program writes to it by another name${withoutLoopDevices ?? ''}`,
    async () => {
      const file = inFolder('device.img');
      writeFileSync(file, Buffer.alloc(16 * MIB));
      execFileSync('mkfs.ext4', ['-q', file]);
      const device = execFileSync('losetup', ['--find', '--show', file], { encoding: 'utf8' }).trim();
      const [point, node] = [inFolder('mounted'), inFolder('node')];
      try {
        mkdirSync(point);
        execFileSync('mount', [device, point]);
        try {
          await expect(openImageFile(device)).rejects.toMatchObject({ kind: 'conflict', code: 'image-in-use' });
          const wish = { sizeBytes: MIB, force: true, beforeOverwriting: async () => Promise.resolve() };
          await expect(openNewImage(device, wish)).rejects.toMatchObject({ code: 'image-in-use' });
        } finally {
          execFileSync('umount', [point]);
        }
        const { rdev } = statSync(device);
        execFileSync('mknod', [node, 'b', String((rdev >> 8) & 0xfff), String(rdev & 0xff)]);
        await withWriter(node, async (pid) => {
          await expect(openImageFile(device)).rejects.toMatchObject({ code: 'image-in-use', details: { pid } });
        });
        await withImageAt(device, async () => {
          // What would use it now is refused by the kernel.
          expect(() => execFileSync('mount', [device, point], { stdio: 'ignore' })).toThrow();
          await expect(openImageFile(device)).rejects.toMatchObject({ code: 'image-in-use' });
        });
      } finally {
        execFileSync('losetup', ['-d', device]);
      }
    },
  );

  it('tells when it was truncated, removed or replaced', async () => {
    await withImage(async (image, file) => {
      expect(image.isInPlace()).toBe(true);
      truncateSync(file, MIB);
      expect(image.facts().sizeBytes).toBe(MIB);
      await expect(image.read(MIB, Buffer.alloc(10))).rejects.toMatchObject({ code: 'image-changed' });
      renameSync(file, `${file}.away`);
      expect(image.isInPlace()).toBe(false);
      writeFileSync(file, 'another');
      expect(image.isInPlace()).toBe(false);
      rmSync(`${file}.away`);
      expect(image.facts().links).toBe(0);
    });
  });

  it('refuses what is no image', async () => {
    await expect(openImageFile(inFolder('.'))).rejects.toMatchObject({ code: 'not-an-image' });
    await expect(openImageFile(inFolder('nothing'))).rejects.toMatchObject({ kind: 'notFound' });
    execFileSync('mkfifo', [inFolder('pipe')]);
    await expect(openImageFile(inFolder('pipe'))).rejects.toMatchObject({ code: 'not-an-image' });
  });
});
