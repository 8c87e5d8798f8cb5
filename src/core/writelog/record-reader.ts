/** Reads records back from the files of an open log. @see WriteLog.records */
import { SgwError } from '../kit/index.ts';
import { LOG_PAGE_BYTES, type LogRecord, type SentRecord } from './contract.ts';
import { decodeExtents } from './extents.ts';
import { decodeEntry, ENTRY_FIXED_BYTES, type Entry } from './format.ts';
import type { RingFile } from './ring-file.ts';
import type { Ring } from './ring.ts';

const page = Buffer.allocUnsafe(LOG_PAGE_BYTES);

/** The header of a record that the ring holds; `page` is valid until the next call. */
function readEntry(file: RingFile, sequence: number): Entry {
  file.handle.readSync(page, file.startOf(sequence) * LOG_PAGE_BYTES);
  return entryIn(page, file, sequence);
}

/** What the header page of a record says, if it is that record's. */
function entryIn(header: Buffer, file: RingFile, sequence: number): Entry {
  const entry = decodeEntry(header);
  if (entry?.sequence !== sequence || entry.page !== file.startOf(sequence) || entry.generation !== file.generation)
    throw damaged(file, sequence);
  return entry;
}

function damaged(file: RingFile, sequence: number): SgwError {
  return new SgwError(
    'corrupt',
    'log-damaged',
    `record ${sequence} of the write log is damaged in ${file.handle.name}`,
    {
      hint: 'The disk gave other bytes than were written. Check it, and restore what was not uploaded.',
      details: { file: file.handle.name, sequence },
    },
  );
}

export function readRecord(file: RingFile, sequence: number): LogRecord {
  const entry = readEntry(file, sequence);
  const extents = decodeExtents(entry, page, file.firstSlot + entry.page + 1);
  if (extents === undefined) throw damaged(file, sequence);
  return {
    sequence,
    incarnation: entry.incarnation,
    extents,
    logBytes: (1 + entry.dataPages) * LOG_PAGE_BYTES,
    appendedMs: entry.appendedMs,
    flushedBehind: file.isFlushedBehind(sequence),
  };
}

/** When a record was appended. */
export function appendedMs(file: RingFile, sequence: number): number {
  return readEntry(file, sequence).appendedMs;
}

/** Records from `from` to `last`, at least one where there is one, until they have `logBytesMax`. */
export function readRecords(ring: Ring, from: number, last: number, logBytesMax: number): LogRecord[] {
  const records: LogRecord[] = [];
  let logBytes = 0;
  for (let sequence = from; sequence <= last; sequence++) {
    const file = ring.holding(sequence);
    if (file === undefined) break;
    const record = readRecord(file, sequence);
    logBytes += record.logBytes;
    if (records.length > 0 && logBytes > logBytesMax) break;
    records.push(record);
  }
  return records;
}

/** As `readRecords`, as they are sent to a replica. Records that are in one file are read with one call. */
export function readSent(ring: Ring, from: number, last: number, bytesMax: number): SentRecord[] {
  const records: SentRecord[] = [];
  let bytes = 0;
  for (let sequence = from; sequence <= last;) {
    const file = ring.holding(sequence);
    if (file === undefined) break;
    const end = runEnd(file, sequence, Math.min(last, file.lastSequence), bytesMax - bytes, records.length === 0);
    if (end === sequence) break;
    bytes += readRun(file, sequence, end, records);
    sequence = end;
  }
  return records;
}

/** Page behind a record, and the notes that may follow it. */
const endOf = (file: RingFile, sequence: number): number =>
  sequence < file.lastSequence ? file.startOf(sequence + 1) : file.nextPage;

/**
 * One above the last record of a file, from `from` on and up to `last`, that fits into `bytesMax`; the first one always does, if
 * it must.
 */
function runEnd(file: RingFile, from: number, last: number, bytesMax: number, hasFirst: boolean): number {
  const pagesMax = file.startOf(from) + bytesMax / LOG_PAGE_BYTES;
  let end = hasFirst ? from + 1 : from;
  while (end <= last && endOf(file, end) <= pagesMax) end += 1;
  return end;
}

/** Appends the records `from` to `end` - 1, all of one file, to `records`; returns the bytes that were read. */
function readRun(file: RingFile, from: number, end: number, records: SentRecord[]): number {
  const start = file.startOf(from);
  const run = Buffer.allocUnsafe((endOf(file, end - 1) - start) * LOG_PAGE_BYTES);
  file.handle.readSync(run, start * LOG_PAGE_BYTES);
  for (let sequence = from; sequence < end; sequence++) {
    const at = (file.startOf(sequence) - start) * LOG_PAGE_BYTES;
    const header = run.subarray(at, at + LOG_PAGE_BYTES);
    const { incarnation, epoch, appendedMs, flushedSequence, uploadedSequence, extentCount, dataPages, usedBytes } =
      entryIn(header, file, sequence);
    const pagesAt = at + LOG_PAGE_BYTES;
    records.push({
      sequence,
      incarnation,
      epoch,
      appendedMs,
      flushedSequence,
      uploadedSequence,
      extentCount,
      body: header.subarray(ENTRY_FIXED_BYTES, usedBytes),
      pages: run.subarray(pagesAt, pagesAt + dataPages * LOG_PAGE_BYTES),
    });
  }
  return run.length;
}
