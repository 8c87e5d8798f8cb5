/**
 * A volume that this member holds: what its acknowledgements wait for, the lease, and the in-sync set (docs/adr/0025-groups.md, rules 1
 * to 6). One for each opening of the volume.
 *
 * States: given (no writer or no log yet) -> holding -> ended (another reign, or closed), for good.
 * Invariants: nothing is acknowledged or read but under a valid lease; a member that may be in the set, by any change whose
 * outcome is not known, counts as in it; one change of the set is under way at a time.
 */
import type { SgwError } from '../kit/index.ts';
import type { AckClass, RecordSink, ReplicaPosition, WriteLog } from '../writelog/index.ts';
import type { InSyncWriter, ReplicaReport } from './contract.ts';
import { InSyncSet, type HeldParts, type Member } from './in-sync-set.ts';
import { Lags } from './lags.ts';
import type { PeerLink, Reign } from './messages.ts';
import { areEnough, countedMembers, leaseUntil, mayTell, ownEnd, securedUpTo } from './rules.ts';
import { Sender } from './sender.ts';
import { Waiting } from './waiting.ts';

export class HeldVolume implements RecordSink {
  readonly #parts: HeldParts;
  readonly #members = new Map<string, Member>();
  /** Received by all that count: for writes and reads. */
  readonly #received = new Waiting();
  readonly #synced = new Waiting();
  /** As the volume is set. */
  #asked: AckClass;
  #isFlushing = false;
  #log: WriteLog | undefined;
  #writer: InSyncWriter | undefined;
  readonly #set: InSyncSet;
  readonly #lags = new Lags();
  #failure: SgwError | undefined;
  #readFailure: SgwError | undefined;
  #securedReceived = 0;
  #securedSynced = 0;
  #leaseUntil = -Infinity;
  #isEnough = false;
  #hasLeft = false;

  constructor(parts: HeldParts, ack: AckClass) {
    this.#parts = parts;
    this.#asked = ack;
    this.#set = new InSyncSet({
      ...parts,
      member: (id) => this.#member(id),
      members: this.#members,
      isPatient: () => this.#ack === 'peer',
      writeLog: () => this.#log,
      lags: this.#lags,
      onChange: () => {
        this.#settle();
      },
    });
  }

  /** What candidates go by stands in the group's document: the volume may ask for more than that, and not for less. */
  get #ack(): AckClass {
    return this.#asked === 'log' && this.#parts.volume().ack !== 'log' ? 'peer' : this.#asked;
  }

  get epoch(): number {
    return this.#writer?.epoch ?? 0;
  }

  get writeLog(): WriteLog | undefined {
    return this.#log;
  }

  get isHolding(): boolean {
    return this.#log !== undefined && this.#writer !== undefined && this.#failure === undefined;
  }

  get failure(): SgwError | undefined {
    return this.#failure;
  }

  /** Why its log takes nothing any more, or gives not all that replicas lack; undefined while all is well. */
  get logFailure(): SgwError | undefined {
    const failure = this.#log?.failure ?? this.#readFailure;
    // Who serves the volume has closed it.
    return failure?.kind === 'aborted' ? undefined : failure;
  }

  /** As the head has it, as far as is known. */
  get inSync(): readonly string[] {
    return this.#set.known;
  }

  get reign(): Reign {
    return { volumeId: this.#parts.volume().volumeId, holder: this.#parts.self, epoch: this.epoch };
  }

  /** Where its log ends; undefined while it has none. */
  get position(): ReplicaPosition | undefined {
    const log = this.#log;
    if (log === undefined) return undefined;
    const { lastSequence, flushedSequence, uploadedSequence } = log.usage;
    const incarnation = log.incarnation?.incarnation ?? null;
    const firstSequence = Math.min(uploadedSequence, lastSequence) + 1;
    return { incarnation, firstSequence, received: lastSequence, synced: flushedSequence, isWhole: true };
  }

  /** Whether it may be read and written under a lease that is valid now. */
  get isLeased(): boolean {
    return this.isHolding && this.#parts.now() < this.#leaseUntil;
  }

  // The sink.

  begin(log: WriteLog): void {
    this.#log = log;
    this.#settle();
    this.#parts.onReady();
  }

  appended(): void {
    for (const { sender } of this.#members.values()) sender?.pump();
    // Alone, or with ack=log, what is secured is what there is.
    if (!this.#received.isEmpty) this.#settle();
  }

  /** Nobody asks this with `store`, but for what was written before it was that: the members have to have it, as was meant then. */
  acknowledgeable(sequence: number): Promise<void> | undefined {
    return this.#tell(this.#ack === 'log' ? 0 : sequence, this.#received);
  }

  flushable(sequence: number): Promise<void> | undefined {
    if (this.#ack !== 'peer') return this.#tell(0, this.#synced);
    if (sequence > this.#securedSynced) for (const id of this.#counted()) this.#members.get(id)?.sender?.sync(sequence);
    return this.#tell(sequence, this.#synced);
  }

  /** What was read may be of a write that was not acknowledged yet: a take-over must not turn the reader back. */
  readable(): Promise<void> | undefined {
    return this.#tell(this.#ack === 'log' ? 0 : (this.#log?.usage.lastSequence ?? 0), this.#received);
  }

  uploaded(sequence: number): void {
    for (const { sender } of this.#members.values()) sender?.uploaded(sequence);
  }

  setAck(ack: AckClass): void {
    this.#asked = ack;
    this.#settle();
  }

  async suspend(signal?: AbortSignal): Promise<void> {
    await this.#set.suspend(signal);
    if (this.#failure !== undefined) throw this.#failure;
  }

  resume(): void {
    this.#set.resume();
  }

  /** Undefined: now. */
  #tell(sequence: number, waiting: Waiting): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    const secured = waiting === this.#received ? this.#securedReceived : this.#securedSynced;
    const now = this.#parts.now();
    if (this.#isEnough && mayTell({ now, leaseUntil: this.#leaseUntil, sequence, secured })) return undefined;
    return waiting.wait(sequence);
  }

  // The room.

  /** The volume is open with this writer: for the first time, or again. */
  opened(writer: InSyncWriter): void {
    this.#writer = writer;
    this.#set.opened(writer);
    for (const { sender } of this.#members.values()) sender?.open();
    this.#settle();
  }

  linked(link: PeerLink): void {
    const member = this.#member(link.gatewayId);
    member.sender?.end();
    member.sender = undefined;
    member.refusedAt = undefined;
    member.received.at = member.synced.at = this.#parts.now();
    this.#send(link, member);
  }

  #send(link: PeerLink, member: Member): void {
    const log = this.#log;
    if (log === undefined || !this.isHolding || !this.#isWanted(link.gatewayId)) return;
    member.askedAt = this.#parts.now();
    member.sender = new Sender({
      volumeId: this.#parts.volume().volumeId,
      link,
      log,
      reign: () => this.reign,
      exportedAs: this.#parts.exportedAs,
      onStreaming: () => {
        // Who is asked where it ends has let go of what it was asked for before.
        if (member.sender !== undefined) this.#askToSync(member.sender);
      },
      onGot: () => {
        this.#heard(member);
      },
      onUnreadable: (error) => {
        this.#unreadable(error);
      },
    });
  }

  #unreadable(error: SgwError): void {
    const { volume, log } = this.#parts;
    this.#readFailure ??= error;
    log.error({ volumeId: volume().volumeId, err: error }, 'the write log can not be read to be sent to a replica');
  }

  #isWanted(gatewayId: string): boolean {
    return this.#parts.wanted().includes(gatewayId) || this.#counted().has(gatewayId);
  }

  unlinked(link: PeerLink): void {
    const member = this.#members.get(link.gatewayId);
    if (member?.sender?.link !== link) return;
    member.sender.end();
    member.sender = undefined;
    member.target = undefined;
    this.#settle();
  }

  /** Ids of those that may take over and do not know for certain how the volume is served now. */
  untold(): readonly string[] {
    if (!this.isHolding) return [];
    return [...this.#counted()].filter((id) => this.#members.get(id)?.sender?.isUpToDate !== true);
  }

  senderOf(gatewayId: string): Sender | undefined {
    return this.#members.get(gatewayId)?.sender;
  }

  /** A renewal was answered that was sent at `sentAt`. */
  promised(gatewayId: string, epoch: number, sentAt: number): void {
    if (epoch !== this.epoch) return;
    const member = this.#member(gatewayId);
    member.promisedAt = Math.max(member.promisedAt, sentAt);
    this.#heard(member);
  }

  /** So shortly ago that its link, if that ended, may be made again: as long as it stays in the set without one. */
  hasAnsweredNow(gatewayId: string): boolean {
    const answeredAt = this.#members.get(gatewayId)?.answeredAt ?? -Infinity;
    return this.#parts.now() - answeredAt <= this.#parts.times.renewMs;
  }

  refused(gatewayId: string): void {
    const member = this.#member(gatewayId);
    member.refusedAt ??= this.#parts.now();
    member.sender?.pause();
    member.target = undefined;
    this.#settle();
  }

  #heard(member: Member): void {
    member.answeredAt = this.#parts.now();
    this.#settle();
  }

  #member(gatewayId: string): Member {
    let member = this.#members.get(gatewayId);
    if (member === undefined) {
      const now = this.#parts.now();
      member = {
        ...{ sender: undefined, promisedAt: -Infinity, answeredAt: now, refusedAt: undefined },
        ...{ received: { sequence: 0, at: now }, synced: { sequence: 0, at: now } },
        ...{ askedAt: -Infinity, targetSince: -Infinity, target: undefined, has: 0 },
      };
      this.#members.set(gatewayId, member);
    }
    return member;
  }

  #counted(): ReadonlySet<string> {
    const joining = [...this.#members].filter(([, { target }]) => target !== undefined).map(([id]) => id);
    return countedMembers(this.#parts.self, this.#set.possible, joining);
  }

  /** Works out anew what is secured, and answers who waits for that. */
  #settle(): void {
    const log = this.#log;
    if (log === undefined || !this.isHolding) return;
    const counted = [...this.#counted()].map((id) => this.#member(id));
    const { lastSequence, flushedSequence } = log.usage;
    const own = ownEnd({ last: lastSequence, synced: flushedSequence }, this.#set.isDropping);
    this.#leaseUntil = leaseUntil(
      counted.map(({ promisedAt }) => promisedAt),
      this.#parts.times,
    );
    this.#securedReceived =
      counted.length === 0
        ? Infinity
        : securedUpTo(
            own,
            counted.map(({ sender }) => sender?.received ?? 0),
          );
    this.#securedSynced =
      counted.length === 0
        ? Infinity
        : securedUpTo(
            flushedSequence,
            counted.map(({ sender }) => sender?.synced ?? 0),
          );
    const least = Math.min(...this.#set.possible.map((set) => set.length));
    this.#isEnough = this.#hasLeft || areEnough(least, this.#parts.volume());
    if (!this.#isEnough || this.#parts.now() >= this.#leaseUntil) return;
    this.#received.settle(this.#securedReceived);
    this.#synced.settle(this.#securedSynced);
    if (own < lastSequence && !this.#received.isEmpty) this.#flushOwn(log);
  }

  #flushOwn(log: WriteLog): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    log
      .flush()
      .catch(() => undefined)
      .finally(() => {
        this.#isFlushing = false;
        if (log.failure === undefined) this.#settle();
      });
  }

  /** Looks after the set: called often. */
  tick(links: ReadonlyMap<string, PeerLink>): void {
    if (!this.isHolding) return;
    for (const [id, link] of links) {
      const member = this.#member(id);
      if (member.sender === undefined) this.#send(link, member);
      else if (!this.#isWanted(id)) {
        member.sender.end();
        member.sender = undefined;
      } else this.#lookAfter(member, member.sender);
    }
    this.#noteLags();
    this.#settle();
    this.#set.tick();
  }

  /**
   * One that knew nothing of the volume yet, or could not take its records, may by now. And a member is told that it is whole when
   * it has got back what it had lost (rule 8).
   */
  #lookAfter(member: Member, sender: Sender): void {
    const now = this.#parts.now();
    if (sender.isUpToDate) {
      member.refusedAt = undefined;
      // Whoever counts only now was not asked yet.
      this.#askToSync(sender);
      if (sender.isWhole || sender.received < sender.endAtOpening) return;
      if (sender.synced < sender.endAtOpening) sender.sync(sender.endAtOpening);
      else if (this.inSync.includes(sender.link.gatewayId)) sender.tellWhole();
    } else if (now - member.askedAt >= this.#parts.times.renewMs / 2) {
      member.askedAt = now;
      sender.open();
    }
  }

  /** For the flushes that wait. */
  #askToSync(sender: Sender): void {
    if (!this.#synced.isEmpty && this.#counted().has(sender.link.gatewayId)) sender.sync(this.#synced.last);
  }

  #noteLags(): void {
    const now = this.#parts.now();
    const last = this.#log?.usage.lastSequence ?? 0;
    for (const member of this.#members.values()) {
      const { sender, received, synced } = member;
      if (sender?.isStreaming === true) member.has = sender.received;
      if (sender?.lacksRecords !== true || sender.received !== received.sequence)
        Object.assign(received, { sequence: sender?.received ?? 0, at: now });
      if (sender?.lacksSync !== true || sender.synced !== synced.sequence)
        Object.assign(synced, { sequence: sender?.synced ?? 0, at: now });
    }
    this.#lags.note(last, Math.min(...[...this.#members.values()].map(({ has }) => has)), now);
  }

  /** Nothing is acknowledged any more. */
  end(reason: SgwError): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    this.#leaseUntil = -Infinity;
    this.#set.end();
    for (const member of this.#members.values()) member.sender?.end();
    this.#received.fail(reason);
    this.#synced.fail(reason);
  }

  /** Leaves the group: acknowledges by itself from now on. @throws unavailable: it has not left */
  async ungroup(signal: AbortSignal): Promise<void> {
    await this.#set.leaveGroup(signal);
    this.#hasLeft = true;
    for (const member of this.#members.values()) {
      member.sender?.end();
      member.sender = undefined;
      member.target = undefined;
    }
    this.#settle();
  }

  replicas(): ReplicaReport[] {
    const { self, wanted, nameOf, now } = this.#parts;
    const ids = new Set([...wanted(), ...this.inSync]);
    ids.delete(self);
    return [...ids].map((gatewayId) => {
      const { sender, has } = this.#member(gatewayId);
      const isInSync = this.inSync.includes(gatewayId);
      const last = this.#log?.usage.lastSequence ?? 0;
      const isLevel = (sender?.received ?? 0) >= last;
      return {
        gatewayId,
        name: nameOf(gatewayId),
        state: sender === undefined ? 'disconnected' : isInSync ? 'in-sync' : 'catching-up',
        lagBytes: isLevel ? 0 : (sender?.lagBytes ?? this.#log?.usage.dirtyBytes ?? 0),
        lagMs: isLevel ? 0 : Math.round(this.#lags.lagMs(has, now())),
        receivedSequence: sender === undefined ? null : sender.received,
      };
    });
  }

  /** Why it is not as it should be, a sentence; null when it is. */
  get reason(): string | null {
    const failure = this.#failure ?? this.logFailure;
    if (failure !== undefined) return failure.message;
    const { replicas } = this.#parts.volume();
    const present = this.inSync.length - 1;
    if (!this.#isEnough)
      return `nothing is acknowledged: ${String(Math.max(0, present))} of ${String(replicas)} replicas in sync`;
    if (!this.isLeased) return 'nothing is acknowledged: a member of the in-sync set does not answer';
    return present >= replicas ? null : `${String(Math.max(0, present))} of ${String(replicas)} replicas in sync`;
  }
}
