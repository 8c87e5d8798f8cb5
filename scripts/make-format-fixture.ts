/**
 * Writes test/fixtures/formats/v1, v1-sealed, v1-provider and v1-uploads: small stores of object store format 1, without a key,
 * with one, sealed by a service, and with snapshots that were written through the API, as plain files by key (`objects/`) and as a directory store (`directory/`), and what each volume and snapshot in it reads as
 * (`expected.json`). What opens the sealed one lies beside it (`key-file`, `recovery-code`, `service-key`).
 * `node make-format-fixture.ts NAME...`. Randomness and clock are fixed. To be run only while a format is not released: fixtures are kept for ever.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  API_BLOCK_BYTES,
  BLOCK_BYTES,
  Catalog,
  PAGE_BYTES,
  createDocument,
  createSnapshot,
  createStore,
  openVolumeWriter,
  type BlockStoreOptions,
  type SnapshotEntry,
  type VolumeEntry,
} from '../src/core/blockstore/index.ts';
import { beginStoreKey, newKeyFileText, parseKeyFile } from '../src/core/blockstore/sealing/index.ts';
import { UploadStore } from '../src/core/blockstore/uploads/index.ts';
import { SgwError, seededRandom } from '../src/core/kit/index.ts';
import { directoryStore, memoryStore, StoreLayer, type ObjectStore } from '../src/core/objectstore/index.ts';
import { openProviderStore } from '../src/core/service/providerkeys/index.ts';
import { ServiceKey } from '../src/core/service/server/index.ts';
import {
  ACCOUNT,
  encodeBlocks,
  holder,
  optionsOver,
  otherHolder,
  stamp,
  steppingClock,
} from '../test/unit/blockstore/volume-model.ts';

const OTHER_ACCOUNT = '000000000002';
/** Reaches into the second leaf of the map, and ends inside a page. */
const SIZE_BYTES = 5 * 1024 * 1024 + 1234;
const FIXTURES = join(import.meta.dirname, '../test/fixtures/formats');

/** The store without the objects under `keys`: creating them fails as if the store were out of reach. */
function withoutKeys(objects: ObjectStore, keys: ReadonlySet<string>): ObjectStore {
  return {
    description: objects.description,
    put: (key, body, options) => {
      if (keys.has(key)) return Promise.reject(new SgwError('unavailable', 'dropped', `${key} is dropped`));
      return objects.put(key, body, options);
    },
    get: (key, options) => objects.get(key, options),
    head: (key, options) => objects.head(key, options),
    list: (prefix, options) => objects.list(prefix, options),
    listFolders: (prefix, options) => objects.listFolders(prefix, options),
    delete: (key, options) => objects.delete(key, options),
    close: () => Promise.resolve(),
  };
}

/** What a volume or snapshot must read as. */
interface Disk {
  readonly id: string;
  readonly name: string;
  readonly bytes: Buffer;
}

/** Several segments, a lost and a void one, a take-over; returns what the two snapshots made on the way read as. */
async function writeGolden(options: BlockStoreOptions, volume: VolumeEntry, image: Buffer): Promise<Disk[]> {
  const { volumeId } = volume;
  const lost = `volumes/${volumeId}/log/0000000000000004`;
  const unreliable = { ...options, objects: withoutKeys(options.objects, new Set([lost])) };
  const first = await openVolumeWriter(unreliable, volumeId, { holder, accountId: ACCOUNT });
  const noise = seededRandom(5).bytes(2 * PAGE_BYTES);
  for (const page of [0, 1, 2, 5, 17, 40, 1023, 1024, 1279]) stamp(page + 1).copy(image, page * PAGE_BYTES);
  noise.copy(image, 100 * PAGE_BYTES);
  Buffer.from('the end of the disk').copy(image, SIZE_BYTES - 19);
  const blocks = [0, 1, 2, 6, 63, 64, 79, Math.floor(SIZE_BYTES / BLOCK_BYTES)];
  await first.commit({
    encoded: [encodeBlocks(image, blocks.slice(0, 4)), encodeBlocks(image, blocks.slice(4))],
    consistent: true,
  });
  await first.checkpoint();
  image.fill(0, PAGE_BYTES, 3 * PAGE_BYTES);
  image.fill(0, 1023 * PAGE_BYTES, 1025 * PAGE_BYTES);
  const unmap = [
    { firstPage: 1, pageCount: 2 },
    { firstPage: 1023, pageCount: 2 },
  ];
  await first.commit({ encoded: [], unmap, consistent: true });
  stamp(77).copy(image, 18 * PAGE_BYTES);
  await first.commit({ encoded: [encodeBlocks(image, [1])], consistent: true });
  const before = await snapshotOf(options, volume, 'before', image);
  // Segment 4 is lost on its way and 5 arrives: 5 is void once the volume is taken over.
  const ghost = Buffer.from(image).fill('ghost', 0, PAGE_BYTES);
  const doomed = [1, 2].map(() => first.commit({ encoded: [encodeBlocks(ghost, [0])], consistent: true }));
  await Promise.allSettled(doomed);
  const second = await openVolumeWriter(options, volumeId, {
    holder: otherHolder,
    accountId: OTHER_ACCOUNT,
    takeOver: true,
  });
  stamp(1000).copy(image, 3 * PAGE_BYTES);
  await second.commit({ encoded: [encodeBlocks(image, [0])], consistent: true });
  const after = await snapshotOf(options, volume, 'after', image);
  stamp(2000).copy(image, 900 * PAGE_BYTES);
  await second.commit({ encoded: [encodeBlocks(image, [56])], consistent: true });
  await second.abandon();
  return [before, after];
}

async function snapshotOf(options: BlockStoreOptions, volume: VolumeEntry, name: string, image: Buffer): Promise<Disk> {
  const { snapshotId } = await createSnapshot(options, { volume, name, accountId: ACCOUNT });
  return { id: snapshotId, name, bytes: Buffer.from(image) };
}

/** A clone of the first snapshot, changed and made smaller. */
async function writeClone(options: BlockStoreOptions, catalog: Catalog, parent: Disk): Promise<Disk> {
  const from = (await catalog.listSnapshots()).find((snapshot) => snapshot.snapshotId === parent.id);
  if (from === undefined) throw new Error('the snapshot to clone is not listed');
  const volume = await catalog.createVolume({ name: 'build-17', sizeBytes: from.sizeBytes, accountId: ACCOUNT, from });
  const image = Buffer.from(parent.bytes);
  const writer = await openVolumeWriter(options, volume.volumeId, { holder, accountId: ACCOUNT });
  stamp(17).copy(image, 600 * PAGE_BYTES);
  await writer.commit({ encoded: [encodeBlocks(image, [37])], consistent: true });
  const bytes = image.subarray(0, 1279 * PAGE_BYTES + 77);
  await writer.resize(bytes.length);
  await writer.close();
  return { id: volume.volumeId, name: volume.name, bytes };
}

/** Writes every object as a file under `objects/`, and the same into a directory store under `directory/`. */
async function dump(objects: ObjectStore, folder: string): Promise<void> {
  const directory = directoryStore({
    path: join(folder, 'directory'),
    clock: steppingClock(),
    random: seededRandom(1),
  });
  for await (const { key } of objects.list('')) {
    const object = await objects.get(key);
    if (object === undefined) throw new Error(`${key} vanished`);
    const file = join(folder, 'objects', key);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, object.bytes);
    await directory.put(key, object.bytes, { condition: { ifAbsent: true } });
  }
  await directory.close();
}

const expectedOf = ({ id, name, bytes }: Disk): object => ({
  id,
  name,
  sizeBytes: bytes.length,
  sha256: createHash('sha256').update(bytes).digest('hex'),
});

/** Begins a store with a key, and writes what opens it to `folder`. */
async function beginSealed(options: BlockStoreOptions, folder: string): Promise<BlockStoreOptions> {
  const info = await createStore(options, { keyId: ACCOUNT });
  const keyFile = newKeyFileText(options.random);
  const begun = await beginStoreKey(options, info, parseKeyFile(keyFile));
  if (begun === undefined) throw new Error('the store is new');
  writeFileSync(join(folder, 'key-file'), keyFile);
  writeFileSync(join(folder, 'recovery-code'), `${begun.recoveryCode}\n`);
  return { ...options, keys: begun.keys };
}

/** Begins a store that its service seals, whose key lies beside it. Whose a volume is, is noted before anything of it is there. */
async function beginProvider(options: BlockStoreOptions, folder: string): Promise<BlockStoreOptions> {
  const secret = options.random.bytes(32);
  writeFileSync(join(folder, 'service-key'), `sgw-service-1:${secret.toString('base64url')}\n`);
  const { signal } = new AbortController();
  const opened = await openProviderStore(options, new ServiceKey(secret, options.random), { mayBegin: true, signal });
  if (opened === undefined) throw new Error('the store is new');
  await opened.accountKeys.makeAccountKey(ACCOUNT, signal);
  const sealed = { ...options, objects: opened.objects };
  const objects = new (class extends StoreLayer {
    override async put(...[key, body, how]: Parameters<ObjectStore['put']>): ReturnType<ObjectStore['put']> {
      const id = /^volumes\/([^/]+)\/head\.json$/.exec(key)?.[1];
      const owner = `service/owners/${id ?? ''}.json`;
      if (id !== undefined && (await opened.objects.head(owner)) === undefined)
        await createDocument(sealed, owner, { id, accountId: ACCOUNT, gatewayId: '', createdAt: '' });
      return await opened.objects.put(key, body, how);
    }
  })(opened.objects);
  return { ...options, objects };
}

async function writeFixture(folder: string, seed: number, keys: 'none' | 'customer' | 'provider'): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const objects = memoryStore();
  let options = optionsOver(objects, seed);
  if (keys === 'customer') options = await beginSealed(options, folder);
  else if (keys === 'provider') options = await beginProvider(options, folder);
  else await createStore(options);
  const catalog = new Catalog(options);
  const volume = await catalog.createVolume({
    name: 'golden',
    sizeBytes: SIZE_BYTES,
    accountId: ACCOUNT,
    tags: { purpose: 'fixture' },
  });
  const image = Buffer.alloc(SIZE_BYTES);
  const [before, after] = await writeGolden(options, volume, image);
  if (before === undefined || after === undefined) throw new Error('there are two snapshots');
  const clone = await writeClone(options, catalog, before);
  await dump(objects, folder);
  const golden = { id: volume.volumeId, name: volume.name, bytes: image };
  const expected = { volumes: [golden, clone].map(expectedOf), snapshots: [before, after].map(expectedOf) };
  writeFileSync(join(folder, 'expected.json'), `${JSON.stringify(expected, undefined, 2)}\n`);
}

interface UploadWish {
  readonly name: string;
  readonly accountId: string;
  readonly parent: SnapshotEntry | null;
  /** The image before, which is changed. */
  readonly image: Buffer;
  readonly writes: readonly (readonly [block: number, change: (bytes: Buffer) => void])[];
}

/** A snapshot that is written through the API. Maps are made of one block each, so that they have parts. */
async function writeUpload(options: BlockStoreOptions, wish: UploadWish): Promise<SnapshotEntry> {
  const { name, accountId, parent, image, writes } = wish;
  const uploads = new UploadStore(options, new AbortController().signal, 1);
  const about = {
    name,
    accountId,
    parent,
    sizeBytes: image.length,
    description: 'by the API',
    tags: { purpose: 'fixture' },
  };
  const { entry } = await uploads.start({ ...about, timeoutMs: 3_600_000, clientToken: `of-${name}` });
  for (const [block, change] of writes) {
    const bytes = image.subarray(block * API_BLOCK_BYTES, (block + 1) * API_BLOCK_BYTES);
    change(bytes);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    await uploads.put(entry.snapshotId, { block, bytes: Buffer.from(bytes), sha256 });
  }
  await uploads.seal(entry.snapshotId, { blocks: new Set(writes.map(([block]) => block)).size, checksum: null });
  return await uploads.build(entry.snapshotId);
}

/** Snapshots that were written through the API, one over the other, by two accounts; and a volume that was cloned from them. */
async function writeUploadsFixture(folder: string, seed: number): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  const objects = memoryStore();
  const options = optionsOver(objects, seed);
  await createStore(options);
  const image = Buffer.alloc(10 * API_BLOCK_BYTES);
  const page = (value: number, at: number) => (bytes: Buffer) => {
    stamp(value).copy(bytes, at * PAGE_BYTES);
  };
  const first = await writeUpload(options, {
    ...{ name: 'first', accountId: ACCOUNT, parent: null, image },
    writes: [
      [9, page(1, 127)],
      [0, page(2, 0)],
      [1, page(3, 5)],
      [1, page(4, 77)],
      [3, () => undefined],
    ],
  });
  const disks = [{ id: first.snapshotId, name: first.name, bytes: Buffer.from(image) }];
  const second = await writeUpload(options, {
    ...{ name: 'second', accountId: OTHER_ACCOUNT, parent: first, image },
    writes: [
      [0, (bytes) => bytes.fill(0)],
      [1, (bytes) => bytes.fill(0, 77 * PAGE_BYTES, 78 * PAGE_BYTES)],
      [8, page(5, 1)],
    ],
  });
  disks.push({ id: second.snapshotId, name: second.name, bytes: Buffer.from(image) });
  const catalog = new Catalog(options);
  const clone = await catalog.createVolume({
    name: 'clone',
    sizeBytes: image.length,
    accountId: ACCOUNT,
    from: second,
  });
  const writer = await openVolumeWriter(options, clone.volumeId, { holder, accountId: ACCOUNT });
  stamp(6).copy(image, 200 * PAGE_BYTES);
  await writer.commit({ encoded: [encodeBlocks(image, [12])], consistent: true });
  await writer.close();
  await dump(objects, folder);
  const volumes = [expectedOf({ id: clone.volumeId, name: clone.name, bytes: image })];
  writeFileSync(
    join(folder, 'expected.json'),
    `${JSON.stringify({ volumes, snapshots: disks.map(expectedOf) }, undefined, 2)}\n`,
  );
}

const WRITERS: Readonly<Record<string, (folder: string) => Promise<void>>> = {
  v1: async (folder) => {
    await writeFixture(folder, 20261122, 'none');
  },
  'v1-sealed': async (folder) => {
    await writeFixture(folder, 20261123, 'customer');
  },
  'v1-provider': async (folder) => {
    await writeFixture(folder, 20261201, 'provider');
  },
  'v1-uploads': async (folder) => {
    await writeUploadsFixture(folder, 20261130);
  },
};

for (const name of process.argv.slice(2)) {
  const write = WRITERS[name];
  if (write === undefined) throw new Error(`${name} is none of ${Object.keys(WRITERS).join(', ')}`);
  await write(join(FIXTURES, name));
}
