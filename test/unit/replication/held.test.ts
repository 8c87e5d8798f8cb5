/** A volume that is held: what its acknowledgements wait for when the group wants another thing of it, over a real log. */
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { InSyncWriter } from '../../../src/core/blockstore/index.ts';
import { SgwError, systemClock } from '../../../src/core/kit/index.ts';
import type { GroupVolume } from '../../../src/core/protocol/index.ts';
import { HeldVolume } from '../../../src/core/replication/held.ts';
import type { PeerLink, PeerMessage } from '../../../src/core/replication/messages.ts';
import { EMPTY_POSITION } from '../../../src/core/replication/replica.ts';
import type { ServedVolume } from '../../../src/core/volume/index.ts';
import { SILENT } from '../../support/control/network.ts';
import { ended, settle, watched } from '../volume/held-sink.ts';
import { MIB, VolumeRig } from '../volume/rig.ts';

const [SELF, OTHER] = ['sgw-00000001', 'sgw-00000002'] as const;

interface Scene {
  readonly held: HeldVolume;
  readonly volume: ServedVolume;
  /** What the replica was sent. */
  readonly sent: readonly PeerMessage[];
  /** That the head was asked to have. */
  readonly sets: (readonly string[])[];
  /** Changes of the set fail with this. */
  fails: SgwError | undefined;
}

/** A holder, alone with one replica that is in the set, has promised, and has got nothing. */
async function start(wish: Pick<GroupVolume, 'ack' | 'whenDegraded'>): Promise<Scene> {
  const rig = await VolumeRig.start(16 * MIB);
  const sent: PeerMessage[] = [];
  const link = { gatewayId: OTHER, waitingBytes: 0, send: (message: PeerMessage) => sent.push(message) };
  const held = new HeldVolume(
    {
      ...{ self: SELF, times: { termMs: 4000, renewMs: 1000, marginMs: 500 }, now: () => 0, clock: systemClock },
      volume: () => ({
        ...{ volumeId: rig.entry.volumeId, exportName: 'v', preferredHolder: null, allowLoss: false },
        ...{ replicas: 1, ...wish },
      }),
      ...{ wanted: () => [OTHER], nameOf: (id) => id, log: SILENT, exportedAs: () => undefined },
      ...{ onReady: () => undefined, onFenced: () => undefined },
    },
    wish.ack,
  );
  let writer: InSyncWriter | undefined;
  const volume = await rig.open({ ack: wish.ack }, { sink: held, onWriter: (one) => (writer = one) });
  onTestFinished(async () => {
    await volume.close().catch(() => undefined);
    await rig[Symbol.asyncDispose]();
  });
  const scene: Scene = { held, volume, sent, sets: [], fails: undefined };
  held.opened({
    ...{ epoch: writer?.epoch ?? 0, inSync: [SELF, OTHER] },
    setInSync: async (set) => {
      scene.sets.push(set);
      if (scene.fails !== undefined) throw scene.fails;
      return Promise.resolve();
    },
  });
  held.linked(link as unknown as PeerLink);
  held.senderOf(OTHER)?.position(EMPTY_POSITION);
  held.promised(OTHER, held.epoch, 0);
  return scene;
}

describe('C26: what acknowledges is another thing while a write is under way', () => {
  it('C26: peer to store: who waited for room is acknowledged by the members, as it was written', async () => {
    const { held, volume, sent } = await start({ ack: 'peer', whenDegraded: 'continue' });
    // Longer than what goes into the log at once: it waits for its turn.
    const write = watched(volume.write(0, Buffer.alloc(9 * MIB, 1)));
    await volume.configure({ ack: 'store' });
    const last = await vi.waitFor(() => {
      expect(held.writeLog?.usage.lastSequence).toBeGreaterThan(1);
      expect(sent.at(-1)?.kind).toBe('records');
      return held.writeLog?.usage.lastSequence ?? 0;
    });
    await settle();
    expect([write.state, volume.stats.commits]).toEqual(['waits', 0]);
    held.senderOf(OTHER)?.got(last, 0);
    expect(await ended(write)).toBe('done');
  });
});

describe('a volume that leaves its group', () => {
  const { signal } = new AbortController();

  it('goes on by itself, though it was to stop without replicas, and its set is not changed any more', async () => {
    const { held, volume, sets } = await start({ ack: 'peer', whenDegraded: 'stop' });
    const write = watched(volume.write(0, Buffer.alloc(4096, 1)));
    await settle();
    expect(write.state).toBe('waits');
    await held.ungroup(signal);
    expect(await ended(write)).toBe('done');
    expect(await ended(watched(volume.flush()))).toBe('done');
    expect(await ended(watched(volume.read(0, Buffer.alloc(4096))))).not.toBe('waits');
    held.tick(new Map());
    // A change would have synced the log first.
    await held.writeLog?.flush();
    await settle();
    expect(sets).toEqual([[]]);
  });

  it('is in it as before when the store could not be told, and the set is made certain again', async () => {
    const scene = await start({ ack: 'peer', whenDegraded: 'continue' });
    const { held, volume, sets } = scene;
    scene.fails = new SgwError('unavailable', 'store-away', 'the store is out of reach');
    await expect(held.ungroup(signal)).rejects.toMatchObject({ code: 'in-sync-set-unknown' });
    const write = watched(volume.write(0, Buffer.alloc(4096, 1)));
    await settle();
    expect(write.state).toBe('waits');
    scene.fails = undefined;
    held.tick(new Map());
    await vi.waitFor(() => {
      expect(sets).toEqual([[], [SELF, OTHER]]);
    });
    held.senderOf(OTHER)?.got(1, 1);
    expect(await ended(write)).toBe('done');
    await held.ungroup(signal);
    expect(sets.at(-1)).toEqual([]);
  });
});
