/** An older key document, put back by whoever has the store, does not open it again for a home that saw the newer one. */
import { expect, it } from 'vitest';
import { newKeyFileText } from '../../../src/core/blockstore/sealing/index.ts';
import { systemRandom } from '../../../src/core/kit/index.ts';
import type { CallContext, KeySecret } from '../../../src/core/localapi/index.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import { GatewayRig } from './rig.ts';

const [oldFile, newFile] = [newKeyFileText(systemRandom).trimEnd(), newKeyFileText(systemRandom).trimEnd()];
const KEY = 'keys/000000000001.json';

function by(unlock: string, renew?: string): Pick<CallContext, 'secrets'> {
  const give = (keyFile: string) => async (): Promise<KeySecret> => Promise.resolve({ keyFile });
  return { secrets: { unlock: give(unlock), ...(renew === undefined ? {} : { renew: give(renew) }) } };
}

/** As a process of its own, which writes down what it has seen when it ends. */
async function inProcess<T>(home: GatewayRig, work: (rig: GatewayRig) => Promise<T>): Promise<T> {
  await using rig = home.again();
  return await work(rig);
}

it('C16 a key document older than was seen is refused when the store is unlocked, until that is accepted', async () => {
  const objects = memoryStore();
  await using rig = await GatewayRig.fresh(objects);
  await rig.call('activate', { name: 'lab', encrypt: true }, by('', oldFile));
  const before = await objects.get(KEY);
  await rig.call('store.rekey', {}, by(oldFile, newFile));
  const after = await objects.get(KEY);
  await inProcess(rig, async (next) => next.call('volume.list', {}, by(newFile)));

  await objects.put(KEY, before?.bytes ?? Buffer.alloc(0));
  await using fooled = rig.again();
  await expect(fooled.call('volume.list', {}, by(oldFile))).rejects.toMatchObject({
    kind: 'corrupt',
    code: 'object-damaged',
    message: expect.stringContaining(
      `object ${KEY} is damaged: it is version 1, and version 2 was seen here before`,
    ) as string,
    hint: expect.stringContaining('sgw store scrub --accept-older') as string,
  });
  await objects.put(KEY, after?.bytes ?? Buffer.alloc(0));
  await using well = rig.again();
  expect(await well.call('volume.list', {}, by(newFile))).toMatchObject({ volumes: [] });

  // On purpose, as when the store was put back from a copy.
  await objects.put(KEY, before?.bytes ?? Buffer.alloc(0));
  await inProcess(rig, async (next) => next.call('store.scrub', { acceptOlder: true }, by(oldFile)));
  await using accepted = rig.again();
  expect(await accepted.call('volume.list', {}, by(oldFile))).toMatchObject({ volumes: [] });
});

it('a key document that does not open the key is not taken note of', async () => {
  const objects = memoryStore();
  await using rig = await GatewayRig.fresh(objects);
  await rig.call('activate', { name: 'lab', encrypt: true }, by('', oldFile));
  const true1 = await objects.get(KEY);
  await rig.call('store.rekey', {}, by(oldFile, newFile));
  const true2 = await objects.get(KEY);
  await objects.put(KEY, true1?.bytes ?? Buffer.alloc(0));
  // Another home, which saw neither.
  await using other = await GatewayRig.fresh(objects);
  await other.call('activate', { name: 'other' }, by(oldFile));
  await objects.put(KEY, true2?.bytes ?? Buffer.alloc(0));
  const wrong = inProcess(other, async (next) => next.call('volume.list', {}, by(oldFile)));
  await expect(wrong).rejects.toMatchObject({ code: 'wrong-key' });
  await objects.put(KEY, true1?.bytes ?? Buffer.alloc(0));
  await using still = other.again();
  expect(await still.call('volume.list', {}, by(oldFile))).toMatchObject({ volumes: [] });
});
