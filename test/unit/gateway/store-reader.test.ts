/** What is read of a store alone: the same as its gateway answers, nothing written but pins, no home. */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FramePool, openVolumeWriter } from '../../../src/core/blockstore/index.ts';
import { StoreReader } from '../../../src/core/gateway/index.ts';
import { MIB, SgwError, systemClock, systemRandom, type VolumeId } from '../../../src/core/kit/index.ts';
import type { CallContext } from '../../../src/core/localapi/index.ts';
import { memoryStore, StoreLayer, type ObjectStore, type PutResult } from '../../../src/core/objectstore/index.ts';
import { openService } from '../../../src/core/service/index.ts';
import { writeSparse } from '../transfer/rig.ts';
import { GatewayRig } from './rig.ts';

const CALL: CallContext = { signal: new AbortController().signal, onProgress: () => undefined, lockTimeoutMs: 1000 };
const PARTNER = '000000000002';
const OWNER = '000000000001';

/** Notes what is written, and refuses it where told to, as a bucket does to credentials that only read. */
class WatchedStore extends StoreLayer {
  readonly written = new Set<string>();
  isReadOnly = false;

  override async put(...[key, body, options]: Parameters<ObjectStore['put']>): Promise<PutResult> {
    if (this.isReadOnly) throw new SgwError('denied', 'store-denied', `the store answered 403 to put ${key}`);
    this.written.add(key);
    return await super.put(key, body, options);
  }

  override async close(): Promise<void> {
    await Promise.resolve();
  }
}

let objects: ObjectStore;
let rig: GatewayRig;
let watched: WatchedStore;
let folder: string;
const readers: StoreReader[] = [];

beforeEach(async () => {
  objects = memoryStore();
  watched = new WatchedStore(objects);
  rig = await GatewayRig.start(objects);
  folder = await mkdtemp(join(tmpdir(), 'sgw-reader-'));
  const image = join(folder, 'disk.img');
  await writeSparse(image, 4 * MIB, [{ offset: MIB, length: MIB }]);
  await rig.call('volume.import', { file: image, name: 'golden' });
  await rig.call('snapshot.create', { volume: 'golden', name: 'v1' });
});
afterEach(async () => {
  for (const reader of readers.splice(0)) await reader.close();
  await rig[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

function readerOf(accountId?: string): StoreReader {
  const parts = {
    home: join(folder, 'no-home'),
    version: '0.0.0',
    clock: systemClock,
    random: systemRandom,
    openPool: () => new FramePool({ threads: 1 }),
    openStore: async () => Promise.resolve(watched),
    openService: async (
      ...[blocks, serviceId]: Parameters<ConstructorParameters<typeof StoreReader>[0]['openService']>
    ) => Promise.resolve(openService({ blocks, serviceId, isEmbedded: true })),
    ...(accountId === undefined ? {} : { accountId }),
  };
  const reader = new StoreReader(parts, 'the store');
  readers.push(reader);
  return reader;
}

it('answers as the gateway does, and writes nothing but a pin that goes again', async () => {
  const reader = readerOf();
  expect(await reader.listVolumes({}, CALL)).toEqual(await rig.call('volume.list', {}));
  expect(await reader.showVolume({ volume: 'golden' }, CALL)).toEqual(
    await rig.call('volume.show', { volume: 'golden' }),
  );
  expect(await reader.listSnapshots({}, CALL)).toEqual(await rig.call('snapshot.list', {}));
  expect(await reader.listSnapshots({ exportable: true }, CALL)).toEqual(await rig.call('snapshot.list', {}));
  expect(await reader.showSnapshot({ snapshot: 'v1' }, CALL)).toEqual(
    await rig.call('snapshot.show', { snapshot: 'v1' }),
  );
  expect(await reader.listRecoveryPoints({ volume: 'golden' }, CALL)).toEqual(
    await rig.call('recovery-point.list', { volume: 'golden' }),
  );
  expect(watched.written.size).toBe(0);
  const path = join(folder, 'out.img');
  const exported = await reader.exportSnapshot({ snapshot: 'v1', path }, CALL);
  expect(exported.remarks.join()).toContain('No record of this was left in it.');
  expect((await readFile(path)).equals(await readFile(join(folder, 'disk.img')))).toBe(true);
  expect(await reader.verifySnapshot({ snapshot: 'v1' }, CALL)).toMatchObject({ ok: true, checkedBytes: MIB });
  expect([...watched.written].filter((key) => !key.startsWith('pins/'))).toEqual([]);
  expect(watched.written.size).toBeGreaterThan(0);
  for await (const { key } of objects.list('pins/')) throw new Error(`${key} was left`);
  expect(existsSync(join(folder, 'no-home'))).toBe(false);
});

it('C10 goes on without a pin where the store takes no writes, and says so', async () => {
  watched.isReadOnly = true;
  const reader = readerOf();
  const exported = await reader.exportSnapshot({ snapshot: 'v1', path: join(folder, 'out.img') }, CALL);
  expect(exported.remarks.join()).toContain('nothing kept gc from what was read');
  const verified = await reader.verifySnapshot({ snapshot: 'v1' }, CALL);
  expect(verified.remarks?.join()).toContain('nothing kept gc from what was read');
  watched.isReadOnly = false;
  expect((await reader.verifySnapshot({ snapshot: 'v1' }, CALL)).remarks).toBeUndefined();
});

it('tells of a volume that a gateway has open that there may be more of it', async () => {
  const { volumeId } = await rig.call('volume.show', { volume: 'golden' });
  const blocks = { objects, clock: systemClock, random: systemRandom };
  const holder = { gatewayId: 'sgw-0badcafe', name: 'elsewhere' };
  const writer = await openVolumeWriter(blocks, volumeId as VolumeId, { holder, accountId: OWNER });
  const reader = readerOf();
  const told = expect.stringMatching(/Gateway elsewhere \(sgw-0badcafe\) has volume golden open since/) as string;
  expect((await reader.showVolume({ volume: 'golden' }, CALL)).remarks).toEqual([told]);
  expect((await reader.listVolumes({}, CALL)).remarks).toEqual([told]);
  await writer.close();
  expect((await reader.showVolume({ volume: 'golden' }, CALL)).remarks).toBeUndefined();
});

it('shows by what rule the writer of a volume keeps its recovery points, not by what rule a gateway here would', async () => {
  const { volumeId } = await rig.call('volume.show', { volume: 'golden' });
  const blocks = { objects, clock: systemClock, random: systemRandom };
  const holder = { gatewayId: 'sgw-0badcafe', name: 'elsewhere' };
  const recovery = { allForMs: 7000, allMax: 3, tiers: [{ periodMs: 60_000, forMs: 600_000 }] };
  const writer = await openVolumeWriter(blocks, volumeId as VolumeId, { holder, accountId: OWNER, recovery });
  await writer.resize(8 * MIB);
  await writer.close();
  expect((await readerOf().showVolume({ volume: 'golden' }, CALL)).recovery).toEqual(recovery);
});

describe('of several accounts', () => {
  beforeEach(async () => {
    await rig.call('service.account.create', { name: 'research', accountId: PARTNER });
  });

  it('wants one named, and says which there are', async () => {
    await expect(readerOf().listVolumes({}, CALL)).rejects.toMatchObject({
      kind: 'invalid',
      code: 'account-missing',
      hint: `Add --account with one of: ${OWNER} (default), ${PARTNER} (research).`,
    });
    await expect(readerOf('999999999999').listVolumes({}, CALL)).rejects.toMatchObject({
      code: 'account-not-found',
      hint: expect.stringContaining(PARTNER) as string,
    });
    expect((await readerOf(OWNER).listVolumes({}, CALL)).volumes.map(({ name }) => name)).toEqual(['golden']);
  });

  it('S7 shows and exports nothing of another account that is not shared, all of it once it is', async () => {
    const partner = readerOf(PARTNER);
    expect((await partner.listVolumes({}, CALL)).volumes).toEqual([]);
    expect((await partner.listSnapshots({}, CALL)).snapshots).toEqual([]);
    const { snapshotId } = await rig.call('snapshot.show', { snapshot: 'v1' });
    const path = join(folder, 'out.img');
    await expect(partner.exportSnapshot({ snapshot: snapshotId, path }, CALL)).rejects.toMatchObject({
      code: 'snapshot-not-found',
    });
    await rig.call('snapshot.share', { snapshot: 'v1', accountId: PARTNER });
    expect(await partner.showSnapshot({ snapshot: 'v1' }, CALL)).toMatchObject({ exportable: true });
    await partner.exportSnapshot({ snapshot: 'v1', path }, CALL);
  });

  it('S7 refuses a snapshot with blocks of an account that does not agree', async () => {
    await rig.call('snapshot.share', { snapshot: 'v1', accountId: PARTNER });
    await using other = rig.again({ accountId: PARTNER });
    await other.call('volume.create', { name: 'clone', fromSnapshot: 'v1' });
    await other.call('snapshot.create', { volume: 'clone', name: 'mixed' });
    await rig.call('snapshot.unshare', { snapshot: 'v1', accountId: PARTNER });
    const partner = readerOf(PARTNER);
    expect((await partner.listSnapshots({ exportable: true }, CALL)).snapshots).toEqual([]);
    await expect(
      partner.exportSnapshot({ snapshot: 'mixed', path: join(folder, 'out.img') }, CALL),
    ).rejects.toMatchObject({ kind: 'denied', code: 'export-denied' });
  });
});

it('refuses what is no store, or a damaged one', async () => {
  watched = new WatchedStore(memoryStore());
  await expect(readerOf().listVolumes({}, CALL)).rejects.toMatchObject({ kind: 'notFound', code: 'store-missing' });
  watched = new WatchedStore(objects);
  const described = await objects.get('sgw.json');
  await objects.delete('sgw.json');
  await expect(readerOf().listVolumes({}, CALL)).rejects.toMatchObject({ kind: 'corrupt', code: 'object-missing' });
  await objects.put('sgw.json', described?.bytes.subarray(0, -9) ?? Buffer.alloc(0));
  await expect(readerOf().listVolumes({}, CALL)).rejects.toMatchObject({ kind: 'corrupt', code: 'object-damaged' });
});
