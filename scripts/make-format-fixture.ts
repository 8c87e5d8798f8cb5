/**
 * Writes test/fixtures/formats/v1 and v1-sealed: small stores of object store format 1, without a key and with one, as plain
 * files by key (`objects/`) and as a directory store (`directory/`), and what each volume and snapshot in it reads as
 * (`expected.json`). What opens the sealed one lies beside it (`key-file`, `recovery-code`).
 * Randomness and clock are fixed. To be run only while a format is not released: fixtures are kept for ever.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  BLOCK_BYTES,
  Catalog,
  PAGE_BYTES,
  createSnapshot,
  createStore,
  openVolumeWriter,
  type BlockStoreOptions,
  type VolumeEntry,
} from '../src/core/blockstore/index.ts';
import { beginStoreKey, newKeyFileText, parseKeyFile } from '../src/core/blockstore/sealing/index.ts';
import { SgwError, seededRandom } from '../src/core/kit/index.ts';
import { directoryStore, memoryStore, type ObjectStore } from '../src/core/objectstore/index.ts';
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

async function writeFixture(folder: string, seed: number, isSealed: boolean): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const objects = memoryStore();
  let options = optionsOver(objects, seed);
  if (isSealed) options = await beginSealed(options, folder);
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

await writeFixture(join(FIXTURES, 'v1'), 20261122, false);
await writeFixture(join(FIXTURES, 'v1-sealed'), 20261123, true);
