/** Atomic writes on a cached volume, most of them by an initiator's WRITE ATOMIC. */
import { expect, it } from 'vitest';
import { MemoryDevice, type Completion, type WriteCall } from '../../../src/core/blockdevice/index.ts';
import { openVolumeView } from '../../../src/core/blockstore/index.ts';
import { LogicalUnit } from '../../../src/core/iscsi/scsi/index.ts';
import { seededRandom, systemClock } from '../../../src/core/kit/index.ts';
import { memoryStore, withFaults } from '../../../src/core/objectstore/index.ts';
import { openViewDevice, replayLogInto, type ServedVolume } from '../../../src/core/volume/index.ts';
import { ForgetfulLogDisk } from '../../fault/forgetful-log-disk.ts';
import { IDENTITY, Initiator, INVALID_FIELD } from '../iscsi/scsi/initiator.ts';
import { MIB, readBytes, VolumeRig } from './rig.ts';

const PAGE = 4096;
const ATOMIC_BYTES = 128 * 1024;
const WRITE_ATOMIC = '9c 00 0000000000001000 0000 0100 00 00';
const WRITE_16 = '8a 00 0000000000001000 00000100 00 00';
/** Where both write: 128 KiB. */
const OFFSET = 0x1000 * 512;

const seed = Number(process.env['SGW_SEED'] ?? 16);

const initiatorOf = async (volume: ServedVolume): Promise<Initiator> =>
  await Initiator.on(new LogicalUnit({ identity: IDENTITY, abortTasks: () => undefined }), volume).settle();

/** How many of the 32 pages are filled with `fill`. */
async function pagesWith(volume: ServedVolume, fill: number): Promise<number> {
  const bytes = await readBytes(volume, OFFSET, ATOMIC_BYTES);
  const pages = Array.from({ length: ATOMIC_BYTES / PAGE }, (_, i) => bytes.subarray(i * PAGE, (i + 1) * PAGE));
  return pages.filter((page) => page.equals(Buffer.alloc(PAGE, fill))).length;
}

/** What kills and cuts of the power during one command leave of its 32 pages, where a file of the log has room for fewer. */
async function leftOf(cdb: string): Promise<Set<number>> {
  await using rig = await VolumeRig.start(16 * MIB);
  const random = seededRandom(seed);
  const disk = new ForgetfulLogDisk();
  const settings = { bufferBytes: 8 * MIB };
  const volume = await rig.open(settings, { disk });
  // The log has files of 4 MiB: 20 pages of the first one are left.
  await volume.write(8 * MIB, Buffer.alloc(1000 * PAGE, 1));
  await volume.flush();
  const host = await initiatorOf(volume);
  const found = [disk.copy()];
  disk.onWrite = () => found.push(disk.copy(), disk.afterCut(random, 512), disk.afterCut(random, PAGE));
  await host.good(cdb, { dataOut: Buffer.alloc(ATOMIC_BYTES, 7) });
  disk.onWrite();
  disk.onWrite = undefined;
  await volume.close();
  const left = new Set<number>();
  for (const one of found) {
    const again = await rig.open(settings, { disk: one });
    left.add(await pagesWith(again, 7));
    await again.close();
  }
  return left;
}

it('WRITE ATOMIC is there as a whole or not at all, at whatever moment the process ends or the power goes', async () => {
  expect(await leftOf(WRITE_ATOMIC)).toEqual(new Set([0, 32]));
}, 60_000);

it('WRITE is there in part at some of these moments', async () => {
  expect([...(await leftOf(WRITE_16))].filter((pages) => pages > 0 && pages < 32)).not.toEqual([]);
}, 60_000);

it('tells an initiator how long atomic writes are, and takes no others', async () => {
  await using rig = await VolumeRig.start(16 * MIB);
  const volume = await rig.open();
  const host = await initiatorOf(volume);
  expect((await host.good('12 01 b0 0040 00')).subarray(44).toString('hex')).toBe(
    '00000100 00000008 00000008 00000000 00000000'.replaceAll(' ', ''),
  );
  const dataOut = Buffer.alloc(ATOMIC_BYTES + PAGE, 1);
  for (const cdb of [
    '9c 00 0000000000001000 0000 0108 00 00',
    '9c 00 0000000000001004 0000 0008 00 00',
    '9c 00 0000000000001000 0000 0004 00 00',
  ])
    expect(await host.send(cdb, { dataOut }), cdb).toMatchObject(INVALID_FIELD);
  for (const fua of ['00', '08'])
    await host.good(WRITE_ATOMIC.replace('9c 00', `9c ${fua}`), { dataOut: dataOut.subarray(0, ATOMIC_BYTES) });
  expect(await pagesWith(volume, 1)).toBe(32);
  await volume.close({ drain: true });
});

it('what is not within the limits is refused before anything of it is written', async () => {
  await using rig = await VolumeRig.start(MIB);
  const volume = await rig.open();
  const call = { atomic: true } as const;
  for (const [offset, length] of [
    [512, PAGE],
    [0, 512],
    [0, ATOMIC_BYTES + PAGE],
    [0, 0],
  ] as const)
    expect(() => volume.write(offset, Buffer.alloc(length, 1), call), `${offset}, ${length}`).toThrow(/as a whole/);
  expect(volume.stats.dirtyBytes).toBe(0);
  await volume.close();
});

it('a read that waits for the store sees all of an atomic write that comes meanwhile, or nothing', async () => {
  const faults = withFaults(memoryStore(), { rules: [] });
  await using rig = await VolumeRig.start(4 * MIB, faults.store);
  let volume = await rig.open();
  await volume.write(OFFSET, Buffer.alloc(4 * PAGE, 1));
  await volume.close({ drain: true });
  await rig.freshCache();
  volume = await rig.open();
  // The first two pages are at hand, the others in the store only.
  await volume.write(OFFSET, Buffer.alloc(2 * PAGE, 1));
  faults.setRules([{ fault: 'latency', operation: 'get', latencyMs: 200, times: 1 }]);
  const target = Buffer.alloc(4 * PAGE);
  const read = volume.read(OFFSET, target);
  expect(read).toBeDefined();
  await volume.write(OFFSET, Buffer.alloc(4 * PAGE, 2), { atomic: true });
  await read;
  expect(faults.injected).toHaveLength(1);
  expect(target.equals(Buffer.alloc(4 * PAGE, target[0]))).toBe(true);
  expect([1, 2]).toContain(target[0]);
  await volume.close({ drain: true });
});

it('atomic writes wait while the log is full, in turn with others, and none fails', async () => {
  const faults = withFaults(memoryStore(), { rules: [] });
  await using rig = await VolumeRig.start(64 * MIB, faults.store);
  const volume = await rig.open({ bufferBytes: 8 * MIB, sealIntervalMs: 50 });
  faults.setRules([{ fault: 'error500', operation: 'put' }]);
  const writes = Array.from({ length: 96 }, async (_, i) => {
    const call = i % 3 === 2 ? {} : ({ atomic: true } as const);
    await volume.write(i * ATOMIC_BYTES, Buffer.alloc(ATOMIC_BYTES, i + 1), call);
  });
  while (volume.stats.waitingWrites === 0) await rig.blocks.clock.sleep(20);
  faults.setRules([]);
  await Promise.all(writes);
  await volume.drain();
  const view = await openVolumeView(rig.blocks, rig.entry.volumeId);
  const device = openViewDevice({ view, cache: rig.cache, pool: rig.pool, clock: rig.blocks.clock, readAheadBytes: 0 });
  const bytes = Buffer.alloc(ATOMIC_BYTES);
  for (let i = 0; i < 96; i++) {
    await device.read(i * ATOMIC_BYTES, bytes);
    expect(bytes.equals(Buffer.alloc(ATOMIC_BYTES, i + 1)), `write ${i}`).toBe(true);
  }
  await volume.close({ drain: true });
}, 60_000);

it('a log that is put upon another volume keeps atomic writes whole there', async () => {
  const disk = new ForgetfulLogDisk();
  await using rig = await VolumeRig.start(MIB);
  const settings = { bufferBytes: 8 * MIB };
  const volume = await rig.open(settings, { disk });
  // In one record, neighbours of each other.
  const written: Completion[] = [
    volume.write(0, Buffer.alloc(PAGE, 1)),
    volume.write(PAGE, Buffer.alloc(ATOMIC_BYTES, 2), { atomic: true }),
    volume.write(PAGE + ATOMIC_BYTES, Buffer.alloc(ATOMIC_BYTES, 3), { atomic: true }),
    volume.write(PAGE + 2 * ATOMIC_BYTES, Buffer.alloc(ATOMIC_BYTES + PAGE, 4)),
  ];
  for (const one of written) await one;
  const { bufferBytes } = settings;
  const writes: string[] = [];
  class Target extends MemoryDevice {
    override readonly limits = volume.limits;

    override write(offset: number, data: Buffer, call?: WriteCall): Completion {
      writes.push(`${String(offset / PAGE)} ${String(data.length / PAGE)} ${String(call?.atomic)}`);
      return super.write(offset, data);
    }
  }
  const target = new Target(MIB);
  const { signal } = new AbortController();
  const parts = { clock: systemClock, bufferBytes, from: 0, signal, onProgress: () => undefined };
  await replayLogInto({ ...parts, disk: disk.copy(), volume: target as unknown as ServedVolume });
  expect(writes).toEqual(['0 1 true', '1 32 true', '33 32 true', '65 33 undefined']);
  expect(target.bytes.equals(await readBytes(volume, 0, MIB))).toBe(true);
  await volume.close();
});

it('with ack=store the store has all of it', async () => {
  await using rig = await VolumeRig.start(16 * MIB);
  const volume = await rig.open({ ack: 'store' });
  await (await initiatorOf(volume)).good(WRITE_ATOMIC, { dataOut: Buffer.alloc(ATOMIC_BYTES, 5) });
  expect((await openVolumeView(rig.blocks, rig.entry.volumeId)).map.mappedPages).toBe(32);
  await volume.close({ drain: true });
});
