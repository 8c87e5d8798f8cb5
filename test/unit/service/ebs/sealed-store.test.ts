import { GetSnapshotBlockCommand, ListChangedBlocksCommand, ListSnapshotBlocksCommand } from '@aws-sdk/client-ebs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createStore } from '../../../../src/core/blockstore/index.ts';
import { beginStoreKey, passphraseSecret } from '../../../../src/core/blockstore/sealing/index.ts';
import { seededRandom, systemClock } from '../../../../src/core/kit/index.ts';
import { memoryStore } from '../../../../src/core/objectstore/index.ts';
import { EbsRig, startSnapshot, type User } from './ebs-rig.ts';

const SNAPSHOT = 'snap-0123456789abcdef0';
let rig: EbsRig;
let anna: User;

beforeEach(async () => {
  const objects = memoryStore();
  const options = { objects, clock: systemClock, random: seededRandom(5) };
  const info = await createStore(options, { keyId: '000000000001' });
  const cost = { N: 1024, r: 8, p: 1 };
  const begun = await beginStoreKey(options, info, passphraseSecret('of the customer'), { cost });
  rig = await EbsRig.start(objects, {}, begun === undefined ? {} : { keys: begun.keys });
  anna = await rig.user('anna');
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
});

it('blocks of a store whose key its customer holds are neither listed, compared, read nor written', async () => {
  const questions = [
    async () => anna.client.send(new ListSnapshotBlocksCommand({ SnapshotId: SNAPSHOT })),
    async () => anna.client.send(new ListChangedBlocksCommand({ SecondSnapshotId: SNAPSHOT })),
    async () =>
      anna.client.send(
        new GetSnapshotBlockCommand({ SnapshotId: SNAPSHOT, BlockIndex: 0, BlockToken: 'A'.repeat(88) }),
      ),
    async () => startSnapshot(anna.client),
  ];
  for (const ask of questions)
    await expect(ask()).rejects.toMatchObject({ name: 'ValidationException', Reason: 'INVALID_CUSTOMER_KEY' });
});
