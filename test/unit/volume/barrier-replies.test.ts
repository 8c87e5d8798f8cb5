/** Snapshots of a served volume whose completion is applied and then answered with a failure. */
import { expect, it } from 'vitest';
import { createPendingSnapshot } from '../../../src/core/blockstore/index.ts';
import { SgwError } from '../../../src/core/kit/index.ts';
import { memoryStore, type PutBody, type PutOptions, type PutResult } from '../../../src/core/objectstore/index.ts';
import { StoreLayer } from '../../../src/core/objectstore/layer.ts';
import { ACCOUNT, MIB, VolumeRig } from './rig.ts';

class ForgetsReplies extends StoreLayer {
  left = 0;

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    const result = await this.below.put(key, body, options);
    if (this.left === 0 || !key.endsWith('/snapshot.json')) return result;
    this.left -= 1;
    throw new SgwError('unavailable', 'reply-lost', 'the reply was lost');
  }
}

it('C8 a snapshot is told to be completed when the reply to that was lost', { timeout: 60_000 }, async () => {
  const store = new ForgetsReplies(memoryStore());
  await using rig = await VolumeRig.start(MIB, store);
  const volume = await rig.open();
  await volume.write(0, Buffer.alloc(4096, 1));
  const request = { volume: rig.entry, name: 's', accountId: ACCOUNT };
  const snapshot = await volume.snapshot(async (place) => {
    const pending = await createPendingSnapshot(rig.blocks, { ...request, ...place });
    store.left = 1;
    return pending;
  });
  expect(await snapshot.completed).toMatchObject({ state: 'completed', snapshotId: snapshot.entry.snapshotId });
  expect(store.left).toBe(0);
  await volume.close({ drain: true });
});
