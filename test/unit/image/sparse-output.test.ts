import {
  chown,
  link,
  mkdir,
  open,
  readFile,
  readdir,
  rename,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import {
  allocatedBytes,
  createSparseOutput,
  loadSystemCalls,
  type SparseOutputOptions,
} from '../../../src/core/image/index.ts';
import { MIB, SgwError, TIB } from '../../../src/core/kit/index.ts';
import { requireThat } from '../../requirements.ts';
import { temporaryFolder } from './temporary-folder.ts';

const at = temporaryFolder();
const SIZE = 3 * MIB + 77;
const locks = requireThat(
  (await loadSystemCalls()) !== undefined,
  'koffi does not load here, or the platform has no flock',
);
const forSnapshot = (resumeKey: string, more: Partial<SparseOutputOptions> = {}): SparseOutputOptions => ({
  sizeBytes: SIZE,
  resumeKey,
  ...more,
});

async function folder(name: string): Promise<(file: string) => string> {
  await mkdir(at(name));
  return (file) => at(`${name}/${file}`);
}

describe('a sparse output', () => {
  it('appears whole and sparse under its name, and leaves nothing else', async () => {
    const inside = await folder('whole');
    const output = await createSparseOutput(inside('out.img'), forSnapshot('snap-1'));
    expect(output).toMatchObject({ resumedFrom: 0, finalPath: inside('out.img'), sizeBytes: SIZE });
    await output.write(Buffer.from('end'), SIZE - 3);
    await output.write(Buffer.from('start'), 0);
    expect(await readdir(inside(''))).not.toContain('out.img');
    await output.finish();
    await output.abandon();
    const expected = Buffer.alloc(SIZE);
    expected.write('start');
    expected.write('end', SIZE - 3);
    expect((await readFile(inside('out.img'))).equals(expected)).toBe(true);
    expect(await allocatedBytes(inside('out.img'))).toBeLessThan(MIB);
    expect(await readdir(inside(''))).toEqual(['out.img']);
  });

  it.each([0, 1, 15 * TIB])('of %i bytes without data is right at once', async (sizeBytes) => {
    const output = await createSparseOutput(at(`size-${String(sizeBytes)}`), { sizeBytes, resumeKey: 'snap-1' });
    await output.finish();
    const facts = await stat(at(`size-${String(sizeBytes)}`));
    expect(facts.size).toBe(sizeBytes);
    expect(facts.blocks).toBe(0);
  });

  it('can be written by other descriptors through its path', async () => {
    const output = await createSparseOutput(at('workers'), forSnapshot('snap-1'));
    const worker = await open(output.partialPath, 'r+');
    await worker.write(Buffer.from('by a worker'), 0, 11, MIB);
    await worker.close();
    await output.finish();
    expect((await readFile(at('workers'))).subarray(MIB, MIB + 11).toString()).toBe('by a worker');
  });

  it('takes no write beyond its size and none after its end', async () => {
    const output = await createSparseOutput(at('bounds'), forSnapshot('snap-1'));
    await expect(output.write(Buffer.alloc(2), SIZE - 1)).rejects.toMatchObject({ kind: 'internal' });
    await output.discard();
    await expect(output.write(Buffer.alloc(1), 0)).rejects.toMatchObject({ kind: 'internal' });
  });

  it('stops writing and does not finish when the signal fires, and keeps its work', async () => {
    const stopper = new AbortController();
    const output = await createSparseOutput(at('stopped'), forSnapshot('snap-1', { signal: stopper.signal }));
    stopper.abort(new SgwError('aborted', 'aborted', 'stopped on request'));
    await expect(output.write(Buffer.alloc(1), 0)).rejects.toMatchObject({ kind: 'aborted' });
    await expect(output.finish()).rejects.toMatchObject({ kind: 'aborted' });
    await expect(stat(at('stopped'))).rejects.toMatchObject({ code: 'ENOENT' });
    await output.discard();
  });

  it('larger than the file system allows is refused and leaves nothing', async () => {
    const inside = await folder('too-large');
    const work = createSparseOutput(inside('out'), { sizeBytes: Number.MAX_SAFE_INTEGER, resumeKey: 'snap-1' });
    await expect(work).rejects.toMatchObject({ kind: 'exhausted' });
    expect(await readdir(inside(''))).toEqual([]);
  });

  it('with a name as long as names can be is made all the same', async () => {
    const inside = await folder('long');
    const output = await createSparseOutput(inside('n'.repeat(255)), forSnapshot('snap-1'));
    await output.finish();
    expect(await readdir(inside(''))).toEqual(['n'.repeat(255)]);
  });
});

locks.describe('a resumed sparse output', () => {
  it('goes on from the last checkpoint with what was written before', async () => {
    const first = await createSparseOutput(at('resumed'), forSnapshot('snap-1'));
    await first.write(Buffer.from('first'), 0);
    await first.checkpoint(MIB);
    await first.write(Buffer.from('not vouched for'), 2 * MIB);
    await first.abandon();
    const second = await createSparseOutput(at('resumed'), forSnapshot('snap-1'));
    expect(second.resumedFrom).toBe(MIB);
    await second.write(Buffer.from('second'), 2 * MIB);
    await second.finish();
    const bytes = await readFile(at('resumed'));
    expect(bytes.subarray(0, 5).toString()).toBe('first');
    expect(bytes.subarray(2 * MIB, 2 * MIB + 6).toString()).toBe('second');
  });

  it('keeps the highest watermark when checkpoints overlap', async () => {
    const first = await createSparseOutput(at('overlap'), forSnapshot('snap-1'));
    await Promise.all([first.checkpoint(10), first.checkpoint(30), first.checkpoint(20)]);
    await first.abandon();
    const second = await createSparseOutput(at('overlap'), forSnapshot('snap-1'));
    expect(second.resumedFrom).toBe(30);
    await second.discard();
  });

  it.each([
    ['another snapshot', forSnapshot('snap-2')],
    ['another size', forSnapshot('snap-1', { sizeBytes: SIZE + 1 })],
  ])('starts anew for %s, with zeroes where nothing is written', async (name, options) => {
    const first = await createSparseOutput(at(name), forSnapshot('snap-1'));
    await first.write(Buffer.alloc(MIB, 1), 0);
    await first.checkpoint(MIB);
    await first.abandon();
    const second = await createSparseOutput(at(name), options);
    expect(second.resumedFrom).toBe(0);
    await second.finish();
    expect((await readFile(at(name))).every((byte) => byte === 0)).toBe(true);
  });

  it('starts anew when the state is damaged or the partial file is not the one it speaks of', async () => {
    for (const harm of [
      (path: string) => writeFile(`${path}.state`, '{"version":1,'),
      (path: string) => writeFile(`${path}.state`, '{"version":1,"completedBytes":"all"}'),
      (path: string) => truncate(path, MIB),
      (path: string) => link(path, `${path}.other`),
    ]) {
      const first = await createSparseOutput(at('damaged'), forSnapshot('snap-1'));
      await first.write(Buffer.alloc(10, 1), 0);
      await first.checkpoint(10);
      await first.abandon();
      await harm(first.partialPath);
      const second = await createSparseOutput(at('damaged'), forSnapshot('snap-1'));
      expect(second.resumedFrom).toBe(0);
      expect((await readFile(second.partialPath)).every((byte) => byte === 0)).toBe(true);
      await second.discard();
    }
  });

  it('after discard starts from nothing', async () => {
    const inside = await folder('discarded');
    const first = await createSparseOutput(inside('out'), forSnapshot('snap-1'));
    await first.checkpoint(10);
    await first.discard();
    expect(await readdir(inside(''))).toEqual([]);
  });

  it('is refused while another writes the same file, and free after it', async () => {
    const first = await createSparseOutput(at('busy'), forSnapshot('snap-1'));
    const second = createSparseOutput(at('busy'), forSnapshot('snap-2'));
    await expect(second).rejects.toMatchObject({ kind: 'unavailable', code: 'target-in-use' });
    await first.discard();
    const third = await createSparseOutput(at('busy'), forSnapshot('snap-2'));
    await third.discard();
  });

  it('leaves exactly one winner when many start at once', async () => {
    const claims = await Promise.allSettled(
      Array.from({ length: 20 }, (_, n) => createSparseOutput(at('race'), forSnapshot(`snap-${String(n)}`))),
    );
    const winners = claims.filter((claim) => claim.status === 'fulfilled');
    expect(winners).toHaveLength(1);
    for (const winner of winners) await winner.value.discard();
  });
});

describe('a sparse output without file locks', () => {
  const noCalls = { systemCalls: undefined };

  it('is written under a name of its own, and is removed instead of kept', async () => {
    const inside = await folder('unlocked');
    const first = await createSparseOutput(inside('out'), forSnapshot('snap-1', noCalls));
    const second = await createSparseOutput(inside('out'), forSnapshot('snap-2', noCalls));
    expect(first.resumable).toBe(false);
    expect(first.partialPath).not.toBe(second.partialPath);
    await first.checkpoint(10);
    await first.abandon();
    await second.finish();
    expect(await readdir(inside(''))).toEqual(['out']);
  });
});

describe('an existing file', () => {
  it('is refused before any work without force', async () => {
    const inside = await folder('existing');
    await writeFile(inside('out'), 'precious');
    await expect(createSparseOutput(inside('out'), forSnapshot('snap-1'))).rejects.toMatchObject({
      kind: 'conflict',
      code: 'file-exists',
      hint: expect.stringContaining('--force') as string,
    });
    expect(await readdir(inside(''))).toEqual(['out']);
  });

  it('that a killed process had finished is left alone by the next one, which tidies up behind it', async () => {
    const inside = await folder('killed');
    const left = async (): Promise<void> => {
      const first = await createSparseOutput(inside('out'), forSnapshot('snap-1'));
      await first.write(Buffer.from('done'), 0);
      await first.checkpoint(SIZE);
      await link(first.partialPath, inside('out'));
      await first.abandon();
      await writeFile(`${first.partialPath}.lock`, '');
    };
    await left();
    expect((await readdir(inside(''))).length).toBeGreaterThan(1);
    await expect(createSparseOutput(inside('out'), forSnapshot('snap-1'))).rejects.toMatchObject({
      code: 'file-exists',
    });
    expect(await readdir(inside(''))).toEqual(['out']);
    expect((await readFile(inside('out'))).subarray(0, 4).toString()).toBe('done');
  });

  locks.it('that was renamed into place before a kill is told as there, and state, new state and lock go', async () => {
    const inside = await folder('renamed');
    const first = await createSparseOutput(inside('out'), forSnapshot('snap-1'));
    await first.write(Buffer.from('done'), 0);
    await first.checkpoint(SIZE);
    await first.abandon();
    await rename(first.partialPath, inside('out'));
    await writeFile(`${first.partialPath}.state.new`, '{');
    await writeFile(`${first.partialPath}.lock`, '');
    await expect(createSparseOutput(inside('out'), forSnapshot('snap-1'))).rejects.toMatchObject({
      code: 'file-exists',
    });
    expect(await readdir(inside(''))).toEqual(['out']);
    expect((await readFile(inside('out'))).subarray(0, 4).toString()).toBe('done');
  });

  it('that a killed process had finished is replaced whole with force, and nothing is left beside it', async () => {
    const inside = await folder('forced-over');
    const first = await createSparseOutput(inside('out'), forSnapshot('snap-1'));
    await first.write(Buffer.from('done'), 0);
    await first.checkpoint(SIZE);
    await link(first.partialPath, inside('out'));
    await first.abandon();
    const second = await createSparseOutput(inside('out'), forSnapshot('snap-2', { force: true }));
    expect((await readFile(inside('out'))).subarray(0, 4).toString()).toBe('done');
    await second.write(Buffer.from('next'), 0);
    await second.finish();
    expect(await readdir(inside(''))).toEqual(['out']);
    expect((await readFile(inside('out'))).subarray(0, 4).toString()).toBe('next');
  });

  locks.it('keeps its side files while another process holds the lock', async () => {
    const inside = await folder('held');
    const first = await createSparseOutput(inside('out'), forSnapshot('snap-1'));
    await first.checkpoint(SIZE);
    await link(first.partialPath, inside('out'));
    const names = await readdir(inside(''));
    await expect(createSparseOutput(inside('out'), forSnapshot('snap-1'))).rejects.toMatchObject({
      code: 'file-exists',
    });
    expect(await readdir(inside(''))).toEqual(names);
    await first.abandon();
  });

  it('of another kind keeps the work that waits for its name', async () => {
    const inside = await folder('waiting');
    const first = await createSparseOutput(inside('out'), forSnapshot('snap-1'));
    await first.checkpoint(SIZE);
    await first.abandon();
    await writeFile(inside('out'), 'precious');
    await expect(createSparseOutput(inside('out'), forSnapshot('snap-1'))).rejects.toMatchObject({
      code: 'file-exists',
    });
    expect((await readdir(inside(''))).length).toBeGreaterThan(1);
    expect(await readFile(inside('out'), 'utf8')).toBe('precious');
  });

  it('that appears at the last moment is not replaced, and the work is kept', async () => {
    const output = await createSparseOutput(at('late'), forSnapshot('snap-1'));
    await output.write(Buffer.from('work'), 0);
    await writeFile(at('late'), 'precious');
    await expect(output.finish()).rejects.toMatchObject({ kind: 'conflict', code: 'file-exists' });
    await output.abandon();
    expect(await readFile(at('late'), 'utf8')).toBe('precious');
    const again = await createSparseOutput(at('late'), forSnapshot('snap-1', { force: true }));
    if (again.resumable) expect(again.resumedFrom).toBe(SIZE);
    await again.finish();
    expect((await stat(at('late'))).size).toBe(SIZE);
  });

  it('is whole until it is replaced with force', async () => {
    await writeFile(at('forced'), 'old');
    const output = await createSparseOutput(at('forced'), forSnapshot('snap-1', { force: true }));
    await output.write(Buffer.from('new'), 0);
    expect(await readFile(at('forced'), 'utf8')).toBe('old');
    await output.finish();
    expect((await readFile(at('forced'))).subarray(0, 3).toString()).toBe('new');
  });

  it('that a crash left linked to the partial file is not written through it', async () => {
    const first = await createSparseOutput(at('linked'), forSnapshot('snap-1'));
    await first.write(Buffer.from('done'), 0);
    await first.checkpoint(SIZE);
    await link(first.partialPath, at('linked'));
    await first.abandon();
    const second = await createSparseOutput(at('linked'), forSnapshot('snap-2', { force: true }));
    await second.write(Buffer.from('half'), 0);
    expect((await readFile(at('linked'))).subarray(0, 4).toString()).toBe('done');
    await second.finish();
    expect((await readFile(at('linked'))).subarray(0, 4).toString()).toBe('half');
  });

  it('behind a symbolic link is the one replaced', async () => {
    await writeFile(at('pointed'), 'old');
    await symlink(at('pointed'), at('pointer'));
    await expect(createSparseOutput(at('pointer'), forSnapshot('snap-1'))).rejects.toMatchObject({
      code: 'file-exists',
    });
    const output = await createSparseOutput(at('pointer'), forSnapshot('snap-1', { force: true }));
    expect(output.finalPath).toBe(at('pointed'));
    await output.finish();
    expect((await stat(at('pointed'))).size).toBe(SIZE);
  });

  it('that somebody links the partial name to is not written', async () => {
    await writeFile(at('victim'), 'precious');
    await symlink(at('victim'), at('.planted.sgw-partial'));
    const output = await createSparseOutput(at('planted'), forSnapshot('snap-1'));
    await output.write(Buffer.from('work'), 0);
    await output.finish();
    expect(await readFile(at('victim'), 'utf8')).toBe('precious');
    expect((await stat(at('planted'))).size).toBe(SIZE);
  });

  it('is not written through a link under the name of its state, nor resumed by what one leads to', async () => {
    const inside = await folder('planted-state');
    const state = inside('.out.sgw-partial.state');
    await writeFile(inside('victim'), 'precious');
    await symlink(inside('victim'), `${state}.new`);
    const first = await createSparseOutput(inside('out'), forSnapshot('snap-1'));
    await first.checkpoint(SIZE);
    await first.abandon();
    expect(await readFile(inside('victim'), 'utf8')).toBe('precious');
    await rename(state, inside('elsewhere'));
    await symlink(inside('elsewhere'), state);
    const second = await createSparseOutput(inside('out'), forSnapshot('snap-1'));
    expect(second.resumedFrom).toBe(0);
    await second.discard();
  });

  requireThat(process.geteuid?.() === 0, 'only root can give files away').it(
    'is not resumed by the state that another user left beside it',
    async () => {
      const first = await createSparseOutput(at('foreign'), forSnapshot('snap-1'));
      await first.checkpoint(SIZE);
      await first.abandon();
      await chown(`${first.partialPath}.state`, 12_345, 12_345);
      const second = await createSparseOutput(at('foreign'), forSnapshot('snap-1'));
      expect(second.resumedFrom).toBe(0);
      await second.discard();
    },
  );

  it('that is only a dangling link counts as existing', async () => {
    await symlink(at('nowhere'), at('dangling'));
    await expect(createSparseOutput(at('dangling'), forSnapshot('snap-1'))).rejects.toMatchObject({
      code: 'file-exists',
    });
  });
});

describe('a target that can not be written', () => {
  it.each([false, true])('is named in the error (force %s)', async (force) => {
    await mkdir(at('directory'), { recursive: true });
    await writeFile(at('plain'), '');
    const attempt = (path: string): Promise<unknown> => createSparseOutput(path, forSnapshot('snap-1', { force }));
    await expect(attempt(at('directory'))).rejects.toMatchObject({ kind: 'invalid', code: 'target-is-directory' });
    await expect(attempt(`${at('new')}/`)).rejects.toMatchObject({ kind: 'invalid', code: 'target-is-directory' });
    await expect(attempt(at('absent/out'))).rejects.toMatchObject({
      kind: 'notFound',
      code: 'target-directory-missing',
    });
    await expect(attempt(at('plain/out'))).rejects.toMatchObject({ kind: 'invalid' });
    await expect(attempt('/dev/null')).rejects.toMatchObject({ kind: 'unsupported', code: 'target-not-a-file' });
    await expect(attempt(at('n'.repeat(256)))).rejects.toMatchObject({ kind: 'invalid', code: 'target-name-too-long' });
  });

  requireThat(process.platform === 'linux', 'only Linux has /sys').it(
    'for want of permission names the directory',
    async () => {
      await expect(createSparseOutput('/sys/sgw-out', forSnapshot('snap-1'))).rejects.toMatchObject({
        kind: 'denied',
        details: { path: '/sys' },
      });
    },
  );
});
