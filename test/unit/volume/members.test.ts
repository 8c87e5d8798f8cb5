/** C26, C27: a volume of a group acknowledges, flushes and reads as its sink allows; and the gate of a planned take-over. */
import path from 'node:path';
import { onTestFinished, describe, expect, it, vi } from 'vitest';
import { createPendingSnapshot, type InSyncWriter } from '../../../src/core/blockstore/index.ts';
import { SgwError } from '../../../src/core/kit/index.ts';
import { memoryStore, withFaults, type FaultyStore } from '../../../src/core/objectstore/index.ts';
import { gatedVolume, type ServedVolume } from '../../../src/core/volume/index.ts';
import { directoryDisk, type LogDisk } from '../../../src/core/writelog/index.ts';
import { ended, HeldSink, settle, watched } from './held-sink.ts';
import { ACCOUNT, MIB, readBytes, VolumeRig } from './rig.ts';

const PAGE = 4096;
const page = (value: number): Buffer => Buffer.alloc(PAGE, value);

/** A disk whose files are synced when `before` has resolved. */
function syncingBy(disk: LogDisk, before: () => Promise<void>): LogDisk {
  return {
    bootId: disk.bootId,
    list: async () => disk.list(),
    open: async (name, sizeBytes) => {
      const file = await disk.open(name, sizeBytes);
      const { sizeBytes: ofFile, path: place } = file;
      return {
        ...{ name, sizeBytes: ofFile, path: place },
        readSync: (target, position) => {
          file.readSync(target, position);
        },
        writeSync: (pieces, position) => {
          file.writeSync(pieces, position);
        },
        sync: async () => {
          await before();
          await file.sync();
        },
        close: async () => file.close(),
      };
    },
    remove: async (name) => disk.remove(name),
    setAside: async (reason) => disk.setAside(reason),
  };
}

interface Scene {
  readonly rig: VolumeRig;
  readonly faults: FaultyStore;
  readonly sink: HeldSink;
  readonly writers: InSyncWriter[];
  readonly volume: ServedVolume;
}

async function start(ack: 'log' | 'peer' | 'store' = 'peer'): Promise<Scene> {
  const faults = withFaults(memoryStore(), { rules: [] });
  const rig = await VolumeRig.start(16 * MIB, faults.store);
  const sink = new HeldSink();
  const writers: InSyncWriter[] = [];
  const onWriter = (writer: InSyncWriter): void => {
    writers.push(writer);
    sink.calls.push('writer');
  };
  const volume = await rig.open({ ack }, { sink, onWriter });
  onTestFinished(async () => {
    await volume.close().catch(() => undefined);
    await rig[Symbol.asyncDispose]();
  });
  return { rig, faults, sink, writers, volume };
}

describe('C26: a volume of a group', () => {
  it('C26: tells the sink of its writer and its log, before anything is appended', async () => {
    const { sink, writers } = await start();
    expect(sink.calls).toEqual(['writer', 'begin']);
    expect(writers[0]).toMatchObject({ epoch: 1, inSync: [] });
    expect(sink.log?.usage.lastSequence).toBe(0);
  });

  it('C26: acknowledges a write when the members have its record, and not before', async () => {
    const { sink, volume } = await start();
    const first = watched(volume.write(0, page(1)));
    await settle();
    expect(first.state).toBe('waits');
    expect(sink.appendedSequence).toBe(1);
    expect(sink.log?.sent(1, 1e6)[0]?.pages.equals(page(1))).toBe(true);
    const second = watched(volume.writeZeroes(PAGE, PAGE));
    const whole = watched(volume.write(3 * PAGE, page(3), { atomic: true }));
    await settle();
    sink.set({ received: 1 });
    await settle();
    expect([first.state, second.state, whole.state]).toEqual(['done', 'waits', 'waits']);
    sink.set({ received: 2 });
    await settle();
    expect([second.state, whole.state]).toEqual(['done', 'done']);
  });

  it('C26: the writes of one group commit wait as one, and no later write with them', async () => {
    const { sink, volume } = await start();
    const [one, same] = [volume.write(0, page(1)), volume.write(PAGE, page(2))];
    expect(one).toBe(same);
    const first = watched(one);
    await settle();
    const second = watched(volume.write(0, page(3)));
    await settle();
    sink.set({ received: 1 });
    await settle();
    expect([first.state, second.state]).toEqual(['done', 'waits']);
    sink.set({ received: 2 });
    await settle();
    expect(second.state).toBe('done');
  });

  it('C26: acknowledges a flush, and a write with FUA, when the members have synced it', async () => {
    const { sink, volume } = await start();
    const write = watched(volume.write(0, page(1)));
    // In the same task: what the flush writes itself the sink hears of, too.
    const flush = watched(volume.flush());
    await settle();
    sink.set({ received: 1 });
    await settle();
    expect([write.state, flush.state, sink.appendedSequence]).toEqual(['done', 'waits', 1]);
    const fua = watched(volume.write(PAGE, page(2), { fua: true }));
    await settle();
    sink.set({ received: 2, synced: 1 });
    expect(await ended(flush)).toBe('done');
    // It has long been synced here.
    await sink.log?.flush();
    await settle();
    expect(fua.state).toBe('waits');
    sink.set({ synced: 2 });
    expect(await ended(fua)).toBe('done');
  });

  it('C27: answers reads only under a lease, judged when they are done', async () => {
    const { sink, volume } = await start();
    sink.all();
    await volume.write(0, page(7));
    sink.set({ hasLease: false });
    const target = Buffer.alloc(PAGE);
    const read = watched(volume.read(0, target));
    const below = watched(volume.read(MIB, Buffer.alloc(PAGE)));
    const extents = watched(volume.extents(0, MIB, 8));
    const write = watched(volume.write(PAGE, page(8)));
    await settle();
    expect([read.state, below.state, extents.state, write.state]).toEqual(['waits', 'waits', 'waits', 'waits']);
    sink.set({ hasLease: true });
    await settle();
    expect([read.state, below.state, extents.state, write.state]).toEqual(['done', 'done', 'done', 'done']);
    expect(target.equals(page(7))).toBe(true);
  });

  it('C27: does not answer what was read from the store when the lease ended meanwhile', async () => {
    const { rig, faults, sink, volume } = await start();
    sink.all();
    await volume.write(0, page(7));
    await volume.close({ drain: true });
    await rig.freshCache();
    const again = await rig.open({ ack: 'peer' }, { sink });
    faults.setRules([{ fault: 'latency', operation: 'get', key: /log\//, latencyMs: 100, times: 1 }]);
    const target = Buffer.alloc(PAGE);
    const read = watched(again.read(0, target));
    await settle();
    sink.set({ hasLease: false });
    for (let turn = 0; turn < 400 && target[0] !== 7; turn++) await new Promise((go) => setTimeout(go, 5));
    await settle();
    expect([target[0], read.state]).toEqual([7, 'waits']);
    sink.set({ hasLease: true });
    expect(await ended(read)).toBe('done');
    await again.close();
  });

  it('C27: answers nothing more once another member holds it; closes without uploading, and its log is whole', async () => {
    const { rig, sink, volume } = await start();
    const waiting = [
      volume.write(0, page(1)),
      volume.flush(),
      volume.write(PAGE, page(2), { fua: true }),
    ] as Promise<void>[];
    await settle();
    sink.set({ hasLease: false });
    waiting.push(volume.read(0, Buffer.alloc(PAGE)) as Promise<void>);
    const states = waiting.map(watched);
    volume.fence(sink.fence());
    await settle();
    expect(states.map(({ state }) => state)).toEqual(['fenced', 'fenced', 'fenced', 'fenced']);
    expect(volume.stats.state).toBe('fenced');
    expect(() => volume.write(0, page(3))).toThrow(expect.objectContaining({ kind: 'fenced' }) as Error);
    await volume.close();
    expect(volume.stats.commits).toBe(0);
    // What was written is in the log, for whoever needs it.
    const again = await rig.open({ ack: 'log' });
    expect((await readBytes(again, 0, PAGE)).equals(page(1))).toBe(true);
    await again.close();
  });

  it('C26: answers nothing that waited when it is fenced and the members agree afterwards', async () => {
    const { sink, volume } = await start();
    const write = watched(volume.write(0, page(1)));
    await settle();
    volume.fence(new SgwError('fenced', 'fenced', 'another member holds the volume'));
    sink.all();
    await settle();
    expect(write.state).toBe('fenced');
  });

  it('C8: a snapshot is there when the members have its barrier, durably', async () => {
    const { rig, sink, volume } = await start();
    sink.set({ received: Infinity });
    let created = 0;
    const snapshot = volume.snapshot(async (place) => {
      created += 1;
      return await createPendingSnapshot(rig.blocks, {
        ...{ volume: rig.entry, name: 's', accountId: ACCOUNT, maker: 'sgw-00000001' },
        ...place,
      });
    });
    const made = watched(snapshot);
    await settle();
    await sink.log?.flush();
    await settle();
    expect([made.state, created]).toEqual(['waits', 0]);
    sink.all();
    const { completed } = await snapshot;
    await volume.drain();
    await completed;
  });

  it('tells the sink what is in the store, and of the writer that is opened anew after a failure', async () => {
    const { faults, sink, writers, volume } = await start();
    sink.all();
    await volume.write(0, page(1));
    await volume.drain();
    expect(sink.uploadedSequence).toBe(1);
    await writers[0]?.setInSync(['sgw-00000001', 'sgw-00000002']);
    faults.setRules([{ fault: 'error500', operation: 'put', key: /\/log\//, times: 1 }]);
    await volume.write(PAGE, page(2));
    await volume.drain();
    expect(writers.length).toBe(2);
    expect(writers[1]).toMatchObject({ epoch: 2, inSync: ['sgw-00000001', 'sgw-00000002'] });
    expect(sink.uploadedSequence).toBe(2);
    expect(volume.failure).toBeUndefined();
  });

  it.each(['peer', 'log'] as const)(
    'C26: store to %s: a write that is being synced is acknowledged when the store has it',
    async (ack) => {
      const { rig, sink, volume: first } = await start();
      await first.close();
      const synced = Promise.withResolvers<undefined>();
      let isHeld = false;
      let waiting = 0;
      const disk = syncingBy(directoryDisk(path.join(rig.folder, 'slow')), async () => {
        if (!isHeld) return;
        waiting += 1;
        await synced.promise;
      });
      const volume = await rig.open({ ack: 'store' }, { sink, disk });
      sink.all();
      isHeld = true;
      const write = watched(volume.write(0, page(1)));
      await vi.waitFor(() => {
        expect(waiting).toBe(1);
      });
      await volume.configure({ ack });
      synced.resolve(undefined);
      expect([await ended(write), volume.stats.commits]).toEqual(['done', 1]);
      await volume.close();
    },
  );

  it('tells the sink by what it acknowledges; ack=peer is for volumes that have one', async () => {
    const { rig, sink, volume } = await start('log');
    sink.all();
    await volume.configure({ ack: 'peer' });
    expect([sink.ack, volume.stats.ack]).toEqual(['peer', 'peer']);
    await volume.close();
    const needsGroup = { kind: 'conflict', code: 'ack-needs-group' };
    await expect(rig.open({ ack: 'peer' })).rejects.toMatchObject(needsGroup);
    const alone = await rig.open();
    await expect(alone.configure({ ack: 'peer' })).rejects.toMatchObject(needsGroup);
    expect(alone.stats.ack).toBe('log');
    await alone.close();
  });
});

describe('the gate of a planned take-over', () => {
  it('lets what is under way end, and has what comes wait until it is open again', async () => {
    const { sink, volume } = await start();
    const gated = gatedVolume(volume);
    const before = watched(gated.write(0, page(1)));
    const closed = gated.closeGate();
    const gate = watched(closed);
    const later = [
      gated.write(PAGE, page(2)),
      gated.read(0, Buffer.alloc(PAGE)),
      gated.flush(),
      gated.resize(8 * MIB),
    ] as Promise<void>[];
    const states = later.map(watched);
    const aborting = new AbortController();
    const aborted = watched(gated.trim(0, PAGE, { signal: aborting.signal }));
    await settle();
    expect([before.state, gate.state, ...states.map(({ state }) => state)]).toEqual(Array(6).fill('waits'));
    sink.all();
    await settle();
    expect([before.state, gate.state]).toEqual(['done', 'done']);
    expect(sink.appendedSequence).toBe(1);
    aborting.abort();
    await settle();
    expect([aborted.state, ...states.map(({ state }) => state)]).toEqual([
      'aborted',
      ...Array<string>(4).fill('waits'),
    ]);
    gated.openGate();
    await Promise.all(later);
    expect(gated.sizeBytes).toBe(8 * MIB);
    expect((await readBytes(gated, PAGE, PAGE)).equals(page(2))).toBe(true);
  });

  it('tells what waits why the volume ended', async () => {
    const { sink, volume } = await start();
    sink.all();
    const gated = gatedVolume(volume);
    await gated.closeGate();
    const write = watched(gated.write(0, page(1)));
    const read = watched(gated.read(0, Buffer.alloc(PAGE)));
    await settle();
    gated.fence(sink.fence());
    await settle();
    expect([write.state, read.state]).toEqual(['fenced', 'fenced']);
    await gated.close();
    const { volume: other } = await start();
    const second = gatedVolume(other);
    await second.closeGate();
    const late = watched(second.write(0, page(1)));
    await second.close();
    await settle();
    expect(late.state).toBe('aborted');
  });
});
