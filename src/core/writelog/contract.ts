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
  /**
   * Records from `fromSequence` on as they are sent to a replica, ascending, at least one where there is one, until they have
   * `bytesMax`; what is being appended is among them. Their bytes are copies that stay the caller's. Empty behind the last
   * record, and where files that held `fromSequence` are used again: then the store has it.
   * @throws corrupt `log-damaged`; unavailable when the file can't be read
   */
  sent(fromSequence: number, bytesMax: number): SentRecord[];
  /** The file that a slot is in, and its position there: for worker threads. */
  placeOf(slot: Slot): { readonly path: string; readonly position: number };
  /**
   * Everything up to `sequence` is durable in the store: files that hold only such records are free to be used again. Their
   * pages are found by `lookup` until that happens; `onRecycle` is called before.
   */
  uploaded(sequence: number): void;
  /** Called before a file is used again, with the pages whose newest version is in it. Synchronous. */
  onRecycle: ((pages: Iterable<readonly [page: number, slot: Slot]>) => void) | undefined;
  /** Called when appended records are in the files, before that is told to who appended them. Synchronous; must not throw. */
  onAppended: ((lastSequence: number) => void) | undefined;

  /** Grows at once; shrinks as files become free. */
  resize(capacityBytes: number): Promise<void>;
  /** Syncs and closes; what is not uploaded stays on disk, for the next opening. Idempotent. */
  close(): Promise<void>;
}

/** A record as it is sent to a replica: what it holds, without its place in the sender's files. */
export interface SentRecord {
  readonly sequence: number;
  readonly incarnation: string;
  readonly epoch: number;
  readonly appendedMs: number;
  readonly flushedSequence: number;
  readonly uploadedSequence: number;
  readonly extentCount: number;
  /** Extents and the checksums of the pages, as in the record's header page from byte 112 on. */
  readonly body: Buffer;
  /** The data pages. */
  readonly pages: Buffer;
}

/** Where a replica log ends. */
export interface ReplicaPosition {
  /** The newest that was begun; null when there is no log. */
  readonly incarnation: string | null;
  /** Of the oldest record that is kept; one above `received` when none is. */
  readonly firstSequence: number;
  /** Up to here records are in the kernel's page cache at least, or in the store. */
  readonly received: number;
  readonly synced: number;
  /**
   * Nothing that was received is lost (rule 8 of docs/adr/0025-groups.md): the machine was not started again since, or the log
   * was closed in order. False of a log that is empty, or failed, until `ReplicaLog.caughtUp`.
   */
  readonly isWhole: boolean;
}

/** The same of a log that is not open. */
export interface FoundPosition extends ReplicaPosition {
  /** Of the newest incarnation. */
  readonly epoch: number;
}

/**
 * The log of a volume that another gateway writes (docs/formats/writelog.md): its records in files of its own. What it holds is
 * a valid write log, which `findLog` and `openLog` open as the volume's own once it is in its place. No index is kept in memory.
 */
export interface ReplicaLog {
  readonly position: ReplicaPosition;
  /** The holder's, in order, as far as they are known here. */
  readonly incarnations: readonly Incarnation[];
  /** Why nothing can be appended: a write or a sync that failed, or the end. */
  readonly failure: SgwError | undefined;
  /** Where the damaged log went that was found here; null when there was none. */
  readonly setAside: string | null;
  /**
   * Appends the record that comes next: of the incarnation that was begun last, with the next sequence. In the kernel's page
   * cache when it returns; its buffers are the caller's again. Not while `begin` or `anew` is under way.
   * @throws conflict `record-not-next`; invalid `record-malformed`; exhausted `log-full`; unavailable when the disk failed,
   *   then and ever after
   */
  append(record: SentRecord): void;
  /**
   * Notes that the holder began an incarnation behind the last record; what is before it is durable then. Does nothing when it
   * is the newest here.
   * @throws conflict `record-not-next` when it begins elsewhere; exhausted `log-full`; unavailable
   */
  begin(incarnation: Incarnation): Promise<void>;
  /**
   * Goes on with record `behind` + 1; the store has what comes before. `incarnations` are all of the holder's: the last of them
   * that begins with that record or before it is begun. A log with records that these do not continue, and that are not known to be in the store, is set aside as
   * `diverged`, and named. Durable when it resolves.
   * @throws exhausted; unavailable
   */
  anew(incarnations: readonly Incarnation[], behind: number): Promise<{ readonly setAside: string | null }>;
  /**
   * Everything that the holder had acknowledged is here, whatever was lost before: the log is whole from now on. Durable when it
   * resolves.
   */
  caughtUp(): Promise<void>;
  /** `fdatasync` of what was appended before; calls meanwhile share the next one. A failed one ends the log (C13). */
  sync(): Promise<void>;
  /** Records up to `sequence` are in the store: files that hold only such are used again. */
  uploaded(sequence: number): void;
  /** Whether a record with so many bytes of pages can be appended now, or an incarnation begun. */
  hasRoom(pageBytes: number): boolean;
  /** Waits until it can. @throws exhausted when it never can; the reason when the log fails or is closed */
  room(pageBytes: number, signal?: AbortSignal): Promise<void>;
  /** Syncs and closes; whether the log is whole is known from the files afterwards. Idempotent. */
  close(): Promise<void>;
}

/** When a write is acknowledged: in the write log, also in the logs of its group's in-sync members, or committed to the object store. */
export type AckClass = 'log' | 'peer' | 'store';

/**
 * What the members of a group must have before something counts as acknowledged (C26). Given to the opening of a volume, whose
 * log then acknowledges through it; all calls are synchronous but for the promises that they return.
 */
export interface RecordSink {
  /** Called once, with the open log, before anything is appended. The sink reads records from it. */
  begin(log: WriteLog): void;
  /** There are records up to `sequence` in the log. Cheap: called with every group commit. */
  appended(sequence: number): void;
  /**
   * Resolves when records up to `sequence` may be acknowledged; undefined: now.
   * @throws fenced when they never may be
   */
  acknowledgeable(sequence: number, signal?: AbortSignal): Promise<void> | undefined;
  /** The same for a flush that covers everything up to `sequence`: the members have synced it, where that is asked for. */
  flushable(sequence: number, signal?: AbortSignal): Promise<void> | undefined;
  /** Resolves when what was read may be answered (the lease is valid); undefined: now. @throws fenced */
  readable(signal?: AbortSignal): Promise<void> | undefined;
  /** Records up to `sequence` are in the store. */
  uploaded(sequence: number): void;
  /** What the volume acknowledges by from now on. */
  setAck(ack: AckClass): void;
  /**
   * What is written is not logged from now on (a shadow in pass-through): lets every other member go, and resolves when the
   * in-sync set is the holder alone. Nothing is written meanwhile.
   * @throws fenced; unavailable when the set can't be changed: then nothing may be written past the log
   */
  suspend(signal?: AbortSignal): Promise<void>;
  /** The log holds again whatever the store lacks: members may join. */
  resume(): void;
}
