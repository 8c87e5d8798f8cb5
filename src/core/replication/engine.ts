/**
 * A member of a group at work: its connections, the heartbeats, and what it is to each volume (docs/adr/0025-groups.md).
 *
 * States: new -> started -> stopped.
 */
import { readHead } from '../blockstore/index.ts';
import { assert, Semaphore, SgwError, toSgwError, untilAborted, type VolumeId } from '../kit/index.ts';
import type { GroupDocument, GroupMember } from '../protocol/index.ts';
import type { AckClass, RecordSink } from '../writelog/index.ts';
import type { GroupVolumeReport, InSyncWriter, Replication, ReplicationParts } from './contract.ts';
import { MemberVolume } from './member-volume.ts';
import type { PeerLink, PeerMessage, Reign } from './messages.ts';
import type { Past } from './role.ts';
import { within } from './within.ts';

const TICK_MS = 250;
const ANNOUNCE_AGAIN_MS = 5000;
/** Of a candidate, for reading the group. */
const READ_MS = 1000;

/** Replicates the volumes of the group that `book` tells. Not started. */
export function openReplication(parts: ReplicationParts): Replication {
  return new Engine(parts);
}

class Engine implements Replication {
  readonly #parts: ReplicationParts;
  readonly #links = new Map<string, PeerLink>();
  readonly #volumes = new Map<VolumeId, MemberVolume>();
  /** Of volumes that have left the group. */
  readonly #past = new Map<VolumeId, Past>();
  readonly #stopped = new AbortController();
  /** That is under way for whoever wants one. */
  #reloading: Promise<void> | undefined;
  readonly #reading = new Semaphore(1);
  readonly #startedAt: number;
  #group: GroupDocument | undefined;
  /** Something that the group says could not be done yet. */
  #isBehind = false;
  #address = '';
  #ticking: Promise<void> | undefined;
  #announcing: Promise<void> | undefined;

  constructor(parts: ReplicationParts) {
    this.#parts = parts;
    this.#startedAt = parts.leaseClock();
  }

  /** @throws unavailable `address-in-use`; what reading the group throws */
  async start(): Promise<void> {
    const { network } = this.#parts;
    const { address } = await network.start({
      linked: (link) => {
        this.#linked(link);
      },
      message: (link, message) => {
        this.#message(link, message);
      },
      unlinked: (link) => {
        this.#unlinked(link);
      },
    });
    this.#address = address;
    await this.reload();
    this.#announcing = this.#announce();
    this.#ticking = this.#tick();
  }

  /** Tells the others where this one is, for as long as it takes. */
  async #announce(): Promise<void> {
    const { book, exportsAt, clock, log } = this.#parts;
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      try {
        await book.announce({ peer: this.#address, nbd: exportsAt() }, signal);
        await this.reload();
        return;
      } catch (error) {
        if (this.#isStopped()) return;
        log.warn({ err: toSgwError(error) }, 'the other members are not told yet where this one is');
      }
      await clock.sleep(ANNOUNCE_AGAIN_MS, signal).catch(() => undefined);
    }
  }

  #isStopped(): boolean {
    return this.#stopped.signal.aborted;
  }

  async exportTold(volumeId: VolumeId, signal: AbortSignal): Promise<void> {
    await this.#volumes.get(volumeId)?.exportTold(signal);
  }

  group(): GroupDocument | undefined {
    return this.#group;
  }

  async reload(): Promise<void> {
    await this.#reading.run(async () => {
      const group = await this.#parts.book.mine(this.#stopped.signal);
      try {
        await this.#apply(group);
        this.#isBehind = false;
      } catch (error) {
        this.#isBehind = true;
        throw error;
      }
    });
  }

  async #apply(group: GroupDocument | undefined): Promise<void> {
    const isNew = (group?.version ?? 0) > (this.#group?.version ?? 0);
    this.#group = group;
    if (isNew) for (const link of this.#links.values()) this.#tellVersion(link);
    this.#parts.network.setMembers(group?.members ?? []);
    const volumes = new Map(group?.volumes.map((volume) => [volume.volumeId, volume]));
    for (const [volumeId, member] of this.#volumes) {
      if (volumes.has(volumeId)) continue;
      await member.ungroup(this.#stopped.signal);
      this.#volumes.delete(volumeId);
      this.#past.set(volumeId, member.past);
    }
    for (const [volumeId, volume] of volumes) {
      const known = this.#volumes.get(volumeId);
      if (known !== undefined) {
        known.volume = volume;
        continue;
      }
      const member = new MemberVolume(this.#memberParts(), volume, this.#past.get(volumeId));
      this.#volumes.set(volumeId, member);
      this.#past.delete(volumeId);
      await member.begin();
    }
  }

  #memberParts(): ConstructorParameters<typeof MemberVolume>[0] {
    const { blocks } = this.#parts;
    return {
      ...this.#parts,
      links: this.#links,
      members: () => this.#members.map(({ gatewayId }) => gatewayId),
      nameOf: (gatewayId) => this.#members.find((member) => member.gatewayId === gatewayId)?.name ?? gatewayId,
      readHead: async (volumeId, signal) => {
        const { epoch, holder, inSync } = (await readHead(blocks, volumeId, signal)).value;
        return { epoch, holder: holder?.gatewayId ?? null, inSync };
      },
      readGroup: async () => this.#readSoon(),
      startedAt: this.#startedAt,
      stopped: this.#stopped.signal,
    };
  }

  /** Reads the group again where that is quickly done: groups work on without their service. Never fails. */
  async #readSoon(): Promise<void> {
    const reading = this.#reloadOnce();
    const { clock } = this.#parts;
    const { signal } = this.#stopped;
    await within(clock, READ_MS, signal, async (limited) => untilAborted(reading, limited)).catch(() => undefined);
  }

  get #members(): readonly GroupMember[] {
    return this.#group?.members ?? [];
  }

  async #tick(): Promise<void> {
    const { clock, leaseClock, times, random } = this.#parts;
    const { signal } = this.#stopped;
    for (let renewAt = 0; !signal.aborted;) {
      const now = leaseClock();
      if (now >= renewAt) {
        renewAt = now + times.renewMs * (0.75 + random.float() / 4);
        this.#beat();
        if (this.#isBehind) this.#reloadSoon();
      }
      for (const volume of this.#volumes.values()) volume.tick();
      await clock.sleep(TICK_MS, signal).catch(() => undefined);
    }
  }

  #beat(): void {
    const stamp = this.#parts.leaseClock();
    const reigns = [...this.#volumes.values()].flatMap(({ held }) => (held?.isHolding === true ? [held.reign] : []));
    for (const link of this.#links.values()) {
      this.#tellVersion(link);
      if (reigns.length > 0) link.send({ kind: 'renew', stamp, reigns });
    }
  }

  #linked(link: PeerLink): void {
    this.#links.set(link.gatewayId, link);
    this.#parts.log.info({ member: link.gatewayId }, 'connected to a member of the group');
    this.#tellVersion(link);
    for (const volume of this.#volumes.values()) volume.linked(link);
  }

  #tellVersion(link: PeerLink): void {
    link.send({ kind: 'beat', groupVersion: this.#group?.version ?? 0 });
  }

  #unlinked(link: PeerLink): void {
    if (this.#links.get(link.gatewayId) === link) this.#links.delete(link.gatewayId);
    if (!this.#stopped.signal.aborted)
      this.#parts.log.warn({ member: link.gatewayId }, 'the connection to a member of the group ended');
    for (const volume of this.#volumes.values()) volume.unlinked(link);
  }

  #message(link: PeerLink, message: PeerMessage): void {
    switch (message.kind) {
      case 'beat':
        if (message.groupVersion > (this.#group?.version ?? 0)) this.#reloadSoon();
        return;
      case 'renew': {
        const reigns = message.reigns.filter(
          (reign) => this.#volumes.get(reign.volumeId)?.promise(link, reign) === true,
        );
        if (reigns.length > 0) link.send({ kind: 'promise', stamp: message.stamp, reigns });
        return;
      }
      case 'promise':
        for (const { volumeId, epoch, holder } of message.reigns)
          if (holder === this.#parts.self.gatewayId)
            this.#volumes.get(volumeId)?.held?.promised(link.gatewayId, epoch, message.stamp);
        return;
      case 'superseded':
        this.#volumes.get(message.newest.volumeId)?.superseded(message.newest);
        return;
      default:
        this.#volumes.get(volumeOf(message))?.message(link, message);
    }
  }

  #reloadSoon(): void {
    if (this.#reloading !== undefined) return;
    this.#reloadOnce().catch((error: unknown) => {
      if (!this.#stopped.signal.aborted)
        this.#parts.log.warn({ err: toSgwError(error) }, 'the group could not be read again');
    });
  }

  async #reloadOnce(): Promise<void> {
    this.#reloading ??= this.reload().finally(() => {
      this.#reloading = undefined;
    });
    await this.#reloading;
  }

  sinkOf(volumeId: VolumeId, ack: AckClass): RecordSink | undefined {
    return this.#volumes.get(volumeId)?.sinkOf(ack);
  }

  opened(volumeId: VolumeId, writer: InSyncWriter): void {
    this.#volumes.get(volumeId)?.opened(writer);
  }

  closed(volumeId: VolumeId): void {
    this.#volumes.get(volumeId)?.closed();
  }

  async report(): Promise<readonly GroupVolumeReport[]> {
    return Promise.resolve([...this.#volumes.values()].map((volume) => volume.report()));
  }

  linked(): readonly string[] {
    return [...this.#links.keys()];
  }

  holds(volumeId: VolumeId): boolean {
    return this.#volumes.get(volumeId)?.held?.isLeased === true;
  }

  async failOver(volumeId: VolumeId, to: string | undefined, acceptLoss: boolean, signal: AbortSignal): Promise<void> {
    const volume = this.#volumes.get(volumeId);
    if (volume === undefined)
      throw new SgwError('conflict', 'not-in-group', `volume ${volumeId} is in no group of this gateway`, {
        hint: 'sgw group assign GROUP VOLUME puts it into one.',
        details: { volumeId },
      });
    await volume.failOver(to, acceptLoss, signal);
  }

  async stop(): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    this.#stopped.abort(new SgwError('aborted', 'gateway-stopped', 'the gateway is being stopped'));
    await Promise.all([this.#ticking, this.#announcing]);
    await this.#parts.network.stop();
    await Promise.all([...this.#volumes.values()].map(async (volume) => volume.stop()));
  }
}

function volumeOf(message: Exclude<PeerMessage, { kind: 'beat' | 'renew' | 'promise' | 'superseded' }>): VolumeId {
  const volumeId = 'volumeId' in message ? message.volumeId : (message.reign as Reign | undefined)?.volumeId;
  assert(volumeId !== undefined, 'a message is of a volume');
  return volumeId;
}
