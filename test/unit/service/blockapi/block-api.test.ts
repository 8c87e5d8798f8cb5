/** The block API's whole story: what an appliance does with volumes of its own. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { collectGarbage } from '../../../../src/core/blockstore/gc/index.ts';
import { Catalog, changeDocument } from '../../../../src/core/blockstore/index.ts';
import type { SnapshotId, VolumeId } from '../../../../src/core/kit/index.ts';
import { AccountCatalog } from '../../../../src/core/gateway/account-catalog.ts';
import { BLOCK, BlockRig, blockOf, codeOf, type BlockUser } from './block-rig.ts';

let rig: BlockRig;
let anna: BlockUser;
beforeEach(async () => {
  rig = await BlockRig.start();
  anna = await rig.user('anna');
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
});

const zeroes = Buffer.alloc(BLOCK);

async function collect(): Promise<void> {
  for (let i = 0; i < 2; i++) await collectGarbage(rig.blocks, { graceMs: 0, undeleteMs: 0 });
}

describe('a volume', () => {
  it('reads as zeroes, then as it was written last, also across snapshots, which read as it was then', async () => {
    const { volumeId, ...volume } = await anna.create();
    expect(volume).toMatchObject({ name: 'disk', sizeBytes: 64 * BLOCK, blockBytes: BLOCK, fromSnapshotId: null });
    expect((await anna.get(volumeId, 3)).equals(zeroes)).toBe(true);
    expect((await anna.put(volumeId, 3, blockOf(1))).status).toBe(204);
    expect((await anna.put(volumeId, 3, blockOf(2))).status).toBe(204);
    expect((await anna.put(volumeId, 63, blockOf(63))).status).toBe(204);
    expect((await anna.get(volumeId, 3)).equals(blockOf(2))).toBe(true);
    const first = await anna.snapshot(volumeId, { name: 'one', tags: { day: 'monday' } });
    expect(first).toMatchObject({ name: 'one', state: 'completed', volumeId, readable: true, tags: { day: 'monday' } });
    await anna.put(volumeId, 3, zeroes);
    await anna.put(volumeId, 4, blockOf(4));
    expect(await anna.written(volumeId)).toEqual([3, 4, 63]);
    const second = await anna.snapshot(volumeId);
    await anna.put(volumeId, 4, blockOf(5));
    for (const [id, block, value] of [
      [first.snapshotId, 3, blockOf(2)],
      [first.snapshotId, 4, zeroes],
      [first.snapshotId, 63, blockOf(63)],
      [second.snapshotId, 3, zeroes],
      [second.snapshotId, 4, blockOf(4)],
      [second.snapshotId, 63, blockOf(63)],
      [volumeId, 3, zeroes],
      [volumeId, 4, blockOf(5)],
      [volumeId, 63, blockOf(63)],
    ] as const)
      expect((await anna.get(id, block)).equals(value), `${id} ${String(block)}`).toBe(true);
    expect(await anna.written(first.snapshotId)).toEqual([3, 63]);
    const changes = `/v1/snapshots/${second.snapshotId}/changes`;
    expect(await anna.list(changes, { since: first.snapshotId })).toEqual([3, 4]);
    expect(await anna.list(changes, { since: first.snapshotId, maxResults: '1' })).toEqual([3, 4]);
    expect(await anna.list(changes, { since: first.snapshotId, startBlock: '4' })).toEqual([4]);
    expect(await anna.written(volumeId, { maxResults: '1' })).toEqual([4, 63]);
  });

  it('is made of a snapshot, larger than it if wanted, and both go their own ways', async () => {
    const { volumeId } = await anna.create();
    await anna.put(volumeId, 0, blockOf(1));
    await anna.put(volumeId, 1, blockOf(2));
    const { snapshotId } = await anna.snapshot(volumeId);
    const copy = await anna.create({ name: 'copy', sizeBytes: 128 * BLOCK, fromSnapshotId: snapshotId });
    await anna.put(copy.volumeId, 1, blockOf(3));
    await anna.put(copy.volumeId, 127, blockOf(4));
    const of = await anna.snapshot(copy.volumeId);
    expect(await anna.list(`/v1/snapshots/${of.snapshotId}/changes`, { since: snapshotId })).toEqual([1, 127]);
    expect((await anna.get(copy.volumeId, 0)).equals(blockOf(1))).toBe(true);
    expect((await anna.get(volumeId, 1)).equals(blockOf(2))).toBe(true);
    const small = await anna.ask('POST', '/v1/volumes', {
      body: { name: 'small', sizeBytes: BLOCK, fromSnapshotId: snapshotId },
    });
    expect([small.status, codeOf(small)]).toEqual([400, 'smaller-than-snapshot']);
  });

  it('lists what there is page by page', async () => {
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.push((await anna.create({ name: `disk-${String(i)}` })).volumeId);
    const found: string[] = [];
    for (let query: Record<string, string> = { maxResults: '2' }; ;) {
      const { document } = await anna.ask('GET', '/v1/volumes', { query });
      found.push(...(document['volumes'] as { volumeId: string }[]).map(({ volumeId }) => volumeId));
      const next = document['nextToken'] as string | null;
      if (next === null) break;
      query = { maxResults: '2', nextToken: next };
    }
    expect(found).toEqual(ids.toSorted());
    const snapshots: string[] = [];
    for (const volumeId of ids.slice(0, 3)) snapshots.push((await anna.snapshot(volumeId)).snapshotId);
    const { document } = await anna.ask('GET', '/v1/snapshots');
    const listed = document['snapshots'] as { snapshotId: string }[];
    expect(listed.map(({ snapshotId }) => snapshotId)).toEqual(snapshots.toSorted());
    const ofOne = await anna.ask('GET', '/v1/snapshots', { query: { volumeId: ids[0] ?? '' } });
    expect(ofOne.document['snapshots']).toMatchObject([{ snapshotId: snapshots[0], volumeId: ids[0] }]);
  });

  it('takes blocks while snapshots are made, and each block that was taken is in the next snapshot', async () => {
    const { volumeId } = await anna.create();
    const writes = Array.from({ length: 32 }, async (_, block) => {
      expect((await anna.put(volumeId, block, blockOf(block))).status).toBe(204);
    });
    const snapshots = Array.from({ length: 4 }, async () => await anna.snapshot(volumeId));
    await Promise.all([...writes, ...snapshots]);
    const made = await Promise.all(snapshots);
    expect(new Set(made.map(({ snapshotId }) => snapshotId)).size).toBe(4);
    const last = await anna.snapshot(volumeId);
    expect(await anna.written(last.snapshotId)).toEqual(Array.from({ length: 32 }, (_, block) => block));
    for (const block of [0, 17, 31]) expect((await anna.get(last.snapshotId, block)).equals(blockOf(block))).toBe(true);
  });
});

describe('a client token', () => {
  it('creates one volume and one snapshot, however often, on whichever server, and nothing else', async () => {
    const other = anna.at(await rig.server());
    const wish = { clientToken: 'a-1', tags: { x: '1', y: '2' } };
    const all = await Promise.all([
      anna.create(wish),
      other.create(wish),
      anna.create({ ...wish, tags: { y: '2', x: '1' } }),
    ]);
    expect(new Set(all.map(({ volumeId }) => volumeId)).size).toBe(1);
    const volumeId = all[0].volumeId;
    const reused = await anna.ask('POST', '/v1/volumes', {
      body: { name: 'else', sizeBytes: BLOCK, clientToken: 'a-1' },
    });
    expect([reused.status, codeOf(reused)]).toEqual([409, 'client-token-reused']);
    await anna.put(volumeId, 1, blockOf(1));
    const made = await Promise.all(
      [anna, other, anna, other].map(async (who) => await who.snapshot(volumeId, { clientToken: 's-1' })),
    );
    expect(new Set(made.map(({ snapshotId }) => snapshotId)).size).toBe(1);
    await anna.put(volumeId, 1, blockOf(2));
    const again = await other.snapshot(volumeId, { clientToken: 's-1' });
    expect(again.snapshotId).toBe(made[0]?.snapshotId);
    expect((await anna.get(again.snapshotId, 1)).equals(blockOf(1))).toBe(true);
    const reusedToo = await anna.ask('POST', `/v1/volumes/${volumeId}/snapshots`, {
      body: { name: 'n', clientToken: 's-1' },
    });
    expect(codeOf(reusedToo)).toBe('client-token-reused');
    expect((await rig.documents('service/volumes/')).length).toBe(1);
  });

  it('is of its account alone', async () => {
    const bert = await rig.user('bert');
    const [a, b] = [await anna.create({ clientToken: 't' }), await bert.create({ clientToken: 't' })];
    expect(a.volumeId).not.toBe(b.volumeId);
  });
});

describe('deleting', () => {
  it('ends a volume for good; its snapshots stay, and gc takes what nothing else needs', async () => {
    const { volumeId } = await anna.create();
    await anna.put(volumeId, 1, blockOf(1));
    const { snapshotId } = await anna.snapshot(volumeId);
    await anna.put(volumeId, 2, blockOf(2));
    await collect();
    expect((await anna.get(volumeId, 1)).equals(blockOf(1))).toBe(true);
    expect((await anna.get(volumeId, 2)).equals(blockOf(2))).toBe(true);
    expect((await anna.ask('DELETE', `/v1/volumes/${volumeId}`)).document).toEqual({ id: volumeId, deleted: true });
    expect((await anna.ask('DELETE', `/v1/volumes/${volumeId}`)).document).toEqual({ id: volumeId, deleted: false });
    for (const [method, path] of [
      ['GET', `/v1/volumes/${volumeId}`],
      ['GET', `/v1/volumes/${volumeId}/blocks/1`],
      ['GET', `/v1/volumes/${volumeId}/blocks`],
      ['POST', `/v1/volumes/${volumeId}/snapshots`],
    ] as const)
      expect(codeOf(await anna.ask(method, path)), path).toBe('volume-not-found');
    expect(codeOf(await anna.put(volumeId, 1, blockOf(3)))).toBe('volume-not-found');
    await collect();
    expect((await anna.get(snapshotId, 1)).equals(blockOf(1))).toBe(true);
    expect((await anna.ask('DELETE', `/v1/snapshots/${snapshotId}`)).document).toMatchObject({ deleted: true });
    expect(codeOf(await anna.ask('GET', `/v1/snapshots/${snapshotId}`))).toBe('snapshot-not-found');
    await collect();
    await collect();
    const left: string[] = [];
    for (const prefix of ['uploads/', 'snapshots/'])
      for await (const { key } of rig.blocks.objects.list(prefix)) left.push(key);
    expect(left).toEqual([]);
  });

  it('of all snapshots leaves the volume as it was', async () => {
    const { volumeId } = await anna.create();
    await anna.put(volumeId, 1, blockOf(1));
    const { snapshotId } = await anna.snapshot(volumeId);
    await anna.ask('DELETE', `/v1/snapshots/${snapshotId}`);
    await collect();
    expect((await anna.get(volumeId, 1)).equals(blockOf(1))).toBe(true);
    const next = await anna.snapshot(volumeId);
    expect((await anna.get(next.snapshotId, 1)).equals(blockOf(1))).toBe(true);
  });
});

describe('a gateway of the account', () => {
  it('sees the snapshots, which it can clone, and neither the volume nor what is no snapshot yet', async () => {
    const { volumeId } = await anna.create();
    await anna.put(volumeId, 1, blockOf(1));
    const { snapshotId } = await anna.snapshot(volumeId, { name: 'one' });
    await anna.put(volumeId, 2, blockOf(2));
    const catalog = new AccountCatalog(rig.blocks, anna.accountId);
    expect(await catalog.listVolumes()).toEqual([]);
    const listed = await catalog.listSnapshots();
    expect(listed.map((entry) => [entry.snapshotId, entry.name, entry.state])).toEqual([
      [snapshotId, 'one', 'completed'],
    ]);
    const sessions = await new Catalog(rig.blocks).listSnapshots({ includeSessions: true });
    const open = sessions.find(({ state }) => state === 'pending')?.snapshotId as SnapshotId;
    await expect(catalog.getSnapshot(open)).rejects.toMatchObject({ code: 'snapshot-not-found' });
    await expect(catalog.getVolume(volumeId as VolumeId)).rejects.toMatchObject({ code: 'volume-not-found' });
    const [from] = listed;
    const clone = await catalog.createVolume({
      name: 'c',
      sizeBytes: 64 * BLOCK,
      accountId: anna.accountId,
      from: from!,
    });
    expect(clone.parentSnapshotId).toBe(snapshotId);
  });
});

describe('a server that comes back', () => {
  it('completes a snapshot that was asked for', async () => {
    const { volumeId } = await anna.create();
    await anna.put(volumeId, 1, blockOf(1));
    const catalog = new Catalog(rig.blocks);
    const [session] = await catalog.listSnapshots({ includeSessions: true });
    const at = new Date().toISOString();
    await catalog.updateSnapshot(session!.snapshotId, (now) => ({
      ...now,
      clientToken: 'left',
      upload: { ...now.upload!, state: 'sealing', sealed: { at, blocks: null, checksum: null } },
    }));
    await rig.server();
    const completed = async (): Promise<string> => (await catalog.getSnapshot(session!.snapshotId)).state;
    await expect.poll(completed, { timeout: 10_000 }).toBe('completed');
    expect((await anna.get(volumeId, 1)).equals(blockOf(1))).toBe(true);
    await anna.put(volumeId, 2, blockOf(2));
    expect((await anna.get(session!.snapshotId, 2)).equals(zeroes)).toBe(true);
  });

  it('ends what was left of a volume that is deleted', async () => {
    const { volumeId } = await anna.create();
    await anna.put(volumeId, 1, blockOf(1));
    const key = `service/volumes/${anna.accountId}/${volumeId}.json`;
    await changeDocument<object>(rig.blocks, key, (now) => ({ ...now, state: 'deleted' }));
    await collect();
    const catalog = new Catalog(rig.blocks);
    expect(await catalog.listSnapshots({ includeSessions: true })).toHaveLength(1);
    await rig.server();
    const left = async (): Promise<number> => (await catalog.listSnapshots({ includeSessions: true })).length;
    await expect.poll(left, { timeout: 10_000 }).toBe(0);
    await collect();
    expect(await Array.fromAsync(rig.blocks.objects.list('uploads/'))).toEqual([]);
  });
});
