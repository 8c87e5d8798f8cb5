import { execFileSync } from 'node:child_process';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { requireTool, toolPath } from '../requirements.ts';
import { writeSparse } from '../unit/transfer/rig.ts';
import { TestHome } from './home.ts';

const MIB = 1024 * 1024;
const QEMU_IMG = toolPath('qemu-img') ?? '';
const SIZE = 900 * MIB + 5000;

describe('snapshot export over a directory store', () => {
  let home: TestHome;
  let image: string;
  beforeAll(async () => {
    home = await TestHome.start();
    image = home.path('image');
    await writeSparse(image, SIZE, [
      { offset: 3 * MIB, length: 40 * MIB },
      { offset: 300 * MIB, length: 20 * MIB },
      { offset: 600 * MIB, length: 40 * MIB },
      { offset: SIZE - 10_000, length: 10_000 },
    ]);
    await home.call('snapshot.import', { file: image, name: 'golden' });
  });
  afterAll(async () => {
    await home[Symbol.asyncDispose]();
  });

  const isSame = (path: string): boolean => {
    execFileSync('cmp', [path, image]);
    return true;
  };

  test('an export is byte-identical, as sparse as the input, and verified', async () => {
    const path = home.path('out');
    const document = await home.call('snapshot.export', { snapshot: 'golden', path });
    expect(document).toMatchObject({ sizeBytes: SIZE, verified: true, resumed: false, format: 'raw' });
    expect(isSame(path)).toBe(true);
    const [exported, source] = [await stat(path), await stat(image)];
    expect(exported.blocks).toBeLessThanOrEqual(source.blocks + 256);
  });

  test('an export that is killed is resumed by the same command and leaves nothing behind', async () => {
    const path = home.path('killed');
    const outcome = await home.killed('snapshot.export', { snapshot: 'golden', path }, 11, 'SIGKILL');
    expect(outcome.signal).toBe('SIGKILL');
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
    const document = await home.call('snapshot.export', { snapshot: 'golden', path });
    expect(document.verified).toBe(true);
    expect(isSame(path)).toBe(true);
    expect((await readdir(home.directory)).filter((name) => name.startsWith('.killed'))).toEqual([]);
  });

  test('an existing file is replaced only with force', async () => {
    const path = home.path('there');
    await writeFile(path, 'mine');
    await expect(home.call('snapshot.export', { snapshot: 'golden', path })).rejects.toMatchObject({
      kind: 'conflict',
      code: 'file-exists',
    });
    expect(await readFile(path, 'utf8')).toBe('mine');
    await home.call('snapshot.export', { snapshot: 'golden', path, force: true });
    expect(isSame(path)).toBe(true);
  });

  requireTool('qemu-img').it('qcow2, vmdk, vhdx and vdi exports hold the same disk', async () => {
    const small = home.path('small');
    await writeSparse(small, 9 * MIB, [{ offset: MIB, length: 2 * MIB }]);
    await home.call('snapshot.import', { file: small, name: 'small' });
    for (const format of ['qcow2', 'vmdk', 'vhdx', 'vdi'] as const) {
      const path = home.path(`small.${format}`);
      expect(await home.call('snapshot.export', { snapshot: 'small', path, format })).toMatchObject({
        format,
        verified: true,
      });
      execFileSync(QEMU_IMG, ['compare', '-f', 'raw', '-F', format, small, path]);
      if (format === 'qcow2') execFileSync(QEMU_IMG, ['check', path]);
    }
    expect((await readdir(home.directory)).filter((name) => name.startsWith('.'))).toEqual([]);
  });
});
