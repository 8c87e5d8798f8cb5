/** What the service takes away by itself: only what nobody will ask for again. */
import { describe, expect, it } from 'vitest';
import { Catalog, readDocument, type BlockStoreOptions } from '../../../src/core/blockstore/index.ts';
import { toSgwError, type Clock } from '../../../src/core/kit/index.ts';
import type { ServiceContext } from '../../../src/core/service/context.ts';
import { GarbageSchedule } from '../../../src/core/service/dataendpoint/garbage.ts';
import { prune, type Pruned } from '../../../src/core/service/pruning/prune.ts';
import { NetworkDevice } from '../../support/device.ts';
import { LiveService } from '../../support/live-service.ts';
import { accountOf, gatewayOf, Tenants } from './dataendpoint/tenants.ts';

const { signal } = new AbortController();
const DAY_MS = 24 * 60 * 60_000;
const NOTHING: Pruned = { activations: 0, activationKeys: 0, accessKeys: 0, auditRecords: 0, owners: 0 };
const ignore = (): void => undefined;
const SILENT = { debug: ignore, info: ignore, warn: ignore, error: ignore };

/** As it is so many days later. */
function later({ blocks, ...context }: ServiceContext, days: number): ServiceContext {
  const { clock } = blocks;
  const moved: Clock = {
    nowMs: () => clock.nowMs() + days * DAY_MS,
    monotonicMs: () => clock.monotonicMs(),
    sleep: async (ms, stop) => clock.sleep(ms, stop),
  };
  return { ...context, blocks: { ...blocks, clock: moved } };
}

const pruned = async (context: ServiceContext, days: number, auditDays: number | null = 400): Promise<Pruned> =>
  prune(later(context, days), { auditMs: auditDays === null ? null : auditDays * DAY_MS }, signal);

const codeOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: unknown) => toSgwError(error).code,
  );

async function keysUnder({ objects }: BlockStoreOptions, prefix: string): Promise<string[]> {
  return (await Array.fromAsync(objects.list(prefix))).map(({ key }) => key);
}

describe('activations', () => {
  it('that nobody claimed go a week after their key expired; claims and credentials stay, and are repeated', async () => {
    await using live = await LiveService.start();
    const { context, activations } = live.service;
    const { accountId } = await live.account('anna');
    const [unclaimed, claimed, issued] = [new NetworkDevice(live), new NetworkDevice(live), new NetworkDevice(live)];
    const keys = [await unclaimed.show(), await claimed.show(), await issued.show()];
    // Its second key voids the first.
    await claimed.show();
    const claim = async ({ activationKey }: NetworkDevice): Promise<string> => {
      const wish = { activationKey, gatewayName: 'lab', accountId, mode: 'cached', region: 'lab-1' } as const;
      return (await activations.claim({ ...wish, gatewayId: null, confirm: true }, signal)).gatewayId;
    };
    const gatewayIds = [await claim(claimed), await claim(issued)];
    const { activationKey } = issued;
    const credentials = { activationKey, gatewayId: gatewayIds[1] ?? '', accountId };
    const credential = await issued.ask('activation.credential', credentials);
    expect(await pruned(context, 0)).toEqual(NOTHING);
    expect(await pruned(context, 7)).toEqual({ ...NOTHING, activationKeys: 1 });
    expect(await pruned(context, 8)).toEqual({ ...NOTHING, activations: 1, activationKeys: 1 });
    expect(await pruned(context, 4000)).toEqual(NOTHING);
    expect(await codeOf(activations.describe({ activationKey: keys[0] ?? '' }, signal))).toBe('activation-key-unknown');
    expect([await claim(claimed), await claim(issued)]).toEqual(gatewayIds);
    expect(await issued.ask('activation.credential', credentials)).toEqual(credential);
    expect(await claimed.ask('activation.collect', {})).toMatchObject({ state: 'claimed', gatewayId: gatewayIds[0] });
    // Who was forgotten begins anew, with the key pair that it has.
    await unclaimed.show();
    await claim(unclaimed);
  });

  it('that came again while they were looked at stay', async () => {
    await using live = await LiveService.start();
    const device = new NetworkDevice(live);
    await device.show();
    const { context } = live.service;
    const { objects } = context.blocks;
    const remove = objects.delete.bind(objects);
    objects.delete = async (key, options) => {
      objects.delete = remove;
      await device.show();
      return await remove(key, options);
    };
    expect(await pruned(context, 30)).toMatchObject({ activations: 0 });
    const { activationKey } = device;
    expect(await codeOf(live.service.activations.describe({ activationKey }, signal))).toBe('ok');
  });
});

it('access keys go 90 days after they were revoked, and no others', async () => {
  await using live = await LiveService.start();
  const { context, keys, rootAccountId } = live.service;
  const { accountId, accessKey } = await live.account('anna');
  const { accessKeyId } = await keys.create({ accountId, userName: 'old' }, signal);
  await keys.revoke(accessKeyId, signal);
  expect(await pruned(context, 89)).toEqual(NOTHING);
  expect(await pruned(context, 91)).toEqual({ ...NOTHING, accessKeys: 1 });
  expect((await keys.list(accountId, signal)).map((key) => key.accessKeyId)).toEqual([accessKey.accessKeyId]);
  expect(await keys.list(rootAccountId, signal)).toHaveLength(1);
});

it('records of the audit go when their time is over, each by its own, and never where they are kept for ever', async () => {
  const tenants = await Tenants.start();
  const { context } = tenants;
  const { audit } = await LiveService.start({ objects: tenants.blocks.objects, clock: tenants.clock }).then(
    async (live) => {
      await live[Symbol.asyncDispose]();
      return live.service;
    },
  );
  const record = async (operation: string): Promise<void> =>
    audit.record({ kind: 'operate', gatewayId: 'sgw-00000001', accountId: accountOf(0), operation }, signal);
  for (let at = 0; at < 20; at++) await record('old');
  tenants.clock.advance(10 * DAY_MS);
  await record('young');
  expect(await pruned(context, 5000, null)).toEqual(NOTHING);
  expect(await pruned(context, 391)).toEqual({ ...NOTHING, auditRecords: 20 });
  const [left] = await keysUnder(context.blocks, 'service/audit/');
  expect((await readDocument<{ operation: string }>(context.blocks, left ?? ''))?.value.operation).toBe('young');
});

describe('whose a volume or snapshot was', () => {
  const collect = async ({ context, clock }: Tenants): Promise<void> => {
    const gc = new GarbageSchedule({ context, log: SILENT, everyMs: 1000, graceMs: 1000 });
    for (let run = 0; run < 3; run++) {
      await gc.runIfDue(signal);
      clock.advance(DAY_MS);
    }
  };
  const owned = async ({ blocks }: Tenants): Promise<string[]> => keysUnder(blocks, 'service/owners/');

  it('is forgotten a month after it is purged and nothing is left of it, and no other account gets what is there', async () => {
    const tenants = await Tenants.start();
    const [gone, kept] = [await tenants.volume(0), await tenants.volume(0)];
    for (const volume of [gone, kept]) await tenants.write(0, volume, [0, 1]);
    const snapshot = await tenants.snapshot(0, gone);
    const catalog = new Catalog(tenants.of(0));
    const deletedAt = new Date(tenants.clock.nowMs()).toISOString();
    await catalog.updateVolume(gone.volumeId, (now) => ({ ...now, state: 'deleted', deletedAt }));
    tenants.clock.advance(60 * DAY_MS);
    await collect(tenants);
    // Its snapshot is made of it.
    expect(await pruned(tenants.context, 400)).toEqual(NOTHING);
    expect(await owned(tenants)).toHaveLength(3);
    await catalog.updateSnapshot(snapshot.snapshotId, (now) => ({ ...now, state: 'deleted', deletedAt }));
    tenants.clock.advance(60 * DAY_MS);
    await collect(tenants);
    await collect(tenants);
    expect(await pruned(tenants.context, 0)).toEqual({ ...NOTHING, owners: 2 });
    expect(await owned(tenants)).toEqual([`service/owners/${kept.volumeId}.json`]);
    await tenants.write(0, kept, [2]);
    const late = tenants.store(0).get(`volumes/${gone.volumeId}/volume.json`, { signal });
    expect(await late.catch((error: unknown) => toSgwError(error).kind)).toBeOneOf([undefined, 'denied']);
  });

  it('stays of what is young, deleted only, or never was more than begun', async () => {
    const tenants = await Tenants.start();
    const volume = await tenants.volume(0);
    const { records } = tenants.tenancy;
    await records.claim('vol-00000000000000abc', gatewayOf(1), signal);
    const deletedAt = new Date(tenants.clock.nowMs()).toISOString();
    await new Catalog(tenants.of(0)).updateVolume(volume.volumeId, (now) => ({ ...now, state: 'deleted', deletedAt }));
    expect(await pruned(tenants.context, 400)).toEqual(NOTHING);
    tenants.clock.advance(20 * DAY_MS);
    await collect(tenants);
    expect(await pruned(tenants.context, 0)).toEqual(NOTHING);
    expect(await owned(tenants)).toHaveLength(2);
  });
});

it('is done by the server that runs gc, which what fails of it does not keep from that', async () => {
  const tenants = await Tenants.start();
  const { context } = tenants;
  let asked = 0;
  const failing = async (): Promise<object> => {
    asked += 1;
    return Promise.reject(new Error('it fails'));
  };
  const warned: unknown[] = [];
  const log = { ...SILENT, warn: (fields: unknown) => warned.push(fields) };
  const options = { context, log, everyMs: DAY_MS, prune: failing };
  const ran = await Promise.all(
    [new GarbageSchedule(options), new GarbageSchedule(options)].map((gc) => gc.runIfDue(signal)),
  );
  expect(ran.filter((report) => report !== undefined)).toHaveLength(1);
  expect([asked, warned.length]).toEqual([1, 1]);
});
