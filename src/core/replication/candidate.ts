/**
 * How a member becomes the holder of a volume (docs/adr/0025-groups.md, rules 7 to 11).
 *
 * Invariant: from before a take-over is asked for until its outcome is known, no renewal is answered and no record taken.
 */
import { toSgwError, type SgwError } from '../kit/index.ts';
import type { ReplicaPosition } from '../writelog/index.ts';
import { BackOff } from './back-off.ts';
import type { Reign } from './messages.ts';
import { notNow, superseded, WHY } from './refusals.ts';
import type { Role } from './role.ts';
import {
  candidateDelay,
  mayTakeOver,
  promiseUntil,
  rankCandidates,
  type Candidate as CandidateView,
  type HeadView,
} from './rules.ts';
import { within } from './within.ts';

/** What a candidate waits for answers of other members. */
const ASK_MS = 400;
/** Between two looks at the head of a volume that nobody seems to hold. */
const LOOK_MS = 1000;
/** Between two tries of one that does not know what has become of the last. */
const AGAIN_MS = 1000;
const PERMIT_MS = 1500;
/** What has a damaged log leaves the volume to others. */
const LOG_DAMAGED = 'log-damaged';

export interface Told {
  readonly position: ReplicaPosition;
  readonly isHolder: boolean;
}

/** Of a try to take over that has failed: `taken` when the head is this member's all the same. */
type Outcome = 'refused' | 'taken' | 'unknown';

export class Candidate {
  readonly #role: Role;
  readonly #onTook: (reign: Reign) => void;
  #told = new Map<string, Told>();
  #lookAt = 0;
  readonly #backOff: BackOff;
  #isLooking = false;

  /** `onTook` is told when this member has taken the volume over. */
  constructor(role: Role, onTook: (reign: Reign) => void) {
    this.#role = role;
    this.#onTook = onTook;
    this.#backOff = new BackOff(role.parts.random);
  }

  /** What another member told of its log. */
  told(gatewayId: string, told: Told): void {
    this.#told.set(gatewayId, told);
  }

  /** A volume that fails here is left to others; one whose log fails, where there is somebody who has everything. */
  async lookAtFailure(): Promise<void> {
    const { host, leaseClock, times } = this.#role.parts;
    const { held, volume } = this.#role;
    const hasOthers = held !== undefined && held.inSync.length > 1;
    const failure = host.failure(volume.volumeId) ?? (hasOthers ? held.logFailure : undefined);
    if (failure === undefined || this.#isLooking) return;
    this.#isLooking = true;
    try {
      // They go first: their promise has to end, and each waits for those before it.
      const othersMs = hasOthers ? promiseUntil(times.termMs, times) : 0;
      this.#lookAt = leaseClock() + othersMs + this.#backOff.nextMs();
      await this.#role.step(failure);
    } finally {
      this.#isLooking = false;
    }
  }

  /** Takes the volume over if it may, and nobody else should. Never fails. */
  async look(isReleased: boolean): Promise<void> {
    const { leaseClock, log } = this.#role.parts;
    const now = leaseClock();
    if (!this.#role.isKnown || this.#isLooking || this.#role.isStopped() || this.#role.held !== undefined) return;
    if (!isReleased && now < this.#lookAt) return;
    if (!this.#role.hasOwnLog && now < this.#role.promisedUntil) return;
    this.#isLooking = true;
    try {
      this.#lookAt = now + LOOK_MS;
      await this.#tryTakeOver(false);
    } catch (error) {
      const failure = toSgwError(error);
      this.#role.why = failure.message;
      this.#lookAt = leaseClock() + this.#backOff.nextMs();
      if (!this.#role.isStopped())
        log.info({ volumeId: this.#role.volume.volumeId, reason: failure.message }, 'the volume is not taken over');
    } finally {
      this.#isLooking = false;
    }
  }

  /** At the word of the operator. @throws what keeps it from it */
  async takeOver(acceptLoss: boolean, signal: AbortSignal): Promise<void> {
    while (this.#isLooking) await this.#role.parts.clock.sleep(LOOK_MS / 4, signal);
    if (this.#role.held !== undefined) return;
    this.#isLooking = true;
    try {
      await this.#tryTakeOver(acceptLoss);
    } finally {
      this.#isLooking = false;
    }
  }

  async #tryTakeOver(acceptLoss: boolean): Promise<void> {
    const { stopped, leaseClock } = this.#role.parts;
    const { volumeId } = this.#role.volume;
    const epoch = this.#role.newest?.epoch ?? 0;
    // Before anything else: while the store is out of reach, promises are given and records taken on.
    const head = await this.#role.parts.readHead(volumeId, stopped);
    if (this.#role.held !== undefined || (!this.#role.hasOwnLog && leaseClock() < this.#role.promisedUntil)) {
      if (acceptLoss) throw notNow(volumeId, 'promised');
      return;
    }
    // From here on no renewal is answered and no record taken, until it is settled who holds the volume (rule 7).
    this.#role.isTakingOver = true;
    this.#role.replica.letGo();
    try {
      await this.#stand(head, epoch, acceptLoss);
    } finally {
      // While it is not settled, `#promote` does not come back.
      this.#role.isTakingOver = false;
    }
  }

  /** @throws with `acceptLoss`: why not */
  async #stand(head: HeadView, epoch: number, acceptLoss: boolean): Promise<void> {
    const role = this.#role;
    const { volumeId } = role.volume;
    // What acknowledgements mean may be another thing since this one was told last: the holder knew of it, and is gone.
    await Promise.all([this.#ask(head, epoch), role.releasedAt === undefined ? role.parts.readGroup() : undefined]);
    if (await this.#givesWay(head)) return;
    const candidate = this.#candidate(acceptLoss);
    const verdict = mayTakeOver(head, candidate);
    if (verdict !== 'may') {
      role.why = verdict === 'promised' ? null : WHY[verdict];
      if (acceptLoss) throw notNow(volumeId, verdict);
      return;
    }
    if (role.releasedAt === undefined && !acceptLoss && !(await this.#isFirst(head, candidate))) return;
    await role.inTurn(async () => this.#takeOver(head, acceptLoss));
  }

  /** Asks the others where their logs end; makes the own one durable meanwhile. */
  async #ask(head: HeadView, epoch: number): Promise<void> {
    const role = this.#role;
    const { links, clock, stopped } = role.parts;
    const { volumeId } = role.volume;
    this.#told.clear();
    for (const link of links.values()) link.send({ kind: 'ask', volumeId, epoch });
    if (!role.hasOwnLog) await role.replica.sync();
    if (head.epoch > epoch && head.holder !== null && head.holder !== role.self)
      role.newest = { volumeId, holder: head.holder, epoch: head.epoch };
    // Nobody else to wait for.
    const others = [...links.keys()].filter((id) => id !== head.holder);
    if (role.releasedAt === undefined && (others.length > 0 || head.holder !== role.self))
      await clock.sleep(ASK_MS, stopped);
  }

  /** Another one holds the volume. */
  async #givesWay(head: HeadView): Promise<boolean> {
    const role = this.#role;
    const { leaseClock, times, startedAt } = role.parts;
    const isHeld = [...this.#told.values()].some(({ isHolder }) => isHolder);
    const isOther = role.hasOwnLog && head.holder !== null && head.holder !== role.self;
    if (isHeld) {
      role.why = null;
      // It is told by its renewals, or leaves this one out of its set.
      this.#lookAt = leaseClock() + times.termMs;
    }
    if (isOther) {
      await role.inTurn(async () => role.leave(superseded(role.volume.volumeId)));
      role.promisedUntil = Math.max(role.promisedUntil, promiseUntil(startedAt, times));
    }
    return isHeld || isOther;
  }

  /** Lets those go first who have more, or come first; false when one of them was faster. */
  async #isFirst(head: HeadView, candidate: CandidateView): Promise<boolean> {
    const role = this.#role;
    const { clock, times, members, stopped } = role.parts;
    const rank = this.#rank(head, candidate, members());
    if (rank > 0) await clock.sleep(candidateDelay(rank, times) * 2, stopped);
    // Who was faster has told, or asked for records.
    return (role.newest?.epoch ?? 0) <= head.epoch;
  }

  #candidate(acceptLoss: boolean): CandidateView {
    const told = new Map([...this.#told].map(([id, { position }]) => [id, position]));
    return {
      id: this.#role.self,
      now: this.#role.parts.leaseClock(),
      promisedUntil: this.#role.promisedUntil,
      hasReplicaLog: !this.#role.hasOwnLog,
      log: this.#role.hasOwnLog ? this.#role.ownPosition : this.#role.replica.position,
      told,
      members: this.#role.parts.members(),
      ack: this.#role.volume.ack,
      releasedAt: this.#role.releasedAt,
      mayLose: this.#role.volume.allowLoss,
      acceptLoss,
    };
  }

  /** Of this one among those that could. A volume that nobody held goes to whom it is meant for. */
  #rank(head: HeadView, { log }: CandidateView, members: readonly string[]): number {
    const { preferredHolder } = this.#role.volume;
    const isNew = head.inSync.length === 0;
    const able = isNew ? members : head.inSync;
    const all = [...this.#told].map(([id, { position }]) => ({ id, received: isNew ? 0 : position.received }));
    const ranked = rankCandidates(
      [...all, { id: this.#role.self, received: isNew ? 0 : log.received }].filter(({ id }) => able.includes(id)),
      [...members].sort((a, b) => Number(b === preferredHolder) - Number(a === preferredHolder)),
    );
    return Math.max(
      0,
      ranked.findIndex(({ id }) => id === this.#role.self),
    );
  }

  async #takeOver(head: HeadView, acceptLoss: boolean): Promise<void> {
    const { book, stopped, log, links, leaseClock, clock } = this.#role.parts;
    const { volumeId } = this.#role.volume;
    if (this.#role.held !== undefined) return;
    const isReleased = this.#role.releasedAt !== undefined;
    const startedAt = leaseClock();
    if (!isReleased && head.holder !== null && head.holder !== this.#role.self)
      await within(clock, PERMIT_MS, stopped, async (limited) => {
        await book.permit({ volumeId, epoch: head.epoch, reason: 'the holder does not answer' }, limited);
      });
    const hadReplicaLog = !this.#role.hasOwnLog;
    if (hadReplicaLog) {
      // Whoever asks meanwhile is told of this.
      const { position } = this.#role.replica;
      this.#role.ownPosition = { ...position, synced: position.received };
      await this.#role.replica.close();
      const setAside = await this.#adopt();
      this.#role.hasOwnLog = true;
      if (setAside !== null) log.warn({ volumeId, path: setAside }, 'a log of an older reign was set aside');
    }
    await this.#promote(head, acceptLoss, hadReplicaLog);
    const held = this.#role.heldNow();
    if (held === undefined) return;
    this.#backOff.reset();
    this.#role.why = null;
    const { reign } = held;
    for (const link of links.values()) {
      link.send({ kind: 'took', reign });
    }
    this.#onTook(reign);
    log.warn(
      { volumeId, epoch: reign.epoch, ms: Math.round(leaseClock() - startedAt) },
      'this gateway serves the volume now',
    );
  }

  /** The path of a log that was set aside for it. What fails may have moved the replica log, or not. */
  async #adopt(): Promise<string | null> {
    const { host } = this.#role.parts;
    try {
      return (await host.logs.adopt(this.#role.volume.volumeId)).setAside;
    } catch (error) {
      this.#role.lookAnew();
      throw error;
    }
  }

  /** Until it is known whether this one is the holder. */
  async #promote(head: HeadView, acceptLoss: boolean, hadReplicaLog: boolean): Promise<void> {
    const role = this.#role;
    const { host, stopped, log, clock } = role.parts;
    const { volumeId } = role.volume;
    for (let isAsked = false; ;) {
      try {
        await host.promote(role.volume, { member: role.self, acceptLoss }, head, stopped);
        role.releasedAt = undefined;
        return;
      } catch (error) {
        const failure = toSgwError(error);
        role.held?.end(failure);
        role.held = undefined;
        role.next = undefined;
        log.warn({ volumeId, err: failure }, 'the volume could not be taken over');
        // A damaged log is found before the head is asked for. What an earlier try asked for may come still.
        isAsked ||= failure.code !== LOG_DAMAGED;
        const outcome = stopped.aborted ? 'refused' : await this.#outcome(head, failure, hadReplicaLog, isAsked);
        if (outcome === 'refused') throw failure;
        role.why = failure.message;
        // Each try that gets so far takes an epoch and puts its fence into the store.
        await clock.sleep(outcome === 'taken' ? this.#backOff.nextMs() : AGAIN_MS, stopped);
      }
    }
  }

  /** `refused`: it is certain that the head was not changed, and will not be; this one is a replica as before. */
  async #outcome(head: HeadView, failure: SgwError, hadReplicaLog: boolean, isAsked: boolean): Promise<Outcome> {
    const role = this.#role;
    const { stopped, readHead } = role.parts;
    const { volumeId } = role.volume;
    const now = await readHead(volumeId, stopped).catch(() => undefined);
    if (now === undefined) return 'unknown';
    if (now.holder === role.self && now.epoch > head.epoch) return 'taken';
    const isRefusal =
      !isAsked || failure.kind === 'conflict' || failure.kind === 'fenced' || failure.kind === 'notFound';
    // Somebody else's by now: what was asked for is void.
    if (!isRefusal && now.epoch <= head.epoch) return 'unknown';
    if (now.holder !== null) role.newest = { volumeId, holder: now.holder, epoch: now.epoch };
    role.releasedAt = undefined;
    if (hadReplicaLog || now.holder !== role.self) await role.releaseLog();
    return 'refused';
  }
}
