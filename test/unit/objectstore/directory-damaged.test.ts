/** An object whose own files are damaged hides no other from a list. */
import { mkdtemp, rename, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { directoryStore } from '../../../src/core/objectstore/directory.ts';
import type { ObjectInfo, ObjectStore } from '../../../src/core/objectstore/index.ts';

let path: string;
let store: ObjectStore;

beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'sgw-damaged-'));
  store = directoryStore({ path, create: true });
  for (const key of ['a/1', 'a/2', 'a/3']) await store.put(key, Buffer.from(key));
});

afterEach(async () => {
  await store.close();
  await rm(path, { recursive: true, force: true });
});

async function expectListed(key: string): Promise<void> {
  const infos: ObjectInfo[] = await Array.fromAsync(store.list('a/'));
  expect(infos.map((info) => info.key)).toEqual(['a/1', 'a/2', 'a/3']);
  const damaged = infos.find((info) => info.key === key);
  expect(damaged?.sizeBytes).toBe(0);
  expect(await store.head(key)).toEqual(damaged);
  await expect(store.get(key)).rejects.toMatchObject({ kind: 'corrupt', code: 'object-damaged' });
  // It is not replaced or removed by who has only seen it in a list.
  const ifMatch = damaged?.etag ?? '';
  await expect(store.put(key, Buffer.from('x'), { condition: { ifMatch } })).rejects.toMatchObject({ kind: 'corrupt' });
  await expect(store.delete(key, { ifMatch })).rejects.toMatchObject({ kind: 'corrupt' });
}

it('a list names an object whose file is empty', async () => {
  await truncate(join(path, 'a/2@1'), 0);
  await expectListed('a/2');
});

it('a list names an object whose newer versions are lost', async () => {
  for (const text of ['second', 'third', 'fourth']) await store.put('a/2', Buffer.from(text));
  await rename(join(path, 'a/2@'), join(path, '@tmp', 'lost'));
  await expectListed('a/2');
});
