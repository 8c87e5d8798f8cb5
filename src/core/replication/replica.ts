/**
 * The replica log of a volume that another member holds: takes what its holder sends, in order, and tells what it has.
 *
 * States: closed -> open -> closed, as often as the member becomes a replica. What comes is worked off one after the other, since
 * beginning something in the log takes its time; only syncs run beside it.
 */
import { SgwError, toSgwError, type Logger, type VolumeId } from '../kit/index.ts';
import type { Incarnation, ReplicaLog, ReplicaPosition } from '../writelog/index.ts';
import type { VolumeHost } from './contract.ts';
import type { PeerLink, PeerMessage } from './messages.ts';

/** Bounds a replica log; the holder's buffer, which is trimmed in step, is what counts. */
const CAPACITY_BYTES = 64 * 2 ** 30;
/** Messages that wait while the log begins something: the holder's window bounds their bytes. */
const QUEUE_MAX = 4096;

type SentMessage = Extract<PeerMessage, { kind: 'open' | 'from' | 'records' | 'sync' | 'whole' | 'uploaded' }>;

/** Why records are refused by one that is about to hold the volume, or does not know yet what it is. */
export const NOT_A_REPLICA = 'not-a-replica';

export const EMPTY_POSITION: ReplicaPosition = {
  ...{ incarnation: null, firstSequence: 1, received: 0, synced: 0, isWhole: false },
};

/** With memory of its own. */
function kept(message: Extract<SentMessage, { kind: 'records' }>): SentMessage {
  const records = message.records.map((record) => ({
    ...record,
    body: Buffer.from(record.body),
    pages: Buffer.from(record.pages),
  }));
  return { ...message, records };
}

export class Replica {
  readonly #volumeId: VolumeId;
  readonly #host: Pick<VolumeHost, 'logs' | 'keepExport' | 'keepEpoch'>;
  readonly #log: Logger;
  #opened: ReplicaLog | undefined;
  #epoch = 0;
  #keptEpoch = 0;
  #queue: { readonly link: PeerLink; readonly message: SentMessage }[] = [];
  #working: Promise<void> | undefined;
  /** Whose records are taken: of the link over which the volume was opened last. */
  #source: PeerLink | undefined;
  /** The holder's, as it told them. */
  #incarnations: readonly Incarnation[] = [];
  /** Of the `open` that was answered last. */
  #stamp: number | undefined;
  /** Nothing more is taken over this link before it is opened anew. */
  #isBroken = false;
  /** Its disk is. */
  #isFull = false;
  /** To be told, when all that has come is worked off, what the log has. */
  #toTell: PeerLink | undefined;

  constructor(volumeId: VolumeId, host: Pick<VolumeHost, 'logs' | 'keepExport' | 'keepEpoch'>, log: Logger) {
    this.#volumeId = volumeId;
    this.#host = host;
    this.#log = log;
  }

  get isOpen(): boolean {
    return this.#opened !== undefined;
  }

  get position(): ReplicaPosition {
    return this.#opened?.position ?? EMPTY_POSITION;
  }

  /** The newest that its log has named when it was opened, or that was kept: also of a reign before this process. */
  get epoch(): number {
    return Math.max(this.#epoch, this.#keptEpoch);
  }

  /** @throws exhausted; unavailable */
  async open(): Promise<void> {
    // Opened anew, one whose disk was full finds room where there is some to be made.
    if (this.#opened?.failure !== undefined || this.#isFull) await this.#closeLog();
    this.#isFull = false;
    if (this.#opened !== undefined) return;
    this.#opened = await this.#host.logs.open(this.#volumeId, CAPACITY_BYTES);
    const { setAside: path, incarnations } = this.#opened;
    this.#epoch = Math.max(this.#epoch, incarnations.at(-1)?.epoch ?? 0);
    if (path !== null)
      this.#log.warn({ volumeId: this.#volumeId, path }, 'the replica log is damaged: it was set aside');
  }

  /** Takes a message of the holder. Its buffers are not used when it returns. */
  take(link: PeerLink, message: SentMessage): void {
    if (message.kind === 'open') {
      this.#source = link;
      this.#isBroken = false;
      this.#queue = [];
    } else if (!this.#isFrom(link)) {
      // One that thinks it was told to send is to ask again.
      if (message.kind === 'from') this.#refuse(link, NOT_A_REPLICA, 'it has not opened its log for this connection');
      return;
    }
    if (this.#working === undefined && message.kind === 'records' && this.#appendNow(link, message)) return;
    if (this.#queue.length >= QUEUE_MAX) {
      this.#break(link, new SgwError('exhausted', 'replica-behind', 'too much waits to be written'));
      return;
    }
    this.#queue.push({ link, message: message.kind === 'records' ? kept(message) : message });
    this.#start();
  }

  /** Whether what comes over a link is taken. */
  #isFrom(link: PeerLink): boolean {
    return link === this.#source && !this.#isBroken;
  }

  #refuse(link: PeerLink, code: string, message: string): void {
    link.send({ kind: 'refused', volumeId: this.#volumeId, code, message });
  }

  #start(): void {
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
      if (this.#queue.length > 0) this.#start();
    });
  }

  /** Without a turn of the event loop, where there is room for all of it. */
  #appendNow(link: PeerLink, { records }: Extract<SentMessage, { kind: 'records' }>): boolean {
    const log = this.#opened;
    if (log === undefined) return false;
    let bytes = 0;
    for (const { pages } of records) bytes += pages.length + 8192;
    if (!log.hasRoom(bytes)) return false;
    try {
      for (const record of records) this.#append(log, record);
    } catch (error) {
      this.#break(link, toSgwError(error));
      return true;
    }
    this.#tellGot(link);
    return true;
  }

  #append(log: ReplicaLog, record: Parameters<ReplicaLog['append']>[0]): void {
    // What was sent twice, since a link ended, is here already.
    if (record.sequence <= log.position.received) return;
    log.append(record);
  }

  async #work(): Promise<void> {
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      const { link, message } = next;
      if (!this.#isFrom(link)) continue;
      try {
        await this.#workOn(link, message);
      } catch (error) {
        this.#break(link, toSgwError(error));
      }
    }
  }

  async #workOn(link: PeerLink, message: SentMessage): Promise<void> {
    const volumeId = this.#volumeId;
    switch (message.kind) {
      case 'open':
        await this.open();
        // Before it answers: who is told that it takes records knows that it has noted this.
        await this.#keepEpoch(message.reign.epoch);
        if (message.exportedAs !== undefined) await this.#host.keepExport(volumeId, link.gatewayId, message.exportedAs);
        // It may have been let go meanwhile: who was told where the log ends would send, and nobody would take it.
        if (!this.#isFrom(link)) return;
        this.#incarnations = message.incarnations;
        this.#stamp = message.stamp;
        this.#tellPosition(link);
        return;
      case 'from':
        await this.#from(message);
        return;
      case 'records':
        await this.#appendSlowly(link, message.records);
        return;
      case 'sync':
        this.#sync(link);
        return;
      case 'whole':
        if (this.position.received >= message.sequence) await this.#required().caughtUp();
        this.#tellPosition(link);
        return;
      case 'uploaded':
        this.#opened?.uploaded(message.sequence);
        return;
    }
  }

  /** The log may name it no more when it has begun anew, or was set aside. */
  async #keepEpoch(epoch: number): Promise<void> {
    if (epoch <= this.#keptEpoch) return;
    await this.#host.keepEpoch(this.#volumeId, epoch);
    this.#keptEpoch = epoch;
  }

  #tellPosition(link: PeerLink): void {
    const stamp = this.#stamp;
    const { position } = this;
    link.send({ kind: 'position', volumeId: this.#volumeId, position, ...(stamp === undefined ? {} : { stamp }) });
  }

  async #from({ from, anew, incarnation }: Extract<SentMessage, { kind: 'from' }>): Promise<void> {
    const log = this.#required();
    if (!anew) {
      if (from === log.position.received + 1) await this.#begin(log, incarnation, from);
      return;
    }
    const { setAside } = await log.anew(this.#incarnations, from - 1);
    if (setAside !== null)
      this.#log.warn(
        { volumeId: this.#volumeId, path: setAside },
        'records that the holder of the volume does not have were set aside',
      );
  }

  /** What the log goes on with may be the newest incarnation still. */
  async #begin(log: ReplicaLog, incarnation: Incarnation, from: number): Promise<void> {
    if (log.position.incarnation === incarnation.incarnation || incarnation.firstSequence !== from) return;
    await log.begin(incarnation);
  }

  async #appendSlowly(link: PeerLink, records: Extract<SentMessage, { kind: 'records' }>['records']): Promise<void> {
    const log = this.#required();
    for (const record of records) {
      while (!log.hasRoom(record.pages.length)) await log.room(record.pages.length);
      this.#append(log, record);
    }
    this.#tellGot(link);
  }

  /** Once for everything that came in one piece. */
  #tellGot(link: PeerLink): void {
    const isScheduled = this.#toTell !== undefined;
    this.#toTell = link;
    if (isScheduled) return;
    queueMicrotask(() => {
      const told = this.#toTell;
      this.#toTell = undefined;
      if (told !== this.#source || this.#isBroken) return;
      const { received, synced } = this.position;
      told?.send({ kind: 'got', volumeId: this.#volumeId, received, synced });
    });
  }

  #sync(link: PeerLink): void {
    this.#required()
      .sync()
      .then(
        () => {
          if (link === this.#source) this.#tellGot(link);
        },
        (error: unknown) => {
          this.#break(link, toSgwError(error));
        },
      );
  }

  #required(): ReplicaLog {
    if (this.#opened === undefined) throw new SgwError('aborted', 'log-closed', 'the replica log is closed');
    return this.#opened;
  }

  #break(link: PeerLink, error: SgwError): void {
    if (!this.#isFrom(link)) return;
    this.#isBroken = true;
    this.#isFull ||= error.kind === 'exhausted';
    this.#queue = [];
    this.#log.warn({ volumeId: this.#volumeId, err: error }, 'records of the holder can not be taken');
    const { code, message } = error;
    this.#refuse(link, code, message.slice(0, 500));
  }

  /** Takes nothing more before it is opened anew, and says so: the holder must not think that what it has sent will be here. */
  letGo(): void {
    const link = this.#source;
    this.#source = undefined;
    this.#queue = [];
    if (link !== undefined) this.#refuse(link, NOT_A_REPLICA, 'it is no replica of the volume now');
  }

  /** What was taken is durable when it resolves. Opens a log that could not be opened before. @throws exhausted; unavailable */
  async sync(): Promise<void> {
    await this.#working;
    if (this.#opened === undefined) await this.open();
    await this.#opened?.sync();
  }

  /** Takes nothing more; what was taken is durable when it resolves. */
  async close(): Promise<void> {
    this.#source = undefined;
    this.#queue = [];
    await this.#working;
    await this.#closeLog();
  }

  async #closeLog(): Promise<void> {
    const log = this.#opened;
    this.#opened = undefined;
    await log?.close().catch((error: unknown) => {
      this.#log.warn(
        { volumeId: this.#volumeId, err: toSgwError(error) },
        'the replica log could not be closed in order',
      );
    });
  }
}
