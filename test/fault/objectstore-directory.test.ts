/** The directory store under racing processes, stalled writers, crashes in the middle, and damage: PROTOCOL C15. */
import { spawn } from 'node:child_process';
import {
  link,
  mkdir,
  mkdtemp,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GenerationWriter, openCurrent } from '../../src/core/objectstore/directory-generations.ts';
import { OBJECT_END, objectPaths } from '../../src/core/objectstore/directory-layout.ts';
import { DirectorySync } from '../../src/core/objectstore/directory-sync.ts';
import { TemporaryFiles } from '../../src/core/objectstore/directory-temporary.ts';
import { directoryStore, type Etag, type ObjectStore } from '../../src/core/objectstore/index.ts';
import { systemClock, systemRandom } from '../../src/core/kit/index.ts';

const RACER = fileURLToPath(new URL('objectstore-racer.ts', import.meta.url));

async function race(...args: string[]): Promise<string> {
  const child = spawn(process.execPath, [RACER, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (output += part));
  const code = await new Promise((done) => child.on('close', done));
  expect(code).toBe(0);
  return output;
}

let root: string;
let store: ObjectStore;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sgw-store-'));
  store = directoryStore({ path: root });
});
afterEach(async () => {
  await store.close();
  await rm(root, { recursive: true, force: true });
});

const text = (content: string): Buffer => Buffer.from(content);
const put = async (key: string, content: string): Promise<Etag> => {
  const result = await store.put(key, text(content));
  if (result.outcome !== 'stored') throw new Error(`${key} was not stored`);
  return result.etag;
};
const read = async (key: string): Promise<string | undefined> => (await store.get(key))?.bytes.toString();

describe('racing processes', () => {
  it('a counter incremented by four processes loses no update, one winner for each generation', async () => {
    await Promise.all(Array.from({ length: 4 }, async () => race('counter', root, 'c', '125')));
    expect(await read('c')).toBe('500');
    expect((await store.head('c'))?.etag).toBe('500');
  }, 60_000);

  it('every object has exactly one creator', async () => {
    const outputs = await Promise.all(Array.from({ length: 4 }, async () => race('create', root, 'log/', '60')));
    const won = outputs.flatMap((output) => JSON.parse(output) as string[]);
    expect(won.sort()).toEqual(Array.from({ length: 60 }, (_, i) => `log/${i.toString(16).padStart(16, '0')}`));
  }, 60_000);

  it('creations and removals of one key alternate', async () => {
    const outputs = await Promise.all(Array.from({ length: 4 }, async () => race('recreate', root, 'k', '40')));
    const rows = outputs.map((output) => JSON.parse(output) as { created: number; deleted: number });
    const created = rows.reduce((sum, row) => sum + row.created, 0);
    const deleted = rows.reduce((sum, row) => sum + row.deleted, 0);
    expect(created).toBeGreaterThan(0);
    expect(deleted).toBe(created);
    expect(await store.head('k')).toBeUndefined();
  }, 60_000);
});

describe('killed processes', () => {
  it('writers killed at any moment stop nobody, lose nothing that was acknowledged and leave no litter', async () => {
    const ends = Array.from({ length: 5 }, async (_, i) => {
      const child = spawn(process.execPath, [RACER, 'counter', root, 'c', i === 0 ? '60' : '1000000'], {
        stdio: 'ignore',
      });
      const end = new Promise((done) => child.on('close', done));
      if (i > 0) {
        // Killed once the counter has got so far: a moment of the store's own time, not of the clock.
        while (Number((await read('c')) ?? 0) < i * 20) await new Promise((resume) => setImmediate(resume));
        child.kill('SIGKILL');
      }
      return end;
    });
    const codes = await Promise.all(ends);
    expect(codes[0]).toBe(0);
    const counted = Number(await read('c'));
    expect(counted).toBeGreaterThanOrEqual(80);
    expect(await store.head('c')).toMatchObject({ etag: String(counted) });
    await directoryStore({ path: root }).put('c', text('end'));
    expect(await readdir(join(root, '@tmp'))).toEqual([]);
    expect(await readdir(join(root, 'c@'))).toEqual([String(counted + 1)]);
  }, 60_000);
});

/** The parts of a store, to stop a writer between its steps. */
function parts(): { writer: GenerationWriter; temporaries: TemporaryFiles } {
  const temporaries = new TemporaryFiles(join(root, '@tmp'), systemClock, systemRandom);
  return { writer: new GenerationWriter(new DirectorySync(root), temporaries), temporaries };
}

describe('stalled writers', () => {
  it.each([3, 4, 5, 9])('a writer that read generation %i long ago loses, and changes nothing', async (seen) => {
    for (let i = 1; i <= seen; i++) await put('k', String(i));
    const paths = objectPaths(root, 'k');
    const stale = await openCurrent(paths);
    expect(stale?.generation).toBe(seen);
    await put('k', 'newer');
    await put('k', 'newest');
    expect(await readdir(paths.laterDirectory)).toEqual([String(seen + 2)]);

    const { writer, temporaries } = parts();
    const file = await temporaries.write(text('stale'), OBJECT_END, undefined);
    expect(await writer.succeed(paths, stale, file)).toBe(false);
    await stale?.handle.close();
    await temporaries.discard(file);
    expect(await read('k')).toBe('newest');
    expect(await readdir(paths.laterDirectory)).toEqual([String(seen + 2)]);
  });

  it('what a stalled writer left under a free name is never current, and goes with the next change', async () => {
    for (let i = 1; i <= 7; i++) await put('k', String(i));
    const paths = objectPaths(root, 'k');
    await writeFile(join(paths.laterDirectory, '6'), 'stale\n');
    expect(await read('k')).toBe('7');
    expect((await store.put('k', text('x'), { condition: { ifMatch: '6' } })).outcome).toBe('preconditionFailed');
    await put('k', '8');
    expect(await readdir(paths.laterDirectory)).toEqual(['8']);
  });

  it('a writer that was built upon before it could look has won', async () => {
    for (let i = 1; i <= 3; i++) await put('k', String(i));
    const paths = objectPaths(root, 'k');
    const { temporaries } = parts();
    const current = await openCurrent(paths);
    const file = await temporaries.write(text('mine'), OBJECT_END, undefined);
    // Another process sees generation 4 and builds 5 and 6 on it, all between this writer's link and its look.
    const late = new DirectorySync(root);
    const original = late.sync.bind(late);
    let isFirst = true;
    late.sync = async (path) => {
      await original(path);
      if (!isFirst || path !== paths.laterDirectory) return;
      isFirst = false;
      expect(await read('k')).toBe('mine');
      await put('k', 'five');
      await put('k', 'six');
    };
    expect(await new GenerationWriter(late, temporaries).succeed(paths, current, file)).toBe(true);
    expect(await read('k')).toBe('six');
    await current?.handle.close();
    await temporaries.discard(file);
  });
});

describe('writers that died in the middle', () => {
  it.each([1, 2])(
    'a successor of generation %i that did not take effect is finished by the next writer',
    async (seen) => {
      for (let i = 1; i <= seen; i++) await put('k', String(i));
      const paths = objectPaths(root, 'k');
      await mkdir(paths.laterDirectory, { recursive: true });
      const next = seen === 1 ? paths.second : join(paths.laterDirectory, '3');
      await writeFile(next, 'half way\n');
      expect(await read('k')).toBe(String(seen));
      const etag = String(seen) as Etag;
      expect((await store.put('k', text('x'), { condition: { ifMatch: etag } })).outcome).toBe('preconditionFailed');
      expect(await read('k')).toBe('half way');
      await put('k', 'on');
      expect(await read('k')).toBe('on');
    },
  );

  it('abandoned temporary files are swept, those of living processes are not', async () => {
    await put('k', '1');
    const { temporaries } = parts();
    const living = await temporaries.write(text('x'), OBJECT_END, undefined);
    const [space = ''] = (living.path.split('/').pop() ?? '').split('-');
    const dead = join(root, '@tmp', `${space}-${String(await deadProcess())}-aaaa`);
    const elsewhere = join(root, '@tmp', 'elsewhere-1-bbbb');
    await writeFile(dead, '');
    await writeFile(elsewhere, '');
    await directoryStore({ path: root }).put('k', text('2'));
    expect((await readdir(join(root, '@tmp'))).sort()).toEqual(
      [living.path, elsewhere].map((path) => path.split('/').pop() ?? '').sort(),
    );
    const tomorrow = { ...systemClock, nowMs: () => Date.now() + 25 * 60 * 60 * 1000 };
    await directoryStore({ path: root, clock: tomorrow }).put('k', text('3'));
    expect(await readdir(join(root, '@tmp'))).toEqual([]);
    await temporaries.discard(living);
  });

  it('no temporary file stays after a success, a lost condition or an abort', async () => {
    await put('k', '1');
    await store.put('k', text('2'), { condition: { ifAbsent: true } });
    await store.put('k', text('2'), { condition: { ifMatch: '1' } });
    const stop = new AbortController();
    const large = store.put('l', Buffer.alloc(64 * 1024 * 1024), { signal: stop.signal });
    stop.abort();
    await expect(large).rejects.toMatchObject({ kind: 'aborted' });
    expect(await readdir(join(root, '@tmp'))).toEqual([]);
    expect(await store.head('l')).toBeUndefined();
  });
});

async function deadProcess(): Promise<number> {
  const child = spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' });
  await new Promise((done) => child.on('close', done));
  return child.pid ?? 0;
}

describe('what is on the disk', () => {
  it('files are 0600 and directories 0700, whatever the umask', async () => {
    const old = process.umask(0);
    try {
      for (let i = 0; i < 3; i++) await put('a/b', String(i));
    } finally {
      process.umask(old);
    }
    for (const path of ['a', '@tmp', 'a/b@']) expect((await stat(join(root, path))).mode & 0o777).toBe(0o700);
    for (const path of ['@layout', 'a/b@/3']) expect((await stat(join(root, path))).mode & 0o777).toBe(0o600);
  });

  it('damage is reported, and never read as absence', async () => {
    await put('a', 'one');
    await truncate(join(root, 'a@1'), 0);
    expect(await store.head('a')).toMatchObject({ key: 'a', sizeBytes: 0 });
    for (const call of [() => store.get('a'), () => store.put('a', text('x'))]) {
      await expect(call()).rejects.toMatchObject({ kind: 'corrupt', code: 'object-damaged' });
    }
    await put('b', 'one');
    await truncate(join(root, 'b@1'), 2);
    await expect(store.get('b')).rejects.toMatchObject({ kind: 'corrupt' });
    await put('c', 'one');
    await put('c', 'two');
    await unlink(join(root, 'c@2'));
    await expect(store.get('c')).rejects.toMatchObject({ kind: 'corrupt' });
    for (const content of ['1', '2', '3']) await put('d', content);
    await unlink(join(root, 'd@/3'));
    await expect(store.get('d')).rejects.toMatchObject({ kind: 'corrupt' });
  });

  it('foreign files are neither listed nor touched', async () => {
    await put('a/b', '1');
    await mkdir(join(root, 'lost+found'));
    await writeFile(join(root, 'a', 'notes'), 'x');
    await writeFile(join(root, 'a', 'b@1.swp'), 'x');
    await symlink('nowhere', join(root, 'a', 'dangling'));
    const keys: string[] = [];
    for await (const { key } of store.list('')) keys.push(key);
    expect(keys).toEqual(['a/b']);
  });

  it('a store whose disk went away is unavailable, not empty', async () => {
    await put('k', '1');
    await rename(root, `${root}-away`);
    try {
      await mkdir(root);
      const calls = [
        () => store.get('k'),
        () => store.head('k'),
        () => store.put('k', text('2')),
        () => store.delete('k'),
      ];
      for (const call of calls) {
        await expect(call()).rejects.toMatchObject({ kind: 'unavailable', code: 'store-gone' });
      }
      expect(await readdir(root)).toEqual([]);
    } finally {
      await rm(root, { recursive: true });
      await rename(`${root}-away`, root);
    }
  });

  it('a hard link of a generation elsewhere, as a backup makes, does not disturb', async () => {
    await put('k', '1');
    await link(join(root, 'k@1'), join(root, '@tmp', 'copy'));
    await put('k', '2');
    expect(await read('k')).toBe('2');
  });
});
