/** Snapshots of a volume's past, with the gateway that wrote it gone (C7). */
import { expect, it } from 'vitest';
import {
  Catalog,
  DEFAULT_RECOVERY_POLICY,
  openSnapshotView,
  openVolumeWriter,
  type VolumeEntry,
} from '../../../src/core/blockstore/index.ts';
import { MIB, systemClock, systemRandom, type VolumeId } from '../../../src/core/kit/index.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import { encodeBlocks, holder, readAll, stamp } from '../blockstore/volume-model.ts';
import { GatewayRig } from './rig.ts';

it('a snapshot of a recovery point shows the volume as it was then; other times and words are refused', async () => {
  const objects = memoryStore();
  await using rig = await GatewayRig.start(objects);
  const { volumeId } = await rig.call('volume.create', { name: 'v', sizeBytes: MIB });
  let nowMs = systemClock.nowMs() - 30 * 60_000;
  const startMs = nowMs;
  const clock = { ...systemClock, nowMs: () => nowMs };
  const options = { objects, clock, random: systemRandom };
  const entry: VolumeEntry = await new Catalog(options).getVolume(volumeId as VolumeId);
  const writer = await openVolumeWriter(options, entry.volumeId, {
    holder,
    accountId: entry.accountId,
    recovery: DEFAULT_RECOVERY_POLICY,
  });
  const image = Buffer.alloc(MIB);
  const states: Buffer[] = [];
  for (const value of [1, 2, 3]) {
    nowMs += 60_000;
    stamp(value).copy(image);
    await writer.commit({ encoded: [encodeBlocks(image, [0])], consistent: true });
    await writer.checkpoint();
    states.push(Buffer.from(image));
  }
  await writer.abandon();
  const time = (minutes: number): string => new Date(startMs + minutes * 60_000 + 1).toISOString();
  const input = { volume: 'v', name: 'past', recoveryPoint: time(2) };
  expect(await rig.call('snapshot.create', input)).toMatchObject({ state: 'completed', created: true });
  const [past] = await new Catalog(options).listSnapshots();
  if (past === undefined) throw new Error('the snapshot is not there');
  expect(past.seq).toBe(2);
  expect((await readAll(openSnapshotView(options, past))).equals(states[1] ?? image)).toBe(true);

  expect(await rig.call('snapshot.create', { ...input, ifNotExists: true })).toMatchObject({ created: false });
  const other = { ...input, recoveryPoint: time(1), ifNotExists: true };
  await expect(rig.call('snapshot.create', other)).rejects.toMatchObject({ code: 'different-parameters' });
  const early = { ...input, name: 'early', recoveryPoint: time(0) };
  await expect(rig.call('snapshot.create', early)).rejects.toMatchObject({ code: 'recovery-point-not-found' });
  for (const recoveryPoint of ['yesterday', '2026-11-25', '2026-11-25T08:30:00', '2026-13-25T08:30:00Z'])
    await expect(rig.call('snapshot.create', { ...input, recoveryPoint })).rejects.toMatchObject({ code: 'bad-time' });
  expect((await rig.call('snapshot.list', {})).snapshots).toHaveLength(1);
  // A clone of it is the volume of that time.
  expect(await rig.call('volume.create', { name: 'then', fromSnapshot: 'past' })).toMatchObject({ created: true });
});
