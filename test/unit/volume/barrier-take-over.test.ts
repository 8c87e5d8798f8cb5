/** Snapshots whose maker ends between the commit that holds their barrier and their completion. */
import { expect, it } from 'vitest';
import { Catalog, createPendingSnapshot, openSnapshotView } from '../../../src/core/blockstore/index.ts';
import { SgwError } from '../../../src/core/kit/index.ts';
import { memoryStore, type PutBody, type PutOptions, type PutResult } from '../../../src/core/objectstore/index.ts';
import { StoreLayer } from '../../../src/core/objectstore/layer.ts';
import type { ServedVolume } from '../../../src/core/volume/index.ts';
import { ACCOUNT, MIB, VolumeRig } from './rig.ts';

const PAGE = 4096;
const page = (fill: number): Buffer => Buffer.alloc(PAGE, fill);

/** Refuses some objects, as if their maker had ended just before. */
class EndsBefore extends StoreLayer {
  refuses: RegExp | undefined;
  refused = 0;

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    if (this.refuses?.test(key) !== true) return await this.below.put(key, body, options);
    this.refused += 1;
    throw new SgwError('unavailable', 'store-unavailable', 'the store is out of reach');
  }
}

const gatewayId = (n: number): string => `sgw-0000000${String(n)}`;

async function snapshotOf(rig: VolumeRig, volume: ServedVolume, store: EndsBefore, refuses: RegExp): Promise<string> {
  const request = { volume: rig.entry, name: 's', accountId: ACCOUNT, maker: gatewayId(1) };
  const { entry, completed } = await volume.snapshot(async (place) => {
    const pending = await createPendingSnapshot(rig.blocks, { ...request, ...place });
    store.refuses = refuses;
    return pending;
  });
  completed.catch(() => undefined);
  return entry.snapshotId;
}

it('C8 another gateway completes what the store holds up to its barrier', { timeout: 60_000 }, async () => {
  const store = new EndsBefore(memoryStore());
  await using rig = await VolumeRig.start(MIB, store);
  const maker = await rig.open();
  await maker.write(0, page(1));
  const snapshotId = await snapshotOf(rig, maker, store, /\/snapshot\.json$/u);
  while (store.refused === 0) await rig.blocks.clock.sleep(5);
  await maker.close();
  store.refuses = undefined;
  const other = await rig.open({}, { gateway: gatewayId(2), takeOver: true, log: 'other' });
  await other.write(0, page(2));
  await other.close({ drain: true });
  const entry = await new Catalog(rig.blocks).getSnapshot(snapshotId as never);
  expect(entry.state).toBe('completed');
  const view = openSnapshotView(rig.blocks, entry);
  expect(view.map.mappedPages).toBe(1);
  const back = await rig.open({}, { takeOver: true });
  await back.close({ drain: true });
  expect((await new Catalog(rig.blocks).getSnapshot(snapshotId as never)).state).toBe('completed');
});

it('C8 leaves another gateway its snapshot when the store has not got that far', { timeout: 60_000 }, async () => {
  const store = new EndsBefore(memoryStore());
  await using rig = await VolumeRig.start(MIB, store);
  const maker = await rig.open();
  await maker.write(0, page(1));
  const snapshotId = await snapshotOf(rig, maker, store, /./u);
  await maker.close();
  store.refuses = undefined;
  const other = await rig.open({}, { gateway: gatewayId(2), takeOver: true, log: 'other' });
  await other.close({ drain: true });
  const catalog = new Catalog(rig.blocks);
  expect((await catalog.getSnapshot(snapshotId as never)).state).toBe('pending');
  // Nothing was written meanwhile: the maker's log goes on, and so does its snapshot.
  const back = await rig.open({}, { takeOver: true });
  await back.drain();
  expect((await catalog.getSnapshot(snapshotId as never)).state).toBe('completed');
  await back.close({ drain: true });
});

it('C8 gives up a snapshot of its own whose log is gone', { timeout: 60_000 }, async () => {
  const store = new EndsBefore(memoryStore());
  await using rig = await VolumeRig.start(MIB, store);
  const maker = await rig.open();
  await maker.write(0, page(1));
  const snapshotId = await snapshotOf(rig, maker, store, /./u);
  await maker.close();
  store.refuses = undefined;
  const again = await rig.open({}, { log: 'new' });
  const entry = await new Catalog(rig.blocks).getSnapshot(snapshotId as never);
  expect(entry).toMatchObject({ state: 'failed', reason: 'the writes before it were lost' });
  await again.close({ drain: true });
});
