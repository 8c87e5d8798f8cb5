import { stat } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { SgwError } from '../../../src/core/kit/index.ts';
import { memoryStore, withFaults } from '../../../src/core/objectstore/index.ts';
import { GatewayRig } from './rig.ts';

test('every verb but activate, status and store check needs an activated home', async () => {
  await using rig = await GatewayRig.fresh();
  const refused = { kind: 'conflict', code: 'not-activated', hint: 'sgw activate' };
  await expect(rig.call('volume.list', {})).rejects.toMatchObject(refused);
  await expect(rig.call('snapshot.show', { snapshot: 'x' })).rejects.toMatchObject(refused);
  await expect(rig.call('configure', {})).rejects.toMatchObject(refused);
  await expect(rig.call('store.check', {})).rejects.toMatchObject(refused);
  expect(await rig.call('status', {})).toMatchObject({ activated: false, gateway: null, store: null });
  expect(await rig.call('store.check', { store: '/anywhere' })).toMatchObject({ writable: true });
});

test('activation makes a private home with an identity; a second one is refused, or answered when alike', async () => {
  await using rig = await GatewayRig.fresh();
  const input = { name: 'lab', mode: 'cached' } as const;
  const made = await rig.call('activate', input);
  expect(made).toMatchObject({
    name: 'lab',
    mode: 'cached',
    accountId: '000000000001',
    region: 'local',
    created: true,
  });
  expect((await stat(rig.path('home'))).mode & 0o777).toBe(0o700);
  await expect(rig.call('activate', input)).rejects.toMatchObject({ kind: 'conflict', code: 'already-activated' });
  expect(await rig.call('activate', { ...input, ifNotExists: true })).toEqual({ ...made, created: false });
  await expect(rig.call('activate', { ...input, name: 'other', ifNotExists: true })).rejects.toMatchObject({
    details: { differing: ['name'] },
  });
  expect(await rig.call('status', {})).toMatchObject({
    activated: true,
    gateway: { gatewayId: made.gatewayId },
    store: { reachable: true },
  });
});

test('of activations in parallel one wins', async () => {
  await using rig = await GatewayRig.fresh();
  const tries = await Promise.allSettled(
    [1, 2, 3, 4].map((n) => rig.call('activate', { name: `g${String(n)}`, mode: 'cached' })),
  );
  expect(tries.filter((entry) => entry.status === 'fulfilled')).toHaveLength(1);
});

test('a store that can not refuse a second create is refused, and nothing is activated', async () => {
  const faulty = withFaults(memoryStore(), { rules: [{ fault: 'error500', operation: 'put', skip: 1 }] });
  await using rig = await GatewayRig.fresh(faulty.store);
  await expect(rig.call('activate', { name: 'lab', mode: 'cached' })).rejects.toMatchObject({
    kind: 'unsupported',
    code: 'store-unfit',
  });
  expect(await rig.call('status', {})).toMatchObject({ activated: false });
});

test.each(['exhausted', 'denied'] as const)(
  'a store that can not be written (%s) is told as that, and leaves no home behind',
  async (kind) => {
    const objects = memoryStore();
    objects.put = async () => Promise.reject(new SgwError(kind, 'system-test', 'it can not be written'));
    await using rig = await GatewayRig.fresh(objects);
    await expect(rig.call('activate', { name: 'lab', mode: 'cached' })).rejects.toMatchObject({ kind });
    await expect(stat(rig.path('home'))).rejects.toMatchObject({ code: 'ENOENT' });
    const check = await rig.call('store.check', { store: '/anywhere' });
    expect(check.writable).toBe(false);
    expect(check.probes.map((probe) => probe.message)).toEqual([
      'it can not be written',
      ...check.probes.slice(1).map(() => 'not tried: it can not be written'),
    ]);
  },
);

test('a shadowing gateway refuses the verbs of cached volumes, and its mode can be changed back', async () => {
  await using rig = await GatewayRig.start();
  expect(await rig.call('configure', { mode: 'shadowing', name: 'shade' })).toMatchObject({
    name: 'shade',
    mode: 'shadowing',
    version: 2,
    changed: ['name', 'mode'],
  });
  const refused = { kind: 'unsupported', code: 'wrong-mode' };
  await expect(rig.call('volume.create', { name: 'v', sizeBytes: 4096 })).rejects.toMatchObject(refused);
  await expect(rig.call('volume.import', { name: 'v', file: '/x' })).rejects.toMatchObject(refused);
  await expect(rig.call('snapshot.import', { name: 'v', file: '/x' })).rejects.toMatchObject(refused);
  expect(await rig.call('configure', { mode: 'cached' })).toMatchObject({ changed: ['mode'], version: 3 });
  expect(await rig.call('configure', { mode: 'cached' })).toMatchObject({ changed: [], version: 3 });
  await rig.call('volume.create', { name: 'v', sizeBytes: 4096 });
});

test('a store that was replaced by another is refused', async () => {
  const objects = memoryStore();
  await using rig = await GatewayRig.start(objects);
  await objects.delete('sgw.json');
  await expect(rig.call('volume.list', {})).rejects.toMatchObject({ kind: 'conflict', code: 'another-store' });
  expect(await rig.call('status', {})).toMatchObject({
    activated: true,
    store: { reachable: false },
    volumes: { count: null },
  });
});

test('store check says what a store lacks and leaves nothing behind', async () => {
  const faulty = withFaults(memoryStore(), { rules: [] });
  await using rig = await GatewayRig.start(faulty.store);
  expect((await rig.call('store.check', {})).probes.every((probe) => probe.ok)).toBe(true);
  faulty.setRules([{ fault: 'truncatedRead', key: /^probe/ }]);
  const report = await rig.call('store.check', {});
  expect(report.writable).toBe(false);
  expect(report.probes.find((probe) => !probe.ok)).toMatchObject({ name: 'read-your-writes', required: true });
  expect((await rig.call('store.stats', {})).kinds.map((kind) => kind.kind)).toEqual([
    'service documents',
    'store description',
  ]);
});
