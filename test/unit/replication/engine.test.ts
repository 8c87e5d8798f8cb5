/** The engine of a member: what it does for one volume does not wait for another. */
import { expect, it, onTestFinished } from 'vitest';
import { SgwError, systemClock, systemRandom, type Logger, type VolumeId } from '../../../src/core/kit/index.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import type { GroupVolume } from '../../../src/core/protocol/index.ts';
import { openReplication, type ReplicaLogs, type VolumeHost } from '../../../src/core/replication/index.ts';
import type { PeerEvents, PeerLink, PeerMessage } from '../../../src/core/replication/messages.ts';

const BROKEN = 'vol-00000000000000001' as VolumeId;
const WELL = 'vol-00000000000000002' as VolumeId;
const END = { incarnation: 'ffeeddccbbaa0099', firstSequence: 1, received: 5, synced: 5, isWhole: true, epoch: 2 };

const volumeOf = (volumeId: VolumeId): GroupVolume => ({
  ...{ volumeId, exportName: volumeId, replicas: 1, whenDegraded: 'continue', preferredHolder: null },
  ...{ allowLoss: false, ack: 'peer' },
});

it('a volume whose logs can not be looked at holds no other one up, nor the start', async () => {
  const logs: Partial<ReplicaLogs> = {
    own: async (volumeId) => {
      if (volumeId === BROKEN) throw new SgwError('unavailable', 'io-error', 'the disk gives an error');
      return Promise.resolve(END);
    },
  };
  const silent = (): void => undefined;
  const log: Logger = { debug: silent, info: silent, warn: silent, error: silent };
  let events: PeerEvents | undefined;
  const replication = openReplication({
    ...{ self: { gatewayId: 'sgw-00000001', name: 'a' }, clock: systemClock, leaseClock: () => performance.now() },
    ...{ random: systemRandom, log, times: { termMs: 4000, renewMs: 1000, marginMs: 500 }, exportsAt: () => [] },
    blocks: { objects: memoryStore(), clock: systemClock, random: systemRandom },
    book: {
      mine: async () =>
        Promise.resolve({
          ...{ groupId: 'grp-00000001', name: 'g', accountId: '000000000001', version: 1, createdAt: '', members: [] },
          volumes: [volumeOf(BROKEN), volumeOf(WELL)],
        }),
      announce: async () => Promise.resolve(),
      permit: async () => Promise.resolve(),
    },
    host: { keptEpoch: async () => Promise.resolve(0), logs } as unknown as VolumeHost,
    network: {
      start: async (given) => {
        events = given;
        return Promise.resolve({ address: '' });
      },
      setMembers: silent,
      stop: async () => Promise.resolve(),
    },
  });
  onTestFinished(async () => replication.stop());
  await replication.start();
  const sent: PeerMessage[] = [];
  const link = { gatewayId: 'sgw-00000002', waitingBytes: 0, send: (message: PeerMessage) => sent.push(message) };
  for (const volumeId of [BROKEN, WELL])
    events?.message(link as unknown as PeerLink, { kind: 'ask', volumeId, epoch: 1 });
  expect(sent).toEqual([{ kind: 'tell', volumeId: WELL, epoch: 0, position: END, isHolder: false }]);
  const [broken] = await replication.report();
  expect(broken?.reason).toBe('the disk gives an error');
});
