/** gc, deletion and undelete behind the local API. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalog, createSnapshot, openVolumeWriter } from '../../../src/core/blockstore/index.ts';
import { MIB, SgwError, systemClock, systemRandom } from '../../../src/core/kit/index.ts';
import type { PutBody, PutOptions, PutResult } from '../../../src/core/objectstore/index.ts';
import { StoreLayer } from '../../../src/core/objectstore/layer.ts';
import { encodeBlocks, stamp } from '../blockstore/volume-model.ts';
import { GatewayRig } from './rig.ts';

const WEEK_MS = 7 * 24 * 60 * 60_000;
let rig: GatewayRig;
const blocks = () => ({ objects: rig.objects, clock: systemClock, random: systemRandom });
const elsewhere = { holder: { gatewayId: 'sgw-00000009', name: 'attic' }, accountId: '000000000001' };

beforeEach(async () => {
  rig = await GatewayRig.start();
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
});

async function write(volumeId: string, value: number, numbers: readonly number[]): Promise<void> {
  const image = Buffer.alloc(MIB);
  for (const block of numbers)
    for (let page = 0; page < 16; page++) stamp(value).copy(image, block * 65536 + page * 4096);
  const writer = await openVolumeWriter(blocks(), volumeId as never, elsewhere);
  await writer.commit({ encoded: [encodeBlocks(image, numbers)], consistent: true });
  await writer.close();
}

describe('volume delete', () => {
  it('tells what it would free, then deletes, and can be undone until gc has purged it', async () => {
    const { volumeId } = await rig.call('volume.create', { name: 'golden', sizeBytes: MIB });
    await write(volumeId, 1, [0, 1, 2]);
    const preview = await rig.call('volume.delete', { volume: 'golden', preview: true });
    expect(preview).toMatchObject({ id: volumeId, deleted: false, preview: true });
    expect(preview.freesBytes).toBeGreaterThan(1000);
    expect((await rig.call('volume.show', { volume: 'golden' })).state).toBe('available');
    const done = await rig.call('volume.delete', { volume: 'golden' });
    expect(Date.parse(done.undeleteUntil ?? '') - Date.now()).toBeGreaterThan(WEEK_MS - 60_000);
    await rig.call('store.gc', { graceMs: 0 });
    expect(await rig.call('volume.undelete', { volume: 'golden' })).toMatchObject({ volumeId, state: 'available' });
    expect((await rig.call('volume.verify', { volume: 'golden' })).ok).toBe(true);
    await expect(rig.call('volume.undelete', { volume: volumeId })).rejects.toMatchObject({
      code: 'volume-not-deleted',
    });
    await expect(rig.call('volume.undelete', { volume: 'golden' })).rejects.toMatchObject({ kind: 'notFound' });
  });

  it('brings nothing back under a name that was taken, and finds one of several by its id', async () => {
    const first = await rig.call('volume.create', { name: 'a', sizeBytes: MIB });
    await rig.call('volume.delete', { volume: 'a' });
    await rig.call('volume.create', { name: 'a', sizeBytes: MIB });
    await expect(rig.call('volume.undelete', { volume: 'a' })).rejects.toMatchObject({
      code: 'volume-exists',
      hint: expect.stringContaining('sgw volume rename') as string,
    });
    await rig.call('volume.delete', { volume: 'a' });
    await expect(rig.call('volume.undelete', { volume: 'a' })).rejects.toMatchObject({ code: 'ambiguous-name' });
    expect((await rig.call('volume.undelete', { volume: first.volumeId })).volumeId).toBe(first.volumeId);
  });

  it('is told apart from a volume that never was, and from one that is there', async () => {
    const { volumeId } = await rig.call('volume.create', { name: 'a', sizeBytes: MIB });
    await expect(rig.call('volume.undelete', { volume: 'a' })).rejects.toMatchObject({
      code: 'volume-not-found',
      message: 'volume "a" is not among the deleted ones',
      hint: expect.stringContaining('volume list --deleted') as string,
    });
    await rig.call('volume.delete', { volume: 'a' });
    for (const volume of ['a', volumeId])
      await expect(rig.call('volume.show', { volume })).rejects.toMatchObject({
        code: 'volume-not-found',
        message: `volume "${volume}" was deleted`,
        hint: expect.stringContaining('volume undelete') as string,
      });
    await expect(rig.call('volume.show', { volume: 'b' })).rejects.toMatchObject({
      message: 'volume "b" does not exist',
    });
  });

  it('that fails gives the volume back, so that its own gateway can go on', async () => {
    const { volumeId } = await rig.call('volume.create', { name: 'golden', sizeBytes: MIB });
    const put = rig.objects.put.bind(rig.objects);
    rig.objects.put = async (key, ...rest) => {
      if (key.endsWith('/volume.json')) throw new SgwError('denied', 'store-denied', 'no');
      return await put(key, ...rest);
    };
    await expect(rig.call('volume.delete', { volume: 'golden' })).rejects.toMatchObject({ code: 'store-denied' });
    rig.objects.put = put;
    await write(volumeId, 1, [0]);
    expect((await rig.call('volume.show', { volume: 'golden' })).state).toBe('available');
  });

  it('refuses a volume that another gateway holds; with takeOver that one is fenced', async () => {
    const { volumeId } = await rig.call('volume.create', { name: 'golden', sizeBytes: MIB });
    const other = await openVolumeWriter(blocks(), volumeId as never, elsewhere);
    await expect(rig.call('volume.delete', { volume: 'golden' })).rejects.toMatchObject({ code: 'volume-held' });
    await rig.call('volume.delete', { volume: 'golden', takeOver: true });
    const late = other.commit({ encoded: [], sizeBytes: MIB, consistent: true });
    await expect(late).rejects.toMatchObject({ kind: 'fenced' });
    await expect(openVolumeWriter(blocks(), volumeId as never, elsewhere)).rejects.toMatchObject({ kind: 'notFound' });
    await rig.call('volume.undelete', { volume: 'golden' });
    await (await openVolumeWriter(blocks(), volumeId as never, elsewhere)).close();
  });

  it('is purged by gc once its time is over, and gone for good', async () => {
    const { volumeId } = await rig.call('volume.create', { name: 'golden', sizeBytes: MIB });
    await write(volumeId, 1, [0]);
    await rig.call('volume.delete', { volume: 'golden' });
    const deletedAt = new Date(Date.now() - WEEK_MS).toISOString();
    await new Catalog(blocks()).updateVolume(volumeId as never, (now) => ({ ...now, deletedAt }));
    const report = await rig.call('store.gc', { graceMs: 0 });
    expect(report.purgedVolumes).toEqual([volumeId]);
    expect(await Array.fromAsync(rig.objects.list('volumes/'))).toEqual([]);
    expect((await rig.call('volume.list', { deleted: true })).volumes).toEqual([]);
    await expect(rig.call('volume.undelete', { volume: volumeId })).rejects.toMatchObject({ kind: 'notFound' });
  });
});

describe('store gc', () => {
  it('C12 rewrites poor segments of volumes that nobody else holds, and removes them at once without a grace period', async () => {
    const { volumeId } = await rig.call('volume.create', { name: 'golden', sizeBytes: MIB });
    await write(volumeId, 1, [0, 1, 2, 3]);
    await write(volumeId, 2, [0, 1, 2]);
    const preview = await rig.call('store.gc', { graceMs: 0, preview: true });
    expect(preview.rewritten.segments).toBe(0);
    const report = await rig.call('store.gc', { graceMs: 0 });
    expect(report.rewritten).toEqual({ segments: 1, bytes: 65536 });
    expect(report.tombstones).toBe(1);
    expect(report.waiting.objects).toBe(0);
    expect((await rig.call('volume.verify', { volume: 'golden' })).ok).toBe(true);
    expect((await rig.call('store.gc', { graceMs: 0 })).removed.objects).toBe(0);
  });

  it('keeps for a day what it finds, unless it is told otherwise', async () => {
    const { volumeId } = await rig.call('volume.create', { name: 'golden', sizeBytes: MIB });
    await write(volumeId, 1, [0]);
    await write(volumeId, 2, [0]);
    const report = await rig.call('store.gc', {});
    expect(report.removed.objects).toBe(0);
    expect(report.waiting.objects).toBeGreaterThan(0);
    expect(Date.parse(report.removableAt ?? '') - Date.now()).toBeGreaterThan(23 * 60 * 60_000);
  });
});

describe('snapshot delete', () => {
  it('tells what only the snapshot needs', async () => {
    const { volumeId } = await rig.call('volume.create', { name: 'golden', sizeBytes: MIB });
    await write(volumeId, 1, [0, 1]);
    await rig.call('snapshot.create', { volume: 'golden', name: 's' });
    const shared = await rig.call('snapshot.delete', { snapshot: 's', preview: true });
    await write(volumeId, 2, [0, 1]);
    const alone = await rig.call('snapshot.delete', { snapshot: 's', preview: true });
    expect(alone.freesBytes ?? 0).toBeGreaterThan(shared.freesBytes ?? 0);
    expect((await rig.call('snapshot.show', { snapshot: 's' })).state).toBe('completed');
  });
});

/** Dies when a snapshot is about to be completed. */
class Dying extends StoreLayer {
  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    const replaces = options?.condition !== undefined && 'ifMatch' in options.condition;
    if (key.endsWith('snapshot.json') && replaces) throw new SgwError('unavailable', 'killed', 'killed');
    return super.put(key, body, options);
  }
}

describe('a snapshot that a killed process of this home left pending', () => {
  it.each(['one', undefined])('is marked as failed by the next one, whether it was named or not (%s)', async (name) => {
    const { volumeId } = await rig.call('volume.create', { name: 'golden', sizeBytes: MIB });
    const { gatewayId } = (await rig.call('status', {})).gateway ?? {};
    const catalog = new Catalog(blocks());
    const volume = await catalog.getVolume(volumeId as never);
    const dying = { ...blocks(), objects: new Dying(rig.objects) };
    const { accountId } = volume;
    const request = { volume, name: name ?? 'golden-20260101-000000', accountId, maker: gatewayId ?? '' };
    await expect(createSnapshot(dying, request)).rejects.toMatchObject({ code: 'killed' });
    expect((await catalog.listSnapshots()).map(({ state }) => state)).toEqual(['pending']);
    await rig.call('snapshot.create', { volume: 'golden' });
    expect((await catalog.listSnapshots()).map(({ state }) => state)).toEqual(['failed', 'completed']);
  });
});
