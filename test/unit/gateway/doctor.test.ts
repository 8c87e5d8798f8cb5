import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { SgwError } from '../../../src/core/kit/index.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import { GatewayRig } from './rig.ts';

test('a home where all is well has no failed check', async () => {
  await using rig = await GatewayRig.start();
  const { ok, checks } = await rig.call('doctor', {});
  expect(checks.filter(({ state }) => state === 'failed')).toEqual([]);
  expect(ok).toBe(true);
  expect(checks.map(({ name }) => name)).toEqual([
    'home',
    'state',
    'daemon',
    'store',
    'disk',
    'space',
    'clock',
    'logs',
  ]);
});

test('a home that is not activated is told, and what to do', async () => {
  await using rig = await GatewayRig.fresh();
  const { ok, checks } = await rig.call('doctor', {});
  expect(ok).toBe(false);
  expect(checks.at(-1)).toMatchObject({ name: 'state', state: 'failed', kind: 'conflict', hint: 'sgw activate' });
});

test('a home that others can read, a log that nobody serves and one that was overtaken are told', async () => {
  await using rig = await GatewayRig.start();
  await chmod(rig.path('home'), 0o755);
  const folder = rig.path('home/volumes/vol-0123456789abcdef0');
  for (const name of ['log', 'log-overtaken-1']) {
    await mkdir(`${folder}/${name}`, { recursive: true });
    await writeFile(`${folder}/${name}/0`, 'x');
  }
  const { ok, checks } = await rig.call('doctor', {});
  expect(ok).toBe(false);
  expect(checks.find(({ name }) => name === 'home')).toMatchObject({ state: 'warning' });
  const logs = checks.filter(({ name }) => name.startsWith('log of'));
  expect(logs.map(({ state }) => state).sort()).toEqual(['failed', 'warning']);
  expect(logs.find(({ state }) => state === 'failed')?.message).toContain(`${folder}/log-overtaken-1`);
});

test('a store out of reach is told with its own words', async () => {
  const objects = memoryStore();
  let isAway = false;
  await using rig = await GatewayRig.start(objects, 'lab', {
    storeAt: () => {
      if (isAway) throw new SgwError('unavailable', 'store-away', 'the store is away', { hint: 'Mount it.' });
      return objects;
    },
  });
  isAway = true;
  const { checks } = await rig.call('doctor', {});
  expect(checks.find(({ name }) => name === 'store')).toEqual({
    name: 'store',
    state: 'failed',
    kind: 'unavailable',
    message: 'the store is away',
    hint: 'Mount it.',
  });
});
