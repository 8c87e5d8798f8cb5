/**
 * The files of an open log. A file is **free** (made, and holding nothing that is not in the store) or **live** (in the
 * order of use; the last one is being filled). New files are made ahead of need in the background, up to the capacity;
 * above the capacity, free files are removed. Free files that were never used go first, so that what was uploaded stays
 * readable as long as possible.
 */
import { certain } from './certain.ts';
import { Semaphore, toSgwError, type SgwError } from '../kit/index.ts';
import { LOG_PAGE_BYTES, type LogDisk } from './contract.ts';
import { usablePages } from './record-builder.ts';
import { RingFile } from './ring-file.ts';

/** A log that is in use has so much free; one that was just opened only what it needs, and more the more it is used. */
const AHEAD_BYTES = 192 * 1024 ** 2;
const AHEAD_FILES_MIN = 2;
/** The ring needs one file to fill and one to go on in. */
const FILES_MIN = 2;

/** Says that a sync of the log failed, so that what the kernel held may be lost although the machine ran on. */
export const DOUBTFUL_NAME = 'doubtful';

const fileName = (number: number): string => `${number.toString(16).padStart(6, '0')}.log`;

/** The number of the log's file `name`; undefined for other files. */
export function fileNumber(name: string): number | undefined {
  return /^[0-9a-f]{6}\.log$/.test(name) ? parseInt(name.slice(0, 6), 16) : undefined;
}

export interface RingEvents {
  /** A free file that was used before is about to be used again, or removed. */
  readonly onReuse: (file: RingFile) => void;
  /** There may be more room now, or a problem with making it. */
  readonly onRoom: () => void;
}

export class Ring {
  readonly pageCount: number;
  readonly live: RingFile[] = [];
  readonly #free: RingFile[] = [];
  readonly #files: (RingFile | undefined)[] = [];
  readonly #disk: LogDisk;
  readonly #events: RingEvents;
  #fileCount = 0;
  #fileCountMax: number;
  #wantedPages = 0;
  /** Files that were taken into use. */
  #takenCount = 0;
  /** Files are made and removed one at a time: two would be made under one name. */
  readonly #turn = new Semaphore(1);
  #working: Promise<void> | undefined;
  #isClosed = false;
  /** Why the last attempt to make a file failed; undefined when it did not. */
  problem: SgwError | undefined;

  constructor(disk: LogDisk, pageCount: number, capacityBytes: number, events: RingEvents) {
    this.#disk = disk;
    this.pageCount = pageCount;
    this.#fileCountMax = this.#filesFor(capacityBytes);
    this.#events = events;
  }

  #filesFor(capacityBytes: number): number {
    return Math.max(FILES_MIN, Math.floor(capacityBytes / (this.pageCount * LOG_PAGE_BYTES)));
  }

  get capacityBytes(): number {
    return this.#fileCountMax * this.pageCount * LOG_PAGE_BYTES;
  }

  get files(): readonly RingFile[] {
    return this.#files.filter((file) => file !== undefined);
  }

  /** The file being filled. */
  get current(): RingFile {
    return certain(this.live[this.live.length - 1]);
  }

  /** Data pages that the free files hold. */
  get freeDataPages(): number {
    return this.#free.length * usablePages(this.pageCount - 1);
  }

  get hasFree(): boolean {
    return this.#free.length > 0;
  }

  /** Data pages that a single append can ever find room for. */
  get dataPagesMax(): number {
    return (this.#fileCountMax - 1) * usablePages(this.pageCount - 1);
  }

  fileOf(slot: number): RingFile {
    return certain(this.#files[Math.floor(slot / this.pageCount)]);
  }

  /** The live file that holds a record. */
  holding(sequence: number): RingFile | undefined {
    let low = 0;
    let high = this.live.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (certain(this.live[middle]).lastSequence < sequence) low = middle + 1;
      else high = middle;
    }
    const file = this.live[low];
    return file?.has(sequence) === true ? file : undefined;
  }

  /** Adds a file that was found, as live (in the order of use) or free. */
  adopt(file: RingFile, state: 'live' | 'free'): void {
    this.#files[file.number] = file;
    this.#fileCount += 1;
    if (state === 'live') this.live.push(file);
    else this.#free.push(file);
  }

  /** Makes the next free file the one to fill; undefined when there is none. Its header is the caller's to write. */
  take(generation: number, firstSequence: number): RingFile | undefined {
    const file = this.#free.shift();
    if (file === undefined) return undefined;
    if (file.nextPage > 1) this.#events.onReuse(file);
    file.reset(generation, firstSequence);
    this.#takenCount += 1;
    this.live.push(file);
    this.#work();
    return file;
  }

  /** Frees the live files, but for the one being filled, whose records are all up to `sequence`. */
  release(sequence: number): void {
    let count = 0;
    while (count < this.live.length - 1 && certain(this.live[count]).lastSequence <= sequence) count++;
    if (count > 0) this.#free.push(...this.live.splice(0, count));
    this.#work();
    if (count > 0) this.#events.onRoom();
  }

  setCapacity(capacityBytes: number): void {
    this.#fileCountMax = this.#filesFor(capacityBytes);
    this.#work();
  }

  /** Somebody waits for room for so many data pages: more files are made, where the capacity allows. */
  want(dataPages: number): void {
    this.#wantedPages = dataPages;
    this.#work();
  }

  /** Makes files until at least `count` are free, whatever the capacity. */
  async makeFree(count: number): Promise<void> {
    while (this.#free.length < count)
      await this.#turn.run(async () => {
        if (this.#free.length < count) await this.#makeFile();
      });
  }

  async #makeFile(): Promise<void> {
    let number = 0;
    while (this.#files[number] !== undefined) number++;
    const handle = await this.#disk.open(fileName(number), this.pageCount * LOG_PAGE_BYTES);
    const file = new RingFile(number, handle, this.pageCount);
    this.#files[number] = file;
    this.#fileCount += 1;
    const used = this.#free.findIndex((free) => free.nextPage > 1);
    this.#free.splice(used < 0 ? this.#free.length : used, 0, file);
  }

  async #removeFile(): Promise<void> {
    // The one that was freed first: what it holds is the oldest.
    const at = Math.max(
      0,
      this.#free.findIndex((free) => free.nextPage > 1),
    );
    const [file] = this.#free.splice(at, 1);
    if (file === undefined) return;
    this.#events.onReuse(file);
    this.#fileCount -= 1;
    await file.handle.close();
    await this.#disk.remove(file.handle.name);
    this.#files[file.number] = undefined;
  }

  /** Makes or removes files in the background, as long as there is need. */
  #work(): void {
    if (this.#working !== undefined || this.#isClosed || this.#nextJob() === undefined) return;
    this.#working = this.#run().finally(() => {
      this.#working = undefined;
      // Who wanted something just now found it at work still.
      if (this.problem === undefined) this.#work();
    });
  }

  #nextJob(): 'make' | 'remove' | undefined {
    if (this.#fileCount > this.#fileCountMax) return this.#free.length > 1 ? 'remove' : undefined;
    if (this.#fileCount === this.#fileCountMax) return undefined;
    const aheadMax = AHEAD_BYTES / (this.pageCount * LOG_PAGE_BYTES);
    const ahead = Math.max(AHEAD_FILES_MIN, Math.min(this.#takenCount, aheadMax));
    return this.#free.length >= ahead && this.freeDataPages >= this.#wantedPages ? undefined : 'make';
  }

  async #run(): Promise<void> {
    try {
      while (!this.#isClosed && this.#nextJob() !== undefined) {
        await this.#turn.run(async () => {
          // What there is to do by now.
          const job = this.#nextJob();
          if (job !== undefined) await (job === 'make' ? this.#makeFile() : this.#removeFile());
        });
        this.problem = undefined;
        this.#events.onRoom();
      }
    } catch (error) {
      this.problem = toSgwError(error);
      this.#events.onRoom();
    }
  }

  /** Leaves a word for later openings that a sync has failed; where that can not be left either, there is none. */
  async noteDoubt(): Promise<void> {
    const file = await this.#disk.open(DOUBTFUL_NAME, 0).catch(() => undefined);
    await file?.close();
  }

  async forgetDoubt(): Promise<void> {
    await this.#disk.remove(DOUBTFUL_NAME);
  }

  /** Makes and removes no files, from now on. */
  freeze(): void {
    this.#isClosed = true;
  }

  /** Ends what goes on in the background, then closes the files. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#working;
    await Promise.all(this.files.map(async (file) => file.handle.close()));
  }
}
