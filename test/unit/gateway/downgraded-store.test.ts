/** An encrypted store whose `sgw.json` somebody replaced by one that says otherwise, met by a home that does not know it yet. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newKeyFileText } from '../../../src/core/blockstore/sealing/secret-text.ts';
import { MIB, systemRandom } from '../../../src/core/kit/index.ts';
import type { CallContext } from '../../../src/core/localapi/index.ts';
import { memoryStore, type ObjectStore } from '../../../src/core/objectstore/index.ts';
import { forgeDocument } from '../blockstore/forging.ts';
import { GatewayRig } from './rig.ts';

const keyFile = newKeyFileText(systemRandom).trimEnd();
const give = async (): Promise<{ keyFile: string }> => Promise.resolve({ keyFile });
const withKey: Pick<CallContext, 'secrets'> = { secrets: { unlock: give, renew: give } };

let objects: ObjectStore;
let owner: GatewayRig;
let other: GatewayRig;
beforeEach(async () => {
  objects = memoryStore();
  owner = await GatewayRig.fresh(objects);
  other = await GatewayRig.fresh(objects);
  await owner.call('activate', { name: 'lab', encrypt: true }, withKey);
  await owner.call('volume.create', { name: 'golden', sizeBytes: MIB }, withKey);
  const stored = await objects.get('sgw.json');
  const forged = forgeDocument(Buffer.from(stored?.bytes ?? ''), (fields) => {
    fields['keyDerivation'] = null;
  });
  await objects.put('sgw.json', forged);
  // Else their being sealed would stop it.
  await remove('service/');
});
afterEach(async () => {
  await owner[Symbol.asyncDispose]();
  await other[Symbol.asyncDispose]();
});

async function remove(prefix: string): Promise<void> {
  const keys: string[] = [];
  for await (const { key } of objects.list(prefix)) keys.push(key);
  for (const key of keys) await objects.delete(key);
}

async function objectCount(): Promise<number> {
  let count = 0;
  for await (const _ of objects.list('')) count += 1;
  return count;
}

describe('C16 a store that claims not to be encrypted any more', () => {
  it('is not activated over as such by another home, which would write in clear', async () => {
    const before = await objectCount();
    await expect(other.call('activate', { name: 'attic' }, withKey)).rejects.toMatchObject({
      kind: 'corrupt',
      code: 'encryption-differs',
    });
    expect(await objectCount()).toBe(before);
  });

  it('nor by one that asks for encryption, though every key is gone', async () => {
    await remove('keys/');
    await expect(other.call('activate', { name: 'attic', encrypt: true }, withKey)).rejects.toMatchObject({
      kind: 'conflict',
      code: 'store-not-encrypted',
    });
  });
});
