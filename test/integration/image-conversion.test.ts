import { execFileSync } from 'node:child_process';
import { chmod, copyFile, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  allocatedBytes,
  convertFromRaw,
  convertToRaw,
  detectImageFormat,
  inspectImage,
  qemuImgVersion,
} from '../../src/core/image/index.ts';
import { GIB, MIB, SgwError, seededRandom } from '../../src/core/kit/index.ts';
import { requireTool, toolPath } from '../requirements.ts';
import { makeSparseFile, temporaryFolder } from '../unit/image/temporary-folder.ts';

const at = temporaryFolder();
const FORMATS = ['qcow2', 'vmdk', 'vhdx', 'vdi'] as const;
const SIZE = 20 * MIB;
const qemuImg = (...args: string[]): string =>
  execFileSync(toolPath('qemu-img') ?? 'qemu-img', args, { cwd: dirname(at('x')), encoding: 'utf8' });

async function makeRaw(name: string, sizeBytes = SIZE): Promise<string> {
  const random = seededRandom(7);
  await makeSparseFile(at(name), sizeBytes, { 0: random.bytes(70_000), [sizeBytes - 1000]: random.bytes(1000) });
  return at(name);
}

/** Nothing hidden of ours is left in the folder. */
async function leftovers(): Promise<string[]> {
  return (await readdir(dirname(at('x')))).filter((name) => name.startsWith('.'));
}

requireTool('qemu-img').describe('conversion through qemu-img', () => {
  for (const format of FORMATS) {
    it(`to ${format} and back gives the same bytes, as sparse`, async () => {
      const raw = await makeRaw(`in-${format}.raw`);
      const seen: number[] = [];
      await convertFromRaw(raw, at(`disk.${format}`), format, {
        sizeBytes: SIZE,
        onProgress: (done) => seen.push(done),
      });
      expect(await detectImageFormat(at(`disk.${format}`))).toBe(format);
      expect(await inspectImage(at(`disk.${format}`), format)).toMatchObject({ format, virtualSizeBytes: SIZE });
      expect(qemuImg('compare', '-f', 'raw', '-F', format, raw, at(`disk.${format}`))).toContain('identical');
      expect(await convertToRaw(at(`disk.${format}`), format, at(`back-${format}.raw`))).toEqual({ sizeBytes: SIZE });
      expect((await readFile(at(`back-${format}.raw`))).equals(await readFile(raw))).toBe(true);
      expect(await allocatedBytes(at(`back-${format}.raw`))).toBeLessThan(MIB);
      expect(seen.at(-1)).toBe(SIZE);
      expect(seen).toEqual([...seen].sort((a, b) => a - b));
      expect(await leftovers()).toEqual([]);
    });
  }

  it('rounds a size that is no multiple of a sector up, with zeroes', async () => {
    const raw = await makeRaw('odd.raw', 100_001);
    await convertFromRaw(raw, at('odd.qcow2'), 'qcow2', { sizeBytes: 100_001 });
    const { sizeBytes } = await convertToRaw(at('odd.qcow2'), 'qcow2', at('odd-back.raw'));
    expect(sizeBytes).toBe(100_352);
    const back = await readFile(at('odd-back.raw'));
    expect(back.subarray(0, 100_001).equals(await readFile(raw))).toBe(true);
    expect(back.subarray(100_001).every((byte) => byte === 0)).toBe(true);
  });

  it('takes file names for files, whatever they look like', async () => {
    const raw = await makeRaw('-O');
    for (const name of [
      'nbd:localhost:1',
      '-f',
      'json:{"driver":"null-co"}'.replaceAll('/', ''),
      'a,b "c" %d',
      'ümläut',
    ]) {
      await convertFromRaw(raw, at(name), 'qcow2', { sizeBytes: SIZE });
      await convertToRaw(at(name), 'qcow2', at(`${name}.raw`));
      expect((await readFile(at(`${name}.raw`))).equals(await readFile(raw)), name).toBe(true);
    }
  });

  it('does not read a raw image as another format for a header that its guest wrote', async () => {
    await convertFromRaw(await makeRaw('inner.raw'), at('inner.qcow2'), 'qcow2', { sizeBytes: SIZE });
    const { size } = await stat(at('inner.qcow2'));
    await convertFromRaw(at('inner.qcow2'), at('outer.qcow2'), 'qcow2', { sizeBytes: size });
    const { sizeBytes } = await convertToRaw(at('outer.qcow2'), 'qcow2', at('outer.raw'));
    expect(sizeBytes).toBe(Math.ceil(size / 512) * 512);
    expect((await readFile(at('outer.raw'))).subarray(0, size).equals(await readFile(at('inner.qcow2')))).toBe(true);
  });

  it('replaces nothing without force', async () => {
    const raw = await makeRaw('force.raw');
    await writeFile(at('taken.qcow2'), 'precious');
    const work = convertFromRaw(raw, at('taken.qcow2'), 'qcow2', { sizeBytes: SIZE });
    await expect(work).rejects.toMatchObject({ kind: 'conflict', code: 'file-exists' });
    expect(await readFile(at('taken.qcow2'), 'utf8')).toBe('precious');
    await convertFromRaw(raw, at('taken.qcow2'), 'qcow2', { sizeBytes: SIZE, force: true });
    expect(await detectImageFormat(at('taken.qcow2'))).toBe('qcow2');
  });

  for (const format of FORMATS) {
    it(`of a ${format} image cut off fails instead of reading zeroes, and leaves nothing`, async () => {
      await convertFromRaw(await makeRaw(`whole-${format}.raw`), at(`whole.${format}`), format, { sizeBytes: SIZE });
      const bytes = await readFile(at(`whole.${format}`));
      for (const length of [600, 65_536, 100_000, bytes.length / 2]) {
        await writeFile(at(`cut.${format}`), bytes.subarray(0, length));
        const work = convertToRaw(at(`cut.${format}`), format, at(`cut-${format}.raw`));
        await expect(work, `cut to ${String(length)}`).rejects.toMatchObject({
          kind: expect.stringMatching(/^(corrupt|invalid)$/) as string,
          code: expect.stringMatching(/^(image-damaged|qemu-img-failed|image-truncated)$/) as string,
        });
      }
      await expect(stat(at(`cut-${format}.raw`))).rejects.toMatchObject({ code: 'ENOENT' });
      expect(await leftovers()).toEqual([]);
    });
  }

  it('of an image that claims to be enormous is refused', async () => {
    qemuImg('create', '-f', 'qcow2', 'enormous.qcow2', '1P');
    const work = convertToRaw(at('enormous.qcow2'), 'qcow2', at('enormous.raw'));
    await expect(work).rejects.toMatchObject({ kind: 'invalid', code: 'image-too-large' });
    const limited = inspectImage(at('enormous.qcow2'), 'qcow2', { virtualSizeBytesMax: GIB });
    await expect(limited).rejects.toMatchObject({ code: 'image-too-large' });
  });

  it('stops when the signal fires, and removes what it had written', async () => {
    const raw = await makeRaw('abort.raw');
    const stopper = new AbortController();
    const work = convertFromRaw(raw, at('abort.qcow2'), 'qcow2', {
      sizeBytes: SIZE,
      signal: stopper.signal,
      onProgress: () => {
        stopper.abort(new SgwError('aborted', 'aborted', 'stopped on request'));
      },
    });
    await expect(work).rejects.toMatchObject({ kind: 'aborted' });
    await expect(stat(at('abort.qcow2'))).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await leftovers()).toEqual([]);
  });

  it.each([
    ['written', 'printf x | dd of=SOURCE bs=1 seek=2000000 conv=notrunc 2>/dev/null'],
    ['replaced', 'cp SOURCE SOURCE.copy && mv SOURCE.copy SOURCE'],
  ])('of an image that is %s meanwhile fails, and leaves nothing', async (how, change) => {
    const source = at(`${how}.vdi`);
    await convertFromRaw(await makeRaw(`${how}.raw`), source, 'vdi', { sizeBytes: SIZE });
    const binary = at(`qemu-img-${how}`);
    const real = toolPath('qemu-img') ?? 'qemu-img';
    const script = `#!/bin/sh\n"${real}" "$@" || exit 1\n[ "$1" != convert ] || { CHANGE; }\n`;
    await writeFile(binary, script.replace('CHANGE', change.replaceAll('SOURCE', `'${source}'`)));
    await chmod(binary, 0o755);
    const work = convertToRaw(source, 'vdi', at(`${how}.out`), { binary });
    await expect(work).rejects.toMatchObject({ kind: 'conflict', code: 'image-changed' });
    await expect(stat(at(`${how}.out`))).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await leftovers()).toEqual([]);
  });

  it('tells the version', async () => {
    expect(await qemuImgVersion()).toMatch(/^\d+\.\d+/);
  });
});

requireTool('qemu-img').describe('an image made to read other files', () => {
  it.each(['relative', 'absolute', 'json', 'network'])(
    'by a %s backing file is refused before it is followed',
    async (kind) => {
      await writeFile(at('secret'), Buffer.alloc(MIB, 's'));
      const backing = {
        relative: basename(at('secret')),
        absolute: at('secret'),
        json: `json:${JSON.stringify({ driver: 'raw', file: { driver: 'file', filename: at('secret') } })}`,
        network: 'nbd://127.0.0.1:1/secret',
      }[kind];
      qemuImg('create', '-u', '-f', 'qcow2', '-b', backing ?? '', '-F', 'raw', 'linked.qcow2', '1M');
      const work = convertToRaw(at('linked.qcow2'), 'qcow2', at('leak.raw'));
      await expect(work).rejects.toMatchObject({ kind: 'denied', code: 'image-names-other-files' });
      await expect(stat(at('leak.raw'))).rejects.toMatchObject({ code: 'ENOENT' });
    },
  );

  it('by a data file is refused', async () => {
    qemuImg('create', '-f', 'qcow2', '-o', 'data_file=data.raw,data_file_raw=on', 'external.qcow2', '1M');
    await expect(convertToRaw(at('external.qcow2'), 'qcow2', at('leak2.raw'))).rejects.toMatchObject({
      code: 'image-names-other-files',
    });
  });

  it.each(['monolithicFlat', 'twoGbMaxExtentSparse', 'twoGbMaxExtentFlat'])(
    'by the extents of a %s vmdk is refused',
    async (subformat) => {
      qemuImg('create', '-f', 'vmdk', '-o', `subformat=${subformat}`, `${subformat}.vmdk`, '1M');
      await expect(convertToRaw(at(`${subformat}.vmdk`), 'vmdk', at('leak3.raw'))).rejects.toMatchObject({
        code: 'image-names-other-files',
      });
    },
  );

  it('is told from a complete vmdk that was renamed, and from a compressed one', async () => {
    const raw = await makeRaw('vmdk.raw');
    qemuImg('convert', '-f', 'raw', '-O', 'vmdk', raw, 'first.vmdk');
    qemuImg('convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized', raw, 'stream.vmdk');
    await copyFile(at('first.vmdk'), at('second.vmdk'));
    expect(await convertToRaw(at('second.vmdk'), 'vmdk', at('second.raw'))).toEqual({ sizeBytes: SIZE });
    expect(await convertToRaw(at('stream.vmdk'), 'vmdk', at('stream.raw'))).toEqual({ sizeBytes: SIZE });
    expect((await readFile(at('stream.raw'))).equals(await readFile(raw))).toBe(true);
  });
});

describe('without a working qemu-img', () => {
  it('conversion says which package has it', async () => {
    const raw = await makeRaw('missing.raw');
    const work = convertFromRaw(raw, at('missing.qcow2'), 'qcow2', { sizeBytes: SIZE, binary: at('no-such-program') });
    await expect(work).rejects.toMatchObject({
      kind: 'unsupported',
      code: 'qemu-img-missing',
      hint: expect.stringContaining('qemu-utils') as string,
    });
    expect(await leftovers()).toEqual([]);
  });

  it.each([
    ['No space left on device', 'exhausted', 'qemu-img-no-space'],
    ['Failed to get "write" lock', 'unavailable', 'image-in-use'],
    ['Permission denied', 'denied', 'qemu-img-denied'],
    ['something else', 'invalid', 'qemu-img-failed'],
  ])('its complaint "%s" becomes %s', async (complaint, kind, code) => {
    await writeFile(at('complainer'), `#!/bin/sh\necho 'qemu-img: ${complaint}' >&2\nexit 1\n`);
    await chmod(at('complainer'), 0o755);
    await expect(qemuImgVersion({ binary: at('complainer') })).rejects.toMatchObject({ kind, code });
  });

  it('an empty vmdk is refused in words', async () => {
    await writeFile(at('empty.raw'), '');
    const work = convertFromRaw(at('empty.raw'), at('empty.vmdk'), 'vmdk', { sizeBytes: 0 });
    await expect(work).rejects.toMatchObject({ kind: 'unsupported', code: 'image-empty' });
  });
});
