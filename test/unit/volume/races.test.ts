/** What must not happen between a commit, the cache, the write log and the writer. */
import { expect, it, onTestFinished } from 'vitest';
import { Catalog, createPendingSnapshot, type SnapshotEntry } from '../../../src/core/blockstore/index.ts';
import { memoryStore, withFaults, type FaultyStore } from '../../../src/core/objectstore/index.ts';
import { MIB, readBytes, VolumeRig } from './rig.ts';

const ACCOUNT = '000000000001';

async function startFaulty(sizeBytes: number): Promise<{ rig: VolumeRig; faults: FaultyStore }> {
  const faults = withFaults(memoryStore(), { rules: [] });
  const rig = await VolumeRig.start(sizeBytes, faults.store);
  onTestFinished(async () => rig[Symbol.asyncDispose]());
  return { rig, faults };
}

it('C14: never keeps the pages of one commit as those of the next, which has frames of the same numbers', async () => {
  const { rig } = await startFaulty(16 * MIB);
  await rig.freshCache({ fileBytes: 64 * MIB, ramBytes: 32 * MIB });
  const volume = await rig.open();
  const data = (round: number): Buffer => {
    const bytes = Buffer.alloc(8 * MIB, round);
    for (let at = 0; at < bytes.length; at += 4096) bytes.writeUInt32LE(round * 100_000 + at / 4096, at);
    return bytes;
  };
  for (let round = 1; round <= 6; round++) {
    await volume.write(0, data(round));
    void volume.drain();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await volume.close({ drain: true });
  const again = await rig.open();
  const bytes = await readBytes(again, 0, 8 * MIB);
  expect(bytes.equals(data(6))).toBe(true);
  await again.close();
});

it('acknowledges no write to part of a sector that a fence overtook while its page was fetched', async () => {
  const { rig, faults } = await startFaulty(MIB);
  const first = await rig.open();
  await first.write(0, Buffer.alloc(4096, 1));
  await first.close({ drain: true });
  await rig.freshCache();
  const volume = await rig.open();
  await volume.write(8192, Buffer.alloc(4096, 2));
  const other = await rig.open({}, { gateway: 'sgw-00000002', takeOver: true, log: 'other' });
  faults.setRules([{ fault: 'latency', operation: 'get', key: /log\//, latencyMs: 500, times: 1 }]);
  const torn = Promise.resolve(volume.write(10, Buffer.from('torn'))).then(
    () => 'acknowledged',
    (error: unknown) => (error as { kind: string }).kind,
  );
  await expect(volume.drain()).rejects.toMatchObject({ kind: 'fenced' });
  expect(await torn).toBe('fenced');
  await volume.close();
  await other.close({ drain: true });
});

it('uploads within the seal interval what began with a write to part of a sector', async () => {
  const { rig, faults } = await startFaulty(MIB);
  const first = await rig.open();
  await first.write(0, Buffer.alloc(4096, 1));
  await first.close({ drain: true });
  await rig.freshCache();
  const volume = await rig.open({ sealIntervalMs: 200 });
  faults.setRules([{ fault: 'latency', operation: 'get', latencyMs: 300, times: 1 }]);
  await volume.write(10, Buffer.from('torn'));
  await expect.poll(() => volume.stats.dirtyBytes, { timeout: 5000 }).toBe(0);
  await volume.close({ drain: true });
});

it('C8: completes a snapshot whose commit is in the store although its reply was lost', async () => {
  const { rig, faults } = await startFaulty(MIB);
  const volume = await rig.open();
  await volume.write(0, Buffer.alloc(4096, 1));
  faults.setRules([{ fault: 'lostReply', operation: 'put', key: /log\//, times: 1 }]);
  const create = async (
    place: { barrier: { incarnation: string; sequence: number } } | { reason: string },
  ): Promise<SnapshotEntry> =>
    createPendingSnapshot(rig.blocks, { volume: rig.entry, name: 's', accountId: ACCOUNT, ...place });
  const { entry, completed } = await volume.snapshot(create);
  expect((await completed).state).toBe('completed');
  expect((await new Catalog(rig.blocks).getSnapshot(entry.snapshotId)).state).toBe('completed');
  await volume.close({ drain: true });
});

it('tells writers that wait for room when the volume is fenced', async () => {
  const { rig } = await startFaulty(32 * MIB);
  const volume = await rig.open({ bufferBytes: 8 * MIB });
  const written = Array.from({ length: 10 }, async (_, i) =>
    Promise.resolve(volume.write(i * MIB, Buffer.alloc(MIB, i + 1))).then(
      () => 'acknowledged',
      (error: unknown) => (error as { kind: string }).kind,
    ),
  );
  await expect.poll(() => volume.stats.dirtyBytes, { timeout: 5000 }).toBeGreaterThan(6 * MIB);
  const other = await rig.open({}, { gateway: 'sgw-00000002', takeOver: true, log: 'other' });
  await expect(volume.drain()).rejects.toMatchObject({ kind: 'fenced' });
  expect((await Promise.all(written)).at(-1)).toBe('fenced');
  await volume.close();
  await other.close({ drain: true });
});

it('has a write to part of a sector wait for a store that is out of reach', async () => {
  const { rig, faults } = await startFaulty(MIB);
  const first = await rig.open();
  await first.write(0, Buffer.alloc(4096, 1));
  await first.close({ drain: true });
  await rig.freshCache();
  const volume = await rig.open();
  faults.setRules([{ fault: 'error500', operation: 'get', times: 3 }]);
  await volume.write(10, Buffer.from('torn'));
  expect((await readBytes(volume, 8, 8)).toString('latin1')).toBe('\x01\x01torn\x01\x01');
  await volume.close({ drain: true });
});
