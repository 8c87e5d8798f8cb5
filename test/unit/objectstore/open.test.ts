import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freeBytes, openObjectStore, sharesFileSystem } from '../../../src/core/objectstore/index.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sgw-open-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

describe('opening a store', () => {
  it('makes one only where asked, and only at the first write', async () => {
    const path = join(folder, 'deep', 'store');
    await expect(openObjectStore(path)).rejects.toMatchObject({ kind: 'notFound', code: 'store-missing' });
    const store = await openObjectStore(path, { create: true });
    expect(store.description).toBe(path);
    expect(await store.head('k')).toBeUndefined();
    expect(await readdir(folder)).toEqual([]);
    await store.put('k', Buffer.from('x'));
    expect((await (await openObjectStore(path)).head('k'))?.sizeBytes).toBe(1);
  });

  it('leaves a directory with other files alone', async () => {
    await writeFile(join(folder, 'thesis.txt'), 'x');
    const store = await openObjectStore(folder, { create: true });
    await expect(store.put('k', Buffer.from('x'))).rejects.toMatchObject({ kind: 'conflict', code: 'store-not-empty' });
    expect(await readdir(folder)).toEqual(['thesis.txt']);
  });

  it('many first writers make one store', async () => {
    const path = join(folder, 'store');
    const stores = await Promise.all(Array.from({ length: 8 }, async () => openObjectStore(path, { create: true })));
    await Promise.all(stores.map(async (store, i) => store.put(`k${String(i)}`, Buffer.from('x'))));
    expect((await readdir(path)).length).toBe(10);
  });

  it('refuses a layout that it does not know', async () => {
    await writeFile(join(folder, '@layout'), 'sgw directory store 2\n');
    await expect(openObjectStore(folder)).rejects.toMatchObject({ kind: 'unsupported', code: 'store-layout' });
  });

  it('refuses a file, a URL and nothing', async () => {
    await writeFile(join(folder, 'file'), '');
    await expect(openObjectStore(join(folder, 'file'))).rejects.toMatchObject({ kind: 'invalid' });
    for (const url of ['nfs://host/folder', 'https://user:secret@host/']) {
      const error: unknown = await openObjectStore(url).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ kind: 'unsupported', code: 'store-kind', hint: expect.any(String) as string });
      expect(JSON.stringify(error)).not.toContain('secret');
    }
    await expect(openObjectStore('')).rejects.toMatchObject({ kind: 'invalid' });
  });
});

describe('file systems', () => {
  it('are compared for paths that need not exist yet', async () => {
    await mkdir(join(folder, 'a'));
    expect(await sharesFileSystem(join(folder, 'a'), join(folder, 'b', 'c'))).toBe(true);
    expect(await sharesFileSystem(folder, '/proc/self')).toBe(false);
  });

  it('tell their free bytes', async () => {
    expect(await freeBytes(join(folder, 'not', 'there'))).toBeGreaterThan(0);
  });
});
