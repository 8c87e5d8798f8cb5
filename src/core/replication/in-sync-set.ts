/**
 * The in-sync set of a volume that this member holds, and who is to be in it (docs/adr/0025-groups.md, rules 5 and 6).
 *
 * Invariants: a set that a change may have made, whose outcome is not known, is one of the possible ones until a later change has
 * succeeded; one change is under way at a time; before somebody is dropped, what was told of is durable in the own log.
 */
import { SgwError, toSgwError, type Clock, type Logger } from '../kit/index.ts';
import type { GroupVolume } from '../protocol/index.ts';
import type { WriteLog } from '../writelog/index.ts';
import type { GroupTimes, InSyncWriter, LeaseClock } from './contract.ts';
import type { Lags } from './lags.ts';
import { areEnough, mayJoin, whatToShrink, type MemberView } from './rules.ts';
import type { Sender } from './sender.ts';
import { within } from './within.ts';

/** A replica that lacks less than this may join: what is left it gets while acknowledgements wait. */
const NEAR_BYTES = 8 << 20;
/** Rule 5, with `ack=log`. */
const LAG_BYTES_MAX = 64 << 20;
const LAG_MS_MAX = 2000;
/** How long a change of the set may take before it is asked for anew. */
const CHANGE_MS = 5000;

/** What the holder of a volume works with. */
export interface HeldParts {
  readonly self: string;
  readonly volume: () => GroupVolume;
  /** Ids of the members that are to have the records, the best first. */
  readonly wanted: () => readonly string[];
  readonly nameOf: (gatewayId: string) => string;
  readonly times: GroupTimes;
  readonly now: LeaseClock;
  readonly clock: Clock;
  readonly log: Logger;
  /** How it is served; undefined while that is not known. */
  readonly exportedAs: () => string | undefined;
  /** It has a writer and a log: who is linked is to be sent to. */
  readonly onReady: () => void;
  /** Another reign is there. */
  readonly onFenced: (reason: SgwError) => void;
}

interface Progress {
  sequence: number;
  at: number;
}

/** What is known of another member, as far as it concerns one volume. */
export interface Member {
  sender: Sender | undefined;
  /** When the newest renewal was sent that it has answered. */
  promisedAt: number;
  /** When it was heard of last, or its link ended. */
  answeredAt: number;
  /** Since when it has refused; undefined: it has not. */
  refusedAt: number | undefined;
  /** When it was asked last where its log ends. */
  askedAt: number;
  /** Acknowledgements wait for it, since the log ended there. */
  target: number | undefined;
  /** Since when they wait. */
  targetSince: number;
  /** The last record that it has, as far as is known, also while it is asked anew. */
  has: number;
  /** How far it was, and when it got there, or lacked nothing. */
  readonly received: Progress;
  readonly synced: Progress;
}

interface SetParts extends Pick<
  HeldParts,
  'self' | 'volume' | 'wanted' | 'times' | 'now' | 'clock' | 'log' | 'onFenced'
> {
  readonly member: (gatewayId: string) => Member;
  /** Those that are known. */
  readonly members: ReadonlyMap<string, Member>;
  /** Acknowledgements wait for members, so that none is ever far behind. */
  readonly isPatient: () => boolean;
  readonly writeLog: () => WriteLog | undefined;
  readonly lags: Lags;
  /** Who counts is another question now. */
  readonly onChange: () => void;
}

export class InSyncSet {
  readonly #parts: SetParts;
  #writer: InSyncWriter | undefined;
  #possible: (readonly string[])[] = [[]];
  #changing: Promise<void> | undefined;
  #isSuspended = false;
  /** It is to be empty, or is: the volume is in no group any more. */
  #isLeaving = false;
  readonly #ended = new AbortController();

  constructor(parts: SetParts) {
    this.#parts = parts;
  }

  /** As the head has it, as far as is known. */
  get known(): readonly string[] {
    return this.#possible[0] ?? [];
  }

  /** That one, and those that changes may have made whose outcome is not known. */
  get possible(): readonly (readonly string[])[] {
    return this.#possible;
  }

  /** Somebody may have been dropped from the set by now, and may be none. */
  get isDropping(): boolean {
    if (this.#possible.length === 1) return false;
    const all = new Set(this.#possible.flat());
    return this.#possible.some((set) => set.length < all.size);
  }

  /** The volume is open with this writer: for the first time, or again. */
  opened(writer: InSyncWriter): void {
    this.#writer = writer;
    this.#possible = [writer.inSync];
  }

  /** Changes it where that is due: called often. */
  tick(): void {
    if (this.#changing !== undefined || this.#isLeaving) return;
    const desired = this.#desired();
    if (desired === undefined) return;
    this.#changing = this.#change(desired, this.#ended.signal).finally(() => {
      this.#changing = undefined;
    });
  }

  /** Everybody else leaves. @throws unavailable when that is not known to be so */
  async suspend(signal?: AbortSignal): Promise<void> {
    this.#isSuspended = true;
    for (const member of this.#parts.members.values()) member.target = undefined;
    await this.#changing;
    const { signal: ended } = this.#ended;
    await this.#change([this.#parts.self], signal === undefined ? ended : AbortSignal.any([signal, ended]));
    if (this.#possible.length > 1 || this.known.length > 1) throw unknownSet(this.#parts.volume());
  }

  resume(): void {
    this.#isSuspended = false;
  }

  /** The volume is in no group any more. @throws unavailable when that is not known to be so: it is in it as before then */
  async leaveGroup(signal: AbortSignal): Promise<void> {
    this.#isLeaving = true;
    await this.#changing;
    await this.#change([], AbortSignal.any([signal, this.#ended.signal]));
    this.#isLeaving = this.#possible.length === 1 && this.known.length === 0;
    if (!this.#isLeaving) throw unknownSet(this.#parts.volume());
  }

  /** Nothing is changed any more. */
  end(): void {
    this.#ended.abort(new SgwError('aborted', 'reign-over', 'this gateway does not hold the volume any more'));
  }

  /** The set that there should be; undefined when it is as it should be, or nothing can be done about it now. */
  #desired(): readonly string[] | undefined {
    const { self, times, now } = this.#parts;
    const current = [...new Set([self, ...this.#possible.flat()])];
    const leaves = new Set(this.#leaving(current));
    const stay = current.filter((id) => !leaves.has(id));
    const size = (set: readonly string[]): boolean => areEnough(set.length, this.#parts.volume());
    // Where it must not go on without them, who leaves only could not take over any more.
    const kept = leaves.size > 0 && !size(stay) && size(current) ? current : stay;
    const joins = this.#isSuspended ? [] : this.#joining(kept).filter((id) => this.#isReady(id, now(), times));
    const desired = [...kept, ...joins];
    const isSettled = this.#possible.length === 1 && sameMembers(desired, this.known);
    return isSettled ? undefined : desired;
  }

  #leaving(current: readonly string[]): readonly string[] {
    const { self, times, now } = this.#parts;
    const at = now();
    const views = current
      .filter((id) => id !== self)
      .map((id): MemberView => {
        const { sender, answeredAt, refusedAt, has, received, synced } = this.#parts.member(id);
        const lagMs = this.#parts.isPatient() ? 0 : this.#parts.lags.lagMs(has, at);
        // A link that ended is made again at once, or nobody is there.
        const isGone = sender === undefined && at - answeredAt > times.renewMs;
        const hasRefused = isGone || (refusedAt !== undefined && at - refusedAt > times.renewMs);
        const stalledMs = sender === undefined ? 0 : at - Math.min(received.at, synced.at);
        return { id, answeredAt, hasRefused, lagBytes: sender?.lagBytes ?? 0, lagMs, stalledMs };
      });
    const wanted = new Set([...this.#parts.wanted(), self]);
    const unwanted = current.filter((id) => !wanted.has(id));
    const [silentMs, stalledMsMax] = [times.termMs * 0.6, times.termMs * 1.25];
    const bounds = { silentMs, stalledMsMax, lagBytesMax: LAG_BYTES_MAX, lagMsMax: LAG_MS_MAX };
    if (this.#parts.isPatient()) bounds.lagBytesMax = Infinity;
    return [...whatToShrink(at, views, bounds), ...unwanted];
  }

  /** Members that could join: acknowledgements begin to wait for those that are near. */
  #joining(set: readonly string[]): readonly string[] {
    const log = this.#parts.writeLog();
    if (log === undefined) return [];
    const candidates = this.#parts.wanted().filter((id) => !set.includes(id));
    for (const id of candidates) {
      const member = this.#parts.member(id);
      const { sender } = member;
      // One that is silent would have everybody wait who waits for an acknowledgement.
      if (sender?.isStreaming !== true || this.#isSilent(member)) member.target = undefined;
      else if (member.target === undefined && sender.lagBytes < NEAR_BYTES && isSyncing(sender)) {
        member.target = log.usage.lastSequence;
        member.targetSince = this.#parts.now();
        sender.sync(member.target);
        this.#parts.onChange();
      }
    }
    for (const id of candidates) this.#giveUpJoining(id);
    return candidates.filter((id) => this.#parts.member(id).target !== undefined);
  }

  /** It has not answered, or not to the newest renewals: one way of its link may be cut. */
  #isSilent({ answeredAt, promisedAt }: Member): boolean {
    const { now, times } = this.#parts;
    const silentMs = 1.5 * times.renewMs;
    return now() - answeredAt > silentMs || now() - promisedAt > 2 * silentMs;
  }

  /** Acknowledgements do not wait for ever for one that does not get there: it begins anew. */
  #giveUpJoining(id: string): void {
    const { now, times, log, volume } = this.#parts;
    const member = this.#parts.member(id);
    const { sender, target, targetSince, promisedAt } = member;
    if (sender === undefined || target === undefined || now() - targetSince < times.termMs) return;
    const { received, synced, isWhole } = sender;
    const promisedMs = Math.round(now() - promisedAt);
    log.warn(
      { volumeId: volume().volumeId, member: id, target, received, synced, isWhole, promisedMs },
      'a replica did not get into sync in time, and begins anew',
    );
    member.target = undefined;
    member.askedAt = now();
    sender.open();
    this.#parts.onChange();
  }

  #isReady(id: string, now: number, times: GroupTimes): boolean {
    const { sender, target, promisedAt } = this.#parts.member(id);
    if (sender === undefined) return false;
    const { received, synced } = sender;
    if (target !== undefined && synced < target) sender.sync(target);
    if (!mayJoin(now, { target, received, synced, promisedAt }, times)) return false;
    if (!sender.isWhole) sender.tellWhole();
    return sender.isWhole;
  }

  /** Never fails: what is not known stays so, and is asked for again. */
  async #change(desired: readonly string[], signal: AbortSignal): Promise<void> {
    const writer = this.#writer;
    if (writer === undefined || signal.aborted) return;
    const { volume, log, clock } = this.#parts;
    this.#possible = [...this.#possible.filter((set) => set === this.known || !sameMembers(set, desired)), desired];
    this.#parts.onChange();
    try {
      // What was told of so far is durable here before anybody is dropped, and from now on before it is told (rule 5).
      if (this.isDropping) await this.#parts.writeLog()?.flush();
      await within(clock, CHANGE_MS, signal, async (limited) => {
        await writer.setInSync(desired, limited);
      });
    } catch (error) {
      const failure = toSgwError(error);
      if (failure.kind === 'fenced') this.#parts.onFenced(failure);
      else
        log.warn(
          { volumeId: volume().volumeId, inSync: desired, err: failure },
          'the in-sync set could not be changed',
        );
      return;
    }
    // It may have been opened anew meanwhile, which told the set.
    if (this.#writer !== writer) return;
    const before = this.known;
    this.#possible = [desired];
    for (const [id, member] of this.#parts.members) if (desired.includes(id)) member.target = undefined;
    this.#parts.onChange();
    if (!sameMembers(before, desired))
      log.info({ volumeId: volume().volumeId, inSync: desired, before }, 'the in-sync set is another one');
  }
}

/**
 * Whether it has made durable what it was asked to, and what there was when it was opened: it is asked for that before anybody waits
 * for it, since one whose disk does not answer would hold them up for nothing.
 */
function isSyncing(sender: Sender): boolean {
  sender.sync(sender.endAtOpening);
  return sender.synced >= sender.endAtOpening && !sender.lacksSync;
}

const sameMembers = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((id) => b.includes(id));

const unknownSet = ({ volumeId }: GroupVolume): SgwError =>
  new SgwError('unavailable', 'in-sync-set-unknown', `the in-sync set of volume ${volumeId} can not be changed now`, {
    hint: 'It is tried again when the store answers.',
    details: { volumeId },
  });
