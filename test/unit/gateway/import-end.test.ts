/** How an import ends where somebody else had a hand in it. */
import { readFile, writeFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { Catalog, openVolumeWriter } from '../../../src/core/blockstore/index.ts';
import { MIB, isVolumeId } from '../../../src/core/kit/index.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import { encodeBlocks, optionsOver } from '../blockstore/volume-model.ts';
import { GatewayRig } from './rig.ts';

const ONE = Buffer.alloc(MIB, 1);
const TWO = Buffer.alloc(MIB, 2);

it('C7 ends with a consistent commit where the note of an import that stopped was lost', async () => {
  await using rig = await GatewayRig.start();
  await writeFile(rig.path('one.raw'), ONE);
  await writeFile(rig.path('two.raw'), TWO);
  const { volumeId } = await rig.call('volume.import', { file: rig.path('one.raw'), name: 'v' });
  if (!isVolumeId(volumeId)) throw new Error(volumeId);
  const { gatewayId } = await rig.call('activate', { name: 'lab', mode: 'cached', ifNotExists: true });
  const holder = { gatewayId, name: 'lab' };
  const writer = await openVolumeWriter(optionsOver(rig.objects, 9), volumeId, { holder, accountId: '000000000001' });
  await writer.commit({ encoded: [encodeBlocks(TWO, [...Array(16).keys()])], consistent: false });
  await writer.abandon();
  await rig.call('volume.import', { file: rig.path('two.raw'), into: 'v' });
  await rig.call('snapshot.create', { volume: 'v', name: 's' });
  await rig.call('snapshot.export', { snapshot: 's', path: rig.path('out') });
  expect((await readFile(rig.path('out'))).equals(TWO)).toBe(true);
});

it.each(['deleted', 'purging'] as const)('a volume that is %s by the time an import ends stays so', async (state) => {
  const objects = memoryStore();
  await using rig = await GatewayRig.start(objects);
  await using other = await GatewayRig.start(objects, 'attic');
  await writeFile(rig.path('one.raw'), ONE);
  const put = objects.put.bind(objects);
  let deleted = false;
  objects.put = async (key, body, options) => {
    const result = await put(key, body, options);
    // The head is given back: from here on, others may take the volume.
    const text = key.endsWith('/head.json') && body instanceof Uint8Array ? Buffer.from(body).toString() : '';
    if (!deleted && text.includes('"holder": null') && text.includes('"epoch": 1')) {
      deleted = true;
      await other.call('volume.delete', { volume: 'v' });
      const id = key.split('/')[1] ?? '';
      if (isVolumeId(id)) await new Catalog(optionsOver(objects, 9)).updateVolume(id, (now) => ({ ...now, state }));
    }
    return result;
  };
  await expect(rig.call('volume.import', { file: rig.path('one.raw'), name: 'v' })).rejects.toMatchObject({
    kind: 'conflict',
    code: 'volume-deleted',
  });
  expect(deleted).toBe(true);
  expect((await rig.call('volume.list', {})).volumes).toEqual([]);
  expect((await rig.call('volume.list', { deleted: true })).volumes).toHaveLength(state === 'deleted' ? 1 : 0);
});

it('a refused import gives the volume back', async () => {
  await using rig = await GatewayRig.start();
  await writeFile(rig.path('one.raw'), ONE);
  await writeFile(rig.path('small.raw'), Buffer.alloc(4096, 3));
  await rig.call('volume.import', { file: rig.path('one.raw'), name: 'v' });
  await expect(rig.call('volume.import', { file: rig.path('small.raw'), into: 'v' })).rejects.toMatchObject({
    code: 'image-smaller',
  });
  expect((await rig.call('volume.show', { volume: 'v' })).holder).toBeNull();
});
