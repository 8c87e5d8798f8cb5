/** A home that is activated anew while a process goes on that served it before: nothing of before is for the new gateway. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newKeyFileText } from '../../../src/core/blockstore/sealing/secret-text.ts';
import { MIB, systemRandom } from '../../../src/core/kit/index.ts';
import type { CallContext } from '../../../src/core/localapi/index.ts';
import { memoryStore, type ObjectStore } from '../../../src/core/objectstore/index.ts';
import { GatewayRig } from './rig.ts';

const keyFile = newKeyFileText(systemRandom).trimEnd();
const give = async (): Promise<{ keyFile: string }> => Promise.resolve({ keyFile });
const withKey: Pick<CallContext, 'secrets'> = { secrets: { unlock: give, renew: give } };

let first: ObjectStore;
let second: ObjectStore;
let rig: GatewayRig;
beforeEach(async () => {
  first = memoryStore();
  second = memoryStore();
  rig = await GatewayRig.fresh(first, { storeAt: (place) => (place.endsWith('second') ? second : first) });
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
});

async function keysIn(store: ObjectStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list('')) keys.push(key);
  return keys;
}

describe('a process whose home is activated anew over another store', () => {
  it('writes to that one and no more to the one before', async () => {
    await rig.call('activate', { name: 'lab' });
    await rig.call('volume.create', { name: 'old', sizeBytes: MIB });
    await rig.call('deactivate', {});
    const before = await keysIn(first);
    await rig.call('activate', { name: 'lab', store: rig.path('second') });
    await rig.call('volume.create', { name: 'new', sizeBytes: MIB });
    expect((await rig.call('volume.list', {})).volumes.map(({ name }) => name)).toEqual(['new']);
    expect(await keysIn(first)).toEqual(before);
    expect((await keysIn(second)).filter((key) => key.endsWith('/volume.json'))).toHaveLength(1);
  });

  it('C16 keeps no key of the store before, and writes nothing in clear', async () => {
    await rig.call('activate', { name: 'lab', encrypt: true }, withKey);
    await rig.call('volume.create', { name: 'old', sizeBytes: MIB }, withKey);
    await rig.call('deactivate', {}, withKey);
    await rig.call('activate', { name: 'lab', encrypt: true, store: rig.path('second') }, withKey);
    await expect(rig.call('volume.create', { name: 'new', sizeBytes: MIB })).rejects.toMatchObject({
      code: 'key-missing',
    });
    await rig.call('volume.create', { name: 'new', sizeBytes: MIB }, withKey);
    await using reader = rig.again({ storeAt: () => second });
    expect((await reader.call('volume.list', {}, withKey)).volumes).toMatchObject([
      { name: 'new', state: 'available' },
    ]);
  });
});
