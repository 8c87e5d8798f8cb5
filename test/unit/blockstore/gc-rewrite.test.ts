/** Rewriting poor segments (C12). */
import { beforeEach, describe, expect, it } from 'vitest';
import { diffViews, openSnapshotView, openVolumeView, openVolumeWriter } from '../../../src/core/blockstore/index.ts';
import { rewriteVolume, type GcReport } from '../../../src/core/blockstore/gc/index.ts';
import { damaged } from '../../../src/core/blockstore/damage.ts';
import { GcRig, HookedStore, fillBlock, type Model, type StoreCall } from './gc-rig.ts';
import { ACCOUNT, encodeBlocks, holder, otherHolder } from './volume-model.ts';

const OTHER = '000000000077';
let rig: GcRig;
let golden: Model;

beforeEach(async () => {
  rig = await GcRig.start();
  golden = await rig.volume('golden');
  await rig.write(golden, 1, [0, 1, 2, 3, 4]);
});

async function rewrite(report: GcReport, by = holder): Promise<{ segments: number; bytes: number }> {
  return await rewriteVolume(rig.options, golden.entry.volumeId, {
    candidates: report.ownSegments.get(golden.entry.volumeId) ?? [],
    snapshotIds: report.snapshotIds,
    holder: by,
    accountId: ACCOUNT,
  });
}

const firstSegment = (): string => `volumes/${golden.entry.volumeId}/log/0000000000000001`;

describe('C12 rewriting', () => {
  it('commits the live pages of a segment that is less than half live anew, so that gc can remove it', async () => {
    await rig.write(golden, 2, [0, 1, 2]);
    expect(await rewrite(await rig.gc())).toEqual({ segments: 1, bytes: 2 * 16 * 4096 });
    expect(await rig.isTombstone(firstSegment())).toBe(false);
    await rig.gc();
    expect(await rig.isTombstone(firstSegment())).toBe(true);
    expect(await rig.readsAs(golden)).toBe(true);
    expect(await rig.garbage()).toEqual([]);
  });

  it('leaves a segment that is half live, and finds nothing more to do when it runs again', async () => {
    await rig.write(golden, 2, [0, 1]);
    expect(await rewrite(await rig.gc())).toEqual({ segments: 0, bytes: 0 });
    await rig.write(golden, 2, [2]);
    expect((await rewrite(await rig.gc())).segments).toBe(1);
    const before = await rig.keys();
    expect(await rewrite(await rig.gc())).toEqual({ segments: 0, bytes: 0 });
    expect((await rig.keys()).length).toBeLessThanOrEqual(before.length);
  });

  it('never touches what a snapshot shares, and a diff over it shows nothing changed', async () => {
    const old = await rig.snapshot(golden, 'old');
    await rig.write(golden, 2, [0, 1, 2]);
    expect(await rewrite(await rig.gc())).toEqual({ segments: 0, bytes: 0 });
    await rig.deleteSnapshot(old);
    const before = await rig.snapshot(golden, 'before');
    expect(await rewrite(await rig.gc())).toEqual({ segments: 0, bytes: 0 });
    await rig.deleteSnapshot(before);
    const view = await openVolumeView(rig.options, golden.entry.volumeId);
    const report = await rig.gc();
    expect((await rewrite(report)).segments).toBe(1);
    const after = openSnapshotView(rig.options, await rig.snapshot(golden, 'after'));
    expect(await Array.fromAsync(diffViews(view, after))).toEqual([]);
  });

  it('leaves a volume of which a snapshot was made since the mark', async () => {
    await rig.write(golden, 2, [0, 1, 2]);
    const report = await rig.gc();
    await rig.snapshot(golden, 's');
    expect(await rewrite(report)).toEqual({ segments: 0, bytes: 0 });
  });

  it('C17 keeps the creators of every page, in one block too', async () => {
    const writer = await openVolumeWriter(rig.options, golden.entry.volumeId, { holder, accountId: ACCOUNT });
    // Block 3 gets eight pages of the other account, beside eight of the first one.
    const half = Buffer.from(golden.image);
    half.fill(0, 0, 3 * 65536);
    half.fill(0, 3 * 65536 + 8 * 4096);
    fillBlock(half, 7, 7);
    for (let page = 0; page < 8; page++) half.fill('x', 3 * 65536 + page * 4096, 3 * 65536 + (page + 1) * 4096);
    const blocks = [3, 5, 6, 7, 8, 9];
    for (const block of [5, 6, 8, 9]) fillBlock(half, block, 5);
    await writer.commit({ encoded: [encodeBlocks(half, blocks)], consistent: true, creators: [[OTHER]] });
    half.copy(golden.image, 3 * 65536, 3 * 65536, 3 * 65536 + 8 * 4096);
    for (const block of [5, 6, 7, 8, 9]) half.copy(golden.image, block * 65536, block * 65536, (block + 1) * 65536);
    await writer.close();
    await rig.write(golden, 2, [0, 1, 2, 5, 6, 7, 8]);
    expect(await rig.readsAs(golden)).toBe(true);
    const before = await creators();
    const { segments } = await rewrite(await rig.gc());
    expect(segments).toBe(2);
    await rig.gc();
    expect(await rig.readsAs(golden)).toBe(true);
    expect(await creators()).toEqual(before);
    expect(new Set(before)).toEqual(new Set(['', ACCOUNT, OTHER]));
  });

  it('is left to the gateway that holds the volume', async () => {
    await rig.write(golden, 2, [0, 1, 2]);
    const report = await rig.gc();
    const held = await openVolumeWriter(rig.options, golden.entry.volumeId, {
      holder: otherHolder,
      accountId: ACCOUNT,
    });
    await expect(rewrite(report)).rejects.toMatchObject({ code: 'volume-held' });
    await held.close();
    expect((await rewrite(report)).segments).toBe(1);
  });

  it.each<readonly [string, (call: StoreCall, reads: number, stop: AbortController) => void, string | undefined]>([
    [
      'damage',
      ({ operation, key }, reads) => {
        // The first reading is of the segment's index.
        if (operation === 'get' && key === firstSegment() && reads > 1) throw damaged(key, 'a bad disk');
      },
      'corrupt',
    ],
    [
      'a signal while it commits',
      ({ operation, key }, _reads, stop) => {
        if (operation === 'put' && key.includes('/log/')) stop.abort();
      },
      undefined,
    ],
    [
      'a signal while it reads',
      ({ operation, key }, reads, stop) => {
        if (operation === 'get' && key === firstSegment() && reads > 1) stop.abort();
      },
      'aborted',
    ],
  ])('that is ended by %s gives the volume back, so that its own gateway can go on', async (_what, meddle, kind) => {
    await rig.write(golden, 2, [0, 1, 2]);
    const report = await rig.gc();
    const stop = new AbortController();
    let reads = 0;
    const hooked = new HookedStore(rig.below, (call) => {
      if (call.operation === 'get' && call.key === firstSegment()) reads += 1;
      meddle(call, reads, stop);
    });
    const { volumeId } = golden.entry;
    const rewriting = rewriteVolume(rig.over(hooked), volumeId, {
      candidates: report.ownSegments.get(volumeId) ?? [],
      snapshotIds: report.snapshotIds,
      holder: otherHolder,
      accountId: ACCOUNT,
      signal: stop.signal,
    });
    if (kind === undefined) await rewriting;
    else await expect(rewriting).rejects.toMatchObject({ kind });
    expect((await rig.catalog.headOf(volumeId)).holder).toBeNull();
    await rig.write(golden, 3, [5]);
    expect(await rig.readsAs(golden)).toBe(true);
  });

  it('leaves a volume whose newest state is not consistent', async () => {
    await rig.write(golden, 2, [0, 1, 2]);
    const report = await rig.gc();
    const writer = await openVolumeWriter(rig.options, golden.entry.volumeId, { holder, accountId: ACCOUNT });
    await writer.commit({ encoded: [encodeBlocks(golden.image, [0])], consistent: false });
    await writer.close();
    expect(await rewrite(report)).toEqual({ segments: 0, bytes: 0 });
    expect((await rig.gc()).ownSegments.get(golden.entry.volumeId)).toBeUndefined();
  });
});

/** Who wrote each page, as the map says. */
async function creators(): Promise<string[]> {
  const pages = new Array<string>(256).fill('');
  const { map } = await openVolumeView(rig.options, golden.entry.volumeId);
  for await (const { runs } of map.leaves())
    for (const run of runs) pages.fill(run.source.creators.join(), run.page, run.page + run.count);
  return pages;
}
