/**
 * Opening a log that `findLog` looked at: the index of what is not in the store, and, for writing, a new incarnation.
 *
 * Before the first record of the new incarnation everything that was found is durable, and what was torn away can't be
 * mistaken for part of it: later files lose their first page, and what is left in the current file is of another
 * incarnation and contradicts the chain.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import { assert, SgwError, toSgwError, type Clock } from '../kit/index.ts';
import { adoptFiles, makeDurable, pageCountOf, stillNeeded } from './adopt.ts';
import { Appender, type LogPosition } from './appender.ts';
import { LOG_PAGE_BYTES, type FoundLog, type Incarnation, type LogDisk, type WriteLog } from './contract.ts';
import { findLog } from './find.ts';
import { FoundState } from './found.ts';
import { SLOTS_MAX } from './page-index.ts';
import { readRecord } from './record-reader.ts';
import { Ring } from './ring.ts';
import { RoomQueue } from './room.ts';
import { Syncer } from './syncer.ts';
import { VolumePages } from './volume-pages.ts';
import { FileWriteLog } from './write-log.ts';

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
    const pageCount = pageCountOf(found, options);
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
      previousIncarnations: stillNeeded(found.incarnations, lastSequence, this.#uploaded),
      lastSequence,
      lastChecksum: found.lastChecksum,
      lastGeneration: found.lastGeneration,
      flushedSequence: Math.min(found.flushedSequence, lastSequence),
      uploadedSequence: this.#uploaded,
    };
  }

  async run(): Promise<WriteLog> {
    this.#check();
    if (this.#isReadOnly) this.#ring.freeze();
    const { disk } = this.#options;
    const hasJump = this.#hasJump;
    await adoptFiles(this.#ring, this.#found, {
      disk,
      uploaded: this.#uploaded,
      hasJump,
      isReadOnly: this.#isReadOnly,
    });
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
    const syncer = new Syncer(this.#appender, this.#ring);
    await makeDurable(this.#ring, this.#found, this.#appender, syncer);
    if (this.#hasJump || this.#appender.file.pagesLeft === 0) {
      await this.#ring.makeFree(1);
      this.#appender.roll();
    }
    this.#appender.note('begin');
    await syncer.sync();
    if (this.#found.isDoubtful) await this.#ring.forgetDoubt();
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
