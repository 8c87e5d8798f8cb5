/** Stores written by released versions stay readable for ever (test/fixtures/formats; scripts/make-format-fixture.ts). */
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import {
  Catalog,
  openSnapshotView,
  openVolumeView,
  readStoreInfo,
  type BlockStoreOptions,
} from '../../../src/core/blockstore/index.ts';
import { parseKeyFile, parseRecoveryCode, unlockStore } from '../../../src/core/blockstore/sealing/index.ts';
import type { SnapshotId, VolumeId } from '../../../src/core/kit/index.ts';
import { directoryStore, memoryStore, type ObjectStore } from '../../../src/core/objectstore/index.ts';
import { readSnapshot, readVolume, toBuffer, type GetObject } from '../../reader/independent-reader.ts';
import { openProviderStore } from '../../../src/core/service/providerkeys/index.ts';
import { ServiceKey } from '../../../src/core/service/server/index.ts';
import { serviceKeyBytes } from '../../reader/independent-provider.ts';
import { keyFileBytes, unlock, type StoreKeys } from '../../reader/independent-sealing.ts';
import { optionsOver, readAll } from './volume-model.ts';

interface Disk {
  readonly id: string;
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

interface Expected {
  readonly volumes: readonly Disk[];
  readonly snapshots: readonly Disk[];
}

const fixtures = join(import.meta.dirname, '../../fixtures/formats');
const expectedOf = (name: string): Expected =>
  JSON.parse(readFileSync(join(fixtures, name, 'expected.json'), 'utf8')) as Expected;
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
async function fromObjects(name: string): Promise<ObjectStore> {
  const store = memoryStore();
  const folder = join(fixtures, name, 'objects');
  for (const key of filesIn(folder).keys()) await store.put(key, readFileSync(join(folder, key)));
  return store;
}

/** A copy of the fixture's directory store; its files must be the same afterwards. */
async function fromDirectory(name: string): Promise<ObjectStore> {
  const folder = mkdtempSync(join(tmpdir(), 'sgw-fixture-'));
  cleanups.push(() => {
    rmSync(folder, { recursive: true });
  });
  cpSync(join(fixtures, name, 'directory'), folder, { recursive: true });
  const before = filesIn(folder);
  expect(before.size).toBeGreaterThan(0);
  const store = directoryStore({ path: folder, create: false });
  cleanups.push(async () => {
    await store.close();
    expect(filesIn(folder)).toEqual(before);
  });
  return Promise.resolve(store);
}

/** As the service works on it, which has the service key beside the fixture. */
function openedBy(open: (name: string) => Promise<ObjectStore>): (name: string) => Promise<ObjectStore> {
  return async (name) => {
    const options = optionsOver(await open(name));
    const secret = serviceKeyBytes(readFileSync(join(fixtures, name, 'service-key'), 'utf8'));
    const how = { mayBegin: false, signal: new AbortController().signal };
    const opened = await openProviderStore(options, new ServiceKey(secret, options.random), how);
    if (opened === undefined) throw new Error('its provider holds no keys');
    return opened.objects;
  };
}

async function dump(store: ObjectStore): Promise<Map<string, string>> {
  const objects = new Map<string, string>();
  for await (const { key } of store.list(''))
    objects.set(key, sha256((await store.get(key))?.bytes ?? Buffer.alloc(0)));
  return objects;
}

/** What the product opens the store with: nothing but what lies beside the fixture. */
async function productOptions(name: string, store: ObjectStore): Promise<BlockStoreOptions> {
  const options = optionsOver(store);
  const info = await readStoreInfo(store);
  if (info === undefined || info.keyDerivation === null) return options;
  const secret = parseKeyFile(readFileSync(join(fixtures, name, 'key-file'), 'utf8'));
  return { ...options, keys: await unlockStore(options, info, secret) };
}

/** What the independent reader opens it with. */
async function readerKeys(name: string, get: GetObject): Promise<StoreKeys | undefined> {
  if (name !== 'v1-sealed') return undefined;
  const bytes = keyFileBytes(readFileSync(join(fixtures, name, 'key-file'), 'utf8'));
  return await unlock(get, { kind: 'keyFile', bytes });
}

describe.each([
  ['v1', 'as plain files', fromObjects],
  ['v1', 'as a directory store', fromDirectory],
  ['v1-sealed', 'as plain files', fromObjects],
  ['v1-sealed', 'as a directory store', fromDirectory],
  ['v1-uploads', 'as plain files', fromObjects],
  ['v1-uploads', 'as a directory store', fromDirectory],
  ['v1-provider', 'as plain files', openedBy(fromObjects)],
  ['v1-provider', 'as a directory store', openedBy(fromDirectory)],
])('a store of format 1 (%s) %s', (name, _form, open) => {
  const expected = expectedOf(name);

  it('is read by the product, which changes nothing', async () => {
    const store = await open(name);
    const before = await dump(store);
    const options = await productOptions(name, store);
    const catalog = new Catalog(options);
    const names = (list: readonly { readonly name: string }[]): string[] => list.map((entry) => entry.name);
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
    const store = await open(name);
    const get: GetObject = async (key) => (await store.get(key))?.bytes;
    const keys = await readerKeys(name, get);
    for (const disk of expected.volumes)
      expect(sha256(await toBuffer(await readVolume(get, disk.id, 'newest', keys)))).toBe(disk.sha256);
    for (const disk of expected.snapshots)
      expect(sha256(await toBuffer(await readSnapshot(get, disk.id, keys)))).toBe(disk.sha256);
  });
});

describe.each(['v1', 'v1-sealed', 'v1-provider'])('the fixture %s of format 1', (name) => {
  it('holds the same objects in both forms', async () => {
    expect(await dump(await fromDirectory(name))).toEqual(await dump(await fromObjects(name)));
  });

  it('has a volume with a fence window and a void segment', async () => {
    const store = await (name === 'v1-provider' ? openedBy(fromObjects) : fromObjects)(name);
    const get: GetObject = async (key) => (await store.get(key))?.bytes;
    const [golden] = expectedOf(name).volumes;
    const contents = await readVolume(get, golden?.id ?? '', 'newest', await readerKeys(name, get));
    expect(contents.voidSeqs).toEqual([5]);
  });
});

describe('the fixture of format 1 with snapshots that were written through the API', () => {
  it('has a map in parts, a block that was written twice, and blocks of two accounts in one snapshot', async () => {
    const store = await fromObjects('v1-uploads');
    const keys = (await Array.fromAsync(store.list('uploads/'))).map(({ key }) => key.split('/')[2] ?? '');
    expect(keys.some((key) => key.startsWith('map-'))).toBe(true);
    expect(keys).toContain('00000001-0001');
    const [, second] = await new Catalog(optionsOver(store)).listSnapshots();
    expect(second?.creators).toHaveLength(2);
  });
});

describe('the sealed fixture of format 1', () => {
  it('is opened by its recovery code as well', async () => {
    const store = await fromObjects('v1-sealed');
    const info = await readStoreInfo(store);
    if (info === undefined) throw new Error('it is a store');
    const code = readFileSync(join(fixtures, 'v1-sealed', 'recovery-code'), 'utf8').trimEnd();
    const keys = await unlockStore(optionsOver(store), info, parseRecoveryCode(code));
    expect((await new Catalog({ ...optionsOver(store), keys }).listVolumes()).map((volume) => volume.name)).toEqual(
      expectedOf('v1-sealed').volumes.map((volume) => volume.name),
    );
  });
});
