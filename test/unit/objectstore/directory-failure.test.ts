import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SgwError } from '../../../src/core/kit/index.ts';
import { storeFailure } from '../../../src/core/objectstore/directory-failure.ts';
import { openObjectStore } from '../../../src/core/objectstore/index.ts';

const refusal = (code: string, path?: string): Error => Object.assign(new Error(code), { code, syscall: 'open', path });

test('what the system refuses inside a store names the store; the file inside is in the details', () => {
  const inside = '/srv/store/sgw.json@1';
  expect(storeFailure(refusal('EACCES', inside), '/srv/store')).toMatchObject({
    kind: 'denied',
    code: 'system-eacces',
    message: '/srv/store may not be used by this user',
    details: { store: '/srv/store', path: inside },
  });
});

test('a full disk is told of the store, also where the system names no file, and free space is to be made there', () => {
  for (const code of ['ENOSPC', 'EDQUOT']) {
    const failure = storeFailure(refusal(code), '/srv/store');
    expect(failure).toMatchObject({
      kind: 'exhausted',
      hint: 'Free space on the file system of /srv/store, then run the same command again.',
    });
    expect(failure.message).toMatch(/^\/srv\/store /);
  }
});

test('failures that are told well already stay as they are', () => {
  const failure = new SgwError('conflict', 'store-not-empty', 'no');
  expect(storeFailure(failure, '/srv/store')).toBe(failure);
});

test('a file can not be a store, and is named as what was given', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sgw-store-'));
  try {
    const path = join(folder, 'file');
    await writeFile(path, 'x');
    await expect(openObjectStore(path, { create: true })).rejects.toMatchObject({
      kind: 'invalid',
      message: `${path} is not a directory`,
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
