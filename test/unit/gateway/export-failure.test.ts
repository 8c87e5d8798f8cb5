/** What an export leaves when it fails after it began to write. */
import { readdir, stat, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { memoryStore, withFaults } from '../../../src/core/objectstore/index.ts';
import { writeSparse } from '../transfer/rig.ts';
import { GatewayRig } from './rig.ts';

const MIB = 1024 * 1024;

const hidden = async (rig: GatewayRig): Promise<string[]> =>
  (await readdir(rig.directory)).filter((name) => name.startsWith('.'));

test('after a failure the partial file is kept and named; the same command goes on', async () => {
  const faulty = withFaults(memoryStore(), { rules: [] });
  await using rig = await GatewayRig.start(faulty.store);
  await writeSparse(rig.path('image'), 8 * MIB, [{ offset: 0, length: 2 * MIB }]);
  await rig.call('snapshot.import', { file: rig.path('image'), name: 's' });
  faulty.setRules([{ fault: 'error500', operation: 'get', key: /\/log\// }]);
  const failure = await rig
    .call('snapshot.export', { snapshot: 's', path: rig.path('out') })
    .catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'store-error' });
  const { hint, details } = failure as { hint: string; details: { partialPath: string } };
  expect(hint).toContain(`The partial file ${details.partialPath} is kept`);
  await stat(details.partialPath);
  faulty.setRules([]);
  await rig.call('snapshot.export', { snapshot: 's', path: rig.path('out') });
  expect(await hidden(rig)).toEqual([]);
});

test('what was written of a damaged snapshot is removed', async () => {
  await using rig = await GatewayRig.start();
  await writeSparse(rig.path('image'), 8 * MIB, [{ offset: 0, length: 2 * MIB }]);
  await rig.call('snapshot.import', { file: rig.path('image'), name: 's' });
  for await (const { key } of rig.objects.list('volumes/')) {
    if (!key.includes('/log/')) continue;
    const object = await rig.objects.get(key);
    const bytes = Buffer.from(object?.bytes ?? []);
    bytes[1000] = (bytes[1000] ?? 0) ^ 1;
    await rig.objects.put(key, bytes);
  }
  await expect(rig.call('snapshot.export', { snapshot: 's', path: rig.path('out') })).rejects.toMatchObject({
    kind: 'corrupt',
  });
  expect(await hidden(rig)).toEqual([]);
});

test('a file that is there already is refused before anything is written', async () => {
  await using rig = await GatewayRig.start();
  await rig.call('volume.create', { name: 'v', sizeBytes: MIB });
  await rig.call('snapshot.create', { volume: 'v', name: 's' });
  await writeFile(rig.path('out'), 'mine');
  await expect(rig.call('snapshot.export', { snapshot: 's', path: rig.path('out') })).rejects.toMatchObject({
    code: 'file-exists',
    hint: 'Give another path, or --force to replace it.',
  });
  expect(await hidden(rig)).toEqual([]);
});
