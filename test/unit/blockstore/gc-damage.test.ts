/** What gc makes of damage where others are being made, and of creations that look like damage. */
import { beforeEach, expect, it } from 'vitest';
import { openVolumeWriter, type SnapshotEntry } from '../../../src/core/blockstore/index.ts';
import { MIB, newVolumeId } from '../../../src/core/kit/index.ts';
import { createDocument } from '../../../src/core/blockstore/documents.ts';
import { keys } from '../../../src/core/blockstore/keys.ts';
import { GcRig, HOUR, HookedStore, fillBlock } from './gc-rig.ts';
import { ACCOUNT, encodeBlocks, holder } from './volume-model.ts';

const SIZE = 64 * MIB;
let rig: GcRig;
let snapshot: SnapshotEntry;

/** A snapshot whose leaves are in map objects of their own, with a segment each, and whose volume is gone. */
beforeEach(async () => {
  rig = await GcRig.start();
  const volume = await rig.catalog.createVolume({ name: 'golden', sizeBytes: SIZE, accountId: ACCOUNT });
  const image = Buffer.alloc(SIZE);
  for (const block of [0, 900]) {
    const writer = await openVolumeWriter(rig.options, volume.volumeId, { holder, accountId: ACCOUNT });
    fillBlock(image, block, block + 1);
    await writer.commit({ encoded: [encodeBlocks(image, [block])], consistent: true });
    await writer.close();
  }
  snapshot = await rig.snapshot({ entry: volume, image }, 's');
});

/** What is there of a clone when its creator was killed before he wrote the entry. */
async function begunClone(): Promise<void> {
  const { volumeId } = await rig.catalog.createVolume({
    name: 'c',
    sizeBytes: SIZE,
    accountId: ACCOUNT,
    from: snapshot,
  });
  const head = await rig.catalog.headOf(volumeId);
  await rig.below.delete(keys.volume(volumeId));
  await rig.below.delete(keys.head(volumeId));
  await createDocument(rig.options, keys.head(newVolumeId(rig.options.random)), head);
}

it('C11 a damaged node stops it, however many clones that are being made reach it before a snapshot does', async () => {
  await rig.deleteVolume({ entry: await rig.catalog.getVolume(snapshot.volumeId), image: Buffer.alloc(0) });
  rig.clock.move(8 * 24 * HOUR);
  // The map object of the first leaf.
  const [first = '', ...others] = await rig.keys(`volumes/${snapshot.volumeId}/map/`);
  expect(others.length).toBeGreaterThan(0);
  await rig.below.delete(first);
  const logs = await rig.keys(`volumes/${snapshot.volumeId}/log/`);
  expect(logs).toHaveLength(2);
  for (let run = 0; run < 3; run++) {
    await begunClone();
    await begunClone();
    await expect(rig.gc(HOUR), `run ${String(run)}`).rejects.toMatchObject({ code: 'gc-stopped' });
    rig.clock.move(2 * HOUR);
  }
  expect(await rig.keys(`volumes/${snapshot.volumeId}/log/`)).toEqual(logs);
  for (const key of logs) expect(await rig.isTombstone(key)).toBe(false);
});

it('C11 a volume that was created, written and closed between two of its readings is no damage', async () => {
  const { volumeId } = await rig.catalog.createVolume({ name: 'new', sizeBytes: SIZE, accountId: ACCOUNT });
  const documents = [keys.head(volumeId), keys.volume(volumeId)];
  const bodies = await Promise.all(documents.map((key) => rig.below.get(key)));
  for (const key of documents) await rig.below.delete(key);
  let isMade = false;
  const hooked = new HookedStore(rig.below, async ({ operation, key }) => {
    if (isMade || operation !== 'list' || key !== `volumes/${volumeId}/`) return;
    isMade = true;
    for (const body of bodies) if (body !== undefined) await rig.below.put(body.key, body.bytes);
    await rig.write({ entry: await rig.catalog.getVolume(volumeId), image: Buffer.alloc(SIZE) }, 1, [0]);
  });
  // A folder that is there already: of the key of the volume's data, say.
  await rig.below.put(`volumes/${volumeId}/key.json`, Buffer.from('{}'));
  const { roots } = await rig.gc(HOUR, rig.over(hooked));
  expect(isMade).toBe(true);
  expect(roots.volumes).toBe(2);
});
