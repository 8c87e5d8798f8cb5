/** A share that was taken back is not granted again by sending it once more, whichever server it is sent to. */
import { beforeEach, expect, it } from 'vitest';
import { Catalog, type SnapshotEntry } from '../../../../src/core/blockstore/index.ts';
import { PrivateKey, signRequest, type MessageInput } from '../../../../src/core/protocol/index.ts';
import { NetworkRig, SERVICE_ID } from './rig.ts';

const SNAPSHOT = 'snap-0123456789abcdef0';
let first: NetworkRig;
let second: NetworkRig;
let key: PrivateKey;
let owner: string;
let friend: string;
const GATEWAY = 'sgw-00000001';

beforeEach(async () => {
  first = await NetworkRig.open();
  second = await NetworkRig.open(first, { seed: 2 });
  const { accounts, gateways } = first.service;
  const make = async (name: string) =>
    (await accounts.create({ name, accountId: null, clientToken: null }, first.signal)).accountId;
  [owner, friend] = [await make('owner'), await make('friend')];
  key = PrivateKey.make(first.random);
  const customer = { gatewayId: GATEWAY, gatewayName: 'g', accountId: owner, mode: 'cached' as const, region: 'r' };
  await gateways.register(customer, { publicKey: key.publicKey, activationId: 'act' }, first.signal);
  await putSnapshot();
});

async function putSnapshot(): Promise<void> {
  const { createDocument } = await import('../../../../src/core/blockstore/index.ts');
  const entry: Partial<SnapshotEntry> = {
    snapshotId: SNAPSHOT,
    name: 's',
    state: 'completed',
    accountId: owner,
    creators: [owner],
  };
  const { blocks } = first.service.context;
  await createDocument(blocks, `snapshots/${SNAPSHOT}/snapshot.json`, entry, first.signal);
}

async function signed(name: 'snapshot.share' | 'snapshot.unshare'): Promise<MessageInput<'snapshot.share'>> {
  const { credentialId } = await first.service.gateways.require(GATEWAY, first.signal);
  const { clock, random } = first;
  const by = { key, signer: GATEWAY, credentialId, serviceId: SERVICE_ID, clock, random };
  return signRequest(by, name, { accountId: owner, snapshotId: SNAPSHOT, withAccountId: friend });
}

const gateway = () => ({ kind: 'gateway' as const, gatewayId: GATEWAY, accountId: owner });
const grants = async (): Promise<unknown> =>
  (await new Catalog(first.service.context.blocks).getSnapshot(SNAPSHOT, first.signal)).grants;

it('is refused by the server that took it, and by any other', async () => {
  const share = await signed('snapshot.share');
  await first.messages.asGateway(gateway(), 'snapshot.share', share, first.signal);
  expect(await grants()).toMatchObject([{ accountId: friend }]);
  await first.messages.asGateway(gateway(), 'snapshot.unshare', await signed('snapshot.unshare'), first.signal);
  for (const server of [first, second])
    await expect(server.messages.asGateway(gateway(), 'snapshot.share', share, server.signal)).rejects.toMatchObject({
      code: 'request-replayed',
    });
  expect(await grants()).toEqual([]);
  // What is signed anew is another wish.
  await second.messages.asGateway(gateway(), 'snapshot.share', await signed('snapshot.share'), second.signal);
  expect(await grants()).toMatchObject([{ accountId: friend }]);
});

it('leaves nothing for ever: what is too old to be sent again is forgotten', async () => {
  for (let count = 0; count < 3; count++)
    await first.messages.asGateway(gateway(), 'snapshot.share', await signed('snapshot.share'), first.signal);
  const spent = async (): Promise<number> => (await first.texts('service/nonces/')).split('"spentAt"').length - 1;
  expect(await spent()).toBe(3);
  first.clock.ms += 11 * 60_000;
  await first.messages.asGateway(gateway(), 'snapshot.share', await signed('snapshot.share'), first.signal);
  expect(await spent()).toBe(1);
});
