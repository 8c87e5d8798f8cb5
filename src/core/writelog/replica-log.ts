/**
 * A replica log: the records of a volume that another gateway writes, in files of this one (docs/adr/0025-groups.md).
 *
 * States: **empty** (nothing was ever begun; only `anew` does anything); **following**; **failed** after a write or sync that
 * failed; **closed**.
 * Invariants: the files are a write log like any other (docs/formats/writelog.md). While it is open the files never end with an end
 * note, and the newest incarnation names the machine's boot id only while the log is whole: so that what an opening finds
 * tells whether anything that was received may be missing.
 */
import { assert, SgwError, toSgwError, type Clock, type Random } from '../kit/index.ts';
import { adoptFiles, makeDurable, pageCountOf, stillNeeded } from './adopt.ts';
import { Appender, type LogPosition } from './appender.ts';
import { certain } from './certain.ts';
import {
  LOG_PAGE_BYTES,
  type FoundLog,
  type Incarnation,
  type LogDisk,
  type ReplicaLog,
  type ReplicaPosition,
  type SentRecord,
} from './contract.ts';
import { findLog } from './find.ts';
import { UNKNOWN_BOOT, type KeptIncarnation } from './format.ts';
import { FoundState } from './found.ts';
import { Ring } from './ring.ts';
import { RoomQueue } from './room.ts';
import { isFoundWhole } from './position-found.ts';
import { isWellFormed } from './sent-record.ts';
import { Syncer } from './syncer.ts';

/** Of the holder's buffer: where its files end is not where these do, so a record may leave the end of a file unused. */
const CAPACITY_FACTOR = 2;
/** A log that damage was found in, or a start of one that nothing follows. */
const DAMAGED = 'damaged';

export interface OpenReplicaLogOptions {
  readonly disk: LogDisk;
  /** What `findLog` found in it, with nothing changed since. */
  readonly found: FoundLog;
  /** Of the holder's upload buffer. The files here may take twice as much. */
  readonly capacityBytes: number;
  /** As for `openLog`. */
  readonly fileBytes?: number;
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * Opens the replica log that `findLog` found. Everything that was found is durable when it resolves. A damaged one is set aside.
 * @throws exhausted; unavailable
 */
export async function openReplicaLog(options: OpenReplicaLogOptions): Promise<ReplicaLog> {
  const { disk } = options;
  let { found } = options;
  assert(found instanceof FoundState, 'the log was found by findLog');
  let setAside: string | null = null;
  if (found.damage !== null || (found.chain.length === 0 && found.logId !== undefined)) {
    setAside = await disk.setAside(DAMAGED);
    found = await findLog(disk);
    assert(found instanceof FoundState, 'the log was found by findLog');
  }
  const log = new FileReplicaLog(options, found, setAside);
  try {
    if (found.chain.length > 0) await log.follow(found);
    return log;
  } catch (error) {
    await log.abandon();
    throw toSgwError(error);
  }
}

/** The files of a log that has something in it. */
interface Files {
  readonly ring: Ring;
  readonly appender: Appender;
  readonly syncer: Syncer;
}

class FileReplicaLog implements ReplicaLog {
  readonly setAside: string | null;
  readonly #options: OpenReplicaLogOptions;
  readonly #waiting = new RoomQueue();
  /** What an empty log's folder has: files that were never used. */
  #found: FoundState;
  #files: Files | undefined;
  #incarnations: readonly KeptIncarnation[] = [];
  #isWhole = false;
  /** `begin`, `anew` or `caughtUp` is under way. */
  #isBusy = false;
  /** One of the first two: nothing can be appended. */
  #isBeginning = false;
  /** There is a note that a sync failed. */
  #isDoubtful: boolean;
  #closing: Promise<void> | undefined;

  constructor(options: OpenReplicaLogOptions, found: FoundState, setAside: string | null) {
    this.#options = options;
    this.#found = found;
    this.#isDoubtful = found.isDoubtful;
    this.setAside = setAside;
  }

  get position(): ReplicaPosition {
    const { ring, appender } = this.#files ?? {};
    if (ring === undefined || appender === undefined)
      return { incarnation: null, firstSequence: 1, received: 0, synced: 0, isWhole: false };
    const { lastSequence, flushedSequence, incarnation } = appender.position;
    const first = ring.live.find((file) => file.lastSequence >= file.firstSequence);
    return {
      incarnation: incarnation.incarnation,
      firstSequence: first?.firstSequence ?? lastSequence + 1,
      received: lastSequence,
      synced: flushedSequence,
      isWhole: this.#isWhole && appender.failure === undefined,
    };
  }

  get incarnations(): readonly Incarnation[] {
    return this.#incarnations;
  }

  get failure(): SgwError | undefined {
    return this.#files?.appender.failure;
  }

  #open(found: FoundState, position: LogPosition): Files {
    const { disk, capacityBytes, clock } = this.#options;
    const onRoom = (): void => {
      this.#roomChanged();
    };
    const ring = new Ring(disk, pageCountOf(found, this.#options), CAPACITY_FACTOR * capacityBytes, {
      onReuse: () => undefined,
      onRoom,
    });
    const appender = new Appender(ring, position, clock, onRoom);
    this.#files = { ring, appender, syncer: new Syncer(appender, ring) };
    return this.#files;
  }

  /** Goes on where what was found ends. */
  async follow(found: FoundState): Promise<void> {
    const { disk } = this.#options;
    const uploaded = found.uploadedSequence;
    const lastSequence = Math.max(found.lastSequence, uploaded);
    const hasJump = uploaded > found.lastSequence;
    const newest = certain(found.incarnations.find(({ incarnation }) => incarnation === found.lastIncarnation));
    // What began behind the end is gone, and begins again.
    this.#incarnations = found.incarnations.slice(0, found.incarnations.indexOf(newest) + 1);
    this.#isWhole = isFoundWhole(found, newest, disk);
    const files = this.#open(found, {
      logId: certain(found.logId),
      incarnation: this.#isWhole ? newest : { ...newest, bootId: UNKNOWN_BOOT },
      previousIncarnations: this.#before(newest, lastSequence, uploaded),
      lastSequence,
      lastChecksum: found.lastChecksum,
      lastGeneration: found.lastGeneration,
      flushedSequence: Math.min(found.flushedSequence, lastSequence),
      uploadedSequence: uploaded,
    });
    const { ring, appender, syncer } = files;
    await adoptFiles(ring, found, { disk, uploaded, hasJump, isReadOnly: false });
    await makeDurable(ring, found, appender, syncer);
    // What was torn away behind the end could be taken for what is written there next, which is of the same incarnation.
    if (hasJump || found.hasRemnants || appender.file.pagesLeft === 0) {
      await ring.makeFree(1);
      appender.roll();
    }
    // An end note would tell a later opening that nothing was written behind it.
    if (found.isClosed) await this.#note(files, this.#isWhole ? disk.bootId : UNKNOWN_BOOT);
    ring.want(0);
  }

  /** Those before the newest that have records which are needed still. */
  #before(newest: KeptIncarnation, lastSequence: number, uploaded: number): KeptIncarnation[] {
    const before = this.#incarnations.filter(({ incarnation }) => incarnation !== newest.incarnation);
    return stillNeeded([...before, { ...newest, firstSequence: lastSequence + 1 }], lastSequence, uploaded);
  }

  /** Notes the current incarnation, and under which boot it goes on. Durable when it resolves. */
  async #note({ ring, appender, syncer }: Files, bootId: string): Promise<void> {
    while (appender.file.pagesLeft === 0 && !ring.hasFree) await ring.makeFree(1);
    const { position } = appender;
    position.incarnation = { ...position.incarnation, bootId };
    appender.note('begin');
    await syncer.sync();
  }

  append(record: SentRecord): void {
    const files = this.#ready();
    const { position } = files.appender;
    const { incarnation, epoch } = position.incarnation;
    if (record.sequence !== position.lastSequence + 1 || record.incarnation !== incarnation || record.epoch !== epoch) {
      const what = `record ${record.sequence} of incarnation ${record.incarnation}`;
      throw notNext(`${what} does not follow record ${position.lastSequence} of incarnation ${incarnation}`);
    }
    if (!isWellFormed(record) || !this.#canHold(record.pages.length)) {
      throw new SgwError('invalid', 'record-malformed', `record ${record.sequence} is not one of a write log`, {
        hint: 'The gateway that sent it may have another version of sgw, or a defect.',
        details: { sequence: record.sequence },
      });
    }
    files.appender.put(record);
    this.uploaded(record.uploadedSequence);
  }

  /** @throws what keeps it from appending */
  #ready(): Files {
    assert(!this.#isBeginning, 'nothing is appended while the log begins something');
    if (this.#files === undefined) throw notNext('the replica log is empty');
    if (this.#files.appender.failure !== undefined) throw this.#files.appender.failure;
    return this.#files;
  }

  async #busy<T>(isBeginning: boolean, work: () => Promise<T>): Promise<T> {
    assert(!this.#isBusy && this.#closing === undefined, 'a replica log begins one thing at a time');
    this.#isBusy = true;
    this.#isBeginning = isBeginning;
    try {
      return await work();
    } catch (error) {
      throw toSgwError(error);
    } finally {
      this.#isBusy = false;
      this.#isBeginning = false;
    }
  }

  async begin(incarnation: Incarnation): Promise<void> {
    const { ring, appender, syncer } = this.#ready();
    const { position } = appender;
    if (incarnation.incarnation === position.incarnation.incarnation) return;
    const isKnown = this.#incarnations.some((known) => known.incarnation === incarnation.incarnation);
    if (isKnown || incarnation.firstSequence !== position.lastSequence + 1) {
      const where = `with record ${incarnation.firstSequence}`;
      throw notNext(
        `incarnation ${incarnation.incarnation} begins ${where}, and the log ends with ${position.lastSequence}`,
      );
    }
    await this.#busy(true, async () => {
      await syncer.flush();
      await syncer.sync();
      if (appender.file.pagesLeft === 0) await ring.makeFree(1);
      const kept = this.#kept(incarnation);
      const previous = [...position.previousIncarnations, position.incarnation, kept];
      this.#incarnations = [...this.#incarnations, kept];
      position.previousIncarnations = stillNeeded(previous, position.lastSequence, position.uploadedSequence);
      position.incarnation = kept;
      appender.note('begin');
    });
  }

  /** Names the boot only where a later opening may take the log for whole. */
  #kept({ incarnation, epoch, baseSeq, uploadedSequence, firstSequence }: Incarnation): KeptIncarnation {
    const bootId = this.#isWhole ? this.#options.disk.bootId : UNKNOWN_BOOT;
    return { incarnation, epoch, baseSeq, uploadedSequence, firstSequence, bootId };
  }

  async anew(incarnations: readonly Incarnation[], behind: number): Promise<{ readonly setAside: string | null }> {
    if (this.failure !== undefined) throw this.failure;
    const past = incarnations.filter(({ firstSequence }) => firstSequence <= behind + 1);
    assert(past.length > 0, `record ${behind + 1} is of an incarnation of the holder's`);
    return await this.#busy(true, async () => {
      await this.#files?.syncer.flush();
      const setAside = await this.#leave(incarnations, behind);
      // Before anything is changed: a disk that is full leaves the log as it was.
      await this.#files?.ring.makeFree(1);
      this.#isWhole = false;
      this.#incarnations = past.map((one) => this.#kept(one));
      const incarnation = certain(this.#incarnations.at(-1));
      const position: LogPosition = {
        logId: this.#found.logId ?? this.#options.random.bytes(16).toString('hex'),
        incarnation,
        previousIncarnations: this.#before(incarnation, behind, behind),
        lastSequence: behind,
        lastChecksum: 0,
        lastGeneration: this.#found.lastGeneration,
        flushedSequence: behind,
        uploadedSequence: behind,
      };
      if (this.#files === undefined) {
        const { ring } = this.#open(this.#found, position);
        const how = { disk: this.#options.disk, uploaded: behind, hasJump: true, isReadOnly: false };
        try {
          await adoptFiles(ring, this.#found, how);
          await ring.makeFree(1);
        } catch (error) {
          await ring.close();
          this.#files = undefined;
          throw error;
        }
      } else {
        const { logId, lastChecksum, lastGeneration } = this.#files.appender.position;
        Object.assign(this.#files.appender.position, position, { logId, lastChecksum, lastGeneration });
      }
      const { ring, appender, syncer } = certain(this.#files);
      appender.roll();
      appender.note('begin');
      // A log whose only first page is torn is damaged.
      await syncer.sync();
      ring.release(behind);
      return { setAside };
    });
  }

  /** Sets the files aside unless these incarnations can go on in them behind record `behind`. */
  async #leave(incarnations: readonly Incarnation[], behind: number): Promise<string | null> {
    if (this.#files === undefined) return null;
    const { lastSequence, uploadedSequence, incarnation } = this.#files.appender.position;
    const at = incarnations.findIndex((one) => one.incarnation === incarnation.incarnation);
    const end = at < 0 ? 0 : (incarnations[at + 1]?.firstSequence ?? Infinity) - 1;
    const hasDiverged = lastSequence > end && lastSequence > uploadedSequence;
    if (!hasDiverged && lastSequence <= behind) return null;
    const { disk } = this.#options;
    await this.#files.ring.close();
    this.#files = undefined;
    const path = await disk.setAside(hasDiverged ? 'diverged' : 'begun-anew');
    const found = await findLog(disk);
    assert(found instanceof FoundState, 'the log was found by findLog');
    this.#found = found;
    this.#isDoubtful = false;
    return path;
  }

  async caughtUp(): Promise<void> {
    const files = this.#ready();
    if (this.#isWhole) return;
    await this.#busy(false, async () => {
      await files.syncer.flush();
      await this.#note(files, this.#options.disk.bootId);
      if (this.#isDoubtful) await files.ring.forgetDoubt();
      this.#isDoubtful = false;
      this.#isWhole = true;
    });
  }

  async sync(): Promise<void> {
    await this.#files?.syncer.flush();
  }

  uploaded(sequence: number): void {
    if (this.#files === undefined) return;
    const { ring, appender } = this.#files;
    const { position } = appender;
    const uploaded = Math.min(sequence, position.lastSequence);
    if (uploaded <= position.uploadedSequence) return;
    position.uploadedSequence = uploaded;
    ring.release(uploaded);
  }

  #canHold(pageBytes: number): boolean {
    return this.#files !== undefined && pageBytes / LOG_PAGE_BYTES + 2 <= this.#files.ring.pageCount;
  }

  /** Data pages of a record that there is room for. */
  get #roomPages(): number {
    if (this.#files === undefined) return 0;
    const { ring, appender } = this.#files;
    return ring.hasFree ? ring.pageCount - 2 : Math.max(0, appender.file.pagesLeft - 1);
  }

  hasRoom(pageBytes: number): boolean {
    return this.failure === undefined && Math.max(1, pageBytes / LOG_PAGE_BYTES) <= this.#roomPages;
  }

  async room(pageBytes: number, signal?: AbortSignal): Promise<void> {
    const { ring } = this.#ready();
    if (!this.#canHold(pageBytes)) {
      throw new SgwError(
        'exhausted',
        'log-too-small',
        `a file of the replica log has no room for ${pageBytes} bytes at once`,
        {
          hint: 'Give the volume a larger buffer.',
        },
      );
    }
    const waiting = this.#waiting.wait(Math.max(1, pageBytes / LOG_PAGE_BYTES), signal);
    ring.want(ring.pageCount);
    this.#roomChanged();
    await waiting;
  }

  #roomChanged(): void {
    if (this.#files === undefined) return;
    const { ring } = this.#files;
    const { failure } = this;
    if (failure !== undefined) this.#waiting.fail(failure);
    else {
      this.#waiting.serve(this.#roomPages);
      if (this.#waiting.wantedPages === 0) ring.want(0);
      else if (ring.problem !== undefined) this.#waiting.fail(ring.problem);
    }
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const closed = new SgwError('aborted', 'log-closed', 'the replica log is closed');
    if (this.#files === undefined) return;
    const { ring, appender, syncer } = this.#files;
    try {
      if (appender.failure !== undefined) return;
      await syncer.flush();
      // Without a note at the end the log is whole only as long as the machine runs.
      if (appender.file.pagesLeft === 0) await ring.makeFree(1).catch(() => undefined);
      if (this.#isWhole && (appender.file.pagesLeft > 0 || ring.hasFree)) appender.note('end');
      await syncer.sync();
    } finally {
      appender.fail(closed);
      this.#waiting.fail(closed);
      await ring.close();
    }
  }

  async abandon(): Promise<void> {
    await this.#files?.ring.close();
  }
}

function notNext(message: string): SgwError {
  return new SgwError('conflict', 'record-not-next', message, {
    hint: 'The replica tells the holder where its log ends, and they go on from there.',
  });
}
