/** What a member of a group answers to a holder, by the reigns that it has heard of. */
import { describe, expect, it } from 'vitest';
import { SgwError, systemClock, systemRandom, type VolumeId } from '../../../src/core/kit/index.ts';
import type { GroupVolume } from '../../../src/core/protocol/index.ts';
import { MemberVolume } from '../../../src/core/replication/member-volume.ts';
import type { PeerLink, PeerMessage, Reign } from '../../../src/core/replication/messages.ts';
import type { MemberParts } from '../../../src/core/replication/role.ts';
import type { FoundPosition, Incarnation, ReplicaPosition } from '../../../src/core/writelog/index.ts';
import { SILENT } from '../../support/control/network.ts';
import { settle } from '../volume/held-sink.ts';

const volumeId = 'vol-0123456789abcdef0' as VolumeId;
const VOLUME: GroupVolume = {
  ...{ volumeId, exportName: 'v', preferredHolder: null, allowLoss: false },
  ...{ ack: 'peer', replicas: 1, whenDegraded: 'continue' },
};
const TIMES = { termMs: 4000, renewMs: 1000, marginMs: 500 };
const incarnationOf = (epoch: number): Incarnation => ({
  ...{ incarnation: '00112233445566ff', epoch, baseSeq: 0, uploadedSequence: 0, firstSequence: 1 },
});
const POSITION: ReplicaPosition = {
  ...{ incarnation: '00112233445566ff', firstSequence: 1, received: 3, synced: 3, isWhole: true },
};
const reignOf = (holder: string, epoch: number): Reign => ({ volumeId, holder, epoch });
const openOf = (reign: Reign): Extract<PeerMessage, { kind: 'open' }> => ({
  ...{ kind: 'open', reign, incarnations: [incarnationOf(reign.epoch)] },
  ...{ lastSequence: 3, uploadedSequence: 0, capacityBytes: 1 << 20 },
});

/** A member that has just been started, with one log in its home. */
async function start(home: { own?: FoundPosition; replicaEpoch?: number; keptEpoch?: number }): Promise<{
  readonly member: MemberVolume;
  readonly parts: MemberParts;
  readonly time: { nowMs: number };
  readonly looks: () => number;
  readonly released: () => number;
  readonly linkTo: (gatewayId: string) => { readonly link: PeerLink; readonly sent: PeerMessage[] };
}> {
  let releases = 0;
  let looks = 0;
  const time = { nowMs: 100_000 };
  const log = {
    position: POSITION,
    close: async () => Promise.resolve(),
    incarnations: home.replicaEpoch === undefined ? [] : [incarnationOf(home.replicaEpoch)],
  };
  const host = {
    demote: async () => Promise.resolve(),
    keepExport: async () => Promise.resolve(),
    keepEpoch: async (_volumeId: string, epoch: number) => {
      home.keptEpoch = epoch;
      return Promise.resolve();
    },
    keptEpoch: async () => Promise.resolve(home.keptEpoch ?? 0),
    logs: {
      own: async () => Promise.resolve(home.own ?? null),
      open: async () => Promise.resolve(log),
      release: async () => {
        releases += 1;
        return Promise.resolve();
      },
    },
  };
  const parts = {
    ...{ self: { gatewayId: 'sgw-p', name: 'p' }, clock: systemClock, log: SILENT, times: TIMES, host },
    ...{ leaseClock: () => time.nowMs, startedAt: 0, links: new Map(), nameOf: (id: string) => id },
    ...{ members: () => ['sgw-h', 'sgw-p', 'sgw-q'], stopped: new AbortController().signal },
    random: systemRandom,
    readHead: async () => {
      looks += 1;
      return Promise.reject(new SgwError('unavailable', 'store-away', 'the store is out of reach'));
    },
  } as unknown as MemberParts;
  const member = new MemberVolume(parts, VOLUME);
  await member.begin();
  const linkTo = (gatewayId: string): { link: PeerLink; sent: PeerMessage[] } => {
    const sent: PeerMessage[] = [];
    const link = { gatewayId, send: (message: PeerMessage) => sent.push(message) };
    return { link: link as unknown as PeerLink, sent };
  };
  return { member, parts, time, looks: () => looks, released: () => releases, linkTo };
}

describe('C26: a replica that was started again', () => {
  it('C26: refuses a holder whose epoch is older than the newest that its log names', async () => {
    const { member, linkTo } = await start({ replicaEpoch: 7 });
    const { link, sent } = linkTo('sgw-h');
    expect(member.promise(link, reignOf('sgw-h', 5))).toBe(false);
    member.message(link, openOf(reignOf('sgw-h', 5)));
    await settle();
    expect(sent.map(({ kind }) => kind)).toEqual(['refused']);
  });

  it('C26: follows the holder whose epoch its log names, though an older one was heard first', async () => {
    const { member, linkTo } = await start({ replicaEpoch: 7 });
    member.promise(linkTo('sgw-h').link, reignOf('sgw-h', 5));
    const { link, sent } = linkTo('sgw-q');
    expect(member.promise(link, reignOf('sgw-q', 7))).toBe(true);
    member.message(link, openOf(reignOf('sgw-q', 7)));
    await settle();
    expect(sent).toMatchObject([{ kind: 'position', position: POSITION }]);
    // And tells the older one now.
    const old = linkTo('sgw-h');
    expect(member.promise(old.link, reignOf('sgw-h', 5))).toBe(false);
    expect(old.sent).toEqual([{ kind: 'superseded', newest: reignOf('sgw-q', 7) }]);
  });

  it('C26: refuses it as well when its log names that reign no more, since it began anew or was set aside', async () => {
    const home = {};
    const before = await start(home);
    const asked = before.linkTo('sgw-q');
    before.member.message(asked.link, openOf(reignOf('sgw-q', 7)));
    await settle();
    expect(asked.sent).toMatchObject([{ kind: 'position' }]);
    const { member, linkTo } = await start(home);
    expect(member.promise(linkTo('sgw-h').link, reignOf('sgw-h', 5))).toBe(false);
    expect(member.promise(linkTo('sgw-q').link, reignOf('sgw-q', 7))).toBe(true);
  });

  it('C28: a holder that was started again keeps its log as its own when an older one is heard of', async () => {
    const { member, released, linkTo } = await start({ own: { ...POSITION, epoch: 7 } });
    member.promise(linkTo('sgw-h').link, reignOf('sgw-h', 5));
    await settle();
    expect(released()).toBe(0);
    member.promise(linkTo('sgw-q').link, reignOf('sgw-q', 8));
    await settle();
    expect(released()).toBe(1);
  });
});

it('C27: a promise holds though the volume was taken out of the group and put into it again', async () => {
  const { member, parts, time, looks, linkTo } = await start({});
  expect(member.promise(linkTo('sgw-h').link, reignOf('sgw-h', 5))).toBe(true);
  await member.ungroup(parts.stopped);
  const again = new MemberVolume(parts, VOLUME, member.past);
  await again.begin();
  time.nowMs += TIMES.termMs;
  again.tick();
  await settle();
  expect(looks()).toBe(0);
  time.nowMs += TIMES.marginMs;
  again.tick();
  await settle();
  expect(looks()).toBe(1);
});
