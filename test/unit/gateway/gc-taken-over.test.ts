/** A gc whose rewriting is overtaken by another gateway. */
import { expect, it } from 'vitest';
import { openVolumeWriter } from '../../../src/core/blockstore/index.ts';
import { MIB, isVolumeId } from '../../../src/core/kit/index.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import { encodeBlocks, optionsOver, stamp } from '../blockstore/volume-model.ts';
import { GatewayRig } from './rig.ts';

const elsewhere = { holder: { gatewayId: 'sgw-00000009', name: 'attic' }, accountId: '000000000001' };

it('C12 gc leaves a volume to the gateway that takes it over while it rewrites, and goes on', async () => {
  const objects = memoryStore();
  await using rig = await GatewayRig.start(objects);
  const { volumeId } = await rig.call('volume.create', { name: 'golden', sizeBytes: MIB });
  if (!isVolumeId(volumeId)) throw new Error(volumeId);
  for (const [value, count] of [
    [1, 4],
    [2, 3],
  ] as const) {
    const image = Buffer.alloc(MIB);
    const blocks = [...Array(count).keys()];
    for (const block of blocks)
      for (let page = 0; page < 16; page++) stamp(value).copy(image, block * 65536 + page * 4096);
    const writer = await openVolumeWriter(optionsOver(objects, value), volumeId, elsewhere);
    await writer.commit({ encoded: [encodeBlocks(image, blocks)], consistent: true });
    await writer.close();
  }
  const put = objects.put.bind(objects);
  let isTaken = false;
  objects.put = async (key, body, options) => {
    if (!isTaken && key.startsWith(`volumes/${volumeId}/log/`)) {
      isTaken = true;
      await (await openVolumeWriter(optionsOver(objects, 9), volumeId, { ...elsewhere, takeOver: true })).close();
    }
    return await put(key, body, options);
  };
  const report = await rig.call('store.gc', { graceMs: 0 });
  expect(isTaken).toBe(true);
  expect(report.rewritten.segments).toBe(0);
  expect((await rig.call('volume.verify', { volume: 'golden' })).ok).toBe(true);
});
