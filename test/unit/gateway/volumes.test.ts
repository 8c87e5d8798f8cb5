import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Catalog, openVolumeWriter } from '../../../src/core/blockstore/index.ts';
import { systemClock, systemRandom, type VolumeId } from '../../../src/core/kit/index.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import { writeSparse } from '../transfer/rig.ts';
import { GatewayRig } from './rig.ts';

const MIB = 1024 * 1024;

describe('volumes and snapshots of a gateway', () => {
  let rig: GatewayRig;
  beforeAll(async () => {
    rig = await GatewayRig.start();
    await writeSparse(rig.path('image'), 8 * MIB, [{ offset: 0, length: 2 * MIB }]);
    await rig.call('snapshot.import', { file: rig.path('image'), name: 'golden' });
  });
  afterAll(async () => {
    await rig[Symbol.asyncDispose]();
  });

  test('a reference is an id, a unique beginning of one, or a name', async () => {
    const { volumeId } = await rig.call('volume.create', { name: 'by-name', sizeBytes: MIB });
    for (const volume of ['by-name', volumeId, volumeId.slice(0, 12), volumeId.slice(0, 12).toUpperCase()]) {
      expect(await rig.call('volume.show', { volume })).toMatchObject({ volumeId });
    }
    await using alone = await GatewayRig.start();
    const only = (await alone.call('volume.create', { name: 'only', sizeBytes: MIB })).volumeId;
    await expect(alone.call('volume.show', { volume: only.slice(0, 7) })).rejects.toMatchObject({
      kind: 'notFound',
      hint: 'Give at least 4 digits of the id.',
    });
    await expect(rig.call('volume.show', { volume: 'nothing' })).rejects.toMatchObject({
      kind: 'notFound',
      code: 'volume-not-found',
    });
    await expect(rig.call('snapshot.show', { snapshot: 'nothing' })).rejects.toMatchObject({
      kind: 'notFound',
      code: 'snapshot-not-found',
    });
  });

  test('gateways that share a store may choose one name: it is ambiguous, and the error lists the ids', async () => {
    await using shared = await GatewayRig.start();
    const catalog = new Catalog({ objects: shared.objects, clock: systemClock, random: systemRandom });
    const make = async (): Promise<string> =>
      (await catalog.createVolume({ name: 'same', sizeBytes: 1, accountId: '000000000001' })).volumeId;
    const ids = [await make(), await make()].sort();
    const failure = await shared.call('volume.show', { volume: 'same' }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ kind: 'conflict', code: 'ambiguous-name' });
    expect([...(failure as { details: { ids: string[] } }).details.ids].sort()).toEqual(ids);
    // Of seventeen ids two begin with the same digit.
    for (let n = 0; n < 15; n++) ids.push(await make());
    const digits = ids.map((id) => id.charAt(4));
    const digit = digits.find((one, at) => digits.indexOf(one) !== at) ?? '';
    await expect(shared.call('volume.show', { volume: `vol-${digit}` })).rejects.toMatchObject({
      code: 'ambiguous-name',
    });
    expect(await shared.call('volume.show', { volume: ids[0] ?? '' })).toMatchObject({ name: 'same' });
  });

  test('creating by name again needs if-not-exists, and the same parameters', async () => {
    const input = { name: 'twice', sizeBytes: MIB, tags: { team: 'a' } };
    const made = await rig.call('volume.create', input);
    await expect(rig.call('volume.create', input)).rejects.toMatchObject({ kind: 'conflict', code: 'volume-exists' });
    expect(await rig.call('volume.create', { ...input, ifNotExists: true })).toEqual({ ...made, created: false });
    await expect(
      rig.call('volume.create', { ...input, sizeBytes: 2 * MIB, tags: {}, ifNotExists: true }),
    ).rejects.toMatchObject({
      code: 'different-parameters',
      details: { differing: ['size', 'tags'] },
    });
  });

  test('a client token makes creation idempotent, and serves one request only', async () => {
    const input = { name: 'token', sizeBytes: MIB, clientToken: 'abc' };
    const made = await rig.call('volume.create', input);
    expect(await rig.call('volume.create', input)).toEqual({ ...made, created: false });
    await expect(rig.call('volume.create', { ...input, name: 'else' })).rejects.toMatchObject({
      code: 'client-token-reused',
    });
    const snapshot = { volume: 'token', name: 'token-s', clientToken: 'abc' };
    await rig.call('snapshot.create', snapshot);
    expect(await rig.call('snapshot.create', snapshot)).toMatchObject({ created: false });
  });

  test('a clone has the contents and size of its snapshot, may be larger, and never smaller', async () => {
    const clone = await rig.call('volume.create', { name: 'clone', fromSnapshot: 'golden' });
    expect(clone).toMatchObject({ sizeBytes: 8 * MIB, mappedBytes: 2 * MIB });
    expect(
      await rig.call('volume.create', { name: 'larger', fromSnapshot: 'golden', sizeBytes: 9 * MIB }),
    ).toMatchObject({ sizeBytes: 9 * MIB });
    await expect(
      rig.call('volume.create', { name: 'less', fromSnapshot: 'golden', sizeBytes: MIB }),
    ).rejects.toMatchObject({ kind: 'invalid' });
    await expect(rig.call('volume.create', { name: 'none' })).rejects.toMatchObject({ code: 'size-missing' });
    expect((await rig.call('snapshot.show', { snapshot: 'golden' })).clones.map((volume) => volume.name)).toEqual([
      'clone',
      'larger',
    ]);
    expect(await rig.call('volume.map', { volume: 'clone' })).toMatchObject({
      storedBytes: 2 * MIB,
      sharedBytes: 2 * MIB,
      zeroBytes: 6 * MIB,
      extents: [
        { offset: 0, length: 2 * MIB, state: 'shared' },
        { offset: 2 * MIB, length: 6 * MIB, state: 'zero' },
      ],
    });
  });

  test('a map tells what a volume stores alone from what it shares', async () => {
    await rig.call('volume.create', { name: 'own', fromSnapshot: 'golden' });
    const path = rig.path('own-image');
    await writeSparse(path, 8 * MIB + 100, [{ offset: 0, length: 2 * MIB }]);
    await writeFile(path, Buffer.alloc(4096, 9), { flag: 'r+' });
    await rig.call('volume.import', { file: path, into: 'own' });
    const map = await rig.call('volume.map', { volume: 'own' });
    expect(map.extents.slice(0, 2)).toEqual([
      { offset: 0, length: 4096, state: 'stored' },
      { offset: 4096, length: 2 * MIB - 4096, state: 'shared' },
    ]);
    expect(map.extents.reduce((sum, extent) => sum + extent.length, 0)).toBe(8 * MIB + 100);
    await rig.call('snapshot.create', { volume: 'own', name: 'own-s' });
    expect(await rig.call('snapshot.diff', { from: 'golden', to: 'own-s' })).toMatchObject({
      changedBytes: 4096,
      zeroedBytes: 0,
      extents: [{ offset: 0, length: 4096, state: 'changed' }],
    });
    expect(await rig.call('snapshot.diff', { from: 'golden', to: 'golden' })).toMatchObject({
      changedBytes: 0,
      extents: [],
    });
  });

  test('a diff calls data beyond the old end added, and refuses unrelated snapshots', async () => {
    const path = rig.path('grown');
    await writeSparse(path, 8 * MIB, [{ offset: 0, length: 2 * MIB }]);
    await rig.call('snapshot.import', { file: path, name: 'grown' });
    await writeSparse(path, 9 * MIB, [{ offset: 0, length: 2 * MIB }]);
    await writeFile(path, Buffer.alloc(9 * MIB, 1));
    await rig.call('volume.import', { file: path, into: 'grown' });
    await rig.call('snapshot.create', { volume: 'grown', name: 'grown-2' });
    expect((await rig.call('snapshot.diff', { from: 'grown', to: 'grown-2' })).extents).toEqual([
      { offset: 0, length: 8 * MIB, state: 'changed' },
      { offset: 8 * MIB, length: MIB, state: 'added' },
    ]);
    await expect(rig.call('snapshot.diff', { from: 'golden', to: 'grown' })).rejects.toMatchObject({
      kind: 'invalid',
      code: 'unrelated-snapshots',
    });
  });

  test('shrinking needs to be asked for; what is cut off does not come back', async () => {
    await rig.call('volume.create', { name: 'sized', fromSnapshot: 'golden' });
    await expect(rig.call('volume.resize', { volume: 'sized', sizeBytes: MIB })).rejects.toMatchObject({
      code: 'would-shrink',
    });
    expect(await rig.call('volume.resize', { volume: 'sized', sizeBytes: MIB, shrink: true })).toMatchObject({
      sizeBytes: MIB,
      mappedBytes: MIB,
    });
    expect(await rig.call('volume.resize', { volume: 'sized', sizeBytes: 4 * MIB })).toMatchObject({
      sizeBytes: 4 * MIB,
      mappedBytes: MIB,
    });
  });

  test('renaming takes a free name only', async () => {
    await rig.call('volume.create', { name: 'old', sizeBytes: MIB });
    await expect(rig.call('volume.rename', { volume: 'old', name: 'golden' })).rejects.toMatchObject({
      code: 'volume-exists',
    });
    expect(await rig.call('volume.rename', { volume: 'old', name: 'new' })).toMatchObject({ name: 'new' });
    expect(await rig.call('volume.rename', { volume: 'new', name: 'new' })).toMatchObject({ name: 'new' });
    await rig.call('snapshot.create', { volume: 'new', name: 'new-s' });
    await expect(rig.call('snapshot.rename', { snapshot: 'new-s', name: 'golden' })).rejects.toMatchObject({
      code: 'snapshot-exists',
    });
    expect(await rig.call('snapshot.rename', { snapshot: 'new-s', name: 'newer' })).toMatchObject({ name: 'newer' });
  });

  test('a deleted volume is gone from lists and its name is free, and its snapshots stay usable', async () => {
    await rig.call('volume.create', { name: 'gone', fromSnapshot: 'golden' });
    const { name: snapshot } = await rig.call('snapshot.create', { volume: 'gone' });
    expect(snapshot).toMatch(/^gone-\d{8}-\d{6}$/);
    const deleted = await rig.call('volume.delete', { volume: 'gone' });
    expect(deleted).toMatchObject({ name: 'gone', deleted: true });
    expect((await rig.call('volume.list', {})).volumes.some((volume) => volume.name === 'gone')).toBe(false);
    expect(
      (await rig.call('volume.list', { deleted: true })).volumes.find((volume) => volume.name === 'gone'),
    ).toMatchObject({ state: 'deleted' });
    await expect(rig.call('volume.delete', { volume: deleted.id ?? '' })).rejects.toMatchObject({ kind: 'notFound' });
    expect(await rig.call('volume.delete', { volume: 'gone', ifExists: true })).toMatchObject({
      id: null,
      name: null,
      deleted: false,
    });
    expect(await rig.call('snapshot.verify', { snapshot })).toMatchObject({ ok: true, checkedBytes: 2 * MIB });
    await rig.call('volume.create', { name: 'gone', fromSnapshot: snapshot });
    expect(await rig.call('snapshot.delete', { snapshot })).toMatchObject({ deleted: true });
    expect(await rig.call('snapshot.delete', { snapshot, ifExists: true })).toMatchObject({ deleted: false });
    expect(await rig.call('volume.verify', { volume: 'gone' })).toMatchObject({ ok: true, checkedBytes: 2 * MIB });
  });

  test('a volume that another gateway holds is changed only by taking it over', async () => {
    const objects = memoryStore();
    await using rig = await GatewayRig.start(objects);
    const blocks = { objects, clock: systemClock, random: systemRandom };
    const volumeId = (await rig.call('volume.create', { name: 'held', sizeBytes: MIB })).volumeId as VolumeId;
    const holder = { gatewayId: 'sgw-ffffffff', name: 'other' };
    const writer = await openVolumeWriter(blocks, volumeId, { holder, accountId: '000000000002' });
    const path = rig.path('image');
    await writeSparse(path, MIB, [{ offset: 0, length: 4096 }]);
    const refused = { kind: 'conflict', code: 'volume-held' };
    await expect(rig.call('volume.delete', { volume: 'held' })).rejects.toMatchObject(refused);
    await expect(rig.call('volume.resize', { volume: 'held', sizeBytes: 2 * MIB })).rejects.toMatchObject(refused);
    await expect(rig.call('volume.import', { file: path, into: 'held' })).rejects.toMatchObject(refused);
    expect(await rig.call('volume.show', { volume: 'held' })).toMatchObject({ holder, unfinishedImport: null });
    expect(await rig.call('volume.import', { file: path, into: 'held', takeOver: true })).toMatchObject({
      changedBytes: 4096,
    });
    await expect(writer.commit({ encoded: [], consistent: true })).rejects.toMatchObject({ kind: 'fenced' });
    expect(await rig.call('volume.show', { volume: 'held' })).toMatchObject({ holder: null });
  });
});
