/**
 * Opening a log that `findLog` looked at: the index of what is not in the store, and, for writing, a new incarnation.
 *
 * Before the first record of the new incarnation everything that was found is durable, and what was torn away can't be
 * mistaken for part of it: later files lose their first page, and what is left in the current file is of another
 * incarnation and contradicts the chain.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import { assert, SgwError, toSgwError, type Clock } from '../kit/index.ts';
import { Appender, type LogPosition } from './appender.ts';
import { LOG_PAGE_BYTES, type FoundLog, type Incarnation, type LogDisk, type WriteLog } from './contract.ts';
import { findLog } from './find.ts';
import { INCARNATIONS_MAX, type KeptIncarnation } from './format.ts';
import { FoundState, type ChainedFile } from './found.ts';
import { SLOTS_MAX } from './page-index.ts';
import { readRecord } from './record-reader.ts';
import { RingFile } from './ring-file.ts';
import { Ring } from './ring.ts';
import { RoomQueue } from './room.ts';
import { Syncer } from './syncer.ts';
import { VolumePages } from './volume-pages.ts';
import { FileWriteLog } from './write-log.ts';

const FILE_BYTES_MIN = 4 * 1024 ** 2;
const FILE_BYTES_MAX = 64 * 1024 ** 2;
const LOG_FILE_BYTES_MIN = 4 * LOG_PAGE_BYTES;
/** Small files are made, looked through and freed quickly; each takes a file descriptor. */
const FILES_WANTED = 256;
const REWRITE_BYTES = 1024 ** 2;
const RECORDS_AT_A_TIME = 512;

export interface OpenLogOptions {
  readonly disk: LogDisk;
  /** What `findLog` found in it, with nothing changed since. */
  readonly found: FoundLog;
  readonly capacityBytes: number;
  /** Of each file of a new log; a multiple of 4096. By default 4 to 64 MiB, a 256th of the capacity. */
  readonly fileBytes?: number;
  readonly clock: Clock;
  /** The one that begins: 16 hex digits that were never used. Records up to `uploadedSequence` are not looked at. */
  readonly incarnation: Omit<Incarnation, 'firstSequence'>;
  /** Begins nothing and changes nothing, as for a damaged log. */
  readonly readOnly?: boolean;
}

/** The size of a new log's files, by default. */
function logFileBytes(capacityBytes: number): number {
  const wanted = Math.floor(capacityBytes / FILES_WANTED);
  return Math.max(FILE_BYTES_MIN, Math.min(FILE_BYTES_MAX, wanted - (wanted % LOG_PAGE_BYTES)));
}

/**
 * Opens the log that `findLog` found. For writing, everything that was found, and the note that begins the incarnation, are
 * durable when it resolves. A damaged log is opened for reading only, up to the damage: see `WriteLog.damage`.
 * @throws corrupt `log-damaged` when the store has less than the log was told; exhausted; unavailable
 */
export async function openLog(options: OpenLogOptions): Promise<WriteLog> {
  const { disk, incarnation } = options;
  let { found } = options;
  const { uploadedSequence } = incarnation;
  assert(found instanceof FoundState, 'the log was found by findLog');
  // What looked like damage may concern only what the store has.
  if (found.damage !== null && uploadedSequence > found.uploadedSequence) {
    found = await findLog(disk, { uploadedSequence });
  }
  assert(found instanceof FoundState, 'the log was found by findLog');
  const opening = new Opening(found, options);
  try {
    return await opening.run();
  } catch (error) {
    await opening.abandon();
    throw toSgwError(error);
  }
}

class Opening {
  readonly #found: FoundState;
  readonly #options: OpenLogOptions;
  readonly #isReadOnly: boolean;
  readonly #uploaded: number;
  readonly #ring: Ring;
  readonly #appender: Appender;
  readonly #pages = new VolumePages();
  /** The store has more than what is left here: sequences go on behind that, in another file. */
  readonly #hasJump: boolean;
  #log: FileWriteLog | undefined;

  constructor(found: FoundState, options: OpenLogOptions) {
    this.#found = found;
    this.#options = options;
    this.#isReadOnly = found.damage !== null || options.readOnly === true;
    this.#uploaded = options.incarnation.uploadedSequence;
    this.#hasJump = found.chain.length === 0 || this.#uploaded > found.lastSequence;
    const fileBytes = options.fileBytes ?? logFileBytes(options.capacityBytes);
    assert(fileBytes % LOG_PAGE_BYTES === 0 && fileBytes >= LOG_FILE_BYTES_MIN, `log files of ${fileBytes} bytes`);
    const pageCount = found.logId === undefined ? fileBytes / LOG_PAGE_BYTES : found.pageCount;
    assert(options.capacityBytes / LOG_PAGE_BYTES < SLOTS_MAX, `a log of ${options.capacityBytes} bytes`);
    this.#ring = new Ring(options.disk, pageCount, options.capacityBytes, {
      onReuse: (file) => this.#log?.recycle(file),
      onRoom: () => this.#log?.roomChanged(),
    });
    this.#appender = new Appender(this.#ring, this.#position(), options.clock, () => this.#log?.roomChanged());
  }

  #position(): LogPosition {
    const found = this.#found;
    const { disk, incarnation } = this.#options;
    const lastSequence = Math.max(found.lastSequence, this.#uploaded);
    return {
      // Random enough, and the only thing that a new log has of its own.
      logId: found.logId ?? incarnation.incarnation.repeat(2),
      incarnation: { ...incarnation, firstSequence: lastSequence + 1, bootId: disk.bootId },
      previousIncarnations: this.#stillNeeded(lastSequence),
      lastSequence,
      lastChecksum: found.lastChecksum,
      lastGeneration: found.lastGeneration,
      flushedSequence: Math.min(found.flushedSequence, lastSequence),
      uploadedSequence: this.#uploaded,
    };
  }

  /** Those that have records, of which the store lacks some or holds the last ones. */
  #stillNeeded(lastSequence: number): KeptIncarnation[] {
    const { incarnations } = this.#found;
    const needed = incarnations.filter(({ firstSequence }, i) => {
      const last = (incarnations[i + 1]?.firstSequence ?? lastSequence + 1) - 1;
      return last >= firstSequence && last >= this.#uploaded;
    });
    return needed.slice(1 - INCARNATIONS_MAX);
  }

  async run(): Promise<WriteLog> {
    this.#check();
    if (this.#isReadOnly) this.#ring.freeze();
    await this.#adoptFiles();
    await this.#index();
    if (this.#isReadOnly) this.#appender.fail(notWritable(this.#found.damage));
    else await this.#begin();
    const begun = this.#isReadOnly ? null : this.#appender.position.incarnation;
    this.#log = new FileWriteLog({
      ring: this.#ring,
      appender: this.#appender,
      syncer: new Syncer(this.#appender, this.#ring),
      pages: this.#pages,
      waiting: new RoomQueue(),
      incarnations: begun === null ? this.#found.incarnations : [...this.#found.incarnations, begun],
      incarnation: begun,
      damage: this.#found.damage,
    });
    this.#ring.want(0);
    return this.#log;
  }

  #check(): void {
    const { uploadedSequence } = this.#found;
    if (this.#isReadOnly || this.#uploaded >= uploadedSequence) return;
    throw new SgwError(
      'corrupt',
      'log-damaged',
      `the store has records up to ${this.#uploaded}, but the write log was told that it has them up to ${uploadedSequence}`,
      { hint: 'Was the object store put back to an earlier state? The log is left as it is.' },
    );
  }

  async #adoptFiles(): Promise<void> {
    const { chain, files } = this.#found;
    const { disk } = this.#options;
    const fileBytes = this.#ring.pageCount * LOG_PAGE_BYTES;
    const chained = new Set(chain.map(({ file }) => file));
    for (const one of chain) await this.#adopt(one, fileBytes);
    const others = files.filter((file) => !chained.has(file));
    others.sort((a, b) => (a.header?.generation ?? 0) - (b.header?.generation ?? 0));
    for (const file of this.#isReadOnly ? [] : others) {
      if (file.sizeBytes !== fileBytes) {
        await disk.remove(file.name);
        continue;
      }
      const handle = await disk.open(file.name, fileBytes);
      this.#ring.adopt(new RingFile(file.number, handle, this.#ring.pageCount), 'free');
    }
  }

  async #adopt(chained: ChainedFile, fileBytes: number): Promise<void> {
    const { chain, flushPoints, lastSequence } = this.#found;
    const { disk } = this.#options;
    const { file: found, header, starts, firstSequence, nextPage } = chained;
    const file = new RingFile(found.number, await disk.open(found.name, fileBytes), this.#ring.pageCount);
    file.reset(header.generation, firstSequence);
    starts.forEach((page, i) => {
      const sequence = firstSequence + i;
      file.addRecord(sequence, page);
      if (flushPoints.has(sequence) || sequence === lastSequence) file.markFlushed(sequence);
    });
    file.nextPage = nextPage;
    const isLast = chained === chain.at(-1);
    const isLive = (isLast && !this.#hasJump) || (starts.length > 0 && file.lastSequence > this.#uploaded);
    if (isLive) this.#ring.adopt(file, 'live');
    else this.#ring.adopt(file, 'free');
  }

  /** Reads the headers of all records that are not in the store. */
  async #index(): Promise<void> {
    const { lastSequence } = this.#found;
    for (const file of [...this.#ring.live]) {
      const from = Math.max(this.#uploaded + 1, file.firstSequence);
      for (let sequence = from; sequence <= Math.min(file.lastSequence, lastSequence); sequence++) {
        for (const extent of readRecord(file, sequence).extents) this.#pages.apply(extent, sequence, file);
        if (sequence % RECORDS_AT_A_TIME === 0) await breathe();
      }
    }
  }

  async #begin(): Promise<void> {
    const { position } = this.#appender;
    const syncer = new Syncer(this.#appender, this.#ring);
    await this.#wipeStrays();
    await this.#rewriteUnflushed();
    await syncer.sync();
    position.flushedSequence = position.lastSequence;
    if (this.#hasJump || this.#appender.file.pagesLeft === 0) {
      await this.#ring.makeFree(1);
      this.#appender.roll();
    }
    this.#appender.note('begin');
    await syncer.sync();
  }

  /** Files that were begun after what is the last one now: nothing of them may come back. */
  async #wipeStrays(): Promise<void> {
    const { strays } = this.#found;
    const numbers = new Set(strays.map((file) => file.number));
    for (const file of this.#ring.files) {
      if (!numbers.has(file.number)) continue;
      file.handle.writeSync([Buffer.alloc(LOG_PAGE_BYTES)], 0);
      this.#appender.unsynced.add(file);
    }
  }

  /**
   * Writes again what no flush is known for, as it is. After a sync that failed in the process before, the kernel may hold
   * pages that it takes for written and that the disk does not have.
   */
  async #rewriteUnflushed(): Promise<void> {
    const { flushedSequence } = this.#appender.position;
    for (const file of this.#ring.live) {
      if (file.lastSequence <= flushedSequence && file !== this.#ring.current) continue;
      const pages = file.pagesAbove(flushedSequence);
      const end = file.nextPage * LOG_PAGE_BYTES;
      const buffer = Buffer.allocUnsafe(Math.min(REWRITE_BYTES, pages * LOG_PAGE_BYTES));
      for (let at = end - pages * LOG_PAGE_BYTES; at < end; at += buffer.length) {
        const piece = buffer.subarray(0, Math.min(buffer.length, end - at));
        file.handle.readSync(piece, at);
        file.handle.writeSync([piece], at);
        await breathe();
      }
      // Its first page as well.
      const first = Buffer.allocUnsafe(LOG_PAGE_BYTES);
      file.handle.readSync(first, 0);
      file.handle.writeSync([first], 0);
      this.#appender.unsynced.add(file);
    }
  }

  async abandon(): Promise<void> {
    await this.#ring.close();
  }
}

function notWritable(damage: string | null): SgwError {
  if (damage === null) return new SgwError('readOnly', 'log-read-only', 'the write log is open for reading only');
  return new SgwError('corrupt', 'log-damaged', `the write log is damaged: ${damage}`, {
    hint: 'It is open for reading only. What is in the object store is not concerned.',
    details: { damage },
  });
}
