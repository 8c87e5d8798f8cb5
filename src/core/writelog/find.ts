/**
 * Looks at the files of a log, and changes nothing: which records are valid, where the log ends, and whether that end is a
 * torn tail or damage (PROTOCOL C13).
 *
 * The walk starts in the file that holds the first record which is not known to be in the store, and goes from entry to
 * entry: each has to have the next sequence, its predecessor's checksum, its own place and good checksums. Where that ends,
 * the rest is searched for entries that are valid by themselves. What they say of the flushed watermark tells whether
 * the bad record was durable once. Valid successors alone tell nothing after a loss of power, which may keep any part of
 * what was not synced; but while the machine has not been started again since, nothing that was written is lost.
 */
import { certain } from './certain.ts';
import { crc32 } from 'node:zlib';
import { toSgwError } from '../kit/index.ts';
import { LOG_PAGE_BYTES, type FoundLog, type LogDisk, type LogFile } from './contract.ts';
import { checksumOf } from './extents.ts';
import {
  decodeBegin,
  decodeEntry,
  decodeFileHeader,
  type Entry,
  newestOf,
  UNKNOWN_BOOT,
  type FileHeader,
  type KeptIncarnation,
} from './format.ts';
import { FoundState, type ChainedFile, type FoundFile } from './found.ts';
import { PageReader } from './page-reader.ts';
import { DOUBTFUL_NAME, fileNumber } from './ring.ts';
import { searchBehind, type SearchedFile, type Survivors } from './survivors.ts';

export interface FindOptions {
  /** Records up to here are known to be in the store: what happened to them is no damage. The log itself knows some. */
  readonly uploadedSequence?: number;
}

/**
 * Looks at the log in `disk`, without changing it. Reads all records that are not in the store, and checks them.
 * @throws unavailable and others when the folder or a file can't be opened
 */
export async function findLog(disk: LogDisk, options: FindOptions = {}): Promise<FoundLog> {
  const handles: LogFile[] = [];
  try {
    const names = (await disk.list()).sort();
    for (const name of names) if (fileNumber(name) !== undefined) handles.push(await disk.open(name, 0));
    const found = await new Walk(disk, handles, options.uploadedSequence ?? 0).run();
    found.isDoubtful = names.includes(DOUBTFUL_NAME);
    return found;
  } catch (error) {
    throw toSgwError(error);
  } finally {
    await Promise.all(handles.map(async (handle) => handle.close()));
  }
}

interface OwnFile {
  readonly file: FoundFile;
  readonly header: FileHeader;
}

/** Where the walk is. */
interface At {
  readonly chained: ChainedFile;
  readonly reader: PageReader;
}

class Walk {
  readonly #found: FoundState;
  readonly #handles = new Map<string, LogFile>();
  /** Files of this log by generation. */
  readonly #own: OwnFile[] = [];
  /** Records up to here are in the store. */
  #uploaded: number;
  /** What the next entry has to be. */
  #sequence = 1;
  #checksum = 0;
  #incarnation = '';
  readonly #past = new Set<string>();
  /** The generation of the file that says what is known of an incarnation. */
  readonly #namedIn = new Map<string, number>();

  constructor(disk: LogDisk, handles: readonly LogFile[], uploaded: number) {
    const files: FoundFile[] = handles.map((handle) => ({
      name: handle.name,
      number: certain(fileNumber(handle.name)),
      sizeBytes: handle.sizeBytes,
      header: pageOf(handle, 0, decodeFileHeader),
    }));
    for (const handle of handles) this.#handles.set(handle.name, handle);
    this.#found = new FoundState(files, disk.bootId);
    this.#uploaded = uploaded;
  }

  #handle(name: string): LogFile {
    return certain(this.#handles.get(name));
  }

  async run(): Promise<FoundState> {
    const found = this.#found;
    this.#sortFiles();
    const [first] = this.#own;
    if (first === undefined) {
      found.damage ??= this.#headerlessDamage();
      return found;
    }
    for (const { header } of this.#own) {
      for (const incarnation of header.incarnations) this.#begins(incarnation, header.generation);
      this.#uploaded = Math.max(this.#uploaded, header.uploadedSequence);
    }
    await this.#walk(this.#start() ?? first);
    found.lastSequence = this.#sequence - 1;
    found.lastChecksum = this.#checksum;
    found.lastIncarnation = this.#incarnation;
    found.uploadedSequence = this.#uploaded;
    found.incarnations.sort(
      (a, b) =>
        a.firstSequence - b.firstSequence ||
        a.baseSeq - b.baseSeq ||
        a.uploadedSequence - b.uploadedSequence ||
        a.epoch - b.epoch,
    );
    const lastGeneration = found.chain.at(-1)?.header.generation ?? 0;
    found.strays = this.#own.filter(({ header }) => header.generation > lastGeneration).map(({ file }) => file);
    return found;
  }

  /** Which files are this log's, and in which order; files of another one are damage, not free space. */
  #sortFiles(): void {
    const found = this.#found;
    const counts = new Map<string, number>();
    for (const { header } of found.files) {
      if (header !== undefined) counts.set(header.logId, (counts.get(header.logId) ?? 0) + 1);
    }
    const [logId] = [...counts].sort((a, b) => b[1] - a[1]).map(([id]) => id);
    if (logId === undefined) return;
    found.logId = logId;
    for (const file of found.files) {
      const { header } = file;
      if (header === undefined) {
        if (file.sizeBytes < LOG_PAGE_BYTES) found.damage = `${file.name} is cut off`;
        continue;
      }
      if (header.logId !== logId) found.damage = `${file.name} is a file of another write log`;
      else if (header.number !== file.number) found.damage = `${file.name} was renamed: it is file ${header.number}`;
      else {
        found.pageCount = header.pageCount;
        found.lastGeneration = Math.max(found.lastGeneration, header.generation);
        this.#own.push({ file, header });
      }
    }
    this.#own.sort((a, b) => a.header.generation - b.header.generation);
  }

  /** A log of which no file has a first page: it was never begun, or all of them are damaged. */
  #headerlessDamage(): string | null {
    const used = this.#found.files.filter((file) => !isUnused(this.#handle(file.name)));
    return used.length === 0 ? null : `the first page of ${used.map((file) => file.name).join(', ')} is damaged`;
  }

  /** Takes note of an incarnation; of one that is known, of the boot that whatever is written latest names. */
  #begins(incarnation: KeptIncarnation, generation: number): void {
    const { incarnations } = this.#found;
    const at = incarnations.findIndex((known) => known.incarnation === incarnation.incarnation);
    const known = incarnations[at];
    if (generation < (this.#namedIn.get(incarnation.incarnation) ?? 0)) return;
    this.#namedIn.set(incarnation.incarnation, generation);
    if (known === undefined) incarnations.push(incarnation);
    else incarnations[at] = { ...known, bootId: incarnation.bootId };
  }

  #enter({ file, header }: OwnFile, nextPage: number): At {
    const chained: ChainedFile = { file, header, starts: [], firstSequence: this.#sequence, nextPage };
    this.#found.chain.push(chained);
    return { chained, reader: new PageReader(this.#handle(file.name), header.pageCount) };
  }

  /** Behind the newest file that begins at, or before, the first record that counts, there are only later ones. */
  #start(): OwnFile | undefined {
    return this.#own.findLast(({ header }) => header.firstSequence <= this.#uploaded + 1);
  }

  async #walk(first: OwnFile): Promise<void> {
    let start = first;
    if (start.header.firstSequence > this.#uploaded + 1) {
      // The file before is gone, or what made it the file before never got to the disk. Of what is in the store, entries may
      // know more than first pages do.
      this.#sequence = this.#uploaded + 1;
      const survivors = await this.#search(this.#behind(undefined));
      const known = this.#start();
      if (known === undefined) {
        this.#found.damage ??= this.#damageOf(survivors, 'the log', false);
        return;
      }
      start = known;
    }
    this.#sequence = start.header.firstSequence;
    this.#checksum = start.header.previousChecksum;
    this.#incarnation = newestOf(start.header).incarnation;
    let at = this.#enter(start, 1);
    for (;;) {
      const entry = await this.#validEntry(at.chained, at.reader);
      if (entry !== undefined) {
        this.#accept(at.chained, entry);
        continue;
      }
      const next = this.#nextFile(at.chained);
      if (next !== undefined) {
        at = this.#enter(next, 1);
        continue;
      }
      const resumed = await this.#judge(at.chained, at.reader.hasFailed);
      if (resumed === undefined) return;
      at = resumed;
    }
  }

  /** The file that goes on exactly here. */
  #nextFile({ header: { generation } }: ChainedFile): OwnFile | undefined {
    return this.#own.find(
      ({ header }) =>
        header.generation > generation &&
        header.firstSequence === this.#sequence &&
        header.previousChecksum === this.#checksum,
    );
  }

  /** The entry at the walk's position, when it is the one that has to be there, whole. */
  async #validEntry(chained: ChainedFile, reader: PageReader): Promise<Entry | undefined> {
    const { header, nextPage } = chained;
    const page = await reader.page(nextPage);
    const entry = page === undefined ? undefined : decodeEntry(page);
    if (page === undefined || entry?.logId !== header.logId) return undefined;
    if (entry.generation !== header.generation || entry.page !== nextPage) return undefined;
    if (entry.previousChecksum !== this.#checksum || nextPage + entry.dataPages >= header.pageCount) return undefined;
    if (entry.kind === 'begin') {
      const begun = decodeBegin(entry, page);
      if (begun === undefined || entry.sequence < this.#sequence) return undefined;
      this.#begins(begun, entry.generation);
      return entry;
    }
    if (entry.sequence !== this.#sequence || entry.incarnation !== this.#incarnation) return undefined;
    // What is in the store is not read here any more.
    const mustCheck = entry.kind === 'record' && entry.sequence > this.#uploaded;
    return !mustCheck || (await hasGoodData(entry, Buffer.from(page), reader)) ? entry : undefined;
  }

  #accept(chained: ChainedFile, entry: Entry): void {
    const found = this.#found;
    chained.nextPage = entry.page + 1 + entry.dataPages;
    this.#checksum = entry.checksum;
    found.flushedSequence = Math.max(found.flushedSequence, entry.flushedSequence);
    found.flushPoints.add(entry.flushedSequence);
    found.isClosed = entry.kind === 'end';
    this.#uploaded = Math.max(this.#uploaded, entry.uploadedSequence);
    if (entry.kind === 'record') {
      if (chained.starts.length === 0) chained.firstSequence = entry.sequence;
      chained.starts.push(entry.page);
      this.#sequence += 1;
    } else if (entry.kind === 'begin') {
      if (entry.incarnation !== this.#incarnation) this.#past.add(this.#incarnation);
      this.#incarnation = entry.incarnation;
      if (entry.sequence !== this.#sequence) {
        // The table of a file's records has no gaps: those before the jump are in the store.
        chained.starts.length = 0;
        chained.firstSequence = entry.sequence;
      }
      this.#sequence = entry.sequence;
    }
  }

  /**
   * The chain ends here: is that all, is it damage, or are only records hurt that are in the store, so that the walk can go on
   * behind them? Then the place to go on is returned.
   */
  async #judge(chained: ChainedFile, isUnreadable: boolean): Promise<At | undefined> {
    const survivors = await this.#search(this.#behind(chained));
    const { resume } = survivors;
    if (this.#sequence <= this.#uploaded && resume !== undefined && resume.entry.sequence <= this.#uploaded + 1) {
      const own = this.#own.find(({ file }) => file.name === resume.fileName);
      if (own !== undefined) return this.#resume(chained, own, resume.entry);
    }
    this.#found.hasRemnants = survivors.generation > 0;
    const where = `${chained.file.name} at byte ${chained.nextPage * LOG_PAGE_BYTES}`;
    // Files have their full size before they are used.
    const isCut = chained.file.sizeBytes < chained.header.pageCount * LOG_PAGE_BYTES;
    this.#found.damage ??= this.#damageOf(survivors, where, isUnreadable || isCut);
    return undefined;
  }

  async #search(files: readonly SearchedFile[]): Promise<Survivors> {
    const survivors = await searchBehind(files, {
      logId: certain(this.#found.logId),
      badSequence: this.#sequence,
      incarnation: this.#incarnation,
      past: this.#past,
    });
    // What follows the place where the log ends says no more of incarnations that are known.
    for (const begun of survivors.begun) this.#begins(begun, 0);
    this.#found.lastGeneration = Math.max(this.#found.lastGeneration, survivors.generation);
    this.#uploaded = Math.max(this.#uploaded, survivors.uploadedSequence);
    return survivors;
  }

  #resume(chained: ChainedFile, own: OwnFile, entry: Entry): At {
    if (entry.incarnation !== this.#incarnation) this.#past.add(this.#incarnation);
    this.#sequence = entry.sequence;
    this.#checksum = entry.previousChecksum;
    this.#incarnation = entry.incarnation;
    // The table of a file's records has no gaps: those before the gap are in the store.
    if (own.file === chained.file) this.#found.chain.pop();
    return this.#enter(own, entry.page);
  }

  /** Where entries may be behind the walk's position, in the order of writing. */
  #behind(chained: ChainedFile | undefined): SearchedFile[] {
    const generation = chained?.header.generation ?? 0;
    const parts: SearchedFile[] = [];
    const add = (file: FoundFile, fromPage: number, generationMin: number, generationMax: number): void => {
      const handle = this.#handle(file.name);
      parts.push({ handle, pageCount: this.#found.pageCount, fromPage, generationMin, generationMax });
    };
    if (chained !== undefined) add(chained.file, chained.nextPage, generation, generation);
    for (const { file, header } of this.#own) {
      if (header.generation > generation) add(file, 1, header.generation, header.generation);
    }
    for (const file of this.#found.files) {
      if (file.header !== undefined || isUnused(this.#handle(file.name))) continue;
      add(file, 1, generation + 1, Number.MAX_SAFE_INTEGER);
    }
    return parts;
  }

  /** What was lost, in words, where records from the bad one on were durable or can't have been torn. */
  #damageOf(survivors: Survivors, where: string, isUnreadable: boolean): string | null {
    const bad = Math.max(this.#sequence, this.#uploaded + 1);
    const flushed = Math.max(survivors.flushedSequence, this.#flushedByHeaders());
    const bootId = this.#found.incarnations.find((one) => one.incarnation === this.#incarnation)?.bootId;
    const isSameBoot = bootId === this.#found.bootId && bootId !== UNKNOWN_BOOT;
    let why: string;
    if (flushed >= bad) why = `records up to ${flushed} were durable`;
    else if (isSameBoot && survivors.successorCount > 0) why = 'later records of the same run are whole';
    else if (isUnreadable) why = 'the file is cut off or can not be read there';
    else return null;
    const last = Math.max(survivors.lastSequence, flushed, bad);
    return (
      `record ${bad} in ${where} is missing or damaged, and ${why}: ` +
      `records ${bad} to ${last} are lost, with at least ${survivors.logBytes} bytes of log behind it`
    );
  }

  /** The watermark that the first pages of later files tell. An opening also syncs what it found before it begins. */
  #flushedByHeaders(): number {
    const generation = this.#found.chain.at(-1)?.header.generation ?? 0;
    let flushed = 0;
    for (const { header } of this.#own) {
      const { incarnation, firstSequence } = newestOf(header);
      if (header.generation <= generation || this.#past.has(incarnation)) continue;
      flushed = Math.max(flushed, header.flushedSequence);
      if (incarnation !== this.#incarnation) flushed = Math.max(flushed, firstSequence - 1);
    }
    return flushed;
  }
}

async function hasGoodData(entry: Entry, page: Buffer, reader: PageReader): Promise<boolean> {
  for (let i = 0; i < entry.dataPages; i++) {
    const data = await reader.page(entry.page + 1 + i);
    if (data === undefined || crc32(data) !== checksumOf(entry, page, i)) return false;
  }
  return true;
}

function pageOf<T>(handle: LogFile, index: number, decode: (page: Buffer) => T | undefined): T | undefined {
  if (handle.sizeBytes < (index + 1) * LOG_PAGE_BYTES) return undefined;
  const page = Buffer.allocUnsafe(LOG_PAGE_BYTES);
  try {
    handle.readSync(page, index * LOG_PAGE_BYTES);
  } catch {
    return undefined;
  }
  return decode(page);
}

/** Nothing was ever written to the file: the first thing is always its first two pages. */
function isUnused(handle: LogFile): boolean {
  const isZero = (page: Buffer): true | undefined => (page.every((byte) => byte === 0) ? true : undefined);
  return (pageOf(handle, 0, isZero) ?? false) && (pageOf(handle, 1, isZero) ?? false);
}
