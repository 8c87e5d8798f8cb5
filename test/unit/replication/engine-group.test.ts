/** A member does what its group says, by and by. */
import { expect, it, onTestFinished, vi } from 'vitest';
import { SgwError, systemClock, systemRandom, type VolumeId } from '../../../src/core/kit/index.ts';
import type { GroupDocument, GroupVolume } from '../../../src/core/protocol/index.ts';
import type { PeerEvents, PeerLink, PeerMessage } from '../../../src/core/replication/messages.ts';
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
async function start(): Promise<{
  readonly replication: Replication;
  readonly group: { now: GroupDocument };
  readonly events: PeerEvents;
}> {
  const given = Promise.withResolvers<PeerEvents>();
  const group = { now: groupOf(1, [VOLUME]) };
  const replication = openReplication({
    ...{ self: { gatewayId: SELF, name: 'one' }, clock: systemClock, random: systemRandom, log: SILENT },
    ...{ leaseClock: () => performance.now(), times: { termMs: 400, renewMs: 100, marginMs: 50 } },
    ...{ blocks: {}, exportsAt: () => [] },
    book: { mine: async () => Promise.resolve(group.now), announce: async () => Promise.resolve() },
    host: {
      ...{ failure: () => undefined, exportedAs: () => undefined, keptEpoch: async () => Promise.resolve(0) },
      logs: {
        own: async () => Promise.resolve(null),
        open: async () =>
          Promise.resolve({ position: EMPTY_POSITION, incarnations: [], close: async () => Promise.resolve() }),
      },
    },
    network: {
      start: async (events: PeerEvents) => {
        given.resolve(events);
        return Promise.resolve({ address: '' });
      },
      setMembers: () => undefined,
      stop: async () => Promise.resolve(),
    },
  } as unknown as ReplicationParts);
  await replication.start();
  onTestFinished(async () => replication.stop());
  return { replication, group, events: await given.promise };
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

it('a volume that is taken out of the group and put into it again has heard of the reigns of before', async () => {
  const { replication, group, events } = await start();
  const sent: PeerMessage[] = [];
  const link = { gatewayId: OTHER, send: (message: PeerMessage) => sent.push(message) } as unknown as PeerLink;
  const isPromised = (epoch: number): boolean => {
    sent.length = 0;
    events.message(link, { kind: 'renew', stamp: 1, reigns: [{ volumeId, holder: OTHER, epoch }] });
    return sent.some(({ kind }) => kind === 'promise');
  };
  expect([isPromised(5), isPromised(4)]).toEqual([true, false]);
  group.now = groupOf(2, []);
  await replication.reload();
  group.now = groupOf(3, [VOLUME]);
  await replication.reload();
  expect([isPromised(4), isPromised(5)]).toEqual([false, true]);
});
