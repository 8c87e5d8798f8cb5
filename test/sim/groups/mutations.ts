/** Rules that are broken, one at a time: the model has to find what each of them is for. */
import * as rules from '../../../src/core/replication/rules.ts';
import { GOOD_HABITS, type Habits, type Rules } from './model.ts';
import type { Bounds } from './model-state.ts';

/** Faults none: what is not said. */
export const QUIET: Bounds = {
  nodes: 2,
  writes: 1,
  crashes: 0,
  powerCuts: 0,
  linkCuts: 0,
  lostReplies: 0,
  reopenings: 0,
  releases: 0,
  epochs: 3,
  termTicks: 1,
  marginTicks: 1,
  statesMax: 400_000,
};

/** Of three nodes, one is cut off and holds the volume by its own word; the others have handed it on, and one of them ended. */
export const HANDED_ON: Pick<Required<Mutation>, 'bounds' | 'path'> = {
  bounds: { nodes: 3, writes: 0, crashes: 1, releases: 1 },
  path: [
    ...['shrink 0: 2 leaves', 'change of 0 made', 'tick 0', 'tick others', 'tick 0', 'tick others', 'take 1'],
    ...['take-over of 1 made', 'connect 1-2', 'begin joining 1-2', 'renew 1-2', 'deliver 1-2 1', 'deliver 2-1 2'],
    ...['join 1-2', 'deliver 1-2 5', 'change of 1 made', 'release 1-2', 'deliver 1-2 6', 'take 2'],
    ...['take-over of 2 made', 'give up 1', 'crash 1'],
  ],
};

export interface Mutation {
  readonly name: string;
  readonly bounds?: Partial<Bounds>;
  readonly rules?: Partial<Rules>;
  readonly habits?: Partial<Habits>;
  /** Steps that are taken before everything is explored: for what is far away. */
  readonly path?: readonly string[];
}

const always = (): boolean => true;

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'a lease is counted from when the promise came',
    rules: { leaseUntil: (promised, times) => rules.leaseUntil(promised, { termMs: times.termMs + 1 }) },
  },
  { name: 'a lease has no end', rules: { leaseUntil: () => Number.POSITIVE_INFINITY } },
  {
    name: 'one member of the set is enough for a lease',
    bounds: { nodes: 3, writes: 0, epochs: 2 },
    rules: { leaseUntil: (promised, times) => Math.max(...promised, Number.NEGATIVE_INFINITY) + times.termMs },
  },
  { name: 'an acknowledgement does not wait for the members', rules: { securedUpTo: (end) => end } },
  {
    name: 'a read does not look at the lease',
    bounds: { writes: 1 },
    rules: { mayTell: ({ sequence, secured }) => sequence <= secured },
  },
  {
    name: 'a read tells of records that members do not have',
    rules: { mayTell: ({ now, leaseUntil }) => now < leaseUntil },
  },
  { name: 'a candidate waits no margin', rules: { promiseUntil: (now, times) => now + times.termMs } },
  {
    name: 'a renewal is answered while taking over',
    rules: {
      mayPromise: (epoch, listener) =>
        rules.mayPromise(epoch, { ...listener, isTakingOver: false, hasReplicaLog: true }),
    },
  },
  { name: 'a candidate need not be in the set', rules: { mayBeHolder: always } },
  {
    name: 'a candidate waits for no promise',
    rules: {
      mayTakeOver: (head, candidate) =>
        rules.mayTakeOver(head, { ...candidate, promisedUntil: Number.NEGATIVE_INFINITY }),
    },
  },
  { name: 'a restarted replica does not wait', bounds: { crashes: 1 }, habits: { waitsAfterStart: false } },
  { name: 'a restarted replica has heard of no reign', ...HANDED_ON, habits: { remembersEpoch: false } },
  { name: 'every log is whole', bounds: { powerCuts: 1 }, rules: { isWhole: always } },
  { name: 'a loss of power is not noticed', bounds: { powerCuts: 1 }, habits: { noticesPowerLoss: false } },
  {
    name: 'a candidate that lost records asks nobody',
    bounds: { powerCuts: 1 },
    rules: {
      isWhole: (head, candidate) => rules.isWhole({ ...head, inSync: [candidate.id] }, candidate),
    },
  },
  {
    name: 'a member that has more is passed over',
    bounds: { powerCuts: 2 },
    rules: {
      isWhole: (head, candidate) =>
        rules.isWhole(head, {
          ...candidate,
          told: new Map([...candidate.told].map(([id, told]) => [id, { ...told, received: 0 }])),
        }),
    },
  },
  {
    name: 'a candidate does not sync before it drops the others',
    bounds: { powerCuts: 1 },
    rules: {
      mayTakeOver: (head, candidate) =>
        rules.mayTakeOver(head, { ...candidate, log: { ...candidate.log, synced: 99 } }),
    },
  },
  { name: 'a holder does not sync before it drops a member', bounds: { powerCuts: 1 }, rules: { mayDrop: always } },
  {
    name: 'a holder that is dropping a member tells of what is not synced',
    bounds: { powerCuts: 1 },
    rules: { ownEnd: ({ last }) => last },
  },
  {
    name: 'a head that came late makes a holder',
    bounds: { powerCuts: 1, crashes: 1, lostReplies: 1 },
    // The take-over of node 1 comes when it has ended and is a replica again, whose records the holder waits for.
    path: [
      ...['tick 0', 'tick others', 'tick 0', 'tick others', 'take 1', '1 is not told (may come late)', 'crash 1'],
      ...[
        'restart 1',
        'give up 1',
        'connect 0-1',
        'renew 0-1',
        'deliver 0-1 1',
        'deliver 1-0 2',
        'write 0',
        'send 0-1',
      ],
      ...['deliver 0-1 3', 'deliver 1-0 4', 'a late change comes'],
    ],
    rules: { isWhole: (head, candidate) => rules.isWhole({ ...head, holder: null }, candidate) },
  },
  {
    name: 'a change whose outcome is not known does not count',
    bounds: { lostReplies: 1 },
    habits: { countsUnknown: false },
  },
  {
    name: 'acknowledgements do not wait for one that joins',
    habits: { waitsForJoining: false },
    bounds: { epochs: 3 },
  },
  {
    name: 'a replica joins before it has caught up',
    rules: {
      mayJoin: (now: number, joining: rules.Joining, times: { readonly termMs: number }): boolean => {
        const target = joining.target ?? 0;
        return rules.mayJoin(now, { ...joining, received: target, synced: target }, times);
      },
    },
  },
  {
    name: 'records that the holder does not have stay in a replica',
    rules: { continuation: ({ received }) => ({ from: received + 1, anew: false, hasDiverged: false }) },
  },
  { name: 'a holder goes on when it has released', bounds: { releases: 1 }, habits: { stopsBeforeRelease: false } },
];

export const habitsOf = ({ habits }: Mutation): Habits => ({ ...GOOD_HABITS, ...habits });
export const rulesOf = ({ rules: broken }: Mutation): Rules => {
  const changed = { ...rules, ...broken };
  // Rules that ask other rules have to ask the broken ones.
  if (broken?.isWhole === undefined && broken?.mayBeHolder === undefined) return changed;
  return { ...changed, mayTakeOver: takeOverBy(changed) };
};

function takeOverBy({ mayBeHolder, isWhole }: Pick<Rules, 'mayBeHolder' | 'isWhole'>): Rules['mayTakeOver'] {
  return (head, candidate) => {
    if (candidate.hasReplicaLog && candidate.now < candidate.promisedUntil) return 'promised';
    if (!mayBeHolder(head, candidate.id)) return 'not-in-sync';
    if (!isWhole(head, candidate)) return 'not-whole';
    return candidate.log.synced >= candidate.log.received ? 'may' : 'not-synced';
  };
}
