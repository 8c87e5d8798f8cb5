import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { systemClock } from '../../../src/core/kit/index.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import { GatewayRig } from './rig.ts';

const BYTES = 64 * 1024;

test('an import with if-not-exists takes the existing volume only when that came from the same file', async () => {
  await using rig = await GatewayRig.start();
  const [a, b] = [rig.path('a'), rig.path('b')];
  await writeFile(a, Buffer.alloc(BYTES, 1));
  await writeFile(b, Buffer.alloc(BYTES, 2));
  const made = await rig.call('volume.import', { file: a, name: 'v' });
  expect(await rig.call('volume.import', { file: a, name: 'v', ifNotExists: true })).toMatchObject({
    volumeId: made.volumeId,
    changedBytes: 0,
  });
  const differs = { kind: 'conflict', code: 'different-parameters', details: { differing: ['source'] } };
  await expect(rig.call('volume.import', { file: b, name: 'v', ifNotExists: true })).rejects.toMatchObject(differs);
  await rig.call('volume.import', { file: b, into: 'v' });
  await rig.call('volume.import', { file: b, name: 'v', ifNotExists: true });
  await rig.call('volume.create', { name: 'empty', sizeBytes: BYTES });
  await expect(rig.call('volume.import', { file: a, name: 'empty', ifNotExists: true })).rejects.toMatchObject(differs);
});

test('the hint for an image that is too small is the command that helps', async () => {
  await using rig = await GatewayRig.start();
  const file = rig.path('image');
  await writeFile(file, Buffer.alloc(BYTES, 1));
  await rig.call('volume.create', { name: 'v', sizeBytes: 2 * BYTES });
  await expect(rig.call('volume.import', { file, into: 'v' })).rejects.toMatchObject({
    code: 'image-smaller',
    hint: expect.stringContaining(`sgw volume resize v --size ${String(BYTES)} --shrink`) as string,
  });
});

test('a snapshot whose volume was purged keeps its name: importing it again is told so', async () => {
  let laterMs = 0;
  const clock = { ...systemClock, nowMs: () => systemClock.nowMs() + laterMs };
  await using rig = await GatewayRig.start(memoryStore(), 'lab', { clock });
  const file = rig.path('image');
  await writeFile(file, Buffer.alloc(BYTES, 1));
  await rig.call('snapshot.import', { file, name: 's' });
  const { id } = await rig.call('volume.delete', { volume: 's' });
  laterMs += 8 * 24 * 60 * 60_000;
  for (let run = 0; run < 3; run++) await rig.call('store.gc', { graceMs: 0 });
  expect((await rig.call('volume.list', { deleted: true })).volumes).toEqual([]);
  await expect(rig.call('snapshot.import', { file, name: 's' })).rejects.toMatchObject({
    kind: 'conflict',
    code: 'snapshot-exists',
  });
  expect(await rig.call('snapshot.verify', { snapshot: 's' })).toMatchObject({ ok: true });
  expect(id).toMatch(/^vol-/);
});
