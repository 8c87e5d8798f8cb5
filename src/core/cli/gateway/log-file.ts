/**
 * The log file of a gateway in the background: bounded, by files that move on: `gateway.log`, `gateway.log.1` and so on. Written at
 * once, line by line, so that the last lines before a death are there. A line that can't be written is left out: a full disk
 * must not end a gateway.
 */
import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';
import path from 'node:path';

const FILE_BYTES_MAX = 8 << 20;
/** Older ones that are kept. */
const OLD_FILES = 3;
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;

/** Where the log of a home is. */
export const logFileOf = (home: string): string => path.join(home, 'logs', 'gateway.log');
/** The newest first, the present one too. */
export const logFilesOf = (home: string): string[] => filesOf(logFileOf(home));

const filesOf = (file: string): string[] => [
  file,
  ...Array.from({ length: OLD_FILES }, (_, at) => `${file}.${String(at + 1)}`),
];

/** Opens the log file of a home for appending; makes it and its folder. */
export const openLogFile = (home: string): number => openFile(logFileOf(home));

function openFile(file: string): number {
  mkdirSync(path.dirname(file), { recursive: true, mode: FOLDER_MODE });
  return openSync(file, 'a', FILE_MODE);
}

export class RotatingLog {
  readonly #path: string;
  readonly #bytesMax: number;
  #file: number;
  #bytes: number;

  /** Makes the file and its folder where they are not there. */
  constructor(path: string, bytesMax = FILE_BYTES_MAX) {
    this.#path = path;
    this.#bytesMax = bytesMax;
    this.#file = openFile(path);
    this.#bytes = fstatSync(this.#file).size;
  }

  write(line: string): void {
    try {
      const bytes = Buffer.from(line);
      if (this.#bytes > 0 && this.#bytes + bytes.length > this.#bytesMax) this.#moveOn();
      this.#bytes += writeSync(this.#file, bytes);
    } catch {
      // There is no place left to tell it.
    }
  }

  #moveOn(): void {
    const files = filesOf(this.#path);
    for (let at = files.length - 1; at > 0; at--) {
      try {
        renameSync(files[at - 1] ?? '', files[at] ?? '');
      } catch {
        // That one is not there yet.
      }
    }
    const next = openFile(this.#path);
    closeSync(this.#file);
    this.#file = next;
    this.#bytes = fstatSync(next).size;
  }
}
