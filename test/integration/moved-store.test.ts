/** Homes and stores that were moved by hand, as people do. */
import { mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openInProcess } from '../../src/core/daemon/index.ts';
import type { Input, OperationName, Result } from '../../src/core/localapi/index.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sgw-moved-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const at = (name: string): string => join(folder, name);

async function call<N extends OperationName>(home: string, name: N, input: Input<N>): Promise<Result<N>> {
  await using api = await openInProcess({ home: at(home) });
  const signal = new AbortController().signal;
  return await api.call(name, input, { signal, onProgress: () => undefined, lockTimeoutMs: 1000 });
}

const names = async (home: string): Promise<string[]> =>
  (await call(home, 'volume.list', {})).volumes.map((volume) => volume.name);

test('a home with its store inside works wherever it is moved', async () => {
  const made = await call('home', 'activate', { name: 'lab', mode: 'cached' });
  expect(made.store).toBe(at('home/store'));
  await call('home', 'volume.create', { name: 'v', sizeBytes: 4096 });
  await rename(at('home'), at('elsewhere'));
  expect(await names('elsewhere')).toEqual(['v']);
  expect(await call('elsewhere', 'status', {})).toMatchObject({
    store: { description: at('elsewhere/store'), reachable: true },
  });
  expect(JSON.parse(await readFile(at('elsewhere/state.json'), 'utf8'))).toMatchObject({ gateway: { store: 'store' } });
  const again = { name: 'lab', mode: 'cached', ifNotExists: true } as const;
  expect(await call('elsewhere', 'activate', { ...again, store: at('elsewhere/store') })).toMatchObject({
    created: false,
    store: at('elsewhere/store'),
  });
});

test('a gateway is pointed at its store where that was moved to, and at no other', async () => {
  await call('home', 'activate', { name: 'lab', mode: 'cached', store: at('store') });
  await call('home', 'volume.create', { name: 'v', sizeBytes: 4096 });
  await call('other', 'activate', { name: 'other', mode: 'cached' });
  await rename(at('store'), at('new store'));
  await expect(names('home')).rejects.toMatchObject({
    code: 'store-missing',
    hint: expect.stringContaining('sgw configure --store DIR') as string,
  });
  expect((await call('home', 'status', {})).remarks.join()).toContain('sgw configure --store DIR');
  await expect(call('home', 'configure', { store: at('other/store') })).rejects.toMatchObject({
    kind: 'conflict',
    code: 'other-store',
  });
  await expect(call('home', 'configure', { store: at('nowhere') })).rejects.toMatchObject({ code: 'store-missing' });
  const moved = { store: at('new store'), name: 'lab-2', mode: 'shadowing' } as const;
  expect(await call('home', 'configure', moved)).toMatchObject({
    name: 'lab-2',
    mode: 'shadowing',
    version: 2,
    changed: ['name', 'mode', 'store'],
  });
  expect(await call('home', 'configure', moved)).toMatchObject({ version: 2, changed: [] });
  expect(await names('home')).toEqual(['v']);
  await rename(at('new store'), at('home/store'));
  await call('home', 'configure', { store: at('home/store') });
  await rename(at('home'), at('elsewhere'));
  expect(await names('elsewhere')).toEqual(['v']);
});

test('a gateway that is open goes on in the moved store', async () => {
  await using api = await openInProcess({ home: at('home') });
  const context = { signal: new AbortController().signal, onProgress: () => undefined, lockTimeoutMs: 1000 };
  await api.call('activate', { name: 'lab', mode: 'cached', store: at('store') }, context);
  await api.call('volume.create', { name: 'v', sizeBytes: 4096 }, context);
  await rename(at('store'), at('new store'));
  await expect(api.call('volume.list', {}, context)).rejects.toMatchObject({ code: 'store-gone' });
  await api.call('configure', { store: at('new store') }, context);
  expect((await api.call('volume.list', {}, context)).volumes).toHaveLength(1);
});
