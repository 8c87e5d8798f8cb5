/** Reads records back from the files of an open log. @see WriteLog.records */
import { SgwError } from '../kit/index.ts';
import { LOG_PAGE_BYTES, type LogRecord } from './contract.ts';
import { decodeExtents } from './extents.ts';
import { decodeEntry, type Entry } from './format.ts';
import type { RingFile } from './ring-file.ts';
import type { Ring } from './ring.ts';

const page = Buffer.allocUnsafe(LOG_PAGE_BYTES);

/** The header of a record that the ring holds; `page` is valid until the next call. */
function readEntry(file: RingFile, sequence: number): Entry {
  const start = file.startOf(sequence);
  file.handle.readSync(page, start * LOG_PAGE_BYTES);
  const entry = decodeEntry(page);
  if (entry?.sequence !== sequence || entry.page !== start || entry.generation !== file.generation) {
    throw damaged(file, sequence);
  }
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
