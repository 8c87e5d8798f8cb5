import { writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { detectImageFormat } from '../../../src/core/image/index.ts';
import { refuseLinkedImage } from '../../../src/core/image/self-contained.ts';
import { temporaryFolder } from './temporary-folder.ts';

const at = temporaryFolder();

function qcow2Header(
  fields: { version?: number; backingOffset?: bigint; crypt?: number; features?: bigint } = {},
): Buffer {
  const header = Buffer.alloc(512);
  header.write('QFI\xfb', 0, 'latin1');
  header.writeUInt32BE(fields.version ?? 3, 4);
  header.writeBigUInt64BE(fields.backingOffset ?? 0n, 8);
  header.writeUInt32BE(fields.crypt ?? 0, 32);
  header.writeBigUInt64BE(fields.features ?? 0n, 72);
  return header;
}

function vmdkHeader(capacity: bigint, descriptor: string): Buffer {
  const header = Buffer.alloc(512 + 20 * 512);
  header.write('KDMV', 0);
  header.writeBigUInt64LE(capacity, 12);
  header.write(descriptor, 512);
  return header;
}

async function file(bytes: Uint8Array): Promise<string> {
  await writeFile(at('image'), bytes);
  return at('image');
}

describe('the format of an image', () => {
  const vdi = Buffer.alloc(512);
  vdi.set([0x7f, 0x10, 0xda, 0xbe], 0x40);
  it.each([
    ['qcow2', qcow2Header()],
    ['qcow2', qcow2Header({ version: 2 })],
    ['vmdk', vmdkHeader(10n, '')],
    ['vmdk', Buffer.from('# Disk DescriptorFile\nversion=1\n')],
    ['vhdx', Buffer.from('vhdxfile')],
    ['vdi', vdi],
    ['raw', Buffer.alloc(0)],
    ['raw', Buffer.from('QF')],
    ['raw', vdi.subarray(0, 0x43)],
    ['raw', Buffer.alloc(4096)],
  ])('is found as %s by its first bytes', async (format, bytes) => {
    expect(await detectImageFormat(await file(bytes))).toBe(format);
  });

  it.each([
    ['qcow of version 1', qcow2Header({ version: 1 })],
    ['fixed VHD', Buffer.concat([Buffer.alloc(1024), Buffer.from('conectix'), Buffer.alloc(504)])],
    ['dynamic VHD', Buffer.from('conectix and more')],
    ['gzip', Buffer.from([0x1f, 0x8b, 0x08, 0])],
  ])('of a %s file is refused, with what to do instead', async (_name, bytes) => {
    await expect(detectImageFormat(await file(bytes))).rejects.toMatchObject({
      kind: 'unsupported',
      code: 'image-format',
      hint: expect.stringContaining('--format raw') as string,
    });
  });
});

describe('an image that names other files', () => {
  it.each([
    ['qcow2', 'a backing file', qcow2Header({ backingOffset: 512n })],
    ['qcow2', 'a backing file in version 2', qcow2Header({ version: 2, backingOffset: 512n })],
    ['qcow2', 'a data file', qcow2Header({ features: 4n })],
    ['vmdk', 'a list of extents', Buffer.from('# Disk DescriptorFile\nRW 2048 FLAT "/etc/shadow" 0\n')],
    [
      'vmdk',
      'a list of extents behind a sparse header',
      vmdkHeader(0n, '# Disk DescriptorFile\nRW 2048 FLAT "/etc/shadow" 0\n'),
    ],
    ['vmdk', 'a parent', vmdkHeader(8n, '# Disk DescriptorFile\nparentFileNameHint="/etc/shadow"\n')],
  ] as const)('is refused by its header: %s with %s', async (format, _what, bytes) => {
    await expect(refuseLinkedImage(await file(bytes), format)).rejects.toMatchObject({
      kind: 'denied',
      code: 'image-names-other-files',
      hint: expect.stringContaining('qemu-img convert') as string,
    });
  });

  it.each([
    ['qcow2', qcow2Header()],
    ['qcow2', qcow2Header({ version: 2, features: 4n })],
    ['vmdk', vmdkHeader(8n, '# Disk DescriptorFile\nparentCID=ffffffff\n')],
    ['vhdx', Buffer.from('vhdxfile')],
  ] as const)('is told from one that does not: %s', async (format, bytes) => {
    await expect(refuseLinkedImage(await file(bytes), format)).resolves.toBeUndefined();
  });

  it('is no matter when the file is of another format than said', async () => {
    await expect(refuseLinkedImage(await file(qcow2Header()), 'vmdk')).rejects.toMatchObject({
      kind: 'invalid',
      code: 'image-format-mismatch',
    });
    await expect(refuseLinkedImage(await file(Buffer.alloc(0)), 'qcow2')).rejects.toMatchObject({
      code: 'image-format-mismatch',
    });
  });

  it('is refused when encrypted, since nobody can give the secret', async () => {
    await expect(refuseLinkedImage(await file(qcow2Header({ crypt: 2 })), 'qcow2')).rejects.toMatchObject({
      kind: 'unsupported',
      code: 'image-encrypted',
    });
  });

  it('is refused when it ends within its header', async () => {
    const header = qcow2Header({ backingOffset: 512n });
    for (const length of [4, 8, 15, 16, 40, 71]) {
      await expect(refuseLinkedImage(await file(header.subarray(0, length)), 'qcow2')).rejects.toMatchObject({
        code: 'image-truncated',
      });
    }
    await expect(refuseLinkedImage(await file(Buffer.from('KDMV')), 'vmdk')).rejects.toMatchObject({
      code: 'image-truncated',
    });
  });
});
