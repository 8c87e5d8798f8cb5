/** What a gateway's account may read and write of the store, by the block store's own code and by hand. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Catalog, openVolumeWriter } from '../../../../src/core/blockstore/index.ts';
import { toSgwError, type SgwError } from '../../../../src/core/kit/index.ts';
import { accountOf, authorsOf, gatewayOf, NONE, Tenants } from './tenants.ts';

async function failureOf(work: Promise<unknown>): Promise<SgwError> {
  return await work.then(
    () => {
      throw new Error('it succeeded');
    },
    (error: unknown) => toSgwError(error),
  );
}

const keysOf = async (list: AsyncIterable<{ readonly key: string }>): Promise<string[]> =>
  (await Array.fromAsync(list)).map(({ key }) => key);

describe('the store as an account sees it', () => {
  let tenants: Tenants;
  beforeEach(async () => {
    tenants = await Tenants.start();
  });

  it('an account works on its own volumes and snapshots as on a store of its own', async () => {
    const volume = await tenants.volume(0);
    await tenants.write(0, volume, [0, 1, 40]);
    await tenants.write(0, volume, [1, 200]);
    const snapshot = await tenants.snapshot(0, volume);
    expect(snapshot).toMatchObject({ state: 'completed', creators: [accountOf(0)], mappedPages: 4 });
    const clone = await tenants.volume(0, 0, snapshot);
    await tenants.write(0, clone, [7]);
    expect(await tenants.readVolume(0, clone)).toEqual(await tenants.truth(clone));
    expect(await tenants.readSnapshot(0, snapshot)).toEqual(await tenants.truth(volume));
    const second = await tenants.snapshot(0, clone);
    expect(second).toMatchObject({ state: 'completed', mappedPages: 5 });
  });

  it('what another account has does not exist: not by key, not in lists, and not when it is deleted', async () => {
    const volume = await tenants.volume(0);
    await tenants.write(0, volume, [0]);
    const snapshot = await tenants.snapshot(0, volume);
    const other = tenants.store(1);
    for (const key of (await tenants.objects()).keys()) {
      if (key === 'sgw.json') continue;
      expect(await other.get(key, NONE), key).toBeUndefined();
      expect(await other.head(key, NONE), key).toBeUndefined();
    }
    expect(await keysOf(other.list(''))).toEqual(['sgw.json']);
    expect(await Array.fromAsync(other.listFolders('volumes/'))).toEqual([]);
    expect(await Array.fromAsync(other.listFolders(`volumes/${volume.volumeId}/`))).toEqual([]);
    expect(await keysOf(other.list(`snapshots/${snapshot.snapshotId}/`))).toEqual([]);
    expect(await new Catalog(tenants.of(1)).listVolumes()).toEqual([]);
  });

  it('a list shows everything that is the account’s own, in byte order', async () => {
    const volumes = [await tenants.volume(0), await tenants.volume(1), await tenants.volume(0)];
    for (const volume of volumes) await tenants.write(volume.accountId === accountOf(0) ? 0 : 1, volume, [3]);
    const own = [...(await tenants.objects()).keys()].filter(
      (key) => key === 'sgw.json' || (key.startsWith('volumes/') && key.split('/')[1] !== volumes[1]?.volumeId),
    );
    const store = tenants.store(0);
    expect(await keysOf(store.list(''))).toEqual(own.sort());
    const middle = own[3] ?? '';
    expect(await keysOf(store.list('', { startAfter: middle }))).toEqual(own.slice(4));
    expect(await keysOf(store.list('', { startAfter: middle, limit: 2 }))).toEqual(own.slice(4, 6));
    for (const prefix of ['v', 'volumes/', 'volumes/vol-', `volumes/${volumes[0]?.volumeId ?? ''}/log/`, 'x'])
      expect(await keysOf(store.list(prefix)), prefix).toEqual(own.filter((key) => key.startsWith(prefix)));
  });

  it('a clone of a shared snapshot reads it in place, and nothing beside it', async () => {
    const volume = await tenants.volume(0);
    await tenants.write(0, volume, [0, 20, 40, 60]);
    await tenants.write(0, volume, [20]);
    const snapshot = await tenants.snapshot(0, volume);
    await tenants.write(0, volume, [40, 80]);
    await tenants.share(0, snapshot, 1);
    const clone = await tenants.volume(1, 0, snapshot);
    const shown = await tenants.readVolume(1, clone);
    expect(shown).toEqual(await tenants.truth(clone));
    expect(authorsOf(shown)).toEqual(new Set([0]));
    // The segment that came after it is not there, and of the first one only what is still in the snapshot.
    const log = (seq: number): string => `volumes/${volume.volumeId}/log/${String(seq).padStart(16, '0')}`;
    const store = tenants.store(1);
    expect(await store.get(log(3), NONE)).toBeUndefined();
    const real = await tenants.blocks.objects.get(log(1));
    const seen = await store.get(log(1), NONE);
    expect(seen).toBeDefined();
    expect(seen?.bytes.equals(real?.bytes ?? Buffer.alloc(0))).toBe(false);
    expect(await store.get(`volumes/${volume.volumeId}/head.json`, NONE)).toBeUndefined();
    expect(await store.get(`volumes/${volume.volumeId}/volume.json`, NONE)).toBeUndefined();
    expect(await keysOf(store.list(`volumes/${volume.volumeId}/`))).toEqual([]);
  });

  it('what is written to a clone of foreign data names both, and is not exported by who made the clone', async () => {
    const volume = await tenants.volume(0);
    await tenants.write(0, volume, [0, 1]);
    const snapshot = await tenants.snapshot(0, volume);
    await tenants.share(0, snapshot, 1);
    const clone = await tenants.volume(1, 0, snapshot);
    await tenants.write(1, clone, [1, 2]);
    await tenants.write(1, clone, [5], { creators: [accountOf(0), accountOf(1)] });
    const derived = await tenants.snapshot(1, clone);
    expect(derived.creators).toEqual([accountOf(0), accountOf(1)]);
    const { gatewayId, accountId } = gatewayOf(1);
    const asked = { snapshotId: derived.snapshotId, purpose: 'export' } as const;
    const refused = await failureOf(tenants.exports.decide({ gatewayId, accountId }, asked, NONE.signal));
    expect(refused).toMatchObject({ code: 'export-denied' });
    // In place it is of use all the same.
    expect(authorsOf(await tenants.readSnapshot(1, derived))).toEqual(new Set([0, 1]));
    const again = await tenants.volume(1, 0, derived);
    expect(await tenants.readVolume(1, again)).toEqual(await tenants.truth(clone));
  });

  it('a clone needs the consent of who owns the snapshot, and of all whose blocks are in it', async () => {
    const volume = await tenants.volume(0);
    await tenants.write(0, volume, [0]);
    const snapshot = await tenants.snapshot(0, volume);
    // As one that is not there: its own code says that it was deleted meanwhile.
    expect(await failureOf(tenants.volume(2, 0, snapshot))).toMatchObject({ code: 'snapshot-deleted' });
    await tenants.share(0, snapshot, 1);
    const clone = await tenants.volume(1, 0, snapshot);
    await tenants.write(1, clone, [1]);
    const derived = await tenants.snapshot(1, clone);
    await tenants.share(1, derived, 2);
    const refused = await failureOf(tenants.volume(2, 0, derived));
    expect(refused).toMatchObject({ code: 'export-denied', details: { creators: [accountOf(0)] } });
    // It sees the snapshot and its map, and no frame.
    const seen = await new Catalog(tenants.of(2)).getSnapshot(derived.snapshotId);
    expect(seen.name).toBe(derived.name);
    expect(toSgwError(await failureOf(tenants.readSnapshot(2, derived)))).toMatchObject({ kind: 'corrupt' });
    await tenants.share(0, derived, 2);
    expect(authorsOf(await tenants.readVolume(2, await tenants.volume(2, 0, derived)))).toEqual(new Set([0, 1]));
  });

  it('what is taken back ends reading and new clones; clones that were made stay of use', async () => {
    const volume = await tenants.volume(0);
    await tenants.write(0, volume, [0, 33]);
    const snapshot = await tenants.snapshot(0, volume);
    await tenants.share(0, snapshot, 1);
    const clone = await tenants.volume(1, 0, snapshot);
    expect(authorsOf(await tenants.readSnapshot(1, snapshot))).toEqual(new Set([0]));
    await tenants.unshare(0, snapshot, 1);
    expect(await failureOf(tenants.readSnapshot(1, snapshot))).toMatchObject({ code: 'snapshot-not-found' });
    expect(await failureOf(tenants.volume(1, 0, snapshot))).toMatchObject({ code: 'snapshot-deleted' });
    expect(await tenants.readVolume(1, clone)).toEqual(await tenants.truth(volume));
    await tenants.write(1, clone, [1]);
    expect(await tenants.readVolume(1, clone)).toEqual(await tenants.truth(clone));
  });

  it('reading a shared snapshot without a clone is decided on by export control, and recorded', async () => {
    const volume = await tenants.volume(0);
    await tenants.write(0, volume, [0]);
    const snapshot = await tenants.snapshot(0, volume);
    await tenants.share(0, snapshot, 1);
    const records = async (): Promise<string[]> => {
      const found: string[] = [];
      for (const [key, bytes] of await tenants.objects()) {
        if (!key.startsWith('service/audit/')) continue;
        const { kind, accountId } = JSON.parse(bytes.toString()) as { kind: string; accountId: string };
        if (accountId === accountOf(1)) found.push(kind);
      }
      return found;
    };
    expect(await records()).toEqual([]);
    await tenants.readSnapshot(1, snapshot);
    await tenants.readSnapshot(1, snapshot);
    expect(await records()).toEqual(['export']);
    await tenants.volume(1, 0, snapshot);
    expect(await records()).toEqual(['export', 'clone']);
  });

  it('an entry that is shared tells nobody whom else it is shared with', async () => {
    const volume = await tenants.volume(0);
    await tenants.write(0, volume, [0]);
    const snapshot = await tenants.snapshot(0, volume);
    await tenants.share(0, snapshot, 1);
    await tenants.share(0, snapshot, 2);
    const seen = await new Catalog(tenants.of(1)).getSnapshot(snapshot.snapshotId);
    expect(seen.grants?.map((grant) => grant.accountId)).toEqual([accountOf(1)]);
    const own = await new Catalog(tenants.of(0)).getSnapshot(snapshot.snapshotId);
    expect(own.grants?.length).toBe(2);
  });

  it('of who holds a volume, and is taken over, the service is told', async () => {
    const volume = await tenants.volume(0);
    const how = { accountId: accountOf(0) };
    const mine = { gatewayId: gatewayOf(0).gatewayId, name: 'g0' };
    const held = await openVolumeWriter(tenants.of(0), volume.volumeId, { ...how, holder: mine });
    await held.abandon();
    const second = { ...gatewayOf(0), gatewayId: 'sgw-000000aa' } as const;
    const { AccountStore } = await import('../../../../src/core/service/dataendpoint/account-store.ts');
    const objects = new AccountStore(tenants.tenancy, second, async () => Promise.resolve(() => undefined));
    const other = { gatewayId: second.gatewayId, name: 'second' };
    const taken = await openVolumeWriter(tenants.over(objects, 0), volume.volumeId, {
      ...how,
      holder: other,
      takeOver: true,
    });
    expect(tenants.fenced).toEqual([{ volumeId: volume.volumeId, oldHolder: mine, newHolder: other, epoch: 2 }]);
    await taken.close();
    await taken.abandon();
  });

  it('another server over the same store knows what was granted by the first', async () => {
    const volume = await tenants.volume(0);
    await tenants.write(0, volume, [0, 17]);
    const snapshot = await tenants.snapshot(0, volume);
    await tenants.share(0, snapshot, 1);
    const clone = await tenants.volume(1, 0, snapshot);
    const elsewhere = tenants.over(tenants.store(1, tenants.newTenancy()), 1);
    const { readAll } = await import('../../blockstore/volume-model.ts');
    const { openVolumeView } = await import('../../../../src/core/blockstore/index.ts');
    expect(await readAll(await openVolumeView(elsewhere, clone.volumeId))).toEqual(await tenants.truth(clone));
  });

  it('trials of a store are each account’s own', async () => {
    const [mine, other] = [tenants.store(0), tenants.store(1)];
    await mine.put('probe/trial', Buffer.from('mine'), { condition: { ifAbsent: true } });
    expect(await other.get('probe/trial')).toBeUndefined();
    expect(await keysOf(other.list('probe/'))).toEqual([]);
    expect(await keysOf(mine.list('probe/'))).toEqual(['probe/trial']);
    expect((await mine.get('probe/trial'))?.bytes.toString()).toBe('mine');
    expect(await mine.delete('probe/trial')).toBe(true);
  });
});
