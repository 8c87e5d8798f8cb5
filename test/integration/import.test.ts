import { execFileSync } from 'node:child_process';
import { open, readdir, readFile, stat, truncate } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { requireTool, toolPath } from '../requirements.ts';
import { writeSparse } from '../unit/transfer/rig.ts';
import { TestHome } from './home.ts';

const MIB = 1024 * 1024;
const QEMU_IMG = toolPath('qemu-img') ?? '';

describe('volume import over a directory store', () => {
  let home: TestHome;
  let image: string;
  beforeAll(async () => {
    home = await TestHome.start();
    image = home.path('image');
    await writeSparse(image, 120 * MIB + 1234, [
      { offset: 0, length: 60 * MIB },
      { offset: 100 * MIB, length: 20 * MIB + 1234 },
    ]);
  });
  afterAll(async () => {
    await home[Symbol.asyncDispose]();
  });

  test.each([
    ['SIGKILL', 'killed'],
    ['SIGINT', 'stopped'],
  ] as const)(
    'an import ended by %s half-way is resumed by the same command',
    async (signal, name) => {
      const outcome = await home.killed('volume.import', { file: image, name }, 18, signal);
      if (signal === 'SIGKILL') expect(outcome.signal).toBe('SIGKILL');
      else expect(outcome.document).toMatchObject({ error: { kind: 'aborted' } });

      const listed = (await home.call('volume.list', {})).volumes.find((volume) => volume.name === name);
      expect(listed?.state).toBe('importing');
      expect((await home.call('status', {})).remarks.join()).toContain(`--name ${name}`);
      await expect(home.call('snapshot.create', { volume: name })).rejects.toMatchObject({
        kind: 'conflict',
        code: 'import-unfinished',
      });
      await expect(home.call('volume.resize', { volume: name, sizeBytes: 200 * MIB })).rejects.toMatchObject({
        code: 'import-unfinished',
      });
      await expect(home.call('volume.import', { file: home.path('home/state.json'), name })).rejects.toMatchObject({
        code: 'import-unfinished',
      });

      const document = await home.call('volume.import', { file: image, name });
      expect(document).toMatchObject({ resumed: true, state: 'available', sizeBytes: 120 * MIB + 1234 });
      expect(document.changedBytes).toBeLessThan(document.mappedBytes);
      expect((await home.call('volume.show', { volume: name })).unfinishedImport).toBeNull();
      await home.call('snapshot.create', { volume: name, name: `${name}-s` });
      expect(await home.exportsAs(`${name}-s`, image)).toBe(true);
      await expect(home.call('volume.import', { file: image, name })).rejects.toMatchObject({ code: 'volume-exists' });
    },
    60_000,
  );

  test('an import into a volume that is killed leaves snapshots at the last consistent state, and is resumed', async () => {
    const path = home.path('edited');
    await writeSparse(path, 80 * MIB, [{ offset: 0, length: 80 * MIB }], 2);
    await home.call('volume.import', { file: path, name: 'edited' });
    const before = await readFile(path);
    await writeSparse(path, 80 * MIB, [{ offset: 0, length: 80 * MIB }], 3);
    const outcome = await home.killed('volume.import', { file: path, into: 'edited' }, 10, 'SIGKILL');
    expect(outcome.signal).toBe('SIGKILL');

    const shown = await home.call('volume.show', { volume: 'edited' });
    expect(shown).toMatchObject({ state: 'available', unfinishedImport: { source: path } });
    await home.call('snapshot.create', { volume: 'edited', name: 'before' });
    const out = home.path('before-out');
    await home.call('snapshot.export', { snapshot: 'before', path: out });
    expect((await readFile(out)).equals(before)).toBe(true);

    expect(await home.call('volume.import', { file: path, into: 'edited' })).toMatchObject({ resumed: true });
    await home.call('snapshot.create', { volume: 'edited', name: 'after' });
    expect(await home.exportsAs('after', path)).toBe(true);
    expect(await home.call('volume.import', { file: path, into: 'edited' })).toMatchObject({
      resumed: false,
      changedBytes: 0,
      storedBytes: 0,
    });
  }, 60_000);

  test('a snapshot import that is killed is resumed, and its volume stays', async () => {
    const outcome = await home.killed('snapshot.import', { file: image, name: 'golden' }, 12, 'SIGKILL');
    expect(outcome.signal).toBe('SIGKILL');
    expect(await home.call('snapshot.import', { file: image, name: 'golden' })).toMatchObject({
      state: 'completed',
      created: true,
    });
    expect(await home.call('snapshot.import', { file: image, name: 'golden', ifNotExists: true })).toMatchObject({
      created: false,
    });
    await expect(home.call('snapshot.import', { file: image, name: 'golden' })).rejects.toMatchObject({
      kind: 'conflict',
    });
    expect(await home.exportsAs('golden', image)).toBe(true);
    expect(await home.call('volume.show', { volume: 'golden' })).toMatchObject({ state: 'available' });
  }, 60_000);

  test('an image that grew before the resume is imported whole, and one that shrank as well', async () => {
    const path = home.path('moving');
    await writeSparse(path, 60 * MIB, [{ offset: 0, length: 60 * MIB }], 5);
    await home.killed('volume.import', { file: path, name: 'moving' }, 8, 'SIGKILL');
    await truncate(path, 70 * MIB);
    await home.killed('volume.import', { file: path, name: 'moving' }, 12, 'SIGKILL');
    await truncate(path, 50 * MIB + 77);
    expect(await home.call('volume.import', { file: path, name: 'moving' })).toMatchObject({
      resumed: true,
      sizeBytes: 50 * MIB + 77,
    });
    await home.call('snapshot.create', { volume: 'moving', name: 'moving-s' });
    expect(await home.exportsAs('moving-s', path)).toBe(true);
  }, 60_000);

  test('a volume that a running import holds is locked, and the error names the pid', async () => {
    const path = home.path('busy');
    await writeSparse(path, 80 * MIB, [{ offset: 0, length: 80 * MIB }], 6);
    const { process: child, ended } = home.spawn('volume.import', { file: path, name: 'busy' });
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    child.kill('SIGSTOP');
    try {
      const failure = await home
        .call('volume.delete', { volume: 'busy' }, { lockTimeoutMs: 50 })
        .catch((error: unknown) => error);
      expect(failure).toMatchObject({ kind: 'unavailable', code: 'locked', details: { pid: child.pid } });
      await home.call('volume.list', {});
    } finally {
      child.kill('SIGCONT');
    }
    expect((await ended).exitCode).toBe(0);
    await home.call('volume.delete', { volume: 'busy' });
  }, 60_000);

  test('a damaged segment is found by verify, which names the object', async () => {
    await writeSparse(home.path('hurt'), 3 * MIB, [{ offset: 0, length: 3 * MIB }], 7);
    const { volumeId } = await home.call('volume.import', { file: home.path('hurt'), name: 'hurt' });
    await home.call('snapshot.create', { volume: 'hurt', name: 'hurt-s' });
    const log = home.path(`home/store/volumes/${volumeId}/log`);
    const [name = ''] = await readdir(log);
    const handle = await open(`${log}/${name}`, 'r+');
    const { size } = await stat(`${log}/${name}`);
    await handle.write(Buffer.from([1, 2, 3, 4]), 0, 4, Math.floor(size / 2));
    await handle.close();
    const failure = await home.call('snapshot.verify', { snapshot: 'hurt-s' }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ kind: 'corrupt' });
    expect((failure as Error).message).toContain(`volumes/${volumeId}/log/`);
    await expect(home.call('volume.verify', { volume: 'hurt' })).rejects.toMatchObject({ kind: 'corrupt' });
    await expect(
      home.call('snapshot.export', { snapshot: 'hurt-s', path: home.path('hurt-out') }),
    ).rejects.toMatchObject({ kind: 'corrupt' });
    await expect(stat(home.path('hurt-out'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  requireTool('qemu-img').it('qcow2, vmdk, vhdx and vdi images are imported as the disk that they hold', async () => {
    const raw = home.path('disk');
    await writeSparse(raw, 8 * MIB, [{ offset: MIB, length: 2 * MIB }], 8);
    for (const format of ['qcow2', 'vmdk', 'vhdx', 'vdi']) {
      const file = home.path(`disk.${format}`);
      execFileSync(QEMU_IMG, ['convert', '-f', 'raw', '-O', format, raw, file]);
      expect(await home.call('snapshot.import', { file, name: `disk-${format}` })).toMatchObject({
        sizeBytes: 8 * MIB,
        state: 'completed',
      });
      expect(await home.exportsAs(`disk-${format}`, raw)).toBe(true);
    }
    expect(await readdir(home.path('home/imports'))).toEqual([]);
  });
});
