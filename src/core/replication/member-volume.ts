/**
 * One volume of the group at this member: the messages about it, and what follows from them (docs/adr/0025-groups.md).
 *
 * States: replica (with a replica log) <-> taking over -> holder -> replica. One that held the volume before, and comes back, has its
 * own log still, and is a candidate until it hears of a newer reign.
 */
import { SgwError, type VolumeId } from '../kit/index.ts';
import type { GroupVolume } from '../protocol/index.ts';
import type { AckClass } from '../writelog/index.ts';
import { Candidate } from './candidate.ts';
import type { GroupVolumeReport, InSyncWriter } from './contract.ts';
import { FAILOVER_REFUSED, HandOver } from './hand-over.ts';
import { HeldVolume } from './held.ts';
import type { PeerLink, PeerMessage, Reign } from './messages.ts';
import { notTold, superseded } from './refusals.ts';
import { NOT_A_REPLICA } from './replica.ts';
import { Role, type MemberParts, type Past } from './role.ts';
import { mayPromise, mayReceive, promiseUntil } from './rules.ts';

/** One that does not answer leaves the set within a second or two, when the store is there. */
const TOLD_MS = 8000;
const TOLD_LOOK_MS = 10;

type VolumeMessage = Extract<PeerMessage, { volumeId: VolumeId } | { reign: Reign }>;
/** Of a holder, about records. */
type RecordMessage = Extract<VolumeMessage, { kind: 'open' | 'from' | 'records' | 'sync' | 'whole' | 'uploaded' }>;
/** About who is to hold the volume. */
type ReignMessage = Extract<VolumeMessage, { kind: 'ask' | 'tell' | 'release' | 'please' | 'refused' | 'took' }>;

export class MemberVolume {
  readonly #role: Role;
  readonly #candidate: Candidate;
  readonly #handOver: HandOver;

  /** `past`: of the same volume, which was in the group before. */
  constructor(parts: MemberParts, volume: GroupVolume, past?: Past) {
    this.#role = new Role(parts, volume, past);
    this.#candidate = new Candidate(this.#role, (reign) => {
      this.#handOver.took(reign);
    });
    this.#handOver = new HandOver(this.#role, this.#candidate);
  }

  set volume(volume: GroupVolume) {
    this.#role.volume = volume;
  }

  get past(): Past {
    return this.#role.past;
  }

  get held(): HeldVolume | undefined {
    return this.#role.held;
  }

  /** Finds out which log there is; where it can't be, `tick` tries again. Never fails. */
  async begin(): Promise<void> {
    await this.#role.begin();
  }

  // As a holder.

  sinkOf(ack: AckClass): HeldVolume {
    const { times, leaseClock, clock, log, members, links, nameOf } = this.#role.parts;
    this.#role.next = new HeldVolume(
      {
        ...{ self: this.#role.self, times, now: leaseClock, clock, log, nameOf },
        volume: () => this.#role.volume,
        exportedAs: () => this.#role.parts.host.exportedAs(this.#role.volume.volumeId),
        wanted: () => this.#wanted(members(), links),
        onReady: () => {
          for (const link of links.values()) this.#role.held?.linked(link);
          this.renew();
        },
        onFenced: (reason) => {
          void this.#fenced(reason);
        },
      },
      ack,
    );
    return this.#role.next;
  }

  /** A change of the head was refused: by an own opening anew that is under way, or that failed half-way, or by somebody else. */
  async #fenced(reason: SgwError): Promise<void> {
    const role = this.#role;
    const { readHead, stopped } = role.parts;
    // Where it can't be read, the lease ends by itself, and the change is tried again.
    const head = await readHead(role.volume.volumeId, stopped).catch(() => undefined);
    if (head !== undefined && head.holder !== role.self) await role.step(reason);
  }

  /** Those that are linked or in the set go first, up to how many there are to be; one in the set is not replaced at once. */
  #wanted(members: readonly string[], links: ReadonlyMap<string, PeerLink>): readonly string[] {
    const { held } = this.#role;
    const inSync = new Set(held?.inSync);
    const others = members.filter((id) => id !== this.#role.self);
    const isThere = (id: string): boolean => links.has(id) || held?.hasAnsweredNow(id) === true;
    const rank = (id: string): number =>
      inSync.has(id) && isThere(id) ? 0 : links.has(id) ? 1 : inSync.has(id) ? 2 : 3;
    return others.toSorted((a, b) => rank(a) - rank(b)).slice(0, this.#role.volume.replicas);
  }

  opened(writer: InSyncWriter): void {
    if (this.#role.next !== undefined) {
      this.#role.held?.end(superseded(this.#role.volume.volumeId));
      this.#role.held = this.#role.next;
      this.#role.next = undefined;
    }
    const held = this.#role.held;
    if (held === undefined) return;
    held.opened(writer);
    this.#role.newest = held.reign;
    this.renew();
  }

  /** @see Replication.exportTold */
  async exportTold(signal: AbortSignal): Promise<void> {
    const { clock, nameOf, links } = this.#role.parts;
    const untold = (): readonly string[] => this.#role.held?.untold() ?? [];
    if (untold().length > 0) this.#role.held?.tick(links);
    const endMs = clock.monotonicMs() + TOLD_MS;
    while (untold().length > 0) {
      if (clock.monotonicMs() > endMs) throw notTold(this.#role.volume.volumeId, untold().map(nameOf));
      await clock.sleep(TOLD_LOOK_MS, signal);
    }
  }

  closed(): void {
    this.#role.held?.end(superseded(this.#role.volume.volumeId));
    this.#role.held = undefined;
    this.#role.lookAnew();
  }

  /** Asks for promises. */
  renew(): void {
    const held = this.#role.held;
    if (held?.isHolding !== true) return;
    const stamp = this.#role.parts.leaseClock();
    for (const link of this.#role.parts.links.values()) link.send({ kind: 'renew', stamp, reigns: [held.reign] });
  }

  // As a replica.

  /** Whether a renewal of this reign is answered; a newer one than was known is known then. */
  promise(link: PeerLink, reign: Reign): boolean {
    this.#role.hear(reign);
    if (reign.holder !== link.gatewayId) return false;
    if (!mayPromise(reign.epoch, this.#role.listener)) {
      this.#tellNewest(link, reign);
      return false;
    }
    this.#role.promisedUntil = promiseUntil(this.#role.parts.leaseClock(), this.#role.parts.times);
    this.#role.releasedAt = undefined;
    this.#role.why = null;
    return true;
  }

  #tellNewest(link: PeerLink, reign: Reign): void {
    const newest = this.#role.newest;
    if (newest !== undefined && newest.epoch > reign.epoch) link.send({ kind: 'superseded', newest });
  }

  message(link: PeerLink, message: VolumeMessage): void {
    switch (message.kind) {
      case 'position':
        this.#role.held?.senderOf(link.gatewayId)?.position(message.position, message.stamp);
        return;
      case 'got':
        this.#role.held?.senderOf(link.gatewayId)?.got(message.received, message.synced);
        return;
      case 'open':
      case 'from':
      case 'records':
      case 'sync':
      case 'whole':
      case 'uploaded':
        this.#toReplica(link, message);
        return;
      default:
        this.#aboutReign(link, message);
    }
  }

  #toReplica(link: PeerLink, message: RecordMessage): void {
    const role = this.#role;
    if (message.kind === 'open') role.hear(message.reign);
    const reign = message.kind === 'open' ? message.reign : role.newest;
    if (reign?.holder === link.gatewayId && mayReceive(reign.epoch, role.listener)) role.replica.take(link, message);
    else if (message.kind === 'open') this.#refuse(link, message.reign);
  }

  #aboutReign(link: PeerLink, message: ReignMessage): void {
    switch (message.kind) {
      case 'ask':
        this.#answer(link);
        return;
      case 'tell':
        this.#candidate.told(link.gatewayId, message);
        return;
      case 'release':
        this.#released(link, message.reign, message.last);
        return;
      case 'please':
        void this.#handOver.pleased(link, message.to);
        return;
      case 'refused':
        if (message.code === FAILOVER_REFUSED) this.#handOver.refused(message.message);
        else this.#role.held?.refused(link.gatewayId);
        return;
      case 'took':
        this.#role.hear(message.reign);
        this.#handOver.took(message.reign);
        return;
    }
  }

  /** The holder has stopped for this member (rule 12). One that was delayed is of a reign that is over. */
  #released(link: PeerLink, reign: Reign, last: number): void {
    this.#role.hear(reign);
    if (reign.holder !== link.gatewayId || reign.epoch !== this.#role.newest?.epoch) return;
    if (!mayReceive(reign.epoch, this.#role.listener)) return;
    this.#role.releasedAt = last;
    this.#role.promisedUntil = -Infinity;
    void this.#candidate.look(true);
  }

  /** A holder that is refused for now asks again. */
  #refuse(link: PeerLink, reign: Reign): void {
    this.#tellNewest(link, reign);
    const { volumeId } = this.#role.volume;
    link.send({ kind: 'refused', volumeId, code: NOT_A_REPLICA, message: 'it is no replica of the volume now' });
  }

  superseded(newest: Reign): void {
    this.#role.hear(newest);
  }

  /** Tells how far its log goes. Says nothing while that is not known: whoever asks could take it for less than there is. */
  #answer(link: PeerLink): void {
    const { volumeId } = this.#role.volume;
    const position = this.#role.position();
    if (position === undefined) return;
    const isHolder = this.#role.held?.isLeased === true;
    link.send({ kind: 'tell', volumeId, epoch: this.#role.newest?.epoch ?? 0, position, isHolder });
  }

  /** Looks after what is due: called often. */
  tick(): void {
    const { held, parts } = this.#role;
    held?.tick(parts.links);
    this.#role.beginAgain();
    if (held === undefined) void this.#candidate.look(false);
    else if (held.isHolding) void this.#candidate.lookAtFailure();
  }

  /** @see Replication.failOver */
  async failOver(to: string | undefined, acceptLoss: boolean, signal: AbortSignal): Promise<void> {
    await this.#handOver.failOver(to, acceptLoss, signal);
  }

  linked(link: PeerLink): void {
    this.#role.held?.linked(link);
    this.renew();
  }

  unlinked(link: PeerLink): void {
    this.#role.held?.unlinked(link);
  }

  report(): GroupVolumeReport {
    const { members, links } = this.#role.parts;
    const held = this.#role.held;
    const inSync = held?.inSync ?? [];
    const holder = held !== undefined ? this.#role.self : (this.#role.newest?.holder ?? null);
    const successors =
      held === undefined
        ? []
        : members().filter((id) => id !== this.#role.self && inSync.includes(id) && links.has(id));
    return {
      volume: this.#role.volume,
      holder,
      epoch: held?.epoch ?? this.#role.newest?.epoch ?? 0,
      inSync,
      replicas: held?.replicas() ?? [],
      successor: successors[0] ?? null,
      reason: held === undefined ? this.#role.why : held.reason,
    };
  }

  /** The group does not look after it any more. */
  async ungroup(signal: AbortSignal): Promise<void> {
    await this.#role.inTurn(async () => {
      await this.#role.held?.ungroup(signal);
      await this.#role.replica.close();
    });
  }

  async stop(): Promise<void> {
    this.#role.held?.end(new SgwError('aborted', 'gateway-stopped', 'the gateway is being stopped'));
    await this.#role.replica.close();
  }
}
