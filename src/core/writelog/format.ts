/**
 * The bytes of the write log's files: the page at the start of each file, and the header page of each entry (records and
 * notes). No I/O here. Integers are little-endian; those of 8 bytes are below 2^53.
 * @see docs/formats/writelog.md
 */
import { getU64, putU64, viewOf } from '../kit/index.ts';
import { crc32 } from 'node:zlib';
import { certain } from './certain.ts';
import { LOG_PAGE_BYTES, type Incarnation, type SentRecord } from './contract.ts';

const FILE_MAGIC = Buffer.from('SGWLGF1\n');
const ENTRY_MAGIC = Buffer.from('SGWLGR1\n');

/** Where incarnations begin in a file's first page, and the bytes of each. */
const FILE_FIXED_BYTES = 80;
const INCARNATION_BYTES = 56;
/** As many as a file's first page tells of. */
export const INCARNATIONS_MAX = 64;
/** Where extents begin in the header of a record, and the particulars in that of a note. */
export const ENTRY_FIXED_BYTES = 112;
export const EXTENT_BYTES = 16;
export const CHECKSUM_BYTES = 4;
const NOTE_BYTES = 40;
const ID_BYTES = 16;

export const ENTRY_KINDS = { record: 1, begin: 2, end: 3 } as const;
export type EntryKind = keyof typeof ENTRY_KINDS;

export const EXTENT_KINDS = { pages: 1, sectors: 2, zeroes: 3, resize: 4, barrier: 5 } as const;

/** The longest name of a barrier, in bytes of UTF-8. */
export const BARRIER_NAME_BYTES_MAX = 128;

/** A boot id that says nothing. */
export const UNKNOWN_BOOT = '0'.repeat(2 * ID_BYTES);

/** An incarnation as it is kept in the log: with the boot of the machine that it ran in. */
export interface KeptIncarnation extends Incarnation {
  /** 32 hex digits. */
  readonly bootId: string;
}

export interface FileHeader {
  /** 32 hex digits. */
  readonly logId: string;
  readonly number: number;
  readonly pageCount: number;
  /** Counts the uses of files over the whole log: its files in this order are the log. */
  readonly generation: number;
  /** Of the first record behind it. */
  readonly firstSequence: number;
  /** Checksum of the last entry in the file before; 0 at the very beginning. */
  readonly previousChecksum: number;
  /** Watermarks when it was taken into use. */
  readonly flushedSequence: number;
  readonly uploadedSequence: number;
  /** Those that may have records which are not in the store, in order; the last one took the file into use. */
  readonly incarnations: readonly KeptIncarnation[];
}

/** What the header of every entry says, whatever its kind. */
export interface EntryFields {
  readonly kind: EntryKind;
  readonly logId: string;
  readonly generation: number;
  /** Index of the header's page in its file. */
  readonly page: number;
  /** A record's own; of a note, that of the next record. */
  readonly sequence: number;
  readonly incarnation: string;
  readonly epoch: number;
  readonly previousChecksum: number;
  readonly dataPages: number;
  readonly flushedSequence: number;
  readonly uploadedSequence: number;
  readonly appendedMs: number;
  readonly extentCount: number;
}

export interface Entry extends EntryFields {
  /** Of this header; the next entry repeats it. */
  readonly checksum: number;
  /** Bytes of the page that are used. */
  readonly usedBytes: number;
}

const hex = (bytes: Uint8Array, from: number, length: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + from, length).toString('hex');

function putHex(target: Uint8Array, at: number, text: string): void {
  target.set(Buffer.from(text, 'hex'), at);
}

function startsWith(page: Uint8Array, magic: Uint8Array): boolean {
  for (let i = 0; i < magic.length; i++) if (page[i] !== magic[i]) return false;
  return true;
}

function putIncarnation(view: DataView, bytes: Uint8Array, at: number, incarnation: KeptIncarnation): void {
  putU64(view, at, incarnation.baseSeq);
  putU64(view, at + 8, incarnation.uploadedSequence);
  putU64(view, at + 16, incarnation.firstSequence);
  putHex(bytes, at + 24, incarnation.bootId);
}

function getIncarnation(
  view: DataView,
  bytes: Uint8Array,
  at: number,
): Pick<KeptIncarnation, 'baseSeq' | 'uploadedSequence' | 'firstSequence' | 'bootId'> {
  return {
    baseSeq: getU64(view, at),
    uploadedSequence: getU64(view, at + 8),
    firstSequence: getU64(view, at + 16),
    bootId: hex(bytes, at + 24, ID_BYTES),
  };
}

/** Writes a file's first page into `target`, whose 4096 bytes it changes all. */
export function encodeFileHeader(target: Uint8Array, header: FileHeader): void {
  const view = viewOf(target);
  target.fill(0);
  target.set(FILE_MAGIC, 0);
  view.setUint32(12, header.number, true);
  putHex(target, 16, header.logId);
  putU64(view, 32, header.generation);
  putU64(view, 40, header.firstSequence);
  view.setUint32(48, header.pageCount, true);
  view.setUint32(52, header.previousChecksum, true);
  putU64(view, 56, header.flushedSequence);
  putU64(view, 64, header.uploadedSequence);
  view.setUint32(72, header.incarnations.length, true);
  let at = FILE_FIXED_BYTES;
  for (const incarnation of header.incarnations) {
    putHex(target, at, incarnation.incarnation);
    putU64(view, at + 8, incarnation.epoch);
    putIncarnation(view, target, at + 16, incarnation);
    at += INCARNATION_BYTES;
  }
  view.setUint32(8, crc32(target.subarray(12, at)), true);
}

/** Reads a file's first page; undefined when it is none. */
export function decodeFileHeader(page: Uint8Array): FileHeader | undefined {
  if (!startsWith(page, FILE_MAGIC)) return undefined;
  const view = viewOf(page);
  const count = view.getUint32(72, true);
  if (count === 0 || count > INCARNATIONS_MAX) return undefined;
  if (view.getUint32(8, true) !== crc32(page.subarray(12, FILE_FIXED_BYTES + count * INCARNATION_BYTES))) {
    return undefined;
  }
  const incarnations = Array.from({ length: count }, (_, i): KeptIncarnation => {
    const at = FILE_FIXED_BYTES + i * INCARNATION_BYTES;
    return {
      incarnation: hex(page, at, 8),
      epoch: getU64(view, at + 8),
      ...getIncarnation(view, page, at + 16),
    };
  });
  return {
    number: view.getUint32(12, true),
    logId: hex(page, 16, ID_BYTES),
    generation: getU64(view, 32),
    firstSequence: getU64(view, 40),
    pageCount: view.getUint32(48, true),
    previousChecksum: view.getUint32(52, true),
    flushedSequence: getU64(view, 56),
    uploadedSequence: getU64(view, 64),
    incarnations,
  };
}

/** The incarnation that took a file into use. */
export function newestOf({ incarnations }: Pick<FileHeader, 'incarnations'>): KeptIncarnation {
  return certain(incarnations.at(-1));
}

/** Writes the fixed part of an entry's header; the checksum is put there by `sealEntry`. */
export function encodeEntryFields(target: Uint8Array, view: DataView, fields: EntryFields): void {
  target.set(ENTRY_MAGIC, 0);
  putHex(target, 16, fields.logId);
  putU64(view, 32, fields.generation);
  view.setUint32(40, fields.page, true);
  view.setUint32(44, ENTRY_KINDS[fields.kind], true);
  putU64(view, 48, fields.sequence);
  putHex(target, 56, fields.incarnation);
  putU64(view, 64, fields.epoch);
  view.setUint32(72, fields.previousChecksum, true);
  view.setUint32(76, fields.dataPages, true);
  putU64(view, 80, fields.flushedSequence);
  putU64(view, 88, fields.uploadedSequence);
  putU64(view, 96, fields.appendedMs);
  view.setUint32(104, fields.extentCount, true);
  view.setUint32(108, 0, true);
}

/** Completes an entry's header of `usedBytes` bytes; returns its checksum. */
export function sealEntry(target: Uint8Array, view: DataView, usedBytes: number): number {
  view.setUint32(12, usedBytes, true);
  const checksum = crc32(target.subarray(12, usedBytes));
  view.setUint32(8, checksum, true);
  return checksum;
}

const KIND_NAMES = Object.fromEntries(Object.entries(ENTRY_KINDS).map(([name, value]) => [value, name])) as Record<
  number,
  EntryKind | undefined
>;

/** Reads the header page of an entry; undefined when it is none, or a damaged one. */
export function decodeEntry(page: Uint8Array): Entry | undefined {
  if (!startsWith(page, ENTRY_MAGIC)) return undefined;
  const view = viewOf(page);
  const usedBytes = view.getUint32(12, true);
  if (usedBytes < ENTRY_FIXED_BYTES || usedBytes > page.length) return undefined;
  const checksum = view.getUint32(8, true);
  if (checksum !== crc32(page.subarray(12, usedBytes))) return undefined;
  const kind = KIND_NAMES[view.getUint32(44, true)];
  if (kind === undefined) return undefined;
  return {
    kind,
    logId: hex(page, 16, ID_BYTES),
    generation: getU64(view, 32),
    page: view.getUint32(40, true),
    sequence: getU64(view, 48),
    incarnation: hex(page, 56, 8),
    epoch: getU64(view, 64),
    previousChecksum: view.getUint32(72, true),
    dataPages: view.getUint32(76, true),
    flushedSequence: getU64(view, 80),
    uploadedSequence: getU64(view, 88),
    appendedMs: getU64(view, 96),
    extentCount: view.getUint32(104, true),
    checksum,
    usedBytes,
  };
}

/** Writes the header page of a record that was made elsewhere into `target`, at a place of this log; returns its checksum. */
export function encodeSent(
  target: Buffer,
  record: SentRecord,
  place: Pick<
    EntryFields,
    'logId' | 'generation' | 'page' | 'previousChecksum' | 'flushedSequence' | 'uploadedSequence'
  >,
): number {
  const view = viewOf(target);
  const { sequence, incarnation, epoch, appendedMs, extentCount, body, pages } = record;
  const dataPages = pages.length / LOG_PAGE_BYTES;
  const fields = { kind: 'record', sequence, incarnation, epoch, appendedMs, extentCount, dataPages } as const;
  encodeEntryFields(target, view, { ...fields, ...place });
  const end = ENTRY_FIXED_BYTES + body.copy(target, ENTRY_FIXED_BYTES);
  target.fill(0, end);
  return sealEntry(target, view, end);
}

/** Writes a whole note into `target`; returns its checksum. */
export function encodeNote(target: Uint8Array, fields: EntryFields, incarnation: KeptIncarnation): number {
  const view = viewOf(target);
  target.fill(0);
  encodeEntryFields(target, view, fields);
  putIncarnation(view, target, ENTRY_FIXED_BYTES, incarnation);
  return sealEntry(target, view, ENTRY_FIXED_BYTES + NOTE_BYTES);
}

/** The incarnation that a begin note begins. */
export function decodeBegin(entry: Entry, page: Uint8Array): KeptIncarnation | undefined {
  if (entry.usedBytes < ENTRY_FIXED_BYTES + NOTE_BYTES) return undefined;
  return {
    incarnation: entry.incarnation,
    epoch: entry.epoch,
    ...getIncarnation(viewOf(page), page, ENTRY_FIXED_BYTES),
  };
}
