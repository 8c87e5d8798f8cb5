import { writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openVolumeWriter } from '../../../src/core/blockstore/index.ts';
import type { Serving } from '../../../src/core/gateway/index.ts';
import { SgwError, systemClock, type Clock } from '../../../src/core/kit/index.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import { lockHolder, openState } from '../../../src/core/state/index.ts';
import { GatewayRig } from './rig.ts';
import { FakeServing } from './serving-fakes.ts';

const SIZE = 1 << 20;
const DRAINING = { drain: true, signal: new AbortController().signal };
let fakes: FakeServing;
let rig: GatewayRig;
let serving: Serving;

/** Retries come at once; what a start waits for takes its time. */
const hasty: Clock = {
  ...systemClock,
  sleep: async (ms, signal) => systemClock.sleep(ms < 10_000 ? Math.min(ms, 1) : ms, signal),
};

beforeEach(async () => {
  fakes = new FakeServing();
  rig = await GatewayRig.start(memoryStore(), 'lab', { serving: fakes.parts, clock: hasty });
  serving = await rig.serve();
});
afterEach(async () => {
  await serving.stop(DRAINING);
  await rig[Symbol.asyncDispose]();
});

const create = async (name: string): Promise<string> =>
  (await rig.call('volume.create', { name, sizeBytes: SIZE })).volumeId;

/** The same home after its process was killed. */
async function restarted(): Promise<{ rig: GatewayRig; serving: Serving; fakes: FakeServing }> {
  const next = new FakeServing();
  const again = rig.again({ serving: next.parts, clock: hasty });
  return { rig: again, serving: await again.serve(), fakes: next };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await systemClock.sleep(1);
}

const lockOf = (volumeId: string): string => `volume:${volumeId}`;

describe('attaching', () => {
  test('a volume serves it under its name, holds its lock, and says how clients reach it', async () => {
    const volumeId = await create('db');
    const attached = await rig.call('volume.attach', { volume: 'db' });
    expect(attached).toMatchObject({
      exportName: 'db',
      kind: 'volume',
      volumeId,
      state: 'available',
      readOnly: false,
      ack: 'log',
      clients: 0,
      created: true,
      uris: [`nbd+unix:///db?socket=${rig.path('home/nbd.sock')}`],
    });
    expect((await lockHolder(rig.path('home'), lockOf(volumeId)))?.pid).toBe(process.pid);
    expect((await serving.open('db')).device.sizeBytes).toBe(SIZE);
    expect(await serving.list()).toEqual([{ name: 'db', description: 'volume db' }]);
    expect((await openState(rig.path('home'))).gateway?.attachments).toMatchObject([{ exportName: 'db', volumeId }]);
  });

  test('read-only refuses what changes the volume, and lets the rest through', async () => {
    await create('db');
    await rig.call('volume.attach', { volume: 'db', readOnly: true });
    const { device } = await serving.open('db');
    expect(device.isReadOnly).toBe(true);
    expect(() => device.write(0, Buffer.alloc(1))).toThrow(expect.objectContaining({ kind: 'readOnly' }) as Error);
    expect(() => device.trim(0, 1)).toThrow(expect.objectContaining({ kind: 'readOnly' }) as Error);
    expect(() => device.writeZeroes(0, 1)).toThrow(expect.objectContaining({ kind: 'readOnly' }) as Error);
    expect(device.read(0, Buffer.alloc(512))).toBeUndefined();
  });

  test('a volume twice, or two things under one name, is refused', async () => {
    await create('db');
    await create('other');
    await rig.call('volume.attach', { volume: 'db' });
    await expect(rig.call('volume.attach', { volume: 'db' })).rejects.toMatchObject({
      code: 'volume-attached',
      hint: 'Detach it first: sgw volume detach db',
    });
    await expect(rig.call('volume.attach', { volume: 'db', exportName: 'db2' })).rejects.toMatchObject({
      code: 'volume-attached',
    });
    await expect(rig.call('volume.attach', { volume: 'other', exportName: 'db' })).rejects.toMatchObject({
      code: 'export-exists',
    });
    expect(await rig.call('volume.attach', { volume: 'db', ifNotExists: true })).toMatchObject({ created: false });
  });

  test('what can not be opened is not attached, and leaves no lock', async () => {
    const volumeId = await create('db');
    fakes.failures.set(volumeId, new SgwError('unavailable', 'store-away', 'the store is away'));
    await expect(rig.call('volume.attach', { volume: 'db' })).rejects.toMatchObject({ code: 'store-away' });
    expect(serving.show()).toEqual([]);
    expect((await openState(rig.path('home'))).gateway?.attachments).toEqual([]);
    expect(await lockHolder(rig.path('home'), lockOf(volumeId))).toBeUndefined();
  });

  test('needs a daemon', async () => {
    await create('db');
    const other = rig.again();
    await expect(other.call('volume.attach', { volume: 'db' })).rejects.toMatchObject({ code: 'daemon-needed' });
    await expect(other.call('volume.detach', { volume: 'db' })).rejects.toMatchObject({ code: 'daemon-needed' });
    await other[Symbol.asyncDispose]();
  });

  test('a snapshot serves it read-only; deleted, it is still whole for who reads it', async () => {
    await create('db');
    await rig.call('snapshot.create', { volume: 'db', name: 'v1' });
    const attached = await rig.call('volume.attach', { volume: 'v1' });
    expect(attached).toMatchObject({
      exportName: 'v1',
      kind: 'snapshot',
      readOnly: true,
      state: 'available',
      ack: null,
    });
    const { device } = await serving.open('v1');
    expect(device.isReadOnly).toBe(true);
    expect(fakes.viewsOpen).toBe(1);
    await rig.call('volume.detach', { volume: 'v1', force: true });
    expect(fakes.viewsOpen).toBe(0);
  });

  test.each([
    [{ volume: 'db', scratch: true }, 'attach-options'],
    [{ volume: 'v1', scratch: true, readOnly: true }, 'attach-options'],
    [{ volume: 'v1', ack: 'store' as const }, 'attach-options'],
    [{ volume: 'nothing' }, 'volume-not-found'],
  ])('%j is refused: %s', async (input, code) => {
    await create('db');
    await rig.call('snapshot.create', { volume: 'db', name: 'v1' });
    await expect(rig.call('volume.attach', input)).rejects.toMatchObject({ code });
  });
});

describe('attaching an image that fails', () => {
  const broken = new SgwError('unavailable', 'image-broken', 'the image is broken', { hint: 'Mend it.' });
  const imageOf = (name: string): string => {
    const file = rig.path(name);
    writeFileSync(file, Buffer.alloc(SIZE));
    return file;
  };
  const volumes = async (): Promise<string[]> => (await rig.call('volume.list', {})).volumes.map(({ name }) => name);

  beforeEach(async () => {
    await rig.call('configure', { mode: 'shadowing' });
  });

  test('leaves no volume behind that was made for it', async () => {
    fakes.beforeShadow = async () => Promise.reject(broken);
    const wish = { volume: 'db', image: imageOf('db.img'), ack: 'store' as const };
    await expect(rig.call('volume.attach', wish)).rejects.toMatchObject({ code: 'image-broken', hint: 'Mend it.' });
    expect(await volumes()).toEqual([]);
    expect(await readdir(rig.path('home/volumes')).catch(() => [])).toEqual([]);
    expect((await openState(rig.path('home'))).gateway).toMatchObject({ volumeSettings: {}, attachments: [] });
    fakes.beforeShadow = async () => Promise.resolve();
    await rig.call('volume.attach', wish);
    const second = { volume: 'other', image: imageOf('other.img'), exportName: 'db' };
    await expect(rig.call('volume.attach', second)).rejects.toMatchObject({ code: 'export-exists' });
    expect(await volumes()).toEqual(['db']);
  });

  test('leaves one that was there before, and one that has something of the image, which is told', async () => {
    const image = imageOf('db.img');
    await rig.call('volume.attach', { volume: 'old', image });
    await rig.call('volume.detach', { volume: 'old' });
    fakes.beforeShadow = async ({ blocks, volumeId, holder, accountId }) => {
      const writer = await openVolumeWriter(blocks, volumeId, { holder, accountId });
      await writer.resize(2 * SIZE);
      await writer.close();
      throw broken;
    };
    await expect(rig.call('volume.attach', { volume: 'old', image })).rejects.toMatchObject({ hint: 'Mend it.' });
    await expect(rig.call('volume.attach', { volume: 'new', image })).rejects.toMatchObject({
      code: 'image-broken',
      hint: expect.stringContaining('Volume new, which was made for it, stays, since a part of the image') as string,
    });
    expect(await volumes()).toEqual(['old', 'new']);
  });
});

describe('a throw-away clone', () => {
  const scratchVolumes = async (of: GatewayRig): Promise<string[]> =>
    (await of.call('volume.list', {})).volumes.filter(({ tags }) => 'sgw:scratch' in tags).map((one) => one.volumeId);

  beforeEach(async () => {
    await create('db');
    await rig.call('snapshot.create', { volume: 'db', name: 'v1' });
  });

  test('is a volume of its own, can be written, and is deleted when it is detached', async () => {
    const { scratchVolumeId } = await rig.call('volume.attach', { volume: 'v1', scratch: true });
    expect(await scratchVolumes(rig)).toEqual([scratchVolumeId]);
    expect((await serving.open('v1')).device.isReadOnly).toBe(false);
    const detached = await rig.call('volume.detach', { volume: 'v1', force: true });
    expect(detached).toMatchObject({ deletedVolumeId: scratchVolumeId, dirtyBytes: 0 });
    expect(await scratchVolumes(rig)).toEqual([]);
    expect(await readdir(rig.path('home/volumes'))).toEqual([]);
  });

  test('is served again after a kill, and deleted when it is detached then', async () => {
    const { scratchVolumeId } = await rig.call('volume.attach', { volume: 'v1', scratch: true });
    await serving.stop({ ...DRAINING, drain: false });
    const again = await restarted();
    expect(again.serving.show()).toMatchObject([{ phase: 'serving', record: { scratchVolumeId } }]);
    await again.rig.call('volume.detach', { volume: 'v1' });
    expect(await scratchVolumes(again.rig)).toEqual([]);
    await again.serving.stop(DRAINING);
  });

  test('that could not be opened leaves no volume behind', async () => {
    const failing: FakeServing['parts'] = {
      ...fakes.parts,
      openVolume: async () => Promise.reject(new SgwError('exhausted', 'no-room', 'no room')),
    };
    await serving.stop(DRAINING);
    const other = rig.again({ serving: failing, clock: hasty });
    await using started = await other.serve();
    await expect(other.call('volume.attach', { volume: 'v1', scratch: true })).rejects.toMatchObject({
      code: 'no-room',
    });
    expect(await scratchVolumes(other)).toEqual([]);
    expect(started.show()).toEqual([]);
  });
});

describe('detaching', () => {
  test('drains, closes, gives the lock back, and forgets the export', async () => {
    const volumeId = await create('db');
    await rig.call('volume.attach', { volume: 'db' });
    const volume = fakes.volume(volumeId);
    volume.dirtyBytes = 5;
    expect(await rig.call('volume.detach', { volume: 'db' })).toMatchObject({
      detached: true,
      drained: true,
      dirtyBytes: 0,
    });
    expect(volume.events).toEqual(['drain', 'drain', 'close']);
    expect(await lockHolder(rig.path('home'), lockOf(volumeId))).toBeUndefined();
    expect((await openState(rig.path('home'))).gateway?.attachments).toEqual([]);
    await expect(serving.open('db')).rejects.toMatchObject({ code: 'export-not-found' });
  });

  test('is refused while clients are connected; with force they are told to go', async () => {
    await create('db');
    await rig.call('volume.attach', { volume: 'db' });
    const client = await serving.open('db');
    await expect(rig.call('volume.detach', { volume: 'db' })).rejects.toMatchObject({ code: 'clients-connected' });
    const letGo: string[] = [];
    serving.letGo = async ({ name }) => {
      letGo.push(name);
      await client.release();
    };
    expect(letGo).toEqual([]);
    await rig.call('volume.detach', { volume: 'db', force: true });
    expect(letGo).toEqual(['db']);
  });

  test('that can not drain leaves the export as it was; without draining it tells what stays behind', async () => {
    const volumeId = await create('db');
    await rig.call('volume.attach', { volume: 'db' });
    const volume = fakes.volume(volumeId);
    volume.dirtyBytes = 7;
    volume.drainFailure = new SgwError('unavailable', 'store-away', 'the store is away');
    await expect(rig.call('volume.detach', { volume: 'db' })).rejects.toMatchObject({ code: 'store-away' });
    expect(serving.show()).toMatchObject([{ phase: 'serving', state: 'available' }]);
    expect((await serving.open('db')).device.sizeBytes).toBe(SIZE);
    const detached = await rig.call('volume.detach', { volume: 'db', drain: false, force: true });
    expect(detached).toMatchObject({ detached: true, drained: false, dirtyBytes: 7 });
    expect(volume.events.at(-1)).toBe('close undrained');
  });

  test('a fenced volume needs no draining, and keeps its log', async () => {
    const volumeId = await create('db');
    await rig.call('volume.attach', { volume: 'db' });
    const volume = fakes.volume(volumeId);
    volume.dirtyBytes = 9;
    volume.state = 'fenced';
    volume.failure = new SgwError('fenced', 'fenced', 'volume was taken over by gateway b');
    expect(serving.show()).toMatchObject([{ state: 'fenced', reason: 'volume was taken over by gateway b' }]);
    expect(await rig.call('volume.detach', { volume: 'db' })).toMatchObject({ drained: false, dirtyBytes: 9 });
    expect(volume.events).toEqual(['close undrained']);
  });

  test('what is not attached is told, or is no failure', async () => {
    await expect(rig.call('volume.detach', { volume: 'db' })).rejects.toMatchObject({ code: 'not-attached' });
    expect(await rig.call('volume.detach', { volume: 'db', ifExists: true })).toMatchObject({ detached: false });
  });
});

describe('a restart', () => {
  test('serves what was attached, each by itself: one that fails is shown and tried again', async () => {
    const ids = [await create('a'), await create('b'), await create('c')];
    for (const volume of ['a', 'b', 'c']) await rig.call('volume.attach', { volume });
    await serving.stop(DRAINING);
    const next = new FakeServing();
    next.failures.set(ids[1] ?? '', new SgwError('conflict', 'volume-held', 'gateway b holds it', { hint: 'Wait.' }));
    const other = rig.again({ serving: next.parts, clock: hasty });
    await using started = await other.serve();
    // Between two tries it waits; a slow machine may find it in one.
    await until(() => started.named('b')?.phase === 'waiting');
    expect(started.show()).toMatchObject([
      { phase: 'serving', record: { exportName: 'a' } },
      { phase: 'waiting', reason: 'gateway b holds it', hint: 'Wait.', retryAtMs: expect.any(Number) as number },
      { phase: 'serving', record: { exportName: 'c' } },
    ]);
    await expect(started.open('b')).rejects.toMatchObject({ kind: 'unavailable', code: 'export-not-ready' });
    next.failures.clear();
    await until(() => started.named('b')?.phase === 'serving');
    expect((await started.open('b')).device.sizeBytes).toBe(SIZE);
  });

  test('a volume that another gateway holds is taken over when it is attached again so', async () => {
    const volumeId = await create('a');
    await rig.call('volume.attach', { volume: 'a' });
    await serving.stop(DRAINING);
    const next = new FakeServing();
    next.failures.set(volumeId, new SgwError('conflict', 'volume-held', 'gateway b holds it'));
    const other = rig.again({ serving: next.parts, clock: { ...systemClock } });
    await using started = await other.serve();
    expect(await other.call('volume.attach', { volume: 'a', takeOver: true })).toMatchObject({ state: 'available' });
    expect(started.named('a')?.phase).toBe('serving');
    expect(next.volume(volumeId).request.takeOver).toBe(true);
  });

  test.each(['unavailable', 'denied'] as const)(
    'a store that answers %s stops nothing: exports come when it lets them',
    async (kind) => {
      await create('a');
      await rig.call('volume.attach', { volume: 'a' });
      await serving.stop(DRAINING);
      let isAway = true;
      const next = new FakeServing();
      const other = rig.again({
        serving: next.parts,
        clock: hasty,
        storeAt: () => {
          if (isAway) throw new SgwError(kind, 'store-away', 'the store is away');
          return rig.objects;
        },
      });
      await using started = await other.serve();
      expect(started.show()).toMatchObject([{ phase: 'waiting', reason: 'the store is away', name: null }]);
      isAway = false;
      await until(() => started.named('a')?.phase === 'serving');
    },
  );

  test('a volume that is gone is told, and not tried again', async () => {
    const volumeId = await create('a');
    await rig.call('volume.attach', { volume: 'a' });
    await serving.stop(DRAINING);
    await rig.objects.delete(`volumes/${volumeId}/volume.json`);
    const again = await restarted();
    expect(again.serving.show()).toMatchObject([{ phase: 'waiting', retryAtMs: null }]);
    await again.serving.stop(DRAINING);
  });
});

describe('stopping', () => {
  test('drains all, or tells what stays in the logs when the deadline comes first', async () => {
    const ids = [await create('a'), await create('b')];
    for (const volume of ['a', 'b']) await rig.call('volume.attach', { volume });
    const [a, b] = ids.map((id) => fakes.volume(id));
    if (a === undefined || b === undefined) throw new Error('both are open');
    a.dirtyBytes = 3;
    b.dirtyBytes = 4;
    b.drainFailure = new SgwError('timeout', 'deadline-passed', 'too late');
    const client = await serving.open('a');
    const letGo: string[] = [];
    serving.letGo = async ({ name }) => Promise.resolve(letGo.push(name)).then(() => undefined);
    expect(await serving.stop(DRAINING)).toEqual({ drained: false, dirtyBytes: 4 });
    expect(letGo).toEqual(['a', 'b']);
    await client.release();
    expect([a.state, b.state]).toEqual(['closed', 'closed']);
    expect(fakes.cachesOpen).toBe(0);
    for (const id of ids) expect(await lockHolder(rig.path('home'), lockOf(id))).toBeUndefined();
    expect((await openState(rig.path('home'))).gateway?.attachments).toHaveLength(2);
  });

  test('ends what is being opened', async () => {
    await create('a');
    let letOpen: () => void = () => undefined;
    let asked = false;
    const gate = new Promise<void>((resolve) => (letOpen = resolve));
    const slow: FakeServing['parts'] = {
      ...fakes.parts,
      openVolume: async (request) => {
        asked = true;
        await gate;
        return fakes.parts.openVolume(request);
      },
    };
    await serving.stop(DRAINING);
    const other = rig.again({ serving: slow, clock: hasty });
    const started = await other.serve();
    const attaching = other.call('volume.attach', { volume: 'a' });
    const refused = expect(attaching).rejects.toMatchObject({ code: 'export-ending' });
    await until(() => asked);
    const stopping = started.stop(DRAINING);
    letOpen();
    await Promise.all([stopping, refused]);
    expect(fakes.opened.map(({ state }) => state)).toEqual(['closed']);
  });
});

describe('settings', () => {
  test('of a volume are those of the volume, then of the gateway, and are changed while it is served', async () => {
    const volumeId = await create('db');
    await rig.call('volume.attach', { volume: 'db', ack: 'store' });
    expect(fakes.volume(volumeId).settings).toMatchObject({ ack: 'store', sealIntervalMs: 10_000 });
    const changed = await rig.call('volume.configure', { volume: 'db', sealIntervalMs: 2000, bufferBytes: 1 << 30 });
    expect(changed).toMatchObject({
      ack: 'store',
      sealIntervalMs: 2000,
      own: ['ack', 'bufferBytes', 'sealIntervalMs'],
    });
    expect(fakes.volume(volumeId).settings).toMatchObject({ sealIntervalMs: 2000, bufferBytes: 1 << 30 });
    const reset = await rig.call('volume.configure', { volume: 'db', reset: true });
    expect(reset).toMatchObject({ ack: 'log', own: [], changed: ['ack', 'bufferBytes', 'sealIntervalMs'] });
    expect(fakes.volume(volumeId).settings).toMatchObject({ ack: 'log', sealIntervalMs: 10_000 });
  });
});
