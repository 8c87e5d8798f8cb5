/**
 * The decisions of a group as functions of plain data (docs/adr/0025-groups.md, whose numbers are given here; PROTOCOL C26-C28).
 * The engine decides by them, and so does the model (test/sim/groups/), which breaks each of them once and has to notice.
 * Times are of any one clock, in any one unit.
 */
import type { GroupAck } from '../protocol/index.ts';
import type { GroupTimes } from './contract.ts';
import type { ReplicaPosition } from './messages.ts';

/** The part of a volume's head that decides. */
export interface HeadView {
  readonly epoch: number;
  readonly holder: string | null;
  readonly inSync: readonly string[];
}

/**
 * Whose records, syncs and promises count: the other members of the set, of every set that a change may have made whose outcome is
 * not known, and those that are about to join (rules 5 and 6).
 */
export function countedMembers(
  self: string,
  sets: readonly (readonly string[])[],
  joining: Iterable<string>,
): ReadonlySet<string> {
  const counted = new Set(joining);
  for (const set of sets) for (const member of set) counted.add(member);
  counted.delete(self);
  return counted;
}

/**
 * Until when a holder's lease is valid: `promised` are, for each counted member, when the newest renewal was sent that it has
 * answered; -Infinity where there is none (rule 3).
 */
export function leaseUntil(promised: Iterable<number>, times: Pick<GroupTimes, 'termMs'>): number {
  let until = Number.POSITIVE_INFINITY;
  for (const sent of promised) until = Math.min(until, sent + times.termMs);
  return until;
}

/**
 * Where the holder's own log counts as ending. While somebody is being dropped, and it is not known whether he was, that is what is
 * synced: the change may come when the holder has lost its power, and then nobody is left to be asked for what it has lost.
 */
export function ownEnd(log: { readonly last: number; readonly synced: number }, isDropping: boolean): number {
  return isDropping ? log.synced : log.last;
}

/** Whether the holder may ask for a member to be dropped: what it has told so far is durable in its own log. */
export function mayDrop(log: { readonly told: number; readonly synced: number }): boolean {
  return log.synced >= log.told;
}

/** The last record that all have: the holder, whose log ends with `end` (see `ownEnd`), and the counted members. */
export function securedUpTo(end: number, received: Iterable<number>): number {
  let least = end;
  for (const sequence of received) least = Math.min(least, sequence);
  return least;
}

export interface Standing {
  readonly now: number;
  /** See `leaseUntil`. */
  readonly leaseUntil: number;
  /** Of the newest record that would be told of. */
  readonly sequence: number;
  /** What all have of what they are asked for; see `securedUpTo`. */
  readonly secured: number;
}

/**
 * A holder may tell of records up to `sequence`: as written (secured: received), as flushed (secured: synced), or as what was read
 * (secured: received, since a take-over that lacks them would turn the reader back). Rules 1 and 2.
 */
export function mayTell({ now, leaseUntil: until, sequence, secured }: Standing): boolean {
  return now < until && sequence <= secured;
}

/** There are as many in the set as the volume needs to go on. */
export function areEnough(
  setSize: number,
  volume: { readonly replicas: number; readonly whenDegraded: 'continue' | 'stop' },
): boolean {
  return volume.whenDegraded === 'continue' || setSize > volume.replicas;
}

/** Until when one that answers a renewal at `now`, or starts, begins no take-over (rule 4). */
export function promiseUntil(now: number, times: Pick<GroupTimes, 'termMs' | 'marginMs'>): number {
  return now + times.termMs + times.marginMs;
}

/** What a member of the group is to a volume. */
export interface Listener {
  readonly newestEpoch: number;
  /** It asks to take the volume over, or has asked and does not know the outcome. */
  readonly isTakingOver: boolean;
  /** Its log of the volume is a replica log; else it holds the volume, or held it, or is about to. */
  readonly hasReplicaLog: boolean;
}

/** Whether it may answer a renewal of `epoch` (rules 4, 7 and 11). */
export function mayPromise(epoch: number, listener: Listener): boolean {
  return epoch >= listener.newestEpoch && !listener.isTakingOver && listener.hasReplicaLog;
}

/** Whether it may take records of a reign of `epoch` (rules 7 and 11). */
export function mayReceive(epoch: number, listener: Listener): boolean {
  return epoch >= listener.newestEpoch && !listener.isTakingOver && listener.hasReplicaLog;
}

export interface Candidate {
  readonly id: string;
  readonly now: number;
  /** The end of its newest promise, and of the time after its start (rule 4); -Infinity when there is none or it was released. */
  readonly promisedUntil: number;
  readonly hasReplicaLog: boolean;
  readonly log: Pick<ReplicaPosition, 'received' | 'synced' | 'isWhole'>;
  /** What members told of their logs in this attempt. */
  readonly told: ReadonlyMap<string, Pick<ReplicaPosition, 'received' | 'incarnation'>>;
  /** Of the group. */
  readonly members: readonly string[];
  /** Of the volume: what acknowledging takes. */
  readonly ack: GroupAck;
  /** The last record of the holder that has closed its gate for this candidate (rule 12); undefined when none has. */
  readonly releasedAt: number | undefined;
  /** The operator has said beforehand that a member of the set may lose something. */
  readonly mayLose: boolean;
  /** He says now that whoever it is may: the holder before may go on until it hears of it. */
  readonly acceptLoss: boolean;
}

/**
 * Whether the candidate's log and the store have everything that may have been acknowledged (rule 8): it lost nothing and
 * acknowledgements waited for it, or for the store; or it is the holder's own; or the holder let it have all; or everyone in the
 * set has answered and none has more.
 */
export function isWhole(head: HeadView, candidate: Candidate): boolean {
  const { id, log, told, hasReplicaLog, ack, releasedAt, members } = candidate;
  const wasHolder = head.holder === id;
  if (log.isWhole && (ack !== 'log' || (wasHolder && !hasReplicaLog))) return true;
  if (releasedAt !== undefined && log.received >= releasedAt) return true;
  // The head says so by a change that came late: the holder before may have gone on, and have more.
  const asked = wasHolder && hasReplicaLog ? members : head.inSync;
  return asked.every((member) => {
    if (member === id) return true;
    const position = told.get(member);
    if (position === undefined) return false;
    // One of the set that has no log any more had one, and what was in it is not known.
    const hasLost = head.inSync.includes(member) && position.incarnation === null;
    return !hasLost && position.received <= log.received;
  });
}

export type TakeOverVerdict = 'may' | 'not-in-sync' | 'promised' | 'not-whole' | 'not-synced';

/**
 * Whether a candidate may change this head so that it is the holder (rules 7, 8 and 10). It drops the others, so what it has is
 * durable first: nobody is asked for it when its power goes right behind.
 */
export function mayTakeOver(head: HeadView, candidate: Candidate): TakeOverVerdict {
  const { id, now, promisedUntil, hasReplicaLog, acceptLoss } = candidate;
  if (hasReplicaLog && now < promisedUntil) return 'promised';
  if (acceptLoss) return 'may';
  if (!mayBeHolder(head, id)) return 'not-in-sync';
  if (!candidate.mayLose && !isWhole(head, candidate)) return 'not-whole';
  return candidate.log.synced >= candidate.log.received ? 'may' : 'not-synced';
}

/** Asked of the head once more in the compare-and-set. An empty set: the volume was in no group. */
export function mayBeHolder(head: HeadView, id: string): boolean {
  if (head.inSync.length === 0) return head.holder === null || head.holder === id;
  return head.inSync.includes(id);
}

/** The head that a take-over makes (rule 7). A holder that comes back keeps those who have what it has (rule 10). */
export function takenOver(head: HeadView, id: string): HeadView {
  return { epoch: head.epoch + 1, holder: id, inSync: head.holder === id ? head.inSync : [id] };
}

export interface RankedCandidate {
  readonly id: string;
  readonly received: number;
}

/** Who takes over first: the most records, then the order of the members (rule 9). Others are no candidates. */
export function rankCandidates(
  candidates: readonly RankedCandidate[],
  members: readonly string[],
): readonly RankedCandidate[] {
  const order = new Map(members.map((id, i) => [id, i]));
  return candidates
    .filter(({ id }) => order.has(id))
    .sort((a, b) => b.received - a.received || (order.get(a.id) ?? 0) - (order.get(b.id) ?? 0));
}

/** How long the candidate at `rank`, from 0, waits after its promise is over. */
export function candidateDelay(rank: number, times: Pick<GroupTimes, 'renewMs'>): number {
  return (rank * times.renewMs) / 2;
}

/** What a holder knows of a counted member. */
export interface MemberView {
  readonly id: string;
  /** When it was last heard of: a promise, or records. */
  readonly answeredAt: number;
  /** It has refused, or its log can't take what there is. */
  readonly hasRefused: boolean;
  readonly lagBytes: number;
  /** For how long the oldest record that it lacks has been there. */
  readonly lagMs: number;
  /** For how long it has got no further with records, or with what is to be durable, although there is more. */
  readonly stalledMs: number;
}

export interface ShrinkBounds {
  readonly silentMs: number;
  /** One that answers, and whose disk does not, holds everybody up. */
  readonly stalledMsMax: number;
  readonly lagBytesMax: number;
  readonly lagMsMax: number;
}

/** Who is to leave the set (rule 5). With `ack=peer` everybody waits for a slow member, which so never is far behind. */
export function whatToShrink(now: number, members: readonly MemberView[], bounds: ShrinkBounds): readonly string[] {
  const leaves = members.filter(
    ({ answeredAt, hasRefused, lagBytes, lagMs, stalledMs }) =>
      hasRefused ||
      now - answeredAt > bounds.silentMs ||
      stalledMs > bounds.stalledMsMax ||
      lagBytes > bounds.lagBytesMax ||
      lagMs > bounds.lagMsMax,
  );
  return leaves.map(({ id }) => id);
}

export interface Joining {
  /** The end of the holder's log when acknowledgements began to wait for the member; undefined: they do not. */
  readonly target: number | undefined;
  readonly received: number;
  readonly synced: number;
  /** When the renewal was sent that it has answered last. */
  readonly promisedAt: number;
}

/** Whether a replica may be put into the set, or be told that it is whole (rule 6). */
export function mayJoin(now: number, joining: Joining, times: Pick<GroupTimes, 'termMs'>): boolean {
  const { target, received, synced, promisedAt } = joining;
  return target !== undefined && received >= target && synced >= target && now < leaseUntil([promisedAt], times);
}

/** What a holder has of its log. */
export interface LogView {
  /** In order; `firstSequence` of each. */
  readonly incarnations: readonly { readonly incarnation: string; readonly firstSequence: number }[];
  readonly lastSequence: number;
  /** The oldest record that can be read, or the next one where there is none. */
  readonly firstSequence: number;
  /** Records up to here are in the store. */
  readonly uploadedSequence: number;
}

export interface Continuation {
  /** The record that is sent first. */
  readonly from: number;
  /** The replica begins its log anew. */
  readonly anew: boolean;
  /** It has records that the holder's log does not have (C28). */
  readonly hasDiverged: boolean;
}

/** Where sending to a replica goes on (rules 6 and 10). */
export function continuation(position: Omit<ReplicaPosition, 'isWhole' | 'synced'>, log: LogView): Continuation {
  const { incarnation, received } = position;
  const oldest = Math.max(log.firstSequence, Math.min(log.uploadedSequence, log.lastSequence) + 1);
  const anew = { from: oldest, anew: true };
  if (incarnation === null) {
    const goesOn = received > 0 && received + 1 >= log.firstSequence && received <= log.lastSequence;
    return goesOn ? { from: received + 1, anew: false, hasDiverged: false } : { ...anew, hasDiverged: false };
  }
  const at = log.incarnations.findIndex((one) => one.incarnation === incarnation);
  // Forgotten here, or never known: who has the log can tell which, by what it knows to be in the store.
  if (at === -1) return { ...anew, hasDiverged: true };
  const last = (log.incarnations[at + 1]?.firstSequence ?? log.lastSequence + 1) - 1;
  if (received > last) return { ...anew, hasDiverged: true };
  if (received + 1 < log.firstSequence) return { ...anew, hasDiverged: false };
  return { from: received + 1, anew: false, hasDiverged: false };
}
