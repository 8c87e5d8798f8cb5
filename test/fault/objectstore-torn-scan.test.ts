/** A scan of generations during which others write: rule 1 of directory-generations.ts. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { directoryStore, type ObjectStore } from '../../src/core/objectstore/index.ts';

type Names = (path: string) => Promise<string[]>;
const { scan } = vi.hoisted(() => ({ scan: { next: undefined as Names | undefined } }));

vi.mock('node:fs/promises', async (importOriginal) => {
  const original = await importOriginal<typeof import('node:fs/promises')>();
  const readdir: Names = async (path) => {
    const once = path.endsWith('@') ? scan.next : undefined;
    if (once === undefined) return original.readdir(path);
    scan.next = undefined;
    return once(path);
  };
  return { ...original, readdir };
});

let root: string;
let store: ObjectStore;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sgw-store-'));
  store = directoryStore({ path: root });
  for (let i = 1; i <= 7; i++) await store.put('k', Buffer.from(String(i)));
});
afterEach(async () => {
  scan.next = undefined;
  await rm(root, { recursive: true });
});

/** The next scan sees neither the generation that was current when it began nor its successor, but a late writer's file. */
function tearNextScan(): void {
  scan.next = async (path) => {
    await directoryStore({ path: root }).put('k', Buffer.from('8'));
    await writeFile(join(path, '6'), 'late\n');
    return ['6'];
  };
}

it('a read that missed the current generation and its successor looks again', async () => {
  tearNextScan();
  expect((await store.get('k'))?.bytes.toString()).toBe('8');
  tearNextScan();
  expect((await store.head('k'))?.etag).toBe('9');
});

it('a scan that found nothing at all looks again', async () => {
  scan.next = async () => {
    await directoryStore({ path: root }).put('k', Buffer.from('8'));
    return [];
  };
  expect((await store.get('k'))?.bytes.toString()).toBe('8');
});

it('a file that is removed between scan and open is not an error', async () => {
  scan.next = async () => {
    await directoryStore({ path: root }).put('k', Buffer.from('8'));
    return ['7'];
  };
  expect((await store.get('k'))?.bytes.toString()).toBe('8');
});
