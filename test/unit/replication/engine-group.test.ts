/** A member does what its group says, by and by. */
import { expect, it, onTestFinished, vi } from 'vitest';
import { SgwError, systemClock, systemRandom, type VolumeId } from '../../../src/core/kit/index.ts';
import type { GroupDocument, GroupVolume } from '../../../src/core/protocol/index.ts';
import { openReplication, type Replication, type ReplicationParts } from '../../../src/core/replication/index.ts';
import { EMPTY_POSITION } from '../../../src/core/replication/replica.ts';
import type { WriteLog } from '../../../src/core/writelog/index.ts';
import { SILENT } from '../../support/control/network.ts';

const [SELF, OTHER] = ['sgw-00000001', 'sgw-00000002'] as const;
const volumeId = 'vol-0123456789abcdef0' as VolumeId;
const VOLUME: GroupVolume = {
  ...{ volumeId, exportName: 'v', preferredHolder: null, allowLoss: false },
  ...{ ack: 'peer', replicas: 1, whenDegraded: 'continue' },
};
const groupOf = (version: number, volumes: readonly GroupVolume[]): GroupDocument => ({
  ...{ groupId: 'grp-00000001', name: 'g', accountId: '000000000001', version, createdAt: '2026-01-01T00:00:00Z' },
  members: [SELF, OTHER].map((id) => ({ gatewayId: id, name: id, keyFingerprint: '', address: null })),
  volumes,
});

/** A member whose group is what `group.now` says. */
async function start(): Promise<{ readonly replication: Replication; readonly group: { now: GroupDocument } }> {
  const group = { now: groupOf(1, [VOLUME]) };
  const replication = openReplication({
    ...{ self: { gatewayId: SELF, name: 'one' }, clock: systemClock, random: systemRandom, log: SILENT },
    ...{ leaseClock: () => performance.now(), times: { termMs: 400, renewMs: 100, marginMs: 50 } },
    ...{ blocks: {}, exportsAt: () => [] },
    book: { mine: async () => Promise.resolve(group.now), announce: async () => Promise.resolve() },
    host: {
      ...{ failure: () => undefined, exportedAs: () => undefined },
      logs: {
        own: async () => Promise.resolve(null),
        open: async () =>
          Promise.resolve({ position: EMPTY_POSITION, incarnations: [], close: async () => Promise.resolve() }),
      },
    },
    network: {
      start: async () => Promise.resolve({ address: '' }),
      setMembers: () => undefined,
      stop: async () => Promise.resolve(),
    },
  } as unknown as ReplicationParts);
  await replication.start();
  onTestFinished(async () => replication.stop());
  return { replication, group };
}

it('a volume that could not leave the group is let go when the store answers again', async () => {
  const { replication, group } = await start();
  const sink = replication.sinkOf(volumeId, 'peer');
  let isAway = true;
  replication.opened(volumeId, {
    ...{ epoch: 1, inSync: [SELF, OTHER] },
    setInSync: async () => {
      if (isAway) throw new SgwError('unavailable', 'store-away', 'the store is out of reach');
      return Promise.resolve();
    },
  });
  const usage = { lastSequence: 0, flushedSequence: 0, uploadedSequence: 0, dirtyBytes: 0 };
  sink?.begin({
    usage,
    incarnation: null,
    incarnations: [],
    flush: async () => Promise.resolve(),
  } as unknown as WriteLog);
  group.now = groupOf(2, []);
  await expect(replication.reload()).rejects.toMatchObject({ code: 'in-sync-set-unknown' });
  expect(await replication.report()).toMatchObject([{ holder: SELF }]);
  isAway = false;
  await vi.waitFor(async () => {
    expect(await replication.report()).toEqual([]);
  }, 5000);
});
