/** Decisions of a group that neither the model nor the simulation comes to, since no log is set aside as damaged there. */
import { expect, it } from 'vitest';
import { isWhole, type Candidate, type HeadView } from '../../../src/core/replication/rules.ts';

const head: HeadView = { epoch: 3, holder: 'a', inSync: ['a', 'b', 'c'] };

interface Position {
  readonly received: number;
  readonly incarnation: string | null;
}

function candidateTold(a: Position | undefined, b: Position | undefined, received = 10): Candidate {
  const told: Candidate['told'] = new Map(
    Object.entries({ a, b }).flatMap(([id, position]) => (position === undefined ? [] : [[id, position] as const])),
  );
  return {
    ...{ id: 'c', now: 0, promisedUntil: 0, hasReplicaLog: true, log: { received, synced: received, isWhole: false } },
    ...{ told, members: ['a', 'b', 'c'], ack: 'peer', releasedAt: undefined, mayLose: false, acceptLoss: false },
  };
}

const less = { received: 9, incarnation: 'i' };
const gone = { received: 0, incarnation: null };

it('a log that lost records is whole when all of the set have one and none has more', () => {
  expect(isWhole(head, candidateTold(less, less))).toBe(true);
  expect(isWhole(head, candidateTold(less, { ...less, received: 11 }))).toBe(false);
  expect(isWhole(head, candidateTold(less, undefined))).toBe(false);
});

it('one of the set whose log was set aside says nothing of what was in it', () => {
  expect(isWhole(head, candidateTold(less, gone))).toBe(false);
  expect(isWhole(head, candidateTold(less, gone, 0))).toBe(false);
  // One that is not in the set never had what counts.
  expect(isWhole({ ...head, inSync: ['a', 'c'] }, candidateTold(less, gone))).toBe(true);
});
