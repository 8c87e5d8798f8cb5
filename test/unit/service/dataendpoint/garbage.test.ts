/** gc of the service's store, by one of its servers at a time. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Catalog, readDocument } from '../../../../src/core/blockstore/index.ts';
import { memoryStore } from '../../../../src/core/objectstore/index.ts';
import { GarbageSchedule } from '../../../../src/core/service/dataendpoint/garbage.ts';
import { accountOf, NONE, Tenants } from './tenants.ts';

const HOUR_MS = 60 * 60_000;
const DAY_MS = 24 * HOUR_MS;
const ignore = (): void => undefined;
const SILENT = { debug: ignore, info: ignore, warn: ignore, error: ignore };

describe.each([
  ['in plain', false],
  ['by keys that the provider holds', true],
])('gc by the service of a store that is kept %s', (_name, isSealed) => {
  let tenants: Tenants;
  let one: GarbageSchedule;
  let other: GarbageSchedule;
  beforeEach(async () => {
    tenants = await Tenants.start(memoryStore(), 1, isSealed);
    const options = { context: tenants.context, log: SILENT, everyMs: DAY_MS, graceMs: HOUR_MS };
    one = new GarbageSchedule(options);
    other = new GarbageSchedule(options);
  });
  const objectKeys = async (): Promise<string[]> => [...(await tenants.objects()).keys()];

  it('runs when it is due, once for all servers', async () => {
    const ran = await Promise.all([one.runIfDue(NONE.signal), other.runIfDue(NONE.signal)]);
    expect(ran.filter((report) => report !== undefined).length).toBe(1);
    expect(await one.runIfDue(NONE.signal)).toBeUndefined();
    expect(await other.runIfDue(NONE.signal)).toBeUndefined();
    tenants.clock.advance(DAY_MS);
    expect(await other.runIfDue(NONE.signal)).toBeDefined();
    expect(await one.runIfDue(NONE.signal)).toBeUndefined();
  });

  it('is taken up by another server when the one that ran it died', async () => {
    const stop = new AbortController();
    const store = tenants.blocks.objects;
    // It dies in the middle: nothing of it reaches the store any more.
    const list = store.list.bind(store);
    store.list = (...args) => {
      stop.abort();
      return list(...args);
    };
    await expect(one.runIfDue(stop.signal)).rejects.toMatchObject({ kind: 'aborted' });
    store.list = list;
    const lease = await readDocument<{ finishedAt: string | null }>(tenants.blocks, 'service/leases/gc.json');
    expect(lease).toBeDefined();
    tenants.clock.advance(DAY_MS);
    expect(await other.runIfDue(NONE.signal)).toBeDefined();
  });

  it('takes away what no account needs, and keeps what a clone of another account needs', async () => {
    const volume = await tenants.volume(0);
    await tenants.write(0, volume, [0, 1, 2]);
    await tenants.write(0, volume, [1]);
    const snapshot = await tenants.snapshot(0, volume);
    await tenants.share(0, snapshot, 1);
    const clone = await tenants.volume(1, 0, snapshot);
    const shown = await tenants.readVolume(1, clone);
    await tenants.write(0, volume, [0, 1, 2, 3]);
    await new Catalog(tenants.of(0)).updateSnapshot(snapshot.snapshotId, (now) => ({ ...now, state: 'deleted' }));
    const lost = await tenants.volume(0);
    await tenants.write(0, lost, [9]);
    await new Catalog(tenants.of(0)).updateVolume(lost.volumeId, (now) => ({
      ...now,
      state: 'deleted',
      deletedAt: new Date(tenants.clock.nowMs()).toISOString(),
    }));
    for (let day = 0; day < 10; day++) {
      tenants.clock.advance(DAY_MS);
      await one.runIfDue(NONE.signal);
    }
    expect((await objectKeys()).filter((key) => key.startsWith(`volumes/${lost.volumeId}/`))).toEqual([]);
    expect(await tenants.readVolume(1, clone)).toEqual(shown);
    await tenants.write(1, clone, [5]);
    expect((await tenants.snapshot(1, clone)).state).toBe('completed');
  });

  it('of what was purged, each account learns of its own', async () => {
    const volumes = [await tenants.volume(0), await tenants.volume(1)];
    for (const [who, volume] of volumes.entries())
      await new Catalog(tenants.of(who as 0 | 1)).updateVolume(volume.volumeId, (now) => ({
        ...now,
        state: 'deleted',
        deletedAt: new Date(tenants.clock.nowMs()).toISOString(),
      }));
    for (let day = 0; day < 10; day++) {
      tenants.clock.advance(DAY_MS);
      await one.runIfDue(NONE.signal);
    }
    const purged = async (who: 0 | 1): Promise<string> => {
      const texts: string[] = [];
      for await (const { key } of tenants.store(who).list('gc/purged/'))
        texts.push((await tenants.store(who).get(key))?.bytes.toString() ?? '');
      return texts.join();
    };
    expect(await purged(0)).toContain(volumes[0]?.volumeId);
    expect(await purged(0)).not.toContain(volumes[1]?.volumeId);
    expect(await purged(1)).toContain(volumes[1]?.volumeId);
    // And nobody begins another volume under the id of one that is gone.
    const forged = (await tenants.blocks.objects.get('sgw.json'))?.bytes ?? Buffer.alloc(0);
    const key = `volumes/${volumes[0]?.volumeId ?? ''}/key.json`;
    await expect(tenants.store(1).put(key, forged, { condition: { ifAbsent: true } })).rejects.toMatchObject({
      code: 'store-rights',
    });
  });
});

describe('an account whose key is gone', () => {
  it('stops gc, which can not know what it needs, and nobody else', async () => {
    const raw = memoryStore();
    const tenants = await Tenants.start(raw, 1, true);
    const [volume, own] = [await tenants.volume(0), await tenants.volume(1)];
    await tenants.write(0, volume, [0, 1]);
    await tenants.write(1, own, [2]);
    const shown = await tenants.readVolume(1, own);
    const schedule = new GarbageSchedule({ context: tenants.context, log: SILENT, everyMs: DAY_MS, graceMs: HOUR_MS });
    await schedule.runIfDue(NONE.signal);
    const place = `service/account-keys/${accountOf(0)}.json`;
    const key = await raw.get(place);
    await raw.delete(place);
    const before = (await Array.fromAsync(raw.list('volumes/'))).map((info) => info.key);
    for (let day = 0; day < 3; day++) {
      tenants.clock.advance(DAY_MS);
      await expect(schedule.runIfDue(NONE.signal)).rejects.toMatchObject({ kind: 'corrupt' });
    }
    expect((await Array.fromAsync(raw.list('volumes/'))).map((info) => info.key)).toEqual(before);
    expect(await tenants.readVolume(1, own)).toEqual(shown);
    await tenants.write(1, own, [3]);
    await expect(tenants.readVolume(0, volume)).rejects.toMatchObject({ code: 'account-key-missing' });
    // Put back, it goes on.
    await raw.put(place, key?.bytes ?? Buffer.alloc(0));
    tenants.clock.advance(DAY_MS);
    expect(await schedule.runIfDue(NONE.signal)).toBeDefined();
  });
});
