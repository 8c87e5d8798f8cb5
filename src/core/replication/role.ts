/**
 * What this member is to one volume of its group: a replica, the holder, or one that held it and comes back; and which of its logs
 * counts. Whoever works on that shares it: the messages, the candidate, the planned take-over.
 */
import { Semaphore, toSgwError, type SgwError, type VolumeId } from '../kit/index.ts';
import type { GroupVolume } from '../protocol/index.ts';
import type { ReplicaPosition } from '../writelog/index.ts';
import { BackOff } from './back-off.ts';
import type { ReplicationParts } from './contract.ts';
import type { HeldVolume } from './held.ts';
import type { PeerLink, Reign } from './messages.ts';
import { superseded } from './refusals.ts';
import { EMPTY_POSITION, Replica } from './replica.ts';
import { promiseUntil, type HeadView, type Listener } from './rules.ts';

export interface MemberParts extends ReplicationParts {
  readonly links: ReadonlyMap<string, PeerLink>;
  /** Ids of the members, in their order. */
  readonly members: () => readonly string[];
  readonly nameOf: (gatewayId: string) => string;
  readonly readHead: (volumeId: VolumeId, signal: AbortSignal) => Promise<HeadView>;
  /** Has what is wanted of the volume as it is now, if that can be had soon. */
  readonly readGroup: () => Promise<void>;
  /** When this process started, by the lease clock. */
  readonly startedAt: number;
  readonly stopped: AbortSignal;
}

/** What binds a member whatever becomes of its log: kept over a volume's being taken out of the group and put into it again. */
export interface Past {
  readonly promisedUntil: number;
  readonly newestEpoch: number;
}

export class Role {
  volume: GroupVolume;
  readonly parts: MemberParts;
  readonly replica: Replica;
  newest: Reign | undefined;
  /** Its own log is in its place, not the replica log: it holds the volume, or held it. */
  hasOwnLog = false;
  /** Which of the two it is, and where the own one ends. */
  isKnown = false;
  ownPosition: ReplicaPosition = EMPTY_POSITION;
  /** That its own log names, or its past. */
  #keptEpoch: number;
  held: HeldVolume | undefined;
  /** What the next opening is given. */
  next: HeldVolume | undefined;
  /** Nothing is promised and no record taken. */
  isTakingOver = false;
  promisedUntil: number;
  /** The last record of a holder that has closed its gate for this member. */
  releasedAt: number | undefined;
  /** Why it is not taken over here; null when there is no reason to. */
  why: string | null = null;
  /** Work that changes the role is one after the other. */
  readonly #turn = new Semaphore(1);
  #beginning: Promise<void> | undefined;
  #beginAt = -Infinity;
  readonly #backOff: BackOff;

  constructor(parts: MemberParts, volume: GroupVolume, past?: Past) {
    this.parts = parts;
    this.volume = volume;
    this.replica = new Replica(volume.volumeId, parts.host, parts.log);
    this.promisedUntil = past?.promisedUntil ?? promiseUntil(parts.startedAt, parts.times);
    this.#keptEpoch = past?.newestEpoch ?? 0;
    this.#backOff = new BackOff(parts.random);
  }

  get self(): string {
    return this.parts.self.gatewayId;
  }

  /** Of reigns that it has heard of, also before it was started: then its log names them. */
  get #newestEpoch(): number {
    return Math.max(this.newest?.epoch ?? 0, this.#keptEpoch, this.replica.epoch);
  }

  get past(): Past {
    return { promisedUntil: this.promisedUntil, newestEpoch: this.#newestEpoch };
  }

  get listener(): Listener {
    return {
      newestEpoch: this.#newestEpoch,
      isTakingOver: this.isTakingOver,
      hasReplicaLog: this.isKnown && !this.hasOwnLog,
    };
  }

  /** As it is now: it may have changed at every await. */
  heldNow(): HeldVolume | undefined {
    return this.held;
  }

  /** The room is being closed. */
  isStopped(): boolean {
    return this.parts.stopped.aborted;
  }

  /** Finds out which log there is, unless it is known by then. Never fails: see `beginAgain`. */
  async begin(): Promise<void> {
    this.#beginning ??= this.inTurn(async () => {
      if (!this.isKnown) await this.#findLog();
    })
      .catch((error: unknown) => {
        const failure = toSgwError(error);
        this.why = failure.message;
        this.#beginAt = this.parts.leaseClock() + this.#backOff.nextMs();
        this.parts.log.error({ volumeId: this.volume.volumeId, err: failure }, 'the logs could not be looked at');
      })
      .finally(() => {
        this.#beginning = undefined;
      });
    await this.#beginning;
  }

  /** Its log ends elsewhere now, or is another one. */
  lookAnew(): void {
    this.isKnown = false;
    void this.begin();
  }

  async #findLog(): Promise<void> {
    const own = await this.parts.host.logs.own(this.volume.volumeId);
    this.hasOwnLog = own !== null;
    this.ownPosition = own ?? EMPTY_POSITION;
    const kept = await this.parts.host.keptEpoch(this.volume.volumeId);
    this.#keptEpoch = Math.max(this.#keptEpoch, own?.epoch ?? 0, kept);
    if (own === null) await this.replica.open();
    this.isKnown = true;
    this.why = null;
    this.#backOff.reset();
  }

  /** Tries again to find out which log there is, where that has failed: called often. */
  beginAgain(): void {
    if (!this.isKnown && this.held === undefined && this.parts.leaseClock() >= this.#beginAt) void this.begin();
  }

  /** Does `work` when whatever else changes the role is done. */
  async inTurn<T>(work: () => Promise<T>): Promise<T> {
    return await this.#turn.run(work);
  }

  /** There is a reign. */
  hear(reign: Reign): void {
    if (reign.epoch <= (this.newest?.epoch ?? 0) || reign.epoch < this.#newestEpoch) return;
    this.newest = reign;
    if (reign.holder === this.self) return;
    const { volumeId } = this.volume;
    const held = this.held;
    if (held !== undefined && reign.epoch > held.epoch)
      void this.step(superseded(volumeId, this.parts.nameOf(reign.holder)));
    else if (this.hasOwnLog && held === undefined && !this.isTakingOver) void this.becomeReplica();
  }

  /** Leaves the volume to others, when its turn comes. Never fails. */
  async step(reason: SgwError): Promise<void> {
    this.held?.end(reason);
    await this.inTurn(async () => {
      await this.leave(reason);
    }).catch((error: unknown) => {
      this.parts.log.error({ volumeId: this.volume.volumeId, err: toSgwError(error) }, 'leaving the volume failed');
    });
  }

  /** Leaves the volume to others: in its turn. */
  async leave(reason: SgwError): Promise<void> {
    this.held?.end(reason);
    this.isKnown = false;
    try {
      await this.parts.host.demote(this.volume.volumeId, reason);
    } finally {
      this.held = undefined;
      this.next = undefined;
    }
    await this.releaseLog();
  }

  /** Its own log becomes its replica log: in its turn. What fails half-way leaves either: which one is found out anew. */
  async releaseLog(): Promise<void> {
    this.isKnown = false;
    await this.parts.host.logs.release(this.volume.volumeId);
    this.hasOwnLog = false;
    await this.replica.open();
    this.isKnown = true;
  }

  /** Its own log becomes a replica log, unless it holds the volume by then. Never fails. */
  async becomeReplica(): Promise<void> {
    await this.inTurn(async () => {
      if (!this.hasOwnLog || this.held !== undefined || this.isTakingOver) return;
      await this.leave(superseded(this.volume.volumeId));
    }).catch((error: unknown) => {
      this.parts.log.error(
        { volumeId: this.volume.volumeId, err: toSgwError(error) },
        'the own log could not be made a replica log',
      );
    });
  }

  /** Where its log ends; undefined while that is not known. */
  position(): ReplicaPosition | undefined {
    if (this.held !== undefined) return this.held.position;
    if (!this.isKnown) return undefined;
    return this.hasOwnLog ? this.ownPosition : this.replica.isOpen ? this.replica.position : undefined;
  }
}
