import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, readFile, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import {
  allocatedBytes,
  loadSystemCalls,
  openRawImage,
  type Extent,
  type RawImage,
} from '../../../src/core/image/index.ts';
import { sizeOfDeviceNumber } from '../../../src/core/image/raw-image.ts';
import { KIB, MIB, SgwError, TIB } from '../../../src/core/kit/index.ts';
import { requireThat, requireTool, toolPath } from '../../requirements.ts';
import { makeSparseFile, temporaryFolder } from './temporary-folder.ts';

const at = temporaryFolder();
const seeks = requireThat(
  (await loadSystemCalls()) !== undefined,
  'koffi does not load here, or the platform has no SEEK_DATA',
);
/** Only looked up, never opened. */
const listedDevice = existsSync('/sys/block')
  ? readdirSync('/sys/block').find((name) => existsSync(`/dev/${name}`))
  : undefined;
/** A block device that may be read, named by whoever runs the tests. */
const namedDevice = process.env['SGW_TEST_BLOCK_DEVICE'];

async function collect(extents: AsyncIterable<Extent>): Promise<Extent[]> {
  const found: Extent[] = [];
  for await (const extent of extents) found.push(extent);
  return found;
}

const extentsOf = (image: RawImage): Promise<Extent[]> => collect(image.dataExtents(0, image.sizeBytes));

describe('a raw image', () => {
  it('of a size that is no multiple of a page is read to its last byte', async () => {
    const bytes = Buffer.from(Array.from({ length: 70_001 }, (_, index) => index % 251));
    await writeFile(at('odd'), bytes);
    await using image = await openRawImage(at('odd'));
    expect(image).toMatchObject({ path: at('odd'), sizeBytes: 70_001, kind: 'file' });
    const buffer = Buffer.alloc(65_536);
    expect(await image.read(buffer, 65_536)).toBe(70_001 - 65_536);
    expect(buffer.subarray(0, 70_001 - 65_536)).toEqual(bytes.subarray(65_536));
    expect(await image.read(buffer, 70_001)).toBe(0);
    expect(await image.read(buffer, 1)).toBe(65_536);
    expect(buffer).toEqual(bytes.subarray(1, 65_537));
  });

  it('that is empty has no data', async () => {
    await writeFile(at('empty'), '');
    await using image = await openRawImage(at('empty'));
    expect(image.sizeBytes).toBe(0);
    expect(await extentsOf(image)).toEqual([]);
    expect(await image.read(Buffer.alloc(10), 0)).toBe(0);
  });

  it('is all data where the machine can not seek for it', async () => {
    await makeSparseFile(at('unseekable'), 3 * MIB + 5, { [MIB]: Buffer.from('x') });
    await using image = await openRawImage(at('unseekable'), { systemCalls: undefined });
    expect(await extentsOf(image)).toEqual([{ offset: 0, length: 3 * MIB + 5 }]);
  });

  it('that shrinks while it is read gives an error, not zeroes', async () => {
    await writeFile(at('shrinking'), Buffer.alloc(10_000, 1));
    await using image = await openRawImage(at('shrinking'));
    await truncate(at('shrinking'), 5_000);
    expect(await image.changedSinceOpen()).toBe(true);
    await expect(image.read(Buffer.alloc(10_000), 0)).rejects.toMatchObject({
      kind: 'conflict',
      code: 'image-changed',
    });
  });

  it('tells whether it was written since it was opened', async () => {
    await writeFile(at('touched'), 'before');
    await using image = await openRawImage(at('touched'));
    expect(await image.changedSinceOpen()).toBe(false);
    await utimes(at('touched'), 1, 1);
    expect(await image.changedSinceOpen()).toBe(true);
  });

  it('tells that it was written also when its time of modification was put back', async () => {
    await writeFile(at('put-back'), 'before');
    await utimes(at('put-back'), 1, 1);
    await using image = await openRawImage(at('put-back'));
    await writeFile(at('put-back'), 'behind');
    await utimes(at('put-back'), 1, 1);
    expect(await image.changedSinceOpen()).toBe(true);
  });

  it('stays usable by its descriptor, and is closed once', async () => {
    await writeFile(at('closing'), 'bytes');
    const image = await openRawImage(at('closing'));
    expect(image.fd).toBeGreaterThan(2);
    await image.close();
    await image.close();
    await expect(image.read(Buffer.alloc(1), 0)).rejects.toMatchObject({ kind: 'internal' });
  });

  it('is not read on when the signal has fired', async () => {
    await writeFile(at('aborted'), 'bytes');
    const signal = AbortSignal.abort(new SgwError('aborted', 'aborted', 'stopped on request'));
    await expect(openRawImage(at('aborted'), { signal })).rejects.toMatchObject({ kind: 'aborted' });
    await using image = await openRawImage(at('aborted'));
    await expect(image.read(Buffer.alloc(1), 0, signal)).rejects.toMatchObject({ kind: 'aborted' });
  });

  it('must exist, and be a file or a block device', async () => {
    await mkdir(at('folder'));
    await expect(openRawImage(at('absent'))).rejects.toMatchObject({
      kind: 'notFound',
      details: { path: at('absent') },
    });
    await expect(openRawImage(at('folder'))).rejects.toMatchObject({ kind: 'invalid', code: 'not-an-image' });
    await expect(openRawImage('/dev/null')).rejects.toMatchObject({ kind: 'invalid', code: 'not-an-image' });
  });

  requireTool('mkfifo').it('is not waited for when it is a named pipe', async () => {
    execFileSync(toolPath('mkfifo') ?? '', [at('pipe')]);
    await expect(openRawImage(at('pipe'))).rejects.toMatchObject({ code: 'not-an-image' });
  });
});

seeks.describe('a sparse raw image', () => {
  it('has its data where it was written', async () => {
    await makeSparseFile(at('sparse'), 10 * MIB + 777, {
      [3 * MIB + 5]: Buffer.from('in the middle'),
      [5 * MIB - 1]: Buffer.from('across a border'),
      [10 * MIB + 776]: Buffer.from('!'),
    });
    await using image = await openRawImage(at('sparse'));
    expect(await extentsOf(image)).toEqual([
      { offset: 3 * MIB, length: 64 * KIB },
      { offset: 5 * MIB - 64 * KIB, length: 128 * KIB },
      { offset: 10 * MIB, length: 777 },
    ]);
    expect(await collect(image.dataExtents(5 * MIB, 6 * MIB, { alignBytes: 4 * KIB }))).toEqual([
      { offset: 5 * MIB, length: 4 * KIB },
    ]);
    expect(await allocatedBytes(at('sparse'))).toBeLessThan(MIB);
  });

  it('of nothing but a hole has no data', async () => {
    await makeSparseFile(at('hole'), 64 * MIB + 1, {});
    await using image = await openRawImage(at('hole'));
    expect(await extentsOf(image)).toEqual([]);
  });

  it('of 15 TiB with three pages is walked in milliseconds', async () => {
    const size = 15 * TIB + 4096;
    const page = Buffer.alloc(4096, 7);
    await makeSparseFile(at('huge'), size, { 0: page, [7 * TIB + 4096]: page, [15 * TIB]: page });
    await using image = await openRawImage(at('huge'));
    const before = process.cpuUsage();
    const extents = await extentsOf(image);
    const { user, system } = process.cpuUsage(before);
    expect(extents).toEqual([
      { offset: 0, length: 64 * KIB },
      { offset: 7 * TIB, length: 64 * KIB },
      { offset: 15 * TIB, length: 4096 },
    ]);
    expect((user + system) / 1000).toBeLessThan(500);
    const buffer = Buffer.alloc(4096);
    await image.read(buffer, 7 * TIB + 4096);
    expect(buffer).toEqual(page);
  });
});

describe('a block device', () => {
  it.skipIf(listedDevice === undefined)(
    'has the size that /sys tells for its number (skipped without one)',
    async () => {
      const { rdev } = await stat(`/dev/${listedDevice ?? ''}`, { bigint: true });
      const sectors = Number(await readFile(`/sys/block/${listedDevice ?? ''}/size`, 'utf8'));
      expect(await sizeOfDeviceNumber(rdev)).toBe(sectors * 512);
      expect(await sizeOfDeviceNumber(0n)).toBeUndefined();
    },
  );

  it.skipIf(namedDevice === undefined)(
    'is read to its end (skipped unless SGW_TEST_BLOCK_DEVICE names one)',
    async () => {
      await using image = await openRawImage(namedDevice ?? '');
      await using plain = await openRawImage(namedDevice ?? '', { systemCalls: undefined });
      expect(image.kind).toBe('blockDevice');
      expect(plain.sizeBytes).toBe(image.sizeBytes);
      expect(await image.read(Buffer.alloc(4096), image.sizeBytes - 512)).toBe(512);
      expect(await collect(image.dataExtents(0, 1000))).toEqual([{ offset: 0, length: 1000 }]);
    },
  );
});
