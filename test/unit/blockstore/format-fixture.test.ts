/** Stores written by released versions stay readable for ever (test/fixtures/formats; scripts/make-format-fixture.ts). */
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Catalog, openSnapshotView, openVolumeView } from '../../../src/core/blockstore/index.ts';
import type { SnapshotId, VolumeId } from '../../../src/core/kit/index.ts';
import { directoryStore, memoryStore, type ObjectStore } from '../../../src/core/objectstore/index.ts';
import { readSnapshot, readVolume, toBuffer, type GetObject } from '../../reader/independent-reader.ts';
import { optionsOver, readAll } from './volume-model.ts';

interface Disk {
  readonly id: string;
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

const fixture = join(import.meta.dirname, '../../fixtures/formats/v1');
const expected = JSON.parse(readFileSync(join(fixture, 'expected.json'), 'utf8')) as {
  readonly volumes: readonly Disk[];
  readonly snapshots: readonly Disk[];
};
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** Every file below a folder and what is in it. */
function filesIn(folder: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files.set(relative(folder, path), sha256(readFileSync(path)));
  }
  return files;
}

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** The fixture's objects in memory. */
async function fromObjects(): Promise<ObjectStore> {
  const store = memoryStore();
  const folder = join(fixture, 'objects');
  for (const key of filesIn(folder).keys()) await store.put(key, readFileSync(join(folder, key)));
  return store;
}

/** A copy of the fixture's directory store; its files must be the same afterwards. */
function fromDirectory(): ObjectStore {
  const folder = mkdtempSync(join(tmpdir(), 'sgw-fixture-'));
  cleanups.push(() => {
    rmSync(folder, { recursive: true });
  });
  cpSync(join(fixture, 'directory'), folder, { recursive: true });
  const before = filesIn(folder);
  expect(before.size).toBeGreaterThan(0);
  const store = directoryStore({ path: folder, create: false });
  cleanups.push(async () => {
    await store.close();
    expect(filesIn(folder)).toEqual(before);
  });
  return store;
}

async function dump(store: ObjectStore): Promise<Map<string, string>> {
  const objects = new Map<string, string>();
  for await (const { key } of store.list(''))
    objects.set(key, sha256((await store.get(key))?.bytes ?? Buffer.alloc(0)));
  return objects;
}

describe.each([
  ['as plain files', fromObjects],
  ['as a directory store', fromDirectory],
])('a store of format 1 %s', (_form, open) => {
  it('is read by the product, which changes nothing', async () => {
    const store = await open();
    const before = await dump(store);
    const options = optionsOver(store);
    const catalog = new Catalog(options);
    const names = (list: readonly { readonly name: string }[]): string[] => list.map(({ name }) => name);
    expect(names(await catalog.listVolumes())).toEqual(names(expected.volumes));
    expect(names(await catalog.listSnapshots())).toEqual(names(expected.snapshots));
    for (const disk of expected.volumes) {
      const read = await readAll(await openVolumeView(options, disk.id as VolumeId));
      expect({ ...disk, sizeBytes: read.length, sha256: sha256(read) }).toEqual(disk);
    }
    for (const disk of expected.snapshots) {
      const read = await readAll(openSnapshotView(options, await catalog.getSnapshot(disk.id as SnapshotId)));
      expect({ ...disk, sizeBytes: read.length, sha256: sha256(read) }).toEqual(disk);
    }
    expect(await dump(store)).toEqual(before);
  });

  it('is read by the independent reader', async () => {
    const store = await open();
    const get: GetObject = async (key) => (await store.get(key))?.bytes;
    for (const disk of expected.volumes)
      expect(sha256(await toBuffer(await readVolume(get, disk.id)))).toBe(disk.sha256);
    for (const disk of expected.snapshots)
      expect(sha256(await toBuffer(await readSnapshot(get, disk.id)))).toBe(disk.sha256);
  });
});

describe('the fixture of format 1', () => {
  it('holds the same objects in both forms', async () => {
    expect(await dump(fromDirectory())).toEqual(await dump(await fromObjects()));
  });

  it('has a volume with a fence window and a void segment', async () => {
    const store = await fromObjects();
    const get: GetObject = async (key) => (await store.get(key))?.bytes;
    const [golden] = expected.volumes;
    expect((await readVolume(get, golden?.id ?? '')).voidSeqs).toEqual([5]);
  });
});
