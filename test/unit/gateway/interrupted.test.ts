/** What a command finds that runs again after an earlier run of it was stopped between two writes to the store. */
import { writeFile } from 'node:fs/promises';
import { expect, test, vi } from 'vitest';
import { Catalog, createPendingSnapshot } from '../../../src/core/blockstore/index.ts';
import { SgwError, systemClock, systemRandom } from '../../../src/core/kit/index.ts';
import { memoryStore, withFaults, type FaultyStore } from '../../../src/core/objectstore/index.ts';
import { writeSparse } from '../transfer/rig.ts';
import { GatewayRig } from './rig.ts';

const MIB = 1024 * 1024;
const STOPPED = { code: 'store-error' };

async function start(): Promise<{ rig: GatewayRig; faulty: FaultyStore; image: string }> {
  const faulty = withFaults(memoryStore(), { rules: [] });
  const rig = await GatewayRig.start(faulty.store);
  const image = rig.path('image');
  await writeSparse(image, 2 * MIB, [{ offset: 0, length: MIB }]);
  return { rig, faulty, image };
}

test('a snapshot that was left pending is marked as failed when its name is asked for again', async () => {
  const { rig, faulty } = await start();
  await using _rig = rig;
  await rig.call('volume.create', { name: 'v', sizeBytes: MIB });
  faulty.setRules([{ fault: 'error500', operation: 'put', key: /^snapshots\//, skip: 1 }]);
  await expect(rig.call('snapshot.create', { volume: 'v', name: 's' })).rejects.toMatchObject(STOPPED);
  faulty.setRules([]);
  expect((await rig.call('snapshot.list', {})).snapshots).toMatchObject([{ name: 's', state: 'pending' }]);
  await expect(rig.call('snapshot.export', { snapshot: 's', path: rig.path('out') })).rejects.toMatchObject({
    code: 'snapshot-not-completed',
  });
  expect(await rig.call('snapshot.create', { volume: 'v', name: 's', ifNotExists: true })).toMatchObject({
    state: 'completed',
    created: true,
  });
  expect((await rig.call('snapshot.list', {})).snapshots.map((snapshot) => snapshot.state).sort()).toEqual([
    'completed',
    'failed',
  ]);
  expect(await rig.call('snapshot.show', { snapshot: 's' })).toMatchObject({ state: 'completed' });
});

test('a snapshot whose completion was under way when its process was killed is not made a second time', async () => {
  const objects = memoryStore();
  await using rig = await GatewayRig.start(objects);
  await rig.call('volume.create', { name: 'v', sizeBytes: MIB });
  const put = objects.put.bind(objects);
  let completion: (() => Promise<unknown>) | undefined;
  const store = vi.spyOn(objects, 'put').mockImplementation(async (key, body, options) => {
    const isCompletion =
      key.endsWith('/snapshot.json') && options?.condition !== undefined && 'ifMatch' in options.condition;
    if (isCompletion && completion === undefined) {
      completion = async () => put(key, body, options);
      throw new SgwError('unavailable', 'store-error', 'the process is killed here');
    }
    // What it had sent arrives now, before the next run marks the snapshot as failed.
    if (isCompletion) await completion?.();
    return put(key, body, options);
  });
  await expect(rig.call('snapshot.create', { volume: 'v', name: 's' })).rejects.toMatchObject(STOPPED);
  expect(await rig.call('snapshot.create', { volume: 'v', name: 's', ifNotExists: true })).toMatchObject({
    state: 'completed',
    created: false,
  });
  store.mockRestore();
  expect((await rig.call('snapshot.list', {})).snapshots).toMatchObject([{ name: 's', state: 'completed' }]);
});

test.each([
  ['before the head', /head\.json$/, 0],
  ['before the volume is listed', /volume\.json$/, 0],
  ['before the first commit', /\/log\//, 0],
  ['before the checkpoint', /\/map\//, 0],
  ['before the head is given back', /head\.json$/, 3],
  ['before the snapshot is pending', /^snapshots\//, 0],
  ['before the snapshot is completed', /^snapshots\//, 1],
  ['before the volume is available', /volume\.json$/, 1],
] as const)('a snapshot import that was stopped %s is finished by the same command', async (_when, key, skip) => {
  const { rig, faulty, image } = await start();
  await using _rig = rig;
  faulty.setRules([{ fault: 'error500', operation: 'put', key, skip }]);
  await expect(rig.call('snapshot.import', { file: image, name: 'golden' })).rejects.toMatchObject(STOPPED);
  expect(faulty.injected.length).toBeGreaterThan(0);
  faulty.setRules([]);
  expect(await rig.call('snapshot.import', { file: image, name: 'golden' })).toMatchObject({
    state: 'completed',
    created: true,
  });
  expect((await rig.call('volume.list', {})).volumes).toMatchObject([
    { name: 'golden', state: 'available', mappedBytes: MIB },
  ]);
  expect(await rig.call('snapshot.verify', { snapshot: 'golden' })).toMatchObject({ ok: true, checkedBytes: MIB });
});

test('a snapshot of an earlier run does not pass for one of an image that was changed since', async () => {
  const { rig, faulty, image } = await start();
  await using _rig = rig;
  faulty.setRules([{ fault: 'error500', operation: 'put', key: /volume\.json$/, skip: 1 }]);
  await expect(rig.call('snapshot.import', { file: image, name: 'golden' })).rejects.toMatchObject(STOPPED);
  faulty.setRules([]);
  await writeFile(image, Buffer.alloc(4096, 1), { flag: 'r+' });
  const again = { file: image, name: 'golden' };
  await expect(rig.call('snapshot.import', again)).rejects.toMatchObject({ kind: 'conflict', code: 'image-changed' });
  await rig.call('snapshot.delete', { snapshot: 'golden' });
  expect(await rig.call('snapshot.import', again)).toMatchObject({ created: true });
});

test('a snapshot name that is taken is refused before the image is imported', async () => {
  const { rig, image } = await start();
  await using _rig = rig;
  await rig.call('snapshot.import', { file: image, name: 'golden' });
  await expect(rig.call('snapshot.import', { file: image, name: 'golden', volumeName: 'other' })).rejects.toMatchObject(
    {
      kind: 'conflict',
      code: 'snapshot-exists',
    },
  );
  expect((await rig.call('volume.list', {})).volumes).toHaveLength(1);
  expect(await rig.call('snapshot.import', { file: image, name: 'golden', ifNotExists: true })).toMatchObject({
    created: false,
  });
  await expect(
    rig.call('snapshot.import', { file: image, name: 'golden', volumeName: 'other', ifNotExists: true }),
  ).rejects.toMatchObject({ code: 'different-parameters' });
});

test('an import into a volume that fails before its first commit can be run again with another image', async () => {
  const { rig, faulty, image } = await start();
  await using _rig = rig;
  await rig.call('volume.create', { name: 'v', sizeBytes: MIB });
  faulty.setRules([{ fault: 'error500', operation: 'put', key: /\/log\// }]);
  await expect(rig.call('volume.import', { file: image, into: 'v' })).rejects.toMatchObject(STOPPED);
  faulty.setRules([]);
  const other = rig.path('other image');
  await writeSparse(other, 2 * MIB, [{ offset: MIB, length: MIB }]);
  expect((await rig.call('status', {})).remarks.join()).toContain(`sgw volume import ${image} --into v`);
  expect(await rig.call('volume.import', { file: other, into: 'v' })).toMatchObject({
    resumed: false,
    changedBytes: MIB,
    sizeBytes: 2 * MIB,
  });
  expect(await rig.call('volume.show', { volume: 'v' })).toMatchObject({ unfinishedImport: null, holder: null });
});

test('C8 a snapshot that waits for its barrier in a write log is not given up when another one is made', async () => {
  const { rig } = await start();
  await using _rig = rig;
  await rig.call('volume.create', { name: 'v', sizeBytes: MIB });
  await rig.call('snapshot.create', { volume: 'v', name: 'first' });
  const blocks = { objects: rig.objects, clock: systemClock, random: systemRandom };
  const catalog = new Catalog(blocks);
  const [volume] = await catalog.listVolumes();
  const [{ maker } = {}] = await catalog.listSnapshots();
  if (volume === undefined || maker === undefined) throw new Error('they were made here');
  const barrier = { incarnation: '00', sequence: 7 };
  const { accountId } = volume;
  await createPendingSnapshot(blocks, { volume, name: 'waits', accountId, maker, barrier });
  expect(await rig.call('snapshot.create', { volume: 'v', name: 's' })).toMatchObject({ state: 'completed' });
  expect(await rig.call('snapshot.show', { snapshot: 'waits' })).toMatchObject({ state: 'pending' });
  await expect(rig.call('snapshot.create', { volume: 'v', name: 'waits' })).rejects.toMatchObject({
    code: 'snapshot-exists',
  });
});
