/**
 * The contract of the write log (DESIGN section 6, PROTOCOL C4, C5, C9, C13): the durable sequence of what a volume
 * acknowledged and its uploader has not yet put into the object store; the upload buffer. Unit: the page of 4096 bytes,
 * with a mask of 512-byte sectors where a write covers part of one.
 */
import type { SgwError } from '../kit/index.ts';

export const LOG_PAGE_BYTES = 4096;
export const LOG_SECTOR_BYTES = 512;
/** Every sector of a page. */
export const FULL_MASK = 0xff;

/** Where a page's bytes are in the log's files: file number * pages per file + page in the file. Always above 0. */
export type Slot = number;
/** `lookup`: the log says nothing of the page, so whatever is below it counts. */
export const NOT_IN_LOG = -1;
/** `lookup`: the page reads as zeroes. */
export const ZERO_IN_LOG = -2;

/** One part of a record, in the order of the volume's writes. */
export type LogExtent =
  /** Whole pages. `slot` is of the first, the others follow it; `checksums` has the CRC-32 of each page. */
  | {
      readonly kind: 'pages';
      readonly firstPage: number;
      readonly pageCount: number;
      readonly slot: Slot;
      readonly checksums: Uint32Array;
    }
  /** Sectors of one page: bit i of `mask` is sector i. The rest of the slot means nothing. */
  | {
      readonly kind: 'sectors';
      readonly page: number;
      readonly mask: number;
      readonly slot: Slot;
      /** CRC-32 of the whole slot. */
      readonly checksum: number;
    }
  /** Pages that read as zeroes: trims and zeroes alike. */
  | { readonly kind: 'zeroes'; readonly firstPage: number; readonly pageCount: number }
  /** The volume's size from here on; shrinking unmaps what lies beyond, and growing again reads zeroes there. */
  | { readonly kind: 'resize'; readonly sizeBytes: number }
  /** A snapshot shows the volume as it is here (C8). */
  | { readonly kind: 'barrier'; readonly name: string };

export interface LogRecord {
  /** From 1; never falls and never has a gap, over all incarnations of this log. */
  readonly sequence: number;
  /** 16 hex digits, new with every opening for writing. */
  readonly incarnation: string;
  readonly extents: readonly LogExtent[];
  /** Bytes that the record takes in the log. */
  readonly logBytes: number;
  /** When it was appended, by the clock's `nowMs`. */
  readonly appendedMs: number;
  /** True when a flush came right behind it: a good end for a segment. */
  readonly flushedBehind: boolean;
}

/** What an opening notes before its first record. */
export interface Incarnation {
  readonly incarnation: string;
  /** The volume's epoch that it writes under. */
  readonly epoch: number;
  /** Seq of the newest data segment in the store when it began. */
  readonly baseSeq: number;
  /** Records up to this sequence were in the store when it began. */
  readonly uploadedSequence: number;
  /** The sequence that its first record has. */
  readonly firstSequence: number;
}

/** What `findLog` found on disk, for `openLog`. Nothing is changed by finding it, and no file is left open. */
export interface FoundLog {
  /** In order; empty for a log that was never begun. */
  readonly incarnations: readonly Incarnation[];
  /** Of the last valid record; 0 when there is none. */
  readonly lastSequence: number;
  /** Records up to here were durable when a later one was written (the flushed watermark). */
  readonly flushedSequence: number;
  /**
   * What was flushed once and is not valid now, or is followed by valid records: damage, not a torn tail (C13).
   * Judged by what the log knows to be in the store; the last word has `WriteLog.damage`.
   */
  readonly damage: string | null;
}

/** Injected files, so that a disk can forget and tear what was not synced. Numbers of bytes; positions in one file. */
export interface LogDisk {
  /** Names the start of the machine: 32 hex digits; zeroes when it is not known. */
  readonly bootId: string;
  /** Names of the files of the log's folder; makes the folder when it is missing. */
  list(): Promise<string[]>;
  /** Opens, and makes a missing file of `sizeBytes`, written with zeroes and synced together with its name. */
  open(name: string, sizeBytes: number): Promise<LogFile>;
  remove(name: string): Promise<void>;
  /** Moves all files to a folder beside it, durably, and returns its path: a log that was overtaken (C4). */
  setAside(reason: string): Promise<string>;
}

export interface LogFile {
  readonly name: string;
  readonly sizeBytes: number;
  /** For the worker threads that read pages by themselves; undefined where there is no such file. */
  readonly path: string | undefined;
  /** Reads exactly `target.length` bytes. */
  readSync(target: Uint8Array, position: number): void;
  /** Writes all of `pieces`, one after the other: in the kernel's page cache when it returns. */
  writeSync(pieces: readonly Uint8Array[], position: number): void;
  /** `fdatasync`. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface LogUsage {
  readonly capacityBytes: number;
  /** Of records that are not in the store yet, with their headers. */
  readonly dirtyBytes: number;
  readonly lastSequence: number;
  readonly uploadedSequence: number;
  readonly flushedSequence: number;
  /** When the oldest record that is not in the store was appended, by the clock's `nowMs`; null when all are. */
  readonly oldestDirtyMs: number | null;
}

export interface WriteLog {
  readonly usage: LogUsage;
  /** The longest `appendWhole`: what one record of this log's files surely holds. */
  readonly wholeBytesMax: number;
  /** All that are known of the log, in order, this opening's included. */
  readonly incarnations: readonly Incarnation[];
  /** The incarnation that this opening began; null when it is open for reading only. */
  readonly incarnation: Incarnation | null;
  /**
   * What is lost, as `FoundLog.damage`, but judged by what the store has; null when nothing is. A damaged log is open for
   * reading only, up to the damage.
   */
  readonly damage: string | null;
  /** Why nothing can be appended: a write or a sync that failed, damage, or an opening for reading only. */
  readonly failure: SgwError | undefined;
  /**
   * Appends whole pages; everything appended before the current task of the event loop ends goes into one record (group
   * commit), and the returned promise is the same for all of it. Resolves when the record is in the kernel's page cache.
   * `data` is used until then. The pages are found by `lookup` at once. Never waits for space: see `room`.
   * What is more than the record or the file has room for goes on in the next.
   * @throws exhausted `log-full` when there is no room; unavailable when the disk failed, then and ever after
   */
  append(firstPage: number, data: Buffer): Promise<void>;
  /**
   * As `append`, of at most `wholeBytesMax`, as one extent of one record: after a loss of power all of it is there or nothing.
   * Where it is more than the record or the file has room for it begins the next.
   */
  appendWhole(firstPage: number, data: Buffer): Promise<void>;
  /** Appends sectors of one page, whose 4096 bytes are `bytes`; merged by the log with what it has of that page already. */
  appendSectors(page: number, mask: number, bytes: Buffer): Promise<void>;
  appendZeroes(firstPage: number, pageCount: number): Promise<void>;
  /**
   * Pages behind the new end read as zeroes from then on. The rest of a page that the end is in is the caller's to zero,
   * before, in the same task.
   */
  appendResize(sizeBytes: number): Promise<void>;
  /** Resolves with the sequence of its record, in which it comes last; nothing that is appended later joins that record. */
  appendBarrier(name: string): Promise<number>;
  /**
   * Makes everything appended before durable: `fdatasync` of every file written since the last one; calls meanwhile share
   * the next one. A failed sync is remembered: every later flush fails, and never retries it into success (C13).
   */
  flush(): Promise<void>;
  /** Whether `bytes` of data can be appended now; also as a whole, where it is not too long for that. */
  hasRoom(bytes: number): boolean;
  /**
   * Waits until they can; callers are served in order. Somebody who asked `hasRoom` meanwhile may have been faster, so:
   * `while (!log.hasRoom(bytes)) await log.room(bytes)`.
   * @throws exhausted `log-too-small` when there can never be room; the reason when the log fails or is closed
   */
  room(bytes: number, signal?: AbortSignal): Promise<void>;

  /** The slot of the newest version of a page, or NOT_IN_LOG or ZERO_IN_LOG. Synchronous, a tenth of a microsecond. */
  lookup(page: number): Slot;
  /** Which sectors of the page the log has: FULL_MASK but for pages written in part over what is below. */
  maskOf(page: number): number;
  /** The first page at or after `page` of which the log says anything, below `toPage`; undefined when there is none. */
  nextPage(page: number, toPage: number): number | undefined;
  /** Copies bytes of consecutive slots into `target`, from the page cache of the file; `skip` bytes into the first. */
  readSlots(slot: Slot, target: Buffer, skip?: number): void;
  /**
   * How many pages from `page` on, up to `countMax`, are in the same state: zeroes, not in the log, or written in whole to
   * consecutive slots. A page written in part counts alone.
   */
  runLength(page: number, countMax: number): number;

  /** Records from `fromSequence` on, ascending, until `logBytesMax` are read or the end is reached. Reads headers from the files. */
  records(fromSequence: number, logBytesMax: number): LogRecord[];
  /** The file that a slot is in, and its position there: for worker threads. */
  placeOf(slot: Slot): { readonly path: string; readonly position: number };
  /**
   * Everything up to `sequence` is durable in the store: files that hold only such records are free to be used again. Their
   * pages are found by `lookup` until that happens; `onRecycle` is called before.
   */
  uploaded(sequence: number): void;
  /** Called before a file is used again, with the pages whose newest version is in it. Synchronous. */
  onRecycle: ((pages: Iterable<readonly [page: number, slot: Slot]>) => void) | undefined;

  /** Grows at once; shrinks as files become free. */
  resize(capacityBytes: number): Promise<void>;
  /** Syncs and closes; what is not uploaded stays on disk, for the next opening. Idempotent. */
  close(): Promise<void>;
}
