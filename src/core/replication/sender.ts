/**
 * Sends a held volume's records to one member over one link: from where its log ends, live from then on (docs/adr/0025-groups.md,
 * "Records"). What is live and what is caught up with are read from the same log in the same way.
 *
 * States: asked (the replica was asked where it ends) -> streaming -> ended, also when the log can't be read. A new link has a new
 * sender.
 */
import { MIB, toSgwError, type SgwError, type VolumeId } from '../kit/index.ts';
import type { Incarnation, ReplicaPosition, SentRecord, WriteLog } from '../writelog/index.ts';
import type { PeerLink, Reign } from './messages.ts';
import { continuation } from './rules.ts';

/** Of one message. */
const BATCH_BYTES = MIB;
/** Sent, and not told of by the replica. */
const WINDOW_BYTES = 16 * MIB;
/** Waiting for the socket. */
const SOCKET_BYTES = 4 * MIB;

export interface SenderParts {
  readonly volumeId: VolumeId;
  readonly link: PeerLink;
  readonly log: WriteLog;
  readonly reign: () => Reign;
  readonly exportedAs: () => string | undefined;
  /** It begins to send, also anew. */
  readonly onStreaming: () => void;
  /** What the replica has was told. */
  readonly onGot: () => void;
  /** The log could not be read: it has ended. */
  readonly onUnreadable: (error: SgwError) => void;
}

export class Sender {
  readonly link: PeerLink;
  /** Told by the replica. */
  received = 0;
  synced = 0;
  /** It has told that its log is whole. */
  isWhole = false;
  /** Where the holder's log ended when the replica was asked. */
  endAtOpening = 0;
  /** Of the newest asking, how the volume was served then, and the first that told that. */
  #stamp = 0;
  #toldExport: string | undefined;
  #toldSince = 0;
  /** How it is served, as far as the replica has said that it has noted that. */
  #notedExport: string | undefined;
  readonly #parts: SenderParts;
  #isStreaming = false;
  #isEnded = false;
  /** The next record to be sent, and of which incarnation the last one was. */
  #next = 0;
  #incarnation = '';
  /** What is to be durable there: asked for as far as it was sent, since a sync covers what has come before it. */
  #syncWanted = 0;
  #syncAsked = 0;
  #isPumping = false;
  /** Ends of what was sent, with how many bytes had been sent by then. */
  #sent: { readonly sequence: number; readonly bytes: number }[] = [];
  #sentBytes = 0;
  #gotBytes = 0;

  constructor(parts: SenderParts) {
    this.#parts = parts;
    this.link = parts.link;
    this.open();
  }

  /** Asks the replica where it ends: also when the reign has another epoch. */
  open(): void {
    if (this.#isEnded) return;
    const { link, log, reign, exportedAs } = this.#parts;
    this.#isStreaming = false;
    const { uploadedSequence, lastSequence, capacityBytes } = log.usage;
    this.endAtOpening = lastSequence;
    this.#stamp += 1;
    if (exportedAs() !== this.#toldExport) this.#toldSince = this.#stamp;
    this.#toldExport = exportedAs();
    link.send({
      ...{ kind: 'open', stamp: this.#stamp, reign: reign(), incarnations: log.incarnations.map(plain) },
      ...{ uploadedSequence, lastSequence, capacityBytes },
      ...(this.#toldExport === undefined ? {} : { exportedAs: this.#toldExport }),
    });
  }

  /** The replica takes records, and has noted how the volume is served now. */
  get isUpToDate(): boolean {
    if (!this.#isStreaming) return false;
    const exportedAs = this.#parts.exportedAs();
    return exportedAs === undefined || exportedAs === this.#notedExport;
  }

  get isStreaming(): boolean {
    return this.#isStreaming;
  }

  /** Bytes of the log that the replica lacks, nearly. */
  get lagBytes(): number {
    const { log } = this.#parts;
    const unsent = this.#next === 0 || log.usage.lastSequence >= this.#next ? this.#unsentBytes() : 0;
    return this.#sentBytes - this.#gotBytes + unsent;
  }

  #unsentBytes(): number {
    const { lastSequence, uploadedSequence, dirtyBytes } = this.#parts.log.usage;
    const dirty = lastSequence - uploadedSequence;
    if (dirty <= 0) return 0;
    return Math.round((dirtyBytes * Math.min(dirty, lastSequence - Math.max(this.#next - 1, 0))) / dirty);
  }

  /** The replica told where its log ends. `stamp`: of the asking that it has answered last, where it tells that. */
  position(position: ReplicaPosition, stamp = this.#stamp): void {
    const { link, log, volumeId } = this.#parts;
    // An answer to an older one is of what was told then.
    if (stamp >= this.#toldSince) this.#notedExport = this.#toldExport;
    this.isWhole = position.isWhole;
    if (this.#isStreaming || this.#isEnded) return;
    const { lastSequence, uploadedSequence } = log.usage;
    const incarnations = log.incarnations.map(plain);
    const firstSequence = this.#firstSequence(position.received + 1);
    if (firstSequence === undefined) return;
    const { from, anew } = continuation(position, {
      ...{ incarnations, lastSequence, uploadedSequence, firstSequence },
    });
    const incarnation = incarnationAt(incarnations, from);
    if (incarnation === undefined) return;
    // One that begins anew is whole no more: it is told again when it has everything.
    if (anew) this.isWhole = false;
    this.#next = from;
    this.#incarnation = incarnation.incarnation;
    this.#syncWanted = 0;
    this.#syncAsked = 0;
    this.received = anew ? from - 1 : Math.min(position.received, from - 1);
    this.synced = anew ? from - 1 : Math.min(position.synced, this.received);
    this.#sent = [];
    this.#gotBytes = this.#sentBytes;
    this.#isStreaming = true;
    link.send({ kind: 'from', volumeId, from, anew, incarnation });
    this.#parts.onStreaming();
    this.#parts.onGot();
    this.pump();
  }

  /** Of the oldest record that is there, as far as one asks for older ones; undefined when the log can't be read. */
  #firstSequence(wanted: number): number | undefined {
    const { lastSequence, uploadedSequence } = this.#parts.log.usage;
    const kept = this.#records(uploadedSequence + 1, 1);
    if (kept === undefined) return undefined;
    const oldest = kept[0]?.sequence ?? lastSequence + 1;
    if (wanted >= oldest) return oldest;
    // What is uploaded may be in the files still.
    const older = this.#records(wanted, 1);
    return older === undefined ? undefined : older[0]?.sequence === wanted ? wanted : oldest;
  }

  /** What can't be read ends the sender; who appends, and who hears of the replica, has no part in it. */
  #records(from: number, bytesMax: number): SentRecord[] | undefined {
    try {
      return this.#parts.log.sent(from, bytesMax);
    } catch (error) {
      this.end();
      this.#parts.onUnreadable(toSgwError(error));
      return undefined;
    }
  }

  /** Sends what there is, as far as the windows allow. Called whenever there may be more. */
  pump(): void {
    if (!this.#isStreaming || this.#isEnded || this.#isPumping) return;
    this.#sendAll();
    this.#askToSync();
  }

  #sendAll(): void {
    const { link, log, volumeId } = this.#parts;
    while (log.usage.lastSequence >= this.#next) {
      if (this.#sentBytes - this.#gotBytes >= WINDOW_BYTES) return;
      if (link.waitingBytes >= SOCKET_BYTES) {
        this.#pumpLater();
        return;
      }
      const records = this.#records(this.#next, BATCH_BYTES);
      if (records === undefined) return;
      const [first] = records;
      // Its file is used again, since the store has it: where the replica goes on is asked anew.
      if (first?.sequence !== this.#next) {
        this.open();
        return;
      }
      this.#send(volumeId, records);
    }
  }

  #pumpLater(): void {
    this.#isPumping = true;
    void this.#parts.link.drained(SOCKET_BYTES / 2).then(() => {
      this.#isPumping = false;
      this.pump();
    });
  }

  #send(volumeId: VolumeId, records: readonly SentRecord[]): void {
    const { link, log } = this.#parts;
    for (let at = 0; at < records.length;) {
      const { incarnation = '', sequence = 0 } = records[at] ?? {};
      if (incarnation !== this.#incarnation) {
        const begun = log.incarnations.find((one) => one.incarnation === incarnation);
        if (begun === undefined) break;
        this.#incarnation = incarnation;
        link.send({ kind: 'from', volumeId, from: sequence, anew: false, incarnation: plain(begun) });
      }
      let end = at;
      while (end < records.length && records[end]?.incarnation === incarnation) end += 1;
      const part = records.slice(at, end);
      link.send({ kind: 'records', volumeId, records: part });
      for (const { body, pages } of part) this.#sentBytes += body.length + pages.length;
      this.#next = (part.at(-1)?.sequence ?? sequence) + 1;
      this.#sent.push({ sequence: this.#next - 1, bytes: this.#sentBytes });
      at = end;
    }
  }

  /** The replica told what it has. */
  got(received: number, synced: number): void {
    this.received = Math.max(this.received, received);
    this.synced = Math.max(this.synced, synced);
    let count = 0;
    for (const { sequence, bytes } of this.#sent) {
      if (sequence > received) break;
      this.#gotBytes = bytes;
      count += 1;
    }
    if (count > 0) this.#sent.splice(0, count);
    this.#parts.onGot();
    this.pump();
  }

  /** Asks for everything up to `sequence` to be durable there, once it was sent. */
  sync(sequence: number): void {
    if (!this.#isStreaming || sequence <= this.#syncWanted) return;
    this.#syncWanted = sequence;
    this.#askToSync();
  }

  #askToSync(): void {
    const sequence = Math.min(this.#syncWanted, this.#next - 1);
    if (!this.#isStreaming || sequence <= this.#syncAsked || sequence <= this.synced) return;
    this.#syncAsked = sequence;
    this.link.send({ kind: 'sync', volumeId: this.#parts.volumeId, sequence });
  }

  /** Records are there that it has not told to have, or it has not even told where it ends. */
  get lacksRecords(): boolean {
    return !this.#isStreaming || this.received < this.#parts.log.usage.lastSequence;
  }

  /** What is to be durable there is not yet. */
  get lacksSync(): boolean {
    return this.synced < this.#syncWanted;
  }

  uploaded(sequence: number): void {
    if (this.#isStreaming) this.link.send({ kind: 'uploaded', volumeId: this.#parts.volumeId, sequence });
  }

  /** Everything that was acknowledged is there. */
  tellWhole(): void {
    this.link.send({ kind: 'whole', volumeId: this.#parts.volumeId, sequence: this.received });
  }

  /** It refuses: nothing is sent before it is asked again. */
  pause(): void {
    this.#isStreaming = false;
  }

  end(): void {
    this.#isEnded = true;
    this.#isStreaming = false;
  }
}

/** As it is sent: without what only the files here say. */
const plain = ({ incarnation, epoch, baseSeq, uploadedSequence, firstSequence }: Incarnation): Incarnation => ({
  ...{ incarnation, epoch, baseSeq, uploadedSequence, firstSequence },
});

/** The incarnation that a record is of, or would be. */
function incarnationAt(incarnations: readonly Incarnation[], sequence: number): Incarnation | undefined {
  return incarnations.findLast(({ firstSequence }) => firstSequence <= sequence);
}
