/** Reads a file's pages in order through one buffer, for the walk over a log that is being opened. */
import { setImmediate as breathe } from 'node:timers/promises';
import { LOG_PAGE_BYTES, type LogFile } from './contract.ts';

const WINDOW_PAGES = 256;
/** After so many windows other work of the process gets its turn. */
const WINDOWS_AT_A_TIME = 4;

export class PageReader {
  readonly #file: LogFile;
  readonly #pageCount: number;
  readonly #window = Buffer.allocUnsafe(WINDOW_PAGES * LOG_PAGE_BYTES);
  #first = 0;
  #count = 0;
  #windows = 0;
  /** A page could not be read: the disk said so. */
  hasFailed = false;

  constructor(file: LogFile, pageCount: number) {
    this.#file = file;
    // A file that was cut off has fewer.
    this.#pageCount = Math.min(pageCount, Math.floor(file.sizeBytes / LOG_PAGE_BYTES));
  }

  /** A page, valid until the next call; undefined behind the end and where it can't be read. */
  async page(index: number): Promise<Buffer | undefined> {
    if (index >= this.#pageCount) return undefined;
    if (index < this.#first || index >= this.#first + this.#count) {
      if (++this.#windows % WINDOWS_AT_A_TIME === 0) await breathe();
      this.#load(index);
      if (this.#count === 0) return undefined;
    }
    const at = (index - this.#first) * LOG_PAGE_BYTES;
    return this.#window.subarray(at, at + LOG_PAGE_BYTES);
  }

  #load(index: number): void {
    this.#first = index;
    this.#count = Math.min(WINDOW_PAGES, this.#pageCount - index);
    try {
      this.#file.readSync(this.#window.subarray(0, this.#count * LOG_PAGE_BYTES), index * LOG_PAGE_BYTES);
    } catch {
      // One bad sector fails the whole read, so the page is asked for alone.
      this.#count = 1;
      try {
        this.#file.readSync(this.#window.subarray(0, LOG_PAGE_BYTES), index * LOG_PAGE_BYTES);
      } catch {
        this.#count = 0;
        this.hasFailed = true;
      }
    }
  }
}
