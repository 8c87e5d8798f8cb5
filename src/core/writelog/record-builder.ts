/**
 * The record that is being put together: its header in a page that is used again and again, and the callers' buffers, which
 * are written from where they are. Knows nothing of files.
 */
import { putU64, viewOf } from '../kit/index.ts';
import { crc32 } from 'node:zlib';
import { FULL_MASK, LOG_PAGE_BYTES } from './contract.ts';
import { nameBytesPadded } from './extents.ts';
import {
  CHECKSUM_BYTES,
  encodeEntryFields,
  ENTRY_FIXED_BYTES,
  EXTENT_BYTES,
  EXTENT_KINDS,
  sealEntry,
  type EntryFields,
} from './format.ts';

const CHECKSUMS_MAX = (LOG_PAGE_BYTES - ENTRY_FIXED_BYTES - EXTENT_BYTES) / CHECKSUM_BYTES;

/** Data pages of one extent that a record has room for in a file of `pageCount` pages, of which the first is its header. */
export const recordPagesMax = (pageCount: number): number => Math.min(CHECKSUMS_MAX, pageCount - 2);

/** Data pages that fit into so many consecutive pages of a file, in as few records as possible. */
export const usablePages = (pages: number): number => pages - Math.ceil(pages / (CHECKSUMS_MAX + 1));

export class RecordBuilder {
  readonly #header = Buffer.alloc(LOG_PAGE_BYTES);
  readonly #view = viewOf(this.#header);
  readonly #checksums = new Uint32Array(CHECKSUMS_MAX);
  #pieces: Uint8Array[] = [];
  #dataPages = 0;
  #extentCount = 0;
  /** Where the next extent goes. */
  #at = ENTRY_FIXED_BYTES;
  /** Page behind the last extent where that is one of whole pages and may go on. */
  #nextPage = -1;

  get dataPages(): number {
    return this.#dataPages;
  }

  get isEmpty(): boolean {
    return this.#extentCount === 0;
  }

  /** Data pages that fit into the header behind one more extent. */
  get dataPagesLeft(): number {
    const bytes = LOG_PAGE_BYTES - this.#at - EXTENT_BYTES - this.#dataPages * CHECKSUM_BYTES;
    return Math.floor(bytes / CHECKSUM_BYTES);
  }

  /** Bytes that the header still has for extents without data. */
  get headerBytesLeft(): number {
    return LOG_PAGE_BYTES - this.#at - this.#dataPages * CHECKSUM_BYTES;
  }

  /** Begins a record. */
  begin(): void {
    this.#pieces = [this.#header];
    this.#dataPages = 0;
    this.#extentCount = 0;
    this.#at = ENTRY_FIXED_BYTES;
    this.#nextPage = -1;
  }

  #extent(page: number, kind: number, mask: number, count: number): void {
    const view = this.#view;
    const at = this.#at;
    view.setUint32(at, page >>> 0, true);
    view.setUint16(at + 4, Math.floor(page / 0x1_0000_0000), true);
    view.setUint8(at + 6, kind);
    view.setUint8(at + 7, mask);
    putU64(view, at + 8, count);
    this.#at = at + EXTENT_BYTES;
    this.#extentCount += 1;
    this.#nextPage = -1;
  }

  /** Whole pages: as many as `data` has. Neighbours become one extent, unless these are to be one by themselves. */
  addPages(firstPage: number, data: Buffer, isAlone = false): void {
    const count = data.length / LOG_PAGE_BYTES;
    if (firstPage === this.#nextPage && !isAlone) {
      const countAt = this.#at - 8;
      this.#view.setUint32(countAt, this.#view.getUint32(countAt, true) + count, true);
    } else this.#extent(firstPage, EXTENT_KINDS.pages, FULL_MASK, count);
    this.#nextPage = isAlone ? -1 : firstPage + count;
    this.#pieces.push(data);
    if (count === 1) {
      this.#checksums[this.#dataPages++] = crc32(data);
      return;
    }
    for (let at = 0; at < data.length; at += LOG_PAGE_BYTES) {
      this.#checksums[this.#dataPages++] = crc32(data.subarray(at, at + LOG_PAGE_BYTES));
    }
  }

  addSectors(page: number, mask: number, bytes: Buffer): void {
    this.#extent(page, EXTENT_KINDS.sectors, mask, 1);
    this.#checksums[this.#dataPages++] = crc32(bytes);
    this.#pieces.push(bytes);
  }

  addZeroes(firstPage: number, pageCount: number): void {
    this.#extent(firstPage, EXTENT_KINDS.zeroes, 0, pageCount);
  }

  addResize(sizeBytes: number): void {
    this.#extent(0, EXTENT_KINDS.resize, 0, sizeBytes);
  }

  addBarrier(name: Buffer): void {
    this.#extent(0, EXTENT_KINDS.barrier, 0, name.length);
    this.#header.fill(0, this.#at, this.#at + nameBytesPadded(name.length));
    name.copy(this.#header, this.#at);
    this.#at += nameBytesPadded(name.length);
  }

  /** Completes the header. Returns its checksum and what to write: the header and the data. */
  seal(fields: Omit<EntryFields, 'kind' | 'dataPages' | 'extentCount'>): {
    readonly checksum: number;
    readonly pieces: Uint8Array[];
  } {
    encodeEntryFields(this.#header, this.#view, {
      ...fields,
      kind: 'record',
      dataPages: this.#dataPages,
      extentCount: this.#extentCount,
    });
    let at = this.#at;
    for (let i = 0; i < this.#dataPages; i++, at += CHECKSUM_BYTES) {
      this.#view.setUint32(at, this.#checksums[i] ?? 0, true);
    }
    // What a longer record before left here means nothing, but would be confusing to look at.
    this.#header.fill(0, at);
    return { checksum: sealEntry(this.#header, this.#view, at), pieces: this.#pieces };
  }
}
