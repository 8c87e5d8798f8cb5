import { expect, test } from 'vitest';
import { memoryStore, withFaults } from '../../../src/core/objectstore/index.ts';
import { Rig, writeSparse } from './rig.ts';

const MIB = 1024 * 1024;

test('a store that fails in the middle of an import gives its error, and a later import goes on', async () => {
  const faulty = withFaults(memoryStore(), { rules: [] });
  await using rig = await Rig.start(faulty.store);
  const path = rig.path('image');
  await writeSparse(path, 64 * MIB, [{ offset: 0, length: 64 * MIB }]);
  const volume = await rig.newVolume(64 * MIB);
  faulty.setRules([{ fault: 'error500', operation: 'put', key: /\/log\//, skip: 2 }]);
  await expect(rig.import(volume, path)).rejects.toMatchObject({ kind: 'unavailable', code: 'store-error' });
  faulty.setRules([]);
  const report = await rig.import(volume, path, { diff: true, resume: true });
  expect(report.changedBytes).toBeLessThan(64 * MIB);
  expect(await rig.readsAs(volume, path)).toBe(true);
});

test('a commit whose reply is lost is not taken for applied until it was looked up', async () => {
  const faulty = withFaults(memoryStore(), { rules: [] });
  await using rig = await Rig.start(faulty.store);
  const path = rig.path('image');
  await writeSparse(path, 40 * MIB, [{ offset: 0, length: 40 * MIB }]);
  const volume = await rig.newVolume(40 * MIB);
  faulty.setRules([{ fault: 'lostReply', operation: 'put', key: /\/log\//, skip: 1, times: 1 }]);
  await expect(rig.import(volume, path)).rejects.toMatchObject({ code: 'reply-lost' });
  await rig.import(volume, path, { diff: true, resume: true });
  expect(await rig.readsAs(volume, path)).toBe(true);
});

test('a read that comes back short is an error that names the object, not an export', async () => {
  const faulty = withFaults(memoryStore(), { rules: [] });
  await using rig = await Rig.start(faulty.store);
  const path = rig.path('image');
  await writeSparse(path, 4 * MIB, [{ offset: 0, length: 4 * MIB }]);
  const volume = await rig.newVolume(4 * MIB);
  await rig.import(volume, path);
  const view = await rig.view(volume);
  faulty.setRules([{ fault: 'truncatedRead', operation: 'get', key: /\/log\// }]);
  const failure = await rig.export(view, rig.path('out')).catch((error: unknown) => error);
  expect(failure).toMatchObject({ kind: 'corrupt' });
  expect((failure as Error).message).toContain(`volumes/${volume}/log/`);
});
