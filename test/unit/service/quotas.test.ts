/** Limits of accounts: held wherever something is made, and counted in the store. */
import { ServiceQuotaExceededException } from '@aws-sdk/client-ebs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Catalog } from '../../../src/core/blockstore/index.ts';
import { GIB, toSgwError } from '../../../src/core/kit/index.ts';
import { NO_LIMITS, type AccountLimits } from '../../../src/core/protocol/index.ts';
import { answerTo } from '../../../src/core/service/aws/storagegateway/errors.ts';
import { Quotas } from '../../../src/core/service/quotas/quotas.ts';
import { NetworkDevice } from '../../support/device.ts';
import { LiveService } from '../../support/live-service.ts';
import { BlockRig } from './blockapi/block-rig.ts';
import { EbsRig, startSnapshot } from './ebs/ebs-rig.ts';
import { accountOf, Tenants } from './dataendpoint/tenants.ts';

const { signal } = new AbortController();
const WHO = 0;

/** What `work` is refused with. */
const refusal = async (work: Promise<unknown>): Promise<object> =>
  work.then(
    () => expect.unreachable('it was not refused'),
    (error: unknown) => {
      const { kind, code, details } = toSgwError(error);
      return { kind, code, limit: details['limit'] };
    },
  );
const over = (limit: string): object => ({ kind: 'denied', code: 'quota-exceeded', limit });

describe('what gateways keep at the service', () => {
  const begin = async (limits: Partial<AccountLimits>): Promise<Tenants> => {
    const tenants = await Tenants.start();
    await tenants.quotas.change(accountOf(WHO), limits, signal);
    return tenants;
  };

  it('is as many volumes as the account may have, again when one is deleted, and not one that is undeleted beyond', async () => {
    const tenants = await begin({ volumes: 2 });
    const first = await tenants.volume(WHO);
    await tenants.volume(WHO);
    expect(await refusal(tenants.volume(WHO))).toEqual(over('volumes'));
    // Another account has none of it.
    await tenants.volume(1);
    const catalog = new Catalog(tenants.of(WHO));
    await catalog.updateVolume(first.volumeId, (now) => ({ ...now, state: 'deleted' }));
    await tenants.volume(WHO);
    const undelete = catalog.updateVolume(first.volumeId, (now) => ({ ...now, state: 'available' }));
    expect(await refusal(undelete)).toEqual(over('volumes'));
    // What it has goes on: it is renamed, and written.
    const [kept] = await catalog.listVolumes();
    if (kept === undefined) throw new Error('none is left');
    await catalog.updateVolume(kept.volumeId, (now) => ({ ...now, name: 'other' }));
    await tenants.write(WHO, kept, [1, 2]);
  });

  it('is as large together as the account may have, also by growing', async () => {
    const tenants = await begin({ volumeBytes: 3 << 20 });
    const volume = await tenants.volume(WHO, 1 << 20);
    await tenants.volume(WHO, 1 << 20);
    expect(await refusal(tenants.volume(WHO, 2 << 20))).toEqual(over('volumeBytes'));
    const catalog = new Catalog(tenants.of(WHO));
    const resize = async (sizeBytes: number): Promise<unknown> =>
      catalog.updateVolume(volume.volumeId, (now) => ({ ...now, sizeBytes }));
    await resize(2 << 20);
    expect(await refusal(resize((2 << 20) + 4096))).toEqual(over('volumeBytes'));
    await resize(1 << 20);
    await tenants.volume(WHO, 1 << 20);
  });

  it('is as many snapshots as the account may have, clones not counted', async () => {
    const tenants = await begin({ snapshots: 1 });
    const volume = await tenants.volume(WHO);
    await tenants.write(WHO, volume, [3]);
    const snapshot = await tenants.snapshot(WHO, volume);
    expect(await refusal(tenants.snapshot(WHO, volume))).toEqual(over('snapshots'));
    await tenants.volume(WHO, 1 << 20, snapshot);
    await new Catalog(tenants.of(WHO)).updateSnapshot(snapshot.snapshotId, (now) => ({
      ...{ ...now, state: 'deleted', deletedAt: now.createdAt },
    }));
    await tenants.snapshot(WHO, volume);
  });

  it('is counted anew before it is refused, and after a while: other servers make some too', async () => {
    const tenants = await begin({ volumes: 3 });
    await tenants.volume(WHO);
    const other = tenants.over(tenants.store(WHO, tenants.newTenancy()), WHO);
    await new Catalog(other).createVolume({ name: 'a', sizeBytes: 4096, accountId: accountOf(WHO) });
    const another = new Quotas(tenants.context);
    await another.require(accountOf(WHO), { volumes: 1 }, signal);
    await tenants.volume(WHO);
    tenants.settle();
    tenants.clock.advance(10_000);
    expect(await refusal(tenants.volume(WHO))).toEqual(over('volumes'));
    expect(await refusal(another.require(accountOf(WHO), { volumes: 1 }, signal))).toEqual(over('volumes'));
    await tenants.quotas.change(accountOf(WHO), { volumes: null }, signal);
    await tenants.volume(WHO);
    expect(await tenants.quotas.limitsOf(accountOf(WHO), signal)).toEqual(NO_LIMITS);
  });
});

describe('what is made without a gateway', () => {
  it('EBS direct: a snapshot too many is refused as AWS does, and one that was begun is found by its token', async () => {
    await using rig = await EbsRig.start();
    const anna = await rig.user('anna');
    await rig.service.quotas.change(anna.accountId, { snapshots: 1 }, signal);
    const id = await startSnapshot(anna.client, { ClientToken: 'one' });
    const refused = await startSnapshot(anna.client, { ClientToken: 'two' }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ServiceQuotaExceededException);
    expect(refused).toMatchObject({ Reason: 'DEPENDENCY_SERVICE_QUOTA_EXCEEDED', $metadata: { httpStatusCode: 402 } });
    expect(await startSnapshot(anna.client, { ClientToken: 'one' })).toBe(id);
  });

  it('the block API: volumes, their sizes and snapshots, what was made found by its token', async () => {
    await using rig = await BlockRig.start();
    const anna = await rig.user('anna');
    const volume = await anna.create({ clientToken: 'one' });
    await rig.service.quotas.change(anna.accountId, { volumes: 1, snapshots: 1 }, signal);
    const body = { name: 'disk', sizeBytes: 1 << 20 };
    const refused = await anna.ask('POST', '/v1/volumes', { body });
    expect(refused).toMatchObject({ status: 403, document: { error: { code: 'quota-exceeded' } } });
    expect((await anna.create({ clientToken: 'one' })).volumeId).toBe(volume.volumeId);
    const snapshot = await anna.snapshot(volume.volumeId, { clientToken: 's' });
    const second = await anna.ask('POST', `/v1/volumes/${volume.volumeId}/snapshots`, { body: {} });
    expect(second).toMatchObject({ status: 403, document: { error: { code: 'quota-exceeded' } } });
    expect((await anna.snapshot(volume.volumeId, { clientToken: 's' })).snapshotId).toBe(snapshot.snapshotId);
    const { volumes, volumeBytes, snapshots } = await rig.service.quotas.usageOf(anna.accountId, signal);
    expect({ volumes, volumeBytes, snapshots }).toEqual({ volumes: 1, volumeBytes: volume.sizeBytes, snapshots: 1 });
  });
});

describe('gateways and access keys', () => {
  let live: LiveService;
  beforeAll(async () => {
    live = await LiveService.start();
  });
  afterAll(async () => {
    await live[Symbol.asyncDispose]();
  });

  it('are as many as the account may have, also those that were claimed and have yet to come', async () => {
    const { accountId } = await live.account('anna');
    const { activations, gateways, quotas } = live.service;
    await quotas.change(accountId, { gateways: 1 }, signal);
    const claim = async (activationKey: string): Promise<string> => {
      const wish = { activationKey, gatewayName: 'lab', accountId, mode: 'cached', region: 'lab-1' } as const;
      return (await activations.claim({ ...wish, gatewayId: null, confirm: true }, signal)).gatewayId;
    };
    const [first, second] = [new NetworkDevice(live), new NetworkDevice(live)];
    const gatewayId = await claim(await first.show());
    const key = await second.show();
    expect(await refusal(claim(key))).toEqual(over('gateways'));
    const { activationKey } = first;
    await first.ask('activation.credential', { activationKey, gatewayId, accountId });
    expect(await refusal(claim(key))).toEqual(over('gateways'));
    // The same claim again is no other gateway.
    expect(await claim(activationKey)).toBe(gatewayId);
    await gateways.deregister(gatewayId, signal);
    await claim(key);
  });

  it('of which root has as many as it wants', async () => {
    const { keys, quotas, rootAccountId } = live.service;
    const { accountId } = await live.account('bert');
    await quotas.change(accountId, { keys: 2 }, signal);
    const { accessKeyId } = await keys.create({ accountId, userName: 'b' }, signal);
    expect(await refusal(keys.create({ accountId, userName: 'c' }, signal))).toEqual(over('keys'));
    await keys.revoke(accessKeyId, signal);
    await keys.create({ accountId, userName: 'c' }, signal);
    expect(await refusal(quotas.change(rootAccountId, { keys: 0 }, signal))).toMatchObject({ code: 'root-unlimited' });
  });
});

it('the Storage Gateway API has a code for volumes that are too many, and too large', async () => {
  const tenants = await Tenants.start();
  await tenants.quotas.change(accountOf(WHO), { volumes: 0, volumeBytes: GIB }, signal);
  const asked = async (added: object): Promise<unknown> =>
    answerTo('CreateCachediSCSIVolume', await tenants.quotas.require(accountOf(WHO), added, signal).catch(toSgwError));
  const refused = (errorCode: string): object => ({ status: 400, body: { error: { errorCode } } });
  expect(await asked({ volumes: 1 })).toMatchObject(refused('MaximumVolumeCountExceeded'));
  expect(await asked({ volumeBytes: 2 * GIB })).toMatchObject(refused('LocalStorageLimitExceeded'));
});
