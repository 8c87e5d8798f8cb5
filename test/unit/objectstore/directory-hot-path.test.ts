/** What a call on a log segment may cost when its directory holds a million others. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { directoryStore, type ObjectStore } from '../../../src/core/objectstore/index.ts';

const { directoriesRead } = vi.hoisted(() => ({ directoriesRead: [] as string[] }));

vi.mock('node:fs/promises', async (importOriginal) => {
  const original = await importOriginal<typeof import('node:fs/promises')>();
  const readdir = async (path: string): Promise<string[]> => {
    directoriesRead.push(path);
    return original.readdir(path);
  };
  return { ...original, readdir };
});

let root: string;
let store: ObjectStore;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sgw-store-'));
  store = directoryStore({ path: root });
  await store.put('warm-up', Buffer.from(''));
  directoriesRead.length = 0;
});
afterEach(async () => {
  await rm(root, { recursive: true });
});

const KEY = 'volumes/v/log/0000000000000001';

it('creating, reading and replacing a segment by a tombstone reads no directory', async () => {
  const ifAbsent = { condition: { ifAbsent: true } } as const;
  expect((await store.put(KEY, Buffer.from('segment'), ifAbsent)).outcome).toBe('stored');
  expect((await store.put(KEY, Buffer.from('segment'), ifAbsent)).outcome).toBe('preconditionFailed');
  expect((await store.get(KEY))?.bytes.toString()).toBe('segment');
  expect((await store.head(KEY))?.sizeBytes).toBe(7);
  expect(await store.head('volumes/v/log/0000000000000002')).toBeUndefined();
  expect((await store.put(KEY, new Uint8Array(0))).outcome).toBe('stored');
  expect((await store.put(KEY, Buffer.from('segment'), ifAbsent)).outcome).toBe('preconditionFailed');
  expect((await store.get(KEY))?.sizeBytes).toBe(0);
  expect(await store.delete(KEY)).toBe(true);
  expect(directoriesRead.filter((path) => !path.endsWith('@'))).toEqual([]);
});

it('a list reads only directories that can hold keys of its prefix', async () => {
  for (const key of ['volumes/v/head.json', KEY, 'volumes/w/head.json', 'snapshots/s/a'])
    await store.put(key, Buffer.from(''));
  directoriesRead.length = 0;
  for await (const { key } of store.list('volumes/v/l')) expect(key).toBe(KEY);
  expect(directoriesRead).toEqual(['volumes/v/', 'volumes/v/log/'].map((path) => join(root, path)));
});
