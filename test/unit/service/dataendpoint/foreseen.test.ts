/** Attacks by who knows, or foresees, what another account will have: its ids, its keys, and the moment between two steps. */
import { beforeEach, describe, expect, it } from 'vitest';
import {
  changeDocument,
  createDocument,
  newRestoreId,
  readDocument,
  type Head,
  type RestoreEntry,
  type SnapshotEntry,
} from '../../../../src/core/blockstore/index.ts';
import { prunePoints } from '../../../../src/core/blockstore/gc/prune.ts';
import { keys } from '../../../../src/core/blockstore/inspect/index.ts';
import { idOfSession, UploadStore } from '../../../../src/core/blockstore/uploads/index.ts';
import {
  isMadeByService,
  isSnapshotId,
  isVolumeId,
  newSnapshotId,
  newVolumeId,
  seededRandom,
  serviceSnapshotId,
  serviceVolumeId,
  type Random,
} from '../../../../src/core/kit/index.ts';
import {
  memoryStore,
  StoreLayer,
  type CallOptions,
  type GetOptions,
  type ObjectBody,
  type ObjectInfo,
  type ObjectStore,
} from '../../../../src/core/objectstore/index.ts';
import { accountOf, gatewayOf, NONE, Tenants } from './tenants.ts';

/** A store in which something happens when an object was just looked at. */
class WatchedStore extends StoreLayer {
  readonly #onLook: (key: string) => Promise<void>;

  constructor(below: ObjectStore, onLook: (key: string) => Promise<void>) {
    super(below);
    this.#onLook = onLook;
  }

  override async get(key: string, options?: GetOptions): Promise<ObjectBody | undefined> {
    const found = await super.get(key, options);
    await this.#onLook(key);
    return found;
  }

  override async head(key: string, options?: CallOptions): Promise<ObjectInfo | undefined> {
    const found = await super.head(key, options);
    await this.#onLook(key);
    return found;
  }
}

describe('another account’s ids', () => {
  let tenants: Tenants;
  beforeEach(async () => {
    tenants = await Tenants.start();
  });

  it('those that the service makes are nobody’s to take, also where they can be foreseen', async () => {
    const volumeId = serviceVolumeId('0123456789abcdef');
    const uploads = new UploadStore(tenants.blocks, new AbortController().signal);
    const session = async (number: number, parent: SnapshotEntry | null): Promise<SnapshotEntry> =>
      (
        await uploads.start({
          ...{ accountId: accountOf(0), name: 'n', sizeBytes: 1 << 20, description: '', tags: {}, timeoutMs: 60_000 },
          ...{ parent, clientToken: null, volume: { volumeId, name: 'v', lineage: volumeId }, session: number },
        })
      ).entry;
    const first = await session(0, null);
    const mallory = tenants.of(1);
    const own = await tenants.volume(1);
    const entry = await tenants.snapshot(1, own);
    const next = idOfSession(volumeId, 1);
    const begun = { ...entry, snapshotId: next, state: 'pending', completedAt: null, root: null, creators: [] };
    await expect(createDocument(mallory, keys.snapshot(next), begun)).rejects.toMatchObject({ code: 'store-rights' });
    await expect(
      createDocument(mallory, keys.volume(volumeId), { ...own, volumeId, lineage: volumeId }),
    ).rejects.toMatchObject({ code: 'store-rights' });
    expect([...(await tenants.objects()).keys()].filter((key) => key.includes(next) || key.includes(volumeId))).toEqual(
      [],
    );
    const second = await session(1, first);
    expect(second.snapshotId).toBe(next);
    expect(await tenants.store(1).get(keys.snapshot(next), NONE)).toBeUndefined();
    expect(await tenants.store(0).get(keys.snapshot(next), NONE)).toBeDefined();
  });

  it('no gateway makes an id of the service’s', () => {
    const ones: Random = { ...seededRandom(1), bytes: (count: number) => Buffer.alloc(count, 0xff) };
    for (const id of [newVolumeId(ones), newSnapshotId(ones)]) expect(isMadeByService(id), id).toBe(false);
    for (const id of [serviceVolumeId('0'.repeat(64)), serviceSnapshotId('0'.repeat(16))]) {
      expect(isMadeByService(id), id).toBe(true);
      expect(isVolumeId(id) || isSnapshotId(id), id).toBe(true);
    }
  });

  it('a write that is refused for what is in it gives no right to its id', async () => {
    const own = await tenants.volume(1);
    const entry = await tenants.snapshot(1, own);
    const snapshotId = 'snap-0123456789abcdef0';
    const wrong = { ...entry, snapshotId };
    await expect(createDocument(tenants.of(1), keys.snapshot(snapshotId), wrong)).rejects.toMatchObject({
      code: 'write-refused',
    });
    expect([...(await tenants.objects()).keys()].filter((key) => key.includes(snapshotId))).toEqual([]);
  });
});

describe('between two steps', () => {
  it('a restore is decided on, whatever was at its place a moment before', async () => {
    let isArmed = false;
    const base = memoryStore();
    const tenants = await Tenants.start(
      new WatchedStore(base, async (key) => {
        if (isArmed && key.startsWith('restores/')) await base.delete(key);
      }),
    );
    const volume = await tenants.volume(0);
    await tenants.write(0, volume, [0]);
    const open = await tenants.snapshot(0, volume);
    await tenants.share(0, open, 1);
    await tenants.share(0, open, 2);
    const clone = await tenants.volume(1, 0, open);
    await tenants.write(1, clone, [1]);
    const derived = await tenants.snapshot(1, clone);
    await tenants.share(1, derived, 2);
    const restoreId = newRestoreId(tenants.blocks.random, open.snapshotId);
    const restoreOf = ({ name, volumeName, seq, createdAt, root }: SnapshotEntry): RestoreEntry => ({
      ...{ restoreId, snapshotId: open.snapshotId, state: 'restoring', accountId: accountOf(2), sizeBytes: 1 << 20 },
      ...{ createdAt, endedAt: null, secret: '00'.repeat(32), blockBytes: 65_536, isFinishing: false },
      image: { path: '/x', device: '1', inode: '1', bornAtNs: '0' },
      gatewayId: gatewayOf(2).gatewayId,
      snapshot: { name, volumeName, seq, createdAt, root },
      profile: [],
    });
    expect(await createDocument(tenants.of(2), keys.restore(restoreId), restoreOf(open))).toBe(true);
    isArmed = true;
    await expect(createDocument(tenants.of(2), keys.restore(restoreId), restoreOf(derived))).rejects.toMatchObject({
      code: 'write-refused',
    });
    expect(await base.get(keys.restore(restoreId))).toBeUndefined();
  });
});

describe('what the whole service goes by', () => {
  let tenants: Tenants;
  beforeEach(async () => {
    tenants = await Tenants.start();
  });

  it('recovery points that are none do not come in, and stop nothing where they are', async () => {
    const [volume, other] = [await tenants.volume(0), await tenants.volume(1)];
    await tenants.write(1, other, [0]);
    const policy = { allForMs: 1000, allMax: 4, tiers: [] };
    const bad: unknown[] = [
      {},
      { points: [] },
      { policy },
      { policy, points: {} },
      { policy: { ...policy, tiers: 'x' }, points: [] },
      { policy: { ...policy, allForMs: 'x' }, points: [] },
      { policy: { ...policy, tiers: [{ periodMs: 0, forMs: 1 }] }, points: [] },
      null,
    ];
    for (const recovery of bad) {
      const forged = (head: Head): Head => ({ ...head, recovery: recovery as Head['recovery'] & object });
      await expect(changeDocument(tenants.of(0), keys.head(volume.volumeId), forged)).rejects.toMatchObject({
        code: 'write-refused',
      });
    }
    // One that is there all the same.
    await changeDocument<Head>(tenants.blocks, keys.head(volume.volumeId), (head) => ({
      ...head,
      recovery: {} as Head['recovery'] & object,
    }));
    await changeDocument<Head>(tenants.blocks, keys.head(other.volumeId), (head) => ({
      ...head,
      recovery: { policy, points: [head.checkpoint] },
    }));
    tenants.clock.advance(1_000_000);
    await prunePoints(tenants.blocks);
    const pruned = await readDocument<Head>(tenants.blocks, keys.head(other.volumeId));
    expect(pruned?.value.recovery?.points).toEqual([]);
  });

  it('a volume has a size that can be counted', async () => {
    const volume = await tenants.volume(0);
    for (const sizeBytes of [-1, 1.5, '1', null, 1e300]) {
      const forged = (entry: object): object => ({ ...entry, sizeBytes });
      await expect(changeDocument(tenants.of(0), keys.volume(volume.volumeId), forged)).rejects.toMatchObject({
        code: 'write-refused',
      });
    }
  });

  it('documents that are read for everybody are small', async () => {
    const store = tenants.store(0);
    const large = Buffer.alloc(512 * 1024);
    for (const key of [keys.restore('snap-0123456789abcdef0-00000000'), `${keys.pins}000.json`])
      await expect(store.put(key, large, { condition: { ifAbsent: true } }), key).rejects.toMatchObject({
        code: 'object-too-large',
      });
  });
});
