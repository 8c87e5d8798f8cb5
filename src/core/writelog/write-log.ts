/**
 * The open write log: the contract over the appender, the syncer, the ring of files, the page index and the map of zeroes.
 *
 * States: **writing**; **failed** after a write or sync that failed (lookups, reads and uploads go on, nothing is appended
 * or flushed any more); **read-only** where damage was found or nothing was begun; **closed**.
 */
import { assert, SgwError, toSgwError } from '../kit/index.ts';
import type { Appender } from './appender.ts';
import {
  FULL_MASK,
  LOG_PAGE_BYTES,
  LOG_SECTOR_BYTES,
  NOT_IN_LOG,
  ZERO_IN_LOG,
  type Incarnation,
  type LogRecord,
  type LogUsage,
  type SentRecord,
  type Slot,
  type WriteLog,
} from './contract.ts';
import { nameBytesPadded } from './extents.ts';
import { BARRIER_NAME_BYTES_MAX, EXTENT_BYTES } from './format.ts';
import { PAGES_MAX } from './page-index.ts';
import { appendedMs, readRecords, readSent } from './record-reader.ts';
import type { RingFile } from './ring-file.ts';
import type { Ring } from './ring.ts';
import type { RoomQueue } from './room.ts';
import type { Syncer } from './syncer.ts';
import type { VolumePages } from './volume-pages.ts';

export interface LogParts {
  readonly ring: Ring;
  readonly appender: Appender;
  readonly syncer: Syncer;
  readonly pages: VolumePages;
  readonly waiting: RoomQueue;
  readonly incarnations: readonly Incarnation[];
  readonly incarnation: Incarnation | null;
  readonly damage: string | null;
}

const SECTORS = LOG_PAGE_BYTES / LOG_SECTOR_BYTES;

export class FileWriteLog implements WriteLog {
  readonly incarnations: readonly Incarnation[];
  readonly incarnation: Incarnation | null;
  readonly damage: string | null;
  onRecycle: WriteLog['onRecycle'];
  readonly #ring: Ring;
  readonly #appender: Appender;
  readonly #syncer: Syncer;
  readonly #pages: VolumePages;
  readonly #waiting: RoomQueue;
  /** Of all live files but the current one, as long as those are the same. */
  #dirtyBefore = { generation: -1, uploadedSequence: -1, pages: 0 };
  #oldestDirty: { readonly sequence: number; readonly atMs: number } | undefined;
  #closing: Promise<void> | undefined;

  constructor(parts: LogParts) {
    this.#ring = parts.ring;
    this.#appender = parts.appender;
    this.#syncer = parts.syncer;
    this.#pages = parts.pages;
    this.#waiting = parts.waiting;
    this.incarnations = parts.incarnations;
    this.incarnation = parts.incarnation;
    this.damage = parts.damage;
  }

  get onAppended(): WriteLog['onAppended'] {
    return this.#appender.onAppended;
  }

  set onAppended(told: WriteLog['onAppended']) {
    this.#appender.onAppended = told;
  }

  get failure(): SgwError | undefined {
    return this.#appender.failure;
  }

  get usage(): LogUsage {
    const { lastSequence, uploadedSequence, flushedSequence } = this.#appender.position;
    return {
      capacityBytes: this.#ring.capacityBytes,
      dirtyBytes: this.#dirtyPages() * LOG_PAGE_BYTES,
      lastSequence,
      uploadedSequence,
      flushedSequence,
      oldestDirtyMs: this.#oldestDirtyMs(),
    };
  }

  get wholeBytesMax(): number {
    return this.#appender.wholePagesMax * LOG_PAGE_BYTES;
  }

  #dirtyPages(): number {
    const { live } = this.#ring;
    const current = live.at(-1);
    if (current === undefined) return 0;
    const { uploadedSequence } = this.#appender.position;
    const before = this.#dirtyBefore;
    if (before.generation !== current.generation || before.uploadedSequence !== uploadedSequence) {
      let pages = 0;
      for (const file of live) if (file !== current) pages += file.pagesAbove(uploadedSequence);
      this.#dirtyBefore = { generation: current.generation, uploadedSequence, pages };
    }
    return this.#dirtyBefore.pages + current.pagesAbove(uploadedSequence);
  }

  #oldestDirtyMs(): number | null {
    const { lastSequence, uploadedSequence } = this.#appender.position;
    const sequence = uploadedSequence + 1;
    if (sequence > lastSequence) return this.#appender.openedMs ?? null;
    if (this.#oldestDirty?.sequence !== sequence) {
      const file = this.#ring.holding(sequence);
      if (file === undefined) return null;
      this.#oldestDirty = { sequence, atMs: appendedMs(file, sequence) };
    }
    return this.#oldestDirty.atMs;
  }

  // Not async: the promise of a group is the same one for all its callers.
  append(firstPage: number, data: Buffer): Promise<void> {
    return this.#appendPages(firstPage, data, false);
  }

  appendWhole(firstPage: number, data: Buffer): Promise<void> {
    assert(data.length <= this.wholeBytesMax, `a record holds ${data.length} bytes`);
    return this.#appendPages(firstPage, data, true);
  }

  #appendPages(firstPage: number, data: Buffer, isWhole: boolean): Promise<void> {
    const pageCount = data.length / LOG_PAGE_BYTES;
    assert(Number.isInteger(pageCount) && pageCount > 0, `${data.length} bytes are whole pages`);
    assert(firstPage >= 0 && firstPage + pageCount <= PAGES_MAX, `page ${firstPage} can be in a log`);
    return this.#appending(pageCount, () => {
      for (let done = 0; done < pageCount;) {
        const count = Math.min(pageCount - done, this.#appender.reserve(EXTENT_BYTES, isWhole ? pageCount : 1));
        const piece =
          count === pageCount ? data : data.subarray(done * LOG_PAGE_BYTES, (done + count) * LOG_PAGE_BYTES);
        this.#appender.builder.addPages(firstPage + done, piece, isWhole);
        const slot = this.#appender.takePages(count);
        this.#pages.written(firstPage + done, count, FULL_MASK, slot, this.#appender.file);
        done += count;
      }
    });
  }

  appendSectors(page: number, mask: number, bytes: Buffer): Promise<void> {
    assert(bytes.length === LOG_PAGE_BYTES, 'sectors come in a whole page');
    assert(mask > 0 && mask <= FULL_MASK && page >= 0 && page < PAGES_MAX, `mask ${mask} of page ${page}`);
    if (mask === FULL_MASK) return this.append(page, bytes);
    return this.#appending(1, () => {
      const merged = this.#merged(page, mask, bytes);
      this.#appender.reserve(EXTENT_BYTES, 1);
      if (merged.mask === FULL_MASK) this.#appender.builder.addPages(page, merged.bytes);
      else this.#appender.builder.addSectors(page, merged.mask, merged.bytes);
      this.#pages.written(page, 1, merged.mask, this.#appender.takePages(1), this.#appender.file);
    });
  }

  /** Lays the sectors over what the log has of the page. */
  #merged(page: number, mask: number, bytes: Buffer): { readonly mask: number; readonly bytes: Buffer } {
    const slot = this.#pages.lookup(page);
    if (slot === NOT_IN_LOG) return { mask, bytes };
    const merged = Buffer.allocUnsafe(LOG_PAGE_BYTES);
    if (slot === ZERO_IN_LOG) merged.fill(0);
    else this.readSlots(slot, merged);
    for (let sector = 0; sector < SECTORS; sector++) {
      if ((mask & (1 << sector)) === 0) continue;
      bytes.copy(merged, sector * LOG_SECTOR_BYTES, sector * LOG_SECTOR_BYTES, (sector + 1) * LOG_SECTOR_BYTES);
    }
    return { mask: slot === ZERO_IN_LOG ? FULL_MASK : mask | this.#pages.maskOf(page), bytes: merged };
  }

  appendZeroes(firstPage: number, pageCount: number): Promise<void> {
    assert(firstPage >= 0 && pageCount > 0 && firstPage + pageCount <= PAGES_MAX, `${pageCount} pages of zeroes`);
    return this.#appending(0, () => {
      this.#appender.reserve(EXTENT_BYTES, 0);
      this.#appender.builder.addZeroes(firstPage, pageCount);
      this.#pages.zeroed(firstPage, firstPage + pageCount, this.#appender.openSequence);
    });
  }

  appendResize(sizeBytes: number): Promise<void> {
    assert(sizeBytes >= 0 && sizeBytes <= PAGES_MAX * LOG_PAGE_BYTES, `a volume of ${sizeBytes} bytes`);
    return this.#appending(0, () => {
      this.#appender.reserve(EXTENT_BYTES, 0);
      this.#appender.builder.addResize(sizeBytes);
      this.#pages.resized(sizeBytes, this.#appender.openSequence);
    });
  }

  async appendBarrier(name: string): Promise<number> {
    const bytes = Buffer.from(name);
    assert(bytes.length <= BARRIER_NAME_BYTES_MAX, `the name of a barrier has ${bytes.length} bytes`);
    let sequence = 0;
    await this.#appending(0, () => {
      this.#appender.reserve(EXTENT_BYTES + nameBytesPadded(bytes.length), 0);
      this.#appender.builder.addBarrier(bytes);
      sequence = this.#appender.openSequence;
      this.#appender.commit();
    });
    return sequence;
  }

  #appending(dataPages: number, add: () => void): Promise<void> {
    try {
      if (this.#appender.failure !== undefined) throw this.#appender.failure;
      if (!this.#hasRoomFor(dataPages)) {
        throw new SgwError('exhausted', 'log-full', `the write log has no room for ${dataPages} pages`, {
          hint: 'It has again when some of it is uploaded; or give the volume a larger buffer.',
        });
      }
      add();
    } catch (error) {
      return Promise.reject(toSgwError(error));
    }
    return this.#appender.group();
  }

  async flush(): Promise<void> {
    return this.#syncer.flush();
  }

  #hasRoomFor(dataPages: number): boolean {
    return this.#appender.roomPages >= Math.max(1, dataPages);
  }

  hasRoom(bytes: number): boolean {
    return this.#appender.failure === undefined && this.#hasRoomFor(Math.ceil(bytes / LOG_PAGE_BYTES));
  }

  async room(bytes: number, signal?: AbortSignal): Promise<void> {
    const pages = Math.max(1, Math.ceil(bytes / LOG_PAGE_BYTES));
    if (this.#appender.failure !== undefined) throw this.#appender.failure;
    if (this.#waiting.wantedPages === 0 && this.#hasRoomFor(pages)) return;
    if (pages > this.#ring.dataPagesMax) {
      throw new SgwError('exhausted', 'log-too-small', `the write log can never have room for ${pages} pages at once`, {
        hint: 'Give the volume a larger buffer.',
      });
    }
    const waiting = this.#waiting.wait(pages, signal);
    this.#ring.want(this.#waiting.wantedPages);
    this.roomChanged();
    await waiting;
  }

  /** There may be more room, or none any more. */
  roomChanged(): void {
    const { failure, position } = this.#appender;
    if (failure !== undefined) {
      this.#waiting.fail(failure);
      return;
    }
    this.#waiting.serve(this.#appender.roomPages);
    this.#ring.want(this.#waiting.wantedPages);
    // With nothing to upload no file will ever become free.
    const { problem } = this.#ring;
    if (problem !== undefined && position.uploadedSequence >= position.lastSequence) this.#waiting.fail(problem);
  }

  lookup(page: number): Slot {
    return this.#pages.lookup(page);
  }

  maskOf(page: number): number {
    return this.#pages.maskOf(page);
  }

  nextPage(page: number, toPage: number): number | undefined {
    return this.#pages.next(page, Math.min(toPage, PAGES_MAX));
  }

  runLength(page: number, countMax: number): number {
    return this.#pages.runLength(page, countMax);
  }

  readSlots(slot: Slot, target: Buffer, skip = 0): void {
    if (this.#appender.isOpenSlot(slot)) this.#appender.commit();
    if (this.#appender.readLost(slot, target, skip)) return;
    const file = this.#ring.fileOf(slot);
    try {
      file.handle.readSync(target, (slot - file.firstSlot) * LOG_PAGE_BYTES + skip);
    } catch (error) {
      throw toSgwError(error);
    }
  }

  placeOf(slot: Slot): { readonly path: string; readonly position: number } {
    if (this.#appender.isOpenSlot(slot)) this.#appender.commit();
    const file = this.#ring.fileOf(slot);
    assert(file.handle.path !== undefined, 'the log is in files that have a path');
    return { path: file.handle.path, position: (slot - file.firstSlot) * LOG_PAGE_BYTES };
  }

  records(fromSequence: number, logBytesMax: number): LogRecord[] {
    this.#appender.commit();
    return readRecords(this.#ring, fromSequence, this.#appender.position.lastSequence, logBytesMax);
  }

  sent(fromSequence: number, bytesMax: number): SentRecord[] {
    this.#appender.commit();
    try {
      return readSent(this.#ring, fromSequence, this.#appender.position.lastSequence, bytesMax);
    } catch (error) {
      throw toSgwError(error);
    }
  }

  uploaded(sequence: number): void {
    const { position } = this.#appender;
    assert(
      sequence <= position.lastSequence,
      `record ${sequence} is in the log, which ends at ${position.lastSequence}`,
    );
    if (sequence <= position.uploadedSequence) return;
    position.uploadedSequence = sequence;
    this.#pages.uploaded(sequence);
    this.#ring.release(sequence);
  }

  /** A file that was used is used again, or removed. */
  recycle(file: RingFile): void {
    this.onRecycle?.(this.#pages.newestIn(file));
    this.#pages.forget(file);
  }

  async resize(capacityBytes: number): Promise<void> {
    this.#ring.setCapacity(capacityBytes);
    this.roomChanged();
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const closed = new SgwError('aborted', 'log-closed', 'the write log is closed');
    try {
      if (this.#appender.failure !== undefined) return;
      await this.#syncer.flush();
      this.#waiting.fail(closed);
      // The note tells the next opening that everything before it was durable.
      if (this.#appender.file.pagesLeft > 0) this.#appender.note('end');
      await this.#syncer.sync();
    } finally {
      this.#waiting.fail(closed);
      this.#appender.fail(closed);
      await this.#ring.close();
    }
  }
}
