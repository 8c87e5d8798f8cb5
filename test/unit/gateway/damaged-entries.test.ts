/** One damaged document in the store hides nothing else. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import { GatewayRig } from './rig.ts';

let rig: GatewayRig;
let volumeId: string;
let snapshotId: string;
beforeEach(async () => {
  rig = await GatewayRig.start(memoryStore());
  await rig.call('volume.create', { name: 'good', sizeBytes: 4096 });
  ({ volumeId } = await rig.call('volume.create', { name: 'bad', sizeBytes: 8192 }));
  await rig.call('snapshot.create', { volume: 'good', name: 'good-s' });
  ({ snapshotId } = await rig.call('snapshot.create', { volume: 'good', name: 'bad-s' }));
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
});

const damage = async (key: string): Promise<void> => {
  await rig.objects.put(key, Buffer.from('{"garbage": true}\n'));
};

test('damaged documents are listed as damaged, and all else works', async () => {
  await damage(`volumes/${volumeId}/volume.json`);
  await damage(`snapshots/${snapshotId}/snapshot.json`);
  const volumes = await rig.call('volume.list', {});
  expect(volumes.volumes).toMatchObject([
    { name: 'good', state: 'available' },
    { volumeId, name: '?', state: 'damaged', sizeBytes: 0, mappedBytes: 0 },
  ]);
  expect(volumes.remarks).toEqual([expect.stringContaining(volumeId)]);
  const snapshots = await rig.call('snapshot.list', {});
  expect(snapshots.snapshots).toMatchObject([{ name: 'good-s' }, { snapshotId, name: '?', state: 'damaged' }]);
  expect(snapshots.remarks).toEqual([expect.stringContaining(snapshotId)]);
  const status = await rig.call('status', {});
  expect(status).toMatchObject({
    store: { reachable: true },
    volumes: { count: 2, sizeBytes: 4096 },
    snapshots: { count: 2 },
  });
  expect(status.remarks.join('\n')).toMatch(new RegExp(`${volumeId}[^]*${snapshotId}`));
  expect(await rig.call('store.stats', {})).toMatchObject({ volumes: 2, snapshots: 2 });

  await rig.call('volume.create', { name: 'bad', sizeBytes: 4096 });
  await rig.call('volume.rename', { volume: 'good', name: 'better' });
  await rig.call('snapshot.create', { volume: 'better', name: 'bad-s' });
  await rig.call('configure', { mode: 'shadowing' });
});

test('a damaged entry that is asked for says how it is mended, and leads nowhere in a circle', async () => {
  await damage(`volumes/${volumeId}/volume.json`);
  for (const volume of [volumeId, volumeId.slice(0, 14), volumeId.toUpperCase()]) {
    const failure = await rig.call('volume.verify', { volume }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ kind: 'corrupt', code: 'object-damaged' });
    expect((failure as { hint: string }).hint).toMatch(/from a copy of the store.*sgw volume list/);
    expect((failure as { hint: string }).hint).not.toContain('verify');
  }
  await expect(rig.call('volume.show', { volume: 'bad' })).rejects.toMatchObject({
    kind: 'notFound',
    hint: expect.stringContaining('damaged') as string,
  });
});

test('a volume whose head is damaged keeps its name in the list', async () => {
  await damage(`volumes/${volumeId}/head.json`);
  const { volumes, remarks } = await rig.call('volume.list', {});
  // By age, and both may be of the same millisecond.
  expect(volumes.toSorted((a, b) => b.name.localeCompare(a.name))).toMatchObject([
    { name: 'good', state: 'available' },
    { volumeId, name: 'bad', state: 'damaged', sizeBytes: 8192, mappedBytes: 0 },
  ]);
  expect(remarks).toEqual([expect.stringContaining('head.json')]);
  expect(await rig.call('status', {})).toMatchObject({ store: { reachable: true }, volumes: { count: 2 } });
});
