/**
 * Puts entries into the files, one after the other: the chain of sequences and checksums, group commit, the roll to the next
 * file, and the end of all appending after a failed write.
 *
 * A record is **open** from the first append of a task of the event loop until that task's microtasks run, or until it is
 * full, or somebody needs it in the file; then it is written with one call. What goes into it has its slots at once.
 * After a failed write nothing is appended any more: what was written of the record is overwritten by nobody, and its
 * pages are kept in memory, because lookups know their slots already.
 */
import { certain } from './certain.ts';
import { SgwError, toSgwError, type Clock } from '../kit/index.ts';
import { LOG_PAGE_BYTES, type SentRecord, type Slot } from './contract.ts';
import { encodeFileHeader, encodeNote, encodeSent, type EntryKind, type KeptIncarnation } from './format.ts';
import { RecordBuilder, recordPagesMax, usablePages } from './record-builder.ts';
import type { RingFile } from './ring-file.ts';
import type { Ring } from './ring.ts';

/** What every entry repeats. The watermarks move on; in a replica log so do the incarnations, whenever the holder begins one. */
export interface LogPosition {
  readonly logId: string;
  incarnation: KeptIncarnation;
  /** Those before it that may have records which are not in the store. */
  previousIncarnations: readonly KeptIncarnation[];
  lastSequence: number;
  lastChecksum: number;
  lastGeneration: number;
  flushedSequence: number;
  uploadedSequence: number;
}

type Group = ReturnType<typeof newGroup>;

function newGroup(): {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: SgwError) => void;
} {
  let resolve = (): void => undefined;
  let reject = (_error: SgwError): void => undefined;
  const promise = new Promise<void>((onDone, onFailed) => {
    resolve = onDone;
    reject = onFailed;
  });
  return { promise, resolve, reject };
}

export class Appender {
  readonly builder = new RecordBuilder();
  /** Files with bytes that no sync has covered. */
  readonly unsynced = new Set<RingFile>();
  readonly position: LogPosition;
  /** See `WriteLog.onAppended`. */
  onAppended: ((lastSequence: number) => void) | undefined;
  readonly #ring: Ring;
  readonly #clock: Clock;
  readonly #onFailure: () => void;
  readonly #fileHeader = Buffer.alloc(LOG_PAGE_BYTES);
  readonly #sentHeader = Buffer.alloc(LOG_PAGE_BYTES);
  /** The current file's header is not written yet. */
  #isFileNew = false;
  #isOpen = false;
  #openPage = 0;
  #openedMs = 0;
  #group: Group | undefined;
  #failure: SgwError | undefined;
  #lost: { readonly slot: Slot; readonly bytes: Buffer } | undefined;

  /** `onFailure` is called once, when appending ends. */
  constructor(ring: Ring, position: LogPosition, clock: Clock, onFailure: () => void) {
    this.#ring = ring;
    this.position = position;
    this.#clock = clock;
    this.#onFailure = onFailure;
  }

  /** Why nothing is appended any more. */
  get failure(): SgwError | undefined {
    return this.#failure;
  }

  /** Ends appending for good. The first reason counts. */
  fail(error: SgwError): SgwError {
    if (this.#failure === undefined) {
      this.#failure = error;
      this.#onFailure();
    }
    return this.#failure;
  }

  get file(): RingFile {
    return this.#ring.current;
  }

  /** Of the record that is open, or would be next. */
  get openSequence(): number {
    return this.position.lastSequence + 1;
  }

  /** When the open record was begun; undefined when none is. */
  get openedMs(): number | undefined {
    return this.#isOpen ? this.#openedMs : undefined;
  }

  /**
   * Data pages that an append finds room for: exact, as `reserve` goes about it. It is as exact for an append that has to be in
   * one record, up to `wholePagesMax`: a free file holds any, and without one the rest of this file is the open record's, or
   * has a header less than it has pages.
   */
  get roomPages(): number {
    const left = this.file.pagesLeft;
    const open = this.#isOpen ? Math.min(this.builder.dataPagesLeft, left) : 0;
    return Math.max(0, open) + usablePages(left - Math.max(0, open)) + this.#ring.freeDataPages;
  }

  /** Data pages that a record surely has room for in one extent. */
  get wholePagesMax(): number {
    return recordPagesMax(this.#ring.pageCount);
  }

  /**
   * Sees to it that a record is open that has room in its header for `headerBytes`, and for one more extent with `pagesMin`
   * data pages, unless that is 0. Returns how many that extent can have.
   */
  reserve(headerBytes: number, pagesMin: number): number {
    if (this.#isOpen) {
      const pages = Math.min(this.builder.dataPagesLeft, this.file.pagesLeft);
      if (pagesMin > 0 ? pages >= pagesMin : this.builder.headerBytesLeft >= headerBytes) return pages;
      this.commit();
      if (this.#failure !== undefined) throw this.#failure;
    }
    if (this.file.pagesLeft < 1 + pagesMin) this.#roll();
    this.builder.begin();
    this.#isOpen = true;
    this.#openedMs = this.#clock.nowMs();
    this.#openPage = this.file.nextPage++;
    return Math.min(this.builder.dataPagesLeft, this.file.pagesLeft);
  }

  #roll(): void {
    const { position } = this;
    const file = this.#ring.take(position.lastGeneration + 1, this.openSequence);
    if (file === undefined) throw new SgwError('exhausted', 'log-full', 'the write log has no room left');
    position.lastGeneration += 1;
    encodeFileHeader(this.#fileHeader, {
      logId: position.logId,
      number: file.number,
      pageCount: file.pageCount,
      generation: file.generation,
      firstSequence: this.openSequence,
      previousChecksum: position.lastChecksum,
      flushedSequence: position.flushedSequence,
      uploadedSequence: position.uploadedSequence,
      incarnations: [...position.previousIncarnations, position.incarnation],
    });
    this.#isFileNew = true;
  }

  /** Takes `count` data pages of the open record; returns the slot of the first. */
  takePages(count: number): Slot {
    const { file } = this;
    const slot = file.firstSlot + file.nextPage;
    file.nextPage += count;
    return slot;
  }

  /** The promise of everything appended in this task of the event loop. */
  group(): Promise<void> {
    if (this.#group === undefined) {
      this.#group = newGroup();
      queueMicrotask(() => {
        this.commit();
        const group = certain(this.#group);
        this.#group = undefined;
        if (this.#failure === undefined) {
          this.onAppended?.(this.position.lastSequence);
          group.resolve();
        } else group.reject(this.#failure);
      });
    }
    return this.#group.promise;
  }

  /** Writes the open record, if there is one. Never throws: see `failure`. */
  commit(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    const { position, file } = this;
    const sequence = this.openSequence;
    const { checksum, pieces } = this.builder.seal({
      logId: position.logId,
      generation: file.generation,
      page: this.#openPage,
      sequence,
      incarnation: position.incarnation.incarnation,
      epoch: position.incarnation.epoch,
      previousChecksum: position.lastChecksum,
      flushedSequence: position.flushedSequence,
      uploadedSequence: position.uploadedSequence,
      appendedMs: this.#openedMs,
    });
    if (!this.#write(pieces, this.#openPage)) {
      this.#lost = { slot: file.firstSlot + this.#openPage + 1, bytes: Buffer.concat(pieces.slice(1)) };
      return;
    }
    file.addRecord(sequence, this.#openPage);
    position.lastSequence = sequence;
    position.lastChecksum = checksum;
  }

  /** Writes a record that came as it is, as the next one. @throws exhausted `log-full`; unavailable */
  put(record: SentRecord): void {
    if (this.#failure !== undefined) throw this.#failure;
    const { position } = this;
    const dataPages = record.pages.length / LOG_PAGE_BYTES;
    if (this.file.pagesLeft < 1 + dataPages) this.#roll();
    const { file } = this;
    const page = file.nextPage;
    file.nextPage += 1 + dataPages;
    const { logId, lastChecksum, flushedSequence, uploadedSequence } = position;
    const place = { logId, generation: file.generation, page, previousChecksum: lastChecksum };
    const checksum = encodeSent(this.#sentHeader, record, { ...place, flushedSequence, uploadedSequence });
    const pieces = dataPages === 0 ? [this.#sentHeader] : [this.#sentHeader, record.pages];
    if (!this.#write(pieces, page)) throw this.#failure as unknown as SgwError;
    file.addRecord(record.sequence, page);
    position.lastSequence = record.sequence;
    position.lastChecksum = checksum;
  }

  /** Writes a note as an entry of its own, behind the last one. @throws exhausted; unavailable */
  note(kind: Exclude<EntryKind, 'record'>): void {
    this.commit();
    if (this.#failure !== undefined) throw this.#failure;
    if (this.file.pagesLeft < 1) this.#roll();
    const { position, file } = this;
    const page = file.nextPage++;
    const header = Buffer.alloc(LOG_PAGE_BYTES);
    const checksum = encodeNote(
      header,
      {
        kind,
        logId: position.logId,
        generation: file.generation,
        page,
        sequence: this.openSequence,
        incarnation: position.incarnation.incarnation,
        epoch: position.incarnation.epoch,
        previousChecksum: position.lastChecksum,
        dataPages: 0,
        flushedSequence: position.flushedSequence,
        uploadedSequence: position.uploadedSequence,
        appendedMs: this.#clock.nowMs(),
        extentCount: 0,
      },
      position.incarnation,
    );
    if (!this.#write([header], page)) throw this.#failure as unknown as SgwError;
    position.lastChecksum = checksum;
  }

  /** Begins a file even where the current one has room. */
  roll(): void {
    this.commit();
    this.#roll();
  }

  #write(pieces: Uint8Array[], page: number): boolean {
    const { file } = this;
    try {
      // Marked first: a write that fails may have written something.
      this.unsynced.add(file);
      if (this.#isFileNew) file.handle.writeSync([this.#fileHeader, ...pieces], 0);
      else file.handle.writeSync(pieces, page * LOG_PAGE_BYTES);
      this.#isFileNew = false;
      return true;
    } catch (error) {
      const cause = toSgwError(error);
      this.fail(
        new SgwError(
          cause.kind === 'exhausted' ? 'exhausted' : 'unavailable',
          'log-write-failed',
          `the write log can not be written: ${cause.message}`,
          {
            hint: 'What was acknowledged is kept. Mend the disk, then attach the volume again.',
            details: { file: file.handle.name, errorCode: cause.code },
            cause,
          },
        ),
      );
      return false;
    }
  }

  /** Copies what a failed write did not bring into the file; false when these slots are not of that record. */
  readLost(slot: Slot, target: Buffer, skipBytes: number): boolean {
    const lost = this.#lost;
    if (lost === undefined || slot < lost.slot || slot >= lost.slot + lost.bytes.length / LOG_PAGE_BYTES) return false;
    const from = (slot - lost.slot) * LOG_PAGE_BYTES + skipBytes;
    lost.bytes.copy(target, 0, from, from + target.length);
    return true;
  }

  /** Whether a slot is of the record that is open, so not in the file yet. */
  isOpenSlot(slot: Slot): boolean {
    return (
      this.#isOpen && slot > this.file.firstSlot + this.#openPage && slot < this.file.firstSlot + this.file.nextPage
    );
  }
}
